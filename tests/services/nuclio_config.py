"""The part of Nuclio's function configuration that exists, as types that take nothing else.

`nuctl` drops a key that it does not know without a word, so a misspelt limit would count for
nothing. Names and kinds are those of nuclio/nuclio at 1.13.0, which CVAT asks for, and are the same
at 1.14.1: pkg/functionconfig/types.go (Config, Meta, Spec, Build, Directive, Trigger, Platform),
pkg/processor/trigger/http/types.go and pkg/dockerclient/types.go (attributes). Fields of Kubernetes
alone are left out.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

Duration = Annotated[StrictStr, Field(pattern=r"^(\d+(\.\d+)?(ns|us|ms|s|m|h))+$")]
Count = Annotated[StrictInt, Field(ge=1)]
#: pkg/processor/build/builder.go, runtimeInfo, at 1.13.0; 1.14 has no older Python than 3.9.
Runtime = Literal["python:3.9", "python:3.10", "python:3.11"]


class _Known(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Meta(_Known):
    name: Annotated[StrictStr, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    namespace: StrictStr = ""
    labels: dict[StrictStr, StrictStr] = {}
    annotations: dict[StrictStr, StrictStr] = {}


class Directive(_Known):
    kind: Literal["ADD", "ARG", "COPY", "ENV", "RUN", "USER", "WORKDIR"]
    value: Annotated[StrictStr, Field(pattern=r"^[^\n]+$")]


class Build(_Known):
    path: StrictStr = ""
    functionSourceCode: StrictStr = ""
    functionConfigPath: StrictStr = ""
    tempDir: StrictStr = ""
    registry: StrictStr = ""
    baseImageRegistry: StrictStr = ""
    image: Annotated[StrictStr, Field(pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*(:[\w.-]+)?$")] = "x"
    noBaseImagesPull: StrictBool = False
    noCache: StrictBool = False
    noCleanup: StrictBool = False
    baseImage: StrictStr = ""
    commands: list[StrictStr] = []
    directives: dict[Literal["preCopy", "postCopy"], list[Directive]] = {}
    scriptPaths: list[StrictStr] = []
    addedPaths: dict[StrictStr, StrictStr] = {}
    dependencies: list[StrictStr] = []
    onbuildImage: StrictStr = ""
    offline: StrictBool = False
    codeEntryType: StrictStr = ""
    timestamp: StrictInt = 0
    buildTimeoutSeconds: Count | None = None
    mode: Literal["neverBuild", "alwaysBuild"] | None = None
    args: dict[StrictStr, StrictStr] = {}
    flags: list[StrictStr] = []


class HttpAttributes(_Known):
    port: StrictInt = 0
    readBufferSize: StrictInt = 0
    maxRequestBodySize: Count = 4 * 1024 * 1024
    reduceMemoryUsage: StrictBool = False
    disablePortPublishing: StrictBool = False


class HttpTrigger(_Known):
    kind: Literal["http"]
    name: StrictStr = ""
    disabled: StrictBool = False
    numWorkers: Count = 1
    url: StrictStr = ""
    annotations: dict[StrictStr, StrictStr] = {}
    workerAvailabilityTimeoutMilliseconds: StrictInt | None = None
    workerTerminationTimeout: Duration | None = None
    attributes: HttpAttributes = HttpAttributes()


class RestartPolicy(_Known):
    name: Literal["no", "always", "on-failure", "unless-stopped"]
    maximumRetryCount: StrictInt = 0


class PlatformAttributes(_Known):
    network: StrictStr = ""
    restartPolicy: RestartPolicy | None = None
    mountMode: Literal["bind", "volume"] = "bind"
    healthCheckInterval: StrictStr | StrictInt | None = None


class Platform(_Known):
    attributes: PlatformAttributes = PlatformAttributes()


class Resources(_Known):
    limits: dict[Literal["cpu", "memory", "nvidia.com/gpu"], StrictInt | StrictStr] = {}
    requests: dict[Literal["cpu", "memory"], StrictInt | StrictStr] = {}


class Spec(_Known):
    description: StrictStr
    disable: StrictBool = False
    handler: Annotated[StrictStr, Field(pattern=r"^\w+:\w+$")]
    runtime: Runtime
    env: list[dict[Literal["name", "value"], StrictStr]] = []
    resources: Resources = Resources()
    image: StrictStr = ""
    replicas: StrictInt | None = None
    minReplicas: StrictInt | None = None
    maxReplicas: StrictInt | None = None
    triggers: dict[StrictStr, HttpTrigger]
    build: Build
    runRegistry: StrictStr = ""
    platform: Platform = Platform()
    readinessTimeoutSeconds: StrictInt = 0
    devices: list[StrictStr] = []
    eventTimeout: Duration


class Config(_Known):
    """A whole function.yaml."""

    metadata: Meta
    spec: Spec

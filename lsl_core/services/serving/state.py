"""How the service is set, and how it stands: what its process and ours tell each other in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lsl_core.errors import WorkspaceError
from lsl_core.workspace.files import known_fields, read_json

#: Where CVAT looks for Nuclio when nobody says otherwise.
DEFAULT_PORT = 8070
#: Files in the workspace's folder `serve/`.
STATE_FILE, LOCK_FILE, SETTINGS_FILE, LOG_FILE = (
    "state.json", "service.lock", "service.json", "service.log",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How the service is reached and what it takes. Holds no secret.

    host, port: to listen on. is_nuclio: a port for every function beside it, for CVAT's direct
    calls. allow: networks whose callers need no token. token_file: holds the token of all others.
    max_body_mb: of a request, MiB. max_megapixels: of an image. timeout_s: until an answer.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    is_nuclio: bool = False
    allow: tuple[str, ...] = ()
    token_file: str | None = None
    max_body_mb: float = 128.0
    max_megapixels: float = 150.0
    timeout_s: float = 100.0

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read them from a file.

        Raises:
            WorkspaceError: when it cannot be read.
        """
        try:
            fields = known_fields(cls, read_json(path))
            return cls(**fields | {"allow": tuple(fields.get("allow", ()))})
        except (TypeError, AttributeError) as error:
            raise WorkspaceError(
                f"The settings of the service cannot be read: {path}",
                hint="Remove the file; then the defaults count.",
                detail=repr(error),
            ) from error


@dataclass(frozen=True, slots=True)
class FunctionState:
    """A function that others call, and how that went; times in seconds.

    port: of direct calls. last_error_at: seconds since the epoch.
    """

    name: str
    is_interactor: bool
    port: int | None
    requests: int
    failed: int
    median_s: float | None
    p95_s: float | None
    last_error: str
    last_error_at: float | None


@dataclass(frozen=True, slots=True)
class OfferState:
    """A model that is offered now.

    since: seconds since the epoch. clicks: pretrained weights that answer clicks, if any.
    """

    model: str
    version: str
    since: float
    labels: tuple[str, ...]
    drawing: str
    device: str
    functions: tuple[FunctionState, ...]
    clicks: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How the running service stands. callers: (who, requests, last call) of the last hour."""

    pid: int
    host: str
    port: int
    is_nuclio: bool
    started: float
    offers: tuple[OfferState, ...]
    problems: dict[str, str]
    callers: tuple[tuple[str, int, float], ...]

    @property
    def url(self) -> str:
        """Address on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def state_of(row: Mapping[str, Any]) -> ServiceState:
    """Read what a service wrote down; what its version said beyond ours is left out.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: when it cannot be read.
    """
    callers = tuple((c["who"], c["requests"], c["last"]) for c in row["callers"])
    offers = tuple(_offer_state(offer) for offer in row["offers"])
    return ServiceState(**known_fields(ServiceState, row) | {"offers": offers, "callers": callers})


def _offer_state(row: Mapping[str, Any]) -> OfferState:
    functions = tuple(
        FunctionState(**known_fields(FunctionState, f | f["use"])) for f in row["functions"]
    )
    return OfferState(
        **known_fields(OfferState, row) | {"labels": tuple(row["labels"]), "functions": functions}
    )

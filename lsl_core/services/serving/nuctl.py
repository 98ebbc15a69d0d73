"""Deploying a function folder with `nuctl`, and saying in one line which step is broken."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import urllib3

from lsl_core.errors import UserInput
from lsl_core.services import sourcing
from lsl_core.services.serving.serverless import FunctionFolder, deploy_command
from lsl_core.types import ModelCard
from lsl_core.words import plural
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import encode_rgb

__all__ = ["Health", "check_function", "deploy", "has_nuctl", "test_image"]

#: CVAT gives up on a function after this long.
_CVAT_WAITS_S = 120.0
_ASK_S = 60.0


@dataclass(frozen=True, slots=True)
class Health:
    """Whether CVAT can use a function; if not, which step is broken and what to do.

    step: nuctl, image, function, answer, labels; "" when all is well.
    """

    step: str
    text: str
    hint: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether every step works."""
        return not self.step


def has_nuctl() -> bool:
    """Whether Nuclio's command is on this machine."""
    return shutil.which("nuctl") is not None


def deploy(
    function: FunctionFolder,
    *,
    gpu: bool = False,
    image: bytes,
    say: Callable[[str], None] = lambda line: None,
) -> Health:
    """Build and start a function, then check it.

    Args:
        function: as `write_function` made it.
        gpu: with `function-gpu.yaml`.
        image: a picture to ask it about; see `test_image`.
        say: told every line that nuctl writes.
    """
    if not has_nuctl():
        return Health("nuctl", "nuctl is not on this machine.", "Install it, then run the command.")
    # the project is there already, most of the time
    _ask(["nuctl", "create", "project", "cvat", "--platform", "local"])
    words = deploy_command(function, gpu=gpu)
    with subprocess.Popen(  # noqa: S603 - our own words
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            say(line.rstrip())
            last = line.strip() or last
    if process.returncode:
        return Health(
            "image",
            f"The image of {function.name} was not built: {last[-300:] or 'nuctl says nothing'}",
            "Look at the lines above; the function folder can be built again as it is.",
        )
    return check_function(function, image=image)


def check_function(function: FunctionFolder, *, image: bytes, host: str = "127.0.0.1") -> Health:
    """Go the way of a request of CVAT, up to the first step that is broken.

    Args:
        function: which.
        image: a picture to ask about.
        host: where its port is.
    """
    if not has_nuctl():
        return Health("nuctl", "nuctl is not on this machine.", "Install it, then check again.")
    code, text = _ask(
        ["nuctl", "get", "function", function.name, "--platform", "local", "-o", "json"]
    )
    described = _json(text) if code == 0 else None
    if not isinstance(described, dict):
        return Health(
            "function",
            f"Nuclio does not know {function.name}: {text.strip()[-200:]}",
            "Deploy it first.",
        )
    state = described.get("status", {}).get("state")
    port = described.get("status", {}).get("httpPort")
    if state != "ready" or not port:
        return Health(
            "function",
            f"{function.name} is built but not ready: its state is {state or 'unknown'}.",
            f"See why: docker logs nuclio-nuclio-{function.name}",
        )
    return _labels(function, described) or _answer(function, f"http://{host}:{port}/", image)


def test_image(workspace: Workspace, card: ModelCard) -> bytes:
    """Return the first image that a model learnt from; a grey one when it is gone."""
    try:
        source = sourcing.load_source(workspace, card.support)
        return source.images[0].path.read_bytes()
    except (UserInput, OSError):
        return encode_rgb(np.full((64, 64, 3), 128, np.uint8), suffix=".png")


def _labels(function: FunctionFolder, described: dict[str, Any]) -> Health | None:
    text = described.get("metadata", {}).get("annotations", {}).get("spec", "")
    found = _json(text)
    listed = {row.get("name") for row in found} if isinstance(found, list) else set()
    missing = [label for label in function.labels if label not in listed]
    if missing or len(listed) != len(function.labels):
        return Health(
            "labels",
            f"{function.name} lists other labels than the model has: "
            f"{', '.join(sorted(map(str, listed))) or 'none'}.",
            "Another version is deployed; deploy this one.",
        )
    return None


def _answer(function: FunctionFolder, url: str, image: bytes) -> Health:
    payload = {"image": base64.b64encode(image).decode()}
    timeout = urllib3.Timeout(connect=10.0, read=_CVAT_WAITS_S)
    try:
        response = urllib3.PoolManager(retries=False).request(
            "POST", url, json=payload, timeout=timeout
        )
    except urllib3.exceptions.HTTPError as error:
        return Health(
            "answer",
            f"{function.name} does not answer at {url}: {type(error).__name__}.",
            f"See why: docker logs nuclio-nuclio-{function.name}",
        )
    shapes = _json(response.data)
    if response.status != 200 or not isinstance(shapes, list):
        said = response.data[:200].decode(errors="replace")
        reason = shapes.get("error") if isinstance(shapes, dict) else said
        return Health("answer", f"{function.name} answers {response.status}: {reason}")
    unknown = {shape.get("label") for shape in shapes} - set(function.labels)
    if unknown:
        return Health(
            "labels",
            f"{function.name} answers with labels that it does not list: "
            f"{', '.join(sorted(map(str, unknown)))}.",
            "Deploy it again.",
        )
    return Health(
        "", f"{function.name} is ready at {url}: {plural(len(shapes), 'object')} on a test image."
    )


def _ask(words: list[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            words, capture_output=True, text=True, errors="replace", timeout=_ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout or done.stderr


def _json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(text)
    except ValueError:
        return None

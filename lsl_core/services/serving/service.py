"""The service that answers for models: start, look, stop, and what CVAT has to be told.

It runs as a process of its own, `python -m lsl_core.serve`, so that neither a page nor a terminal
has to stay open. It writes down every second how it stands.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from lsl_core import cvat
from lsl_core.cvat import CvatSession
from lsl_core.errors import CvatAuth, CvatDenied, CvatError, ServeError, WorkspaceError
from lsl_core.services.models import versions
from lsl_core.services.serving import offers
from lsl_core.services.serving.offers import Offer
from lsl_core.services.serving.state import (
    LOCK_FILE,
    LOG_FILE,
    SETTINGS_FILE,
    STATE_FILE,
    ServiceSettings,
    ServiceState,
    state_of,
)
from lsl_core.types import CropMasks, Hw, Instances
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import read_json, write_json
from lsl_core.workspace.images import Pixels, decode_rgb

__all__ = [
    "Verdict",
    "check_cvat",
    "cvat_settings",
    "died_at",
    "last_settings",
    "start",
    "state",
    "stop",
    "try_image",
    "wait_until_followed",
]

_START_S = 120.0
_STOP_S = 30.0
_TRY_S = 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether CVAT can call the service, in a sentence, and what to do if not."""

    is_fine: bool
    text: str
    hint: str = ""


def state(workspace: Workspace) -> ServiceState | None:
    """Return how the service stands, None when it does not run.

    Raises:
        ServeError: when it runs, but is of another version of LSL and says what we cannot read.
    """
    row = _written(workspace)
    try:
        return None if row is None else state_of(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ServeError(
            "The service that runs is of another version of LSL, and how it stands cannot be read.",
            hint="Stop it and start it again: lsl serve --stop",
            detail=repr(error),
        ) from error


def died_at(workspace: Workspace) -> float | None:
    """Return when a service that was not stopped, but does not run any more, wrote last.

    None while one runs, and after one that was stopped: that takes its state away.
    """
    path = workspace.serve / STATE_FILE
    if _is_running(workspace) or not path.exists():
        return None
    return path.stat().st_mtime


def last_settings(workspace: Workspace) -> ServiceSettings:
    """Return the settings that the service was started with last; the defaults before that."""
    path = workspace.serve / SETTINGS_FILE
    return ServiceSettings.read(path) if path.exists() else ServiceSettings()


def start(workspace: Workspace, settings: ServiceSettings) -> ServiceState:
    """Start the service in the background and wait until it answers.

    Raises:
        ServeError: when it runs already, or does not start; says why.
    """
    process = launch(workspace, settings, to_log=True)
    # somebody has to take note of its end, or it stays as a zombie
    threading.Thread(target=process.wait, daemon=True).start()
    return wait_until_up(workspace, process, log=workspace.serve / LOG_FILE)


def launch(
    workspace: Workspace, settings: ServiceSettings, *, to_log: bool
) -> subprocess.Popen[bytes]:
    """Start the process of the service; see `wait_until_up`.

    Args:
        workspace: whose offers.
        settings: kept for the next start.
        to_log: detach it, with its words in a file; otherwise it is this terminal's.

    Raises:
        ServeError: when it runs already.
    """
    if _is_running(workspace):
        raise ServeError(
            "A service of this workspace runs already.", hint="Stop it first: lsl serve --stop"
        )
    workspace.serve.mkdir(parents=True, exist_ok=True)
    (workspace.serve / STATE_FILE).unlink(missing_ok=True)
    path = workspace.serve / SETTINGS_FILE
    write_json(path, asdict(settings))
    words = [sys.executable, "-m", "lsl_core.serve", str(workspace.root), "--settings", str(path)]
    if not to_log:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL)  # noqa: S603 - our own module
    with (workspace.serve / LOG_FILE).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def wait_until_up(
    workspace: Workspace, process: subprocess.Popen[bytes], *, log: Path | None = None
) -> ServiceState:
    """Wait until a launched service answers.

    Args:
        workspace: whose offers.
        process: from `launch`.
        log: where its words go; None when they are on the terminal.

    Raises:
        ServeError: when it ended, or does not answer; with its last words from the log.
    """
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        found = state(workspace)
        if found is not None:
            return found
        time.sleep(0.1)
    if process.poll() is None:
        process.terminate()
    if log is None:
        raise ServeError("The service did not start.", hint="It says why above.")
    raise ServeError(_last_words(log) or "The service did not start.", hint=f"Its log: {log}")


def wait_until_followed(workspace: Workspace, deployed: Sequence[Offer]) -> ServiceState:
    """Wait until the running service offers what was just deployed, or says why it does not.

    Raises:
        ServeError: when it ends, or does not follow.
    """
    wanted = {
        offer.name: versions.get_model(workspace, offer.version or offer.model).id
        for offer in deployed
    }
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        found = state(workspace)
        if found is None:
            break
        offered = {offers.function_name(offer.model): offer.version for offer in found.offers}
        if all(offered.get(n) == v or n in found.problems for n, v in wanted.items()):
            return found
        time.sleep(0.1)
    raise ServeError("The service does not follow.", hint="See .lsl/serve/service.log.")


def stop(workspace: Workspace) -> bool:
    """Stop the service; callers that wait get their answers. False when none runs.

    Raises:
        ServeError: when it does not stop.
    """
    row = _written(workspace)
    if row is None:
        return False
    try:
        pid = int(row["pid"])
    except (KeyError, TypeError, ValueError) as error:
        raise ServeError(
            "The service that runs does not say which process it is.", hint="End it by hand."
        ) from error
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + _STOP_S
    while time.monotonic() < end:
        if not _is_running(workspace):
            return True
        time.sleep(0.1)
    raise ServeError(f"The service (process {pid}) does not stop.", hint="End it by hand.")


def try_image(
    workspace: Workspace, found: ServiceState, function: str, data: bytes
) -> tuple[Pixels, Instances]:
    """Send an image to the running service, as any program would; return it with the answer.

    Everything above the floor comes back, so that a viewer may choose the threshold. Class ids
    are positions in the labels of the offer.

    Raises:
        ServeError: when the service refuses, with its reason.
    """
    (offer,) = [o for o in found.offers if function in {f.name for f in o.functions}]
    path = last_settings(workspace).token_file
    token = {"Authorization": f"Bearer {Path(path).read_text('utf-8').strip()}"} if path else {}
    url = f"{found.url}/v1/models/{function}/detect?threshold=0.05"
    request = urllib.request.Request(url, data, token, method="POST")  # noqa: S310 - ours, http
    try:
        with urllib.request.urlopen(request, timeout=_TRY_S) as answer:  # noqa: S310
            shapes = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise ServeError(json.loads(error.read()).get("error", str(error))) from error
    except OSError as error:
        raise ServeError("The service does not answer.", hint="Start it again.") from error
    pixels = decode_rgb(data, name="The image")
    return pixels, _instances(shapes, offer.labels, (pixels.shape[0], pixels.shape[1]))


def _instances(shapes: list[dict[str, Any]], labels: tuple[str, ...], image_hw: Hw) -> Instances:
    boxes, crops, places = [], [], []
    for shape in shapes:
        if shape["type"] == "mask":
            *pixels, x1, y1, x2, y2 = shape["mask"]
            crops.append(np.array(pixels, np.uint8).reshape(y2 - y1 + 1, x2 - x1 + 1))
            places.append((x1, y1))
            boxes.append((x1, y1, x2 + 1, y2 + 1))
        else:
            ends = np.array(shape["points"], float).reshape(-1, 2)
            boxes.append((*ends.min(0), *ends.max(0)))
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([float(shape["confidence"]) for shape in shapes], np.float32),
        np.array([labels.index(shape["label"]) for shape in shapes], np.int32),
        CropMasks.from_crops(crops, places) if crops else None,
        image_hw,
    )


def cvat_settings(found: ServiceState, *, host: str | None = None) -> dict[str, str]:
    """Return the environment of CVAT's server and annotation worker that makes them call this.

    Args:
        found: the running service.
        host: name of this machine as CVAT sees it; from a container on the same machine that is
            host.docker.internal.
    """
    inside = found.host in ("127.0.0.1", "localhost", "::1")
    return {
        "CVAT_SERVERLESS": "1",
        "CVAT_NUCLIO_HOST": host or ("localhost" if inside else "host.docker.internal"),
        "CVAT_NUCLIO_PORT": str(found.port),
        "CVAT_NUCLIO_INVOKE_METHOD": "dashboard",
    }


def check_cvat(session: CvatSession, found: ServiceState) -> Verdict:
    """Say whether CVAT lists the functions of the service, and gets an answer when it calls one.

    It is called for one frame of a task, which stores nothing there.
    """
    ours = {function.name for offer in found.offers for function in offer.functions}
    try:
        has_tools = cvat.has_functions(session)
    except CvatError as error:  # CVAT itself, before it would call anybody
        return Verdict(False, error.message, error.hint)
    if not has_tools:
        return Verdict(
            False, f"{session.url} has its AI tools switched off.",
            "Set CVAT_SERVERLESS=1 in its environment and start it again.",
        )  # fmt: skip
    try:
        listed = {row["id"] for row in cvat.list_functions(session)}
    except (CvatAuth, CvatDenied):
        # plugins were told just now, so it was not CVAT that refused
        return Verdict(
            False, f"{session.url} reaches the service, which turned it away.",
            "CVAT sends no token: start the service with --allow for the network that CVAT calls "
            "from, 172.16.0.0/12 for Docker.",
        )  # fmt: skip
    except CvatError as error:
        return Verdict(
            False, f"{session.url} does not reach the service: {error.message}",
            "Check CVAT_NUCLIO_HOST and CVAT_NUCLIO_PORT of its containers cvat_server and "
            "cvat_worker_annotation, and --allow of the service.",
        )  # fmt: skip
    missing = sorted(ours - listed)
    if missing:
        return Verdict(
            False, f"{session.url} does not list {', '.join(missing)}.",
            "It asks another Nuclio: check CVAT_NUCLIO_HOST and CVAT_NUCLIO_PORT.",
        )  # fmt: skip
    return _called(session, found, f"{session.url} offers {', '.join(sorted(ours))}")


def _called(session: CvatSession, found: ServiceState, so_far: str) -> Verdict:
    """Return the verdict after CVAT called a detector; it lists and calls on different ports."""
    finds = [f for offer in found.offers for f in offer.functions if not f.is_interactor]
    if not finds:
        return Verdict(True, f"{so_far} among its AI tools.")
    name, ports = finds[0].name, [str(f.port) for f in finds if f.port]
    try:
        task_id = cvat.try_function(session, name)
    except CvatError as error:
        return Verdict(
            False, f"{so_far}, but gets no answer when it calls {name}: {error.message}",
            _no_answer_hint(error, ports),
        )  # fmt: skip
    if task_id is None:
        return Verdict(
            True, f"{so_far} among its AI tools. There is no task of yours to call one for."
        )
    return Verdict(True, f"{so_far} among its AI tools, and {name} answered it for task {task_id}.")


def _no_answer_hint(error: CvatError, ports: Sequence[str]) -> str:
    if " for url: " in error.message:  # an answer came, and CVAT tells its status
        return "See the log of the service: .lsl/serve/service.log"
    opened = f", or let CVAT reach port {', '.join(ports)} of this machine" if ports else ""
    return (
        "Set CVAT_NUCLIO_INVOKE_METHOD=dashboard in its containers cvat_server and "
        f"cvat_worker_annotation and start both again{opened}. Without it CVAT calls each "
        "function on a port of its own, of host.docker.internal."
    )


def _is_running(workspace: Workspace) -> bool:
    path = workspace.serve / LOCK_FILE
    if not path.exists():
        return False
    try:
        with FileLock(path).acquire(blocking=False):
            return False
    except Timeout:
        return True


def _written(workspace: Workspace) -> Any:  # noqa: ANN401 - whatever its version wrote
    """Return what the service wrote down; None when it does not run, or loads its models yet."""
    if not _is_running(workspace):
        return None
    try:
        return read_json(workspace.serve / STATE_FILE)
    except WorkspaceError:
        return None


def _last_words(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    said = [line.removeprefix("lsl: ") for line in lines if line.startswith("lsl: ")]
    return said[-1] if said else ""

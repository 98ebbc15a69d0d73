"""What this machine and this workspace can do, and what they lack."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version

from lsl_core.errors import LslError
from lsl_core.runs import Queue
from lsl_core.services import connections
from lsl_core.workspace import Workspace

__all__ = ["Finding", "examine"]

#: Below this much free space a day of work may fail.
_LITTLE_SPACE = 5e9


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. is_fine: whether it needs no attention."""

    subject: str
    is_fine: bool
    text: str
    hint: str = ""


def examine(workspace: Workspace | None) -> list[Finding]:
    """Look at Python, the device, and, where there is a workspace, its disk, worker and server."""
    found = [
        Finding("Python", sys.version_info >= (3, 11), platform.python_version()),
        _device(workspace.settings().inference.device if workspace else "auto"),
        Finding("cvat-sdk", True, version("cvat-sdk")),
    ]
    if workspace is None:
        hint = "Make one: lsl create NAME --task fsis"
        return [*found, Finding("Workspace", False, "none here", hint)]
    free = workspace.free_bytes()
    found.append(Finding("Workspace", True, str(workspace.root)))
    found.append(Finding("Free space", free > _LITTLE_SPACE, f"{free / 1e9:.0f} GB"))
    alive = Queue(workspace).has_worker()
    found.append(Finding("Worker", True, "working" if alive else "starts with the next run"))
    found.append(_server(workspace))
    return found


def _device(name: str) -> Finding:
    # torch takes seconds to load, and only this one line needs it
    from lsl_core.models.devices import choose_device, describe

    try:
        return Finding("Device", True, describe(choose_device(name)))
    except LslError as error:
        return Finding("Device", False, error.message, error.hint)


def _server(workspace: Workspace) -> Finding:
    try:
        with connections.open_session(workspace.settings().cvat) as session:
            where = session.organisation or "no organisation chosen"
            text = f"{session.url}, version {session.server.version}, {session.user}, {where}"
            return Finding("CVAT", True, text, session.server.warning)
    except LslError as error:
        return Finding("CVAT", False, error.message, error.hint)

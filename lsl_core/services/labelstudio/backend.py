"""The ML backend that answers Label Studio: how it is set, and its start."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from lsl_core.services.labelstudio.projects import open_server
from lsl_core.services.models import versions
from lsl_core.types import SlideWindows
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import read_json, write_json

#: Where the original LSL's backend listens.
DEFAULT_PORT = 12290


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """What the ML backend answers with, and where. Holds no secret.

    threshold: None takes the model's own, one a label. allow: networks whose callers need no
    token. token_file: holds the password (of any user) for all others.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    threshold: float | None = None
    mask_threshold: float = 0.5
    slide: SlideWindows | None = None
    allow: tuple[str, ...] = ()
    token_file: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read them from a file."""
        row = read_json(path)
        slide = SlideWindows(**row["slide"]) if row["slide"] else None
        return cls(**row | {"slide": slide, "allow": tuple(row["allow"])})


def launch(workspace: Workspace, settings: BackendSettings) -> subprocess.Popen[bytes]:
    """Start the ML backend as a process of its own that speaks to this terminal.

    Raises:
        UserInput: when there is no such model, or no Label Studio is set up.
    """
    versions.get_model(workspace, settings.model)
    open_server(workspace).close()
    workspace.serve.mkdir(parents=True, exist_ok=True)
    path = workspace.serve / f"labelstudio-{settings.port}.json"  # others have other ports
    write_json(path, asdict(settings))
    words = [sys.executable, "-m", "lsl_core.serve.label_studio", str(workspace.root), str(path)]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL)  # noqa: S603 - our own module

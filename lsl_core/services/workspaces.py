"""Workspaces: making one, finding one."""

from __future__ import annotations

from pathlib import Path

from lsl_core.types import Mode
from lsl_core.workspace import Workspace

__all__ = ["Workspace", "create_workspace", "open_workspace"]


def create_workspace(path: Path, mode: Mode = Mode.FSIS) -> Workspace:
    """Make a workspace in an empty or missing folder; see `Workspace.create`."""
    return Workspace.create(path, mode=mode)


def open_workspace(path: Path) -> Workspace:
    """Find the workspace that `path` is, or lies in; see `Workspace.open`."""
    return Workspace.open(path)

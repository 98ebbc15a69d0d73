"""Imports go down only, and three libraries stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Floor of every room of lsl_core; a room imports lower floors and itself.
FLOORS = {
    "types": 0, "errors": 0, "progress": 0, "words": 0,
    "geometry": 1, "workspace": 1,
    "windows": 2, "cvat": 2, "models": 2, "sources": 2, "runs": 2, "sandbox": 2, "backups": 2,
    "labelstudio": 2,
    "training": 3, "inference": 3,
    "services": 4,
    "cli": 5, "ui": 5, "serve": 5,
}  # fmt: skip

#: The same within a room: floor of each of its files and folders.
SUBFLOORS = {
    "cvat": {
        "connection": 0,
        "tasks": 1,
        "annotations": 2,
        "images": 3, "new_tasks": 3, "functions": 3, "push": 3,
        "backup": 4,
    },
    "services": {
        "workspaces": 0, "connections": 0, "catalogue": 0, "dashboard": 0,
        "sourcing": 1, "doctor": 1,
        "models": 2,
        "labelling": 3, "serving": 3,
        "backups": 4, "labelstudio": 4,
        "activity": 5, "demo": 5,
    },
    "ui": {
        "keys": 0, "errors": 0, "formats": 0, "cached": 0, "charts": 0, "viewer": 0,
        "session": 1, "address": 1,
        "layout": 2, "runs": 2, "previews": 2,
        "frame": 3, "parts": 3,
    },
    "sandbox": {
        "base": 0, "scenes": 0,
        "calls": 1,
        "users": 2, "files": 2, "info": 2,
        "tasks": 3,
        "annotations": 4,
        "aitools": 5, "exchange": 5,
        "website": 6,
        "app": 7,
        "server": 8,
        "__main__": 9,
    },
    "training": {
        "examples": 0,
        "common": 1,
        "compact": 2, "foundation": 2, "scoring": 2,
        "fit": 3, "pretrain": 3,
    },
}  # fmt: skip

#: Library -> the only places that may import it.
FENCES = {
    "cvat_sdk": {"cvat"},
    "torch": {"models", "training", "inference", "serve"},
    "streamlit": {"ui", "pages", "app"},
}

SERVICES_ONLY = {"services", "types", "errors", "progress", "words"}
SEEN_FROM = {"pages": SERVICES_ONLY | {"ui"}, "app": SERVICES_ONLY | {"ui"}, "cli": SERVICES_ONLY}


def _files() -> list[Path]:
    return [ROOT / "app.py", *(ROOT / "pages").glob("*.py"), *(ROOT / "lsl_core").rglob("*.py")]


def _room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "lsl_core" and len(parts) > 1 else parts[0]


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    room = _room(path)
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] in FENCES:
            assert room in FENCES[parts[0]], f"{parts[0]} belongs to {FENCES[parts[0]]}"
        if parts[0] != "lsl_core" or len(parts) < 2 or parts[1] == "__version__":
            continue
        other = parts[1]
        if other == room:
            continue
        if room in SEEN_FROM:
            assert other in SEEN_FROM[room], f"{room} imports lsl_core.{other}"
        elif room != "__init__":
            lower = FLOORS[other] < FLOORS[room] or FLOORS[other] == 0
            assert lower, f"lsl_core.{room} imports lsl_core.{other}"


def test_every_room_has_a_floor() -> None:
    rooms = {_room(path) for path in (ROOT / "lsl_core").rglob("*.py")}
    assert rooms - {"__init__"} <= set(FLOORS)


@pytest.mark.parametrize("room", SUBFLOORS)
def test_imports_go_down_within_a_room(room: str) -> None:
    floors = SUBFLOORS[room]
    house = ROOT / "lsl_core" / room
    for path in house.rglob("*.py"):
        part = path.relative_to(house).with_suffix("").parts[0]
        if part == "__init__":
            continue
        for name in _imports(path):
            if not name.startswith(f"lsl_core.{room}."):
                continue
            other = name.split(".")[2]
            assert other == part or floors[other] < floors[part], f"{path} imports {name}"


@pytest.mark.parametrize("slow", ["torch", "scipy"])
def test_commands_and_services_load_without(slow: str) -> None:
    code = f"import sys, lsl_core.services, lsl_core.cli.main; sys.exit('{slow}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

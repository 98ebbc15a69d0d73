"""Which files of LSL, and which packages, a module needs to run somewhere else."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lsl_core

_ROOT = Path(lsl_core.__file__).parent.parent
#: Import name -> package, where they differ. A server has no screen, so OpenCV needs none.
_PACKAGES = {"cv2": "opencv-python-headless", "PIL": "pillow"}
#: Package of ours -> the one that stands in for it elsewhere.
_OURS = {"opencv-python-headless": "opencv-python"}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Source files, relative to `root`, and requirements such as "numpy>=2.0", sorted."""

    root: Path
    files: tuple[Path, ...]
    requirements: tuple[str, ...]


def bundle_of(module: str, *, without: str = "") -> Bundle:
    """Follow the imports of a module of ours, also those inside functions.

    Args:
        module: dotted name, for example "lsl_core.serve.nuclio".
        without: a module of ours that will not be used there, "" for none; names inside of it
            are not followed either.
    """
    files: set[Path] = set()
    packages: set[str] = set()
    waiting = [module]
    while waiting:
        for file in _files_of(waiting.pop()):
            if file in files:
                continue
            files.add(file)
            for name in _imports(file):
                top = name.partition(".")[0]
                if without and f"{name}.".startswith(f"{without}."):
                    continue
                if top == lsl_core.__name__:
                    waiting.append(name)
                elif top not in sys.stdlib_module_names:
                    packages.add(_PACKAGES.get(top, top))
    ranges = _our_ranges()
    wanted = [package + _range(_OURS.get(package, package), ranges) for package in packages]
    relative = sorted(file.relative_to(_ROOT) for file in files)
    return Bundle(_ROOT, tuple(relative), tuple(sorted(wanted)))


def _files_of(name: str) -> Iterator[Path]:
    """Give the file of a module and those of the packages around it; none for a name in one."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        place = _ROOT.joinpath(*parts[:end])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                yield file


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _range(package: str, ranges: dict[str, str]) -> str:
    """Return which versions of a package do; of one that another brings, what runs here."""
    return ranges.get(package) or f">={importlib.metadata.version(package)}"


def _our_ranges() -> dict[str, str]:
    """Return which versions of each package LSL works with, as it was installed."""
    found = {}
    for line in importlib.metadata.requires("lsl-studio") or []:
        match = re.match(r"([\w.\-]+)\s*([^;]*)", line)
        if match and "extra ==" not in line:
            found[match[1].lower()] = match[2].strip()
    return found

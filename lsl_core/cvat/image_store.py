"""Images of CVAT tasks on disk: named by the hash of their bytes, listed per task.

    <folder>/<first two of hash>/<hash>.<ending>     one file per different image
    <folder>/tasks/<server>-<task>.jsonl             which frame is which file

The list starts with a stamp of the task's data; a task whose images changed, or another server
behind the same address, starts a new list. A line is added per frame, so a kill loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

from lsl_core.workspace.files import write_atomic
from lsl_core.workspace.images import IMAGE_SUFFIXES

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image file on disk, with the hash that it is named by."""

    sha256: str
    path: Path


class ImageStore:
    """The images of one task inside a folder that all tasks share. Safe in several threads."""

    def __init__(self, folder: Path, *, url: str, task_id: int, stamp: str) -> None:
        self._folder = folder
        server = re.sub(r"[^\w.\-]+", "_", url.partition("://")[2])
        self._list = folder / "tasks" / f"{server}-{task_id}.jsonl"
        self._stamp = {"format": FORMAT_VERSION, "stamp": stamp}
        self._lock = Lock()
        self._is_torn = False
        self._known = self._read()

    def get(self, frame: int) -> StoredImage | None:
        """Return the image of a frame when it is here."""
        entry = self._known.get(frame)
        if entry is None:
            return None
        path = self._folder / entry["file"]
        return StoredImage(entry["sha256"], path) if path.is_file() else None

    def put(self, frame: int, data: bytes, *, name: str) -> StoredImage:
        """Write the bytes of a frame, unless another frame has the same, and list it."""
        digest = hashlib.sha256(data).hexdigest()
        suffix = PurePosixPath(name).suffix.lower()
        suffix = suffix if suffix in IMAGE_SUFFIXES else ".img"
        file = f"{digest[:2]}/{digest}{suffix}"
        path = self._folder / file
        if not path.is_file():
            write_atomic(path, data)
        entry = {"frame": frame, "sha256": digest, "file": file}
        with self._lock:  # not around the writing: several wait for the disk together
            self._append(entry)
            self._known[frame] = entry
        return StoredImage(digest, path)

    def _append(self, entry: Mapping[str, Any]) -> None:
        if not self._known:
            self._is_torn = False
            write_atomic(self._list, json.dumps(self._stamp).encode() + b"\n")
        with self._list.open("ab") as file:
            file.write((b"\n" if self._is_torn else b"") + json.dumps(entry).encode() + b"\n")
        self._is_torn = False

    def _read(self) -> dict[int, dict[str, Any]]:
        try:
            lines = self._list.read_bytes().split(b"\n")
            if json.loads(lines[0]) != self._stamp:
                return {}
        except (OSError, ValueError):
            return {}
        known: dict[int, dict[str, Any]] = {}
        self._is_torn = lines[-1] != b""  # what follows the last line end was cut by a kill
        for line in lines[1:-1]:
            try:
                entry = json.loads(line)
                known[int(entry["frame"])] = entry
            except (ValueError, KeyError, TypeError):
                continue
        return known

"""Images of CVAT tasks on disk: named by the hash of their bytes, listed per task.

    <folder>/<first two of hash>/<hash>.<ending>     one file per different image
    <folder>/tasks/<server>-<task>.jsonl             which frame is which file

The list starts with a stamp of the task's data; a task whose images changed, or another server
behind the same address, starts a new list. Lines are added when the files are on disk, a chunk at a
time, so a kill loses what was on its way and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Self, TypedDict

from lsl_core.workspace.files import Drafts, write_atomic
from lsl_core.workspace.images import IMAGE_SUFFIXES

FORMAT_VERSION = 1


class Entry(TypedDict):
    """Which file holds an image, relative to the folder of all, and the hash of its bytes."""

    sha256: str
    file: str


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

    def batch(self) -> ImageBatch:
        """Begin images that are written down together."""
        return ImageBatch(self, self._folder)

    def enter(self, entries: Mapping[int, Entry]) -> None:
        """List files, which are on disk, as the images of frames."""
        if not entries:
            return
        lines = [json.dumps({"frame": frame, **entry}) for frame, entry in entries.items()]
        with self._lock:
            if not self._known:
                self._is_torn = False
                write_atomic(self._list, json.dumps(self._stamp).encode() + b"\n")
            with self._list.open("ab") as file:
                file.write((b"\n" if self._is_torn else b"") + "\n".join(lines).encode() + b"\n")
            self._is_torn = False
            self._known.update(entries)

    def _read(self) -> dict[int, Entry]:
        try:
            lines = self._list.read_bytes().split(b"\n")
            if json.loads(lines[0]) != self._stamp:
                return {}
        except (OSError, ValueError):
            return {}
        known: dict[int, Entry] = {}
        self._is_torn = lines[-1] != b""  # what follows the last line end was cut by a kill
        for line in lines[1:-1]:
            try:
                entry = json.loads(line)
                known[int(entry["frame"])] = {"sha256": entry["sha256"], "file": entry["file"]}
            except (ValueError, KeyError, TypeError):
                continue
        return known


class ImageBatch:
    """Images of one task on their way to the disk; listed once all of them are there. One thread.

    Leaving the block without `keep` takes back what was not kept.
    """

    def __init__(self, store: ImageStore, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._drafts = Drafts(folder)
        self._entries: dict[int, Entry] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._drafts.drop()

    def add(self, frame: int, data: bytes, *, name: str) -> None:
        """Write the bytes of a frame, unless another frame has the same."""
        digest = hashlib.sha256(data).hexdigest()
        suffix = PurePosixPath(name).suffix.lower()
        suffix = suffix if suffix in IMAGE_SUFFIXES else ".img"
        file = f"{digest[:2]}/{digest}{suffix}"
        if not (self._folder / file).is_file():
            self._drafts.add(self._folder / file, data)
        self._entries[frame] = {"sha256": digest, "file": file}

    def keep(self) -> dict[int, StoredImage]:
        """Wait for the disk, then list the images; return them by frame."""
        self._drafts.keep()
        self._store.enter(self._entries)
        kept = {
            frame: StoredImage(entry["sha256"], self._folder / entry["file"])
            for frame, entry in self._entries.items()
        }
        self._entries.clear()
        return kept

"""A snapshot while it is being made."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from lsl_core.backups.archives import put_archive
from lsl_core.backups.blobs import BlobWriter
from lsl_core.backups.pieces import blocks_of, is_text
from lsl_core.backups.snapshot import Missing, Snapshot, StoredFile, Subject, Tier


class Draft:
    """What a snapshot will hold. Nothing of it counts before the `record` block ends.

    counts: figures of what was saved, such as {"tasks": 3, "frames": 240, "shapes": 5120}.
    server_version: of CVAT, when it was learned.
    snapshot: the finished snapshot, once the block has ended.
    """

    def __init__(
        self, writer: BlobWriter, subject: Subject, tier: Tier, *, started: datetime
    ) -> None:
        self._writer = writer
        self.subject = subject
        self.tier = tier
        self.started = started
        self.counts: dict[str, int] = {}
        self.files: list[StoredFile] = []
        self.missing: list[Missing] = []
        self.snapshot: Snapshot | None = None

    def add(self, name: str, source: bytes | Path | IO[bytes]) -> StoredFile:
        """Save a file of any size under a name; streamed, never whole in memory.

        Raises:
            ValueError: when the snapshot holds a file of that name (a bug).
        """
        self._check_new(name)
        if isinstance(source, Path):
            with source.open("rb") as file:
                return self._add(name, file)
        return self._add(name, io.BytesIO(source) if isinstance(source, bytes) else source)

    def _add(self, name: str, source: IO[bytes]) -> StoredFile:
        content = self._writer.put_stream(blocks_of(source), text=is_text(name))
        file = StoredFile(
            name=name, kind="file", size=content.size, sha256=content.sha256, content=content
        )
        self.files.append(file)
        return file

    def add_json(self, name: str, value: Any) -> StoredFile:  # noqa: ANN401 - any JSON value
        """Save a JSON value; equal values give equal bytes."""
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return self.add(name, text.encode())

    def add_archive(self, name: str, path: Path) -> StoredFile:
        """Save a zip archive of CVAT, taken apart and checked; see `archives`.

        Raises:
            Damaged: when it is cut short, damaged, or made to do harm.
        """
        self._check_new(name)
        file = put_archive(self._writer, name, path)
        self.files.append(file)
        return file

    def lack(self, what: str, why: str) -> None:
        """Say that something could not be saved: the snapshot becomes partial."""
        self.missing.append(Missing(what=what, why=why))

    def _check_new(self, name: str) -> None:
        if any(file.name == name for file in self.files):
            raise ValueError(f"{name} is in the snapshot already")

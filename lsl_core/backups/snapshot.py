"""What a snapshot says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

#: SHA-256, 64 lower-case hex digits: the only kind of name that the repository gives to a file.
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tier(StrEnum):
    """How much is saved. Lighter tiers run more often."""

    ANNOTATIONS = "annotations"
    FULL = "full"
    INSTANCE = "instance"


class State(StrEnum):
    """How whole a snapshot is: all of it, some of it, or nothing to rely on."""

    OK = "ok"
    PARTIAL = "partial"
    FAILED = "failed"


class Subject(_Frozen):
    """What was saved. Names are data: no path is ever made of them.

    id: CVAT's id of the project or task; 0 for a whole server ("instance").
    """

    url: str
    kind: Literal["project", "task", "instance"]
    id: int = Field(ge=0)
    name: str = ""
    organisation: str | None = None

    @property
    def key(self) -> str:
        """Return what snapshots are grouped by: server, kind and id, never a name."""
        return f"{self.kind} {self.id} {self.url}"


class Missing(_Frozen):
    """Something that should be in a snapshot and is not."""

    what: str
    why: str


class Content(_Frozen):
    """A run of bytes in the repository.

    sha256: of the whole run. pieces: names of its blobs, in order. depth: 0 when the blobs are the
    bytes; otherwise they hold the names (32 bytes each) of the blobs one level below.
    """

    size: int = Field(ge=0)
    sha256: Sha256
    pieces: tuple[Sha256, ...]
    depth: int = Field(default=0, ge=0, le=8)


class StoredFile(_Frozen):
    """One named file of a snapshot.

    content: the bytes, or for an archive its recipe. size, sha256: of the file as it was added.
    num_members: files inside an archive.
    """

    name: str
    kind: Literal["file", "archive"]
    size: int = Field(ge=0)
    sha256: Sha256
    content: Content
    num_members: int = Field(default=0, ge=0)

    @property
    def key(self) -> tuple[object, ...]:
        """Return what equal files have in common and no others; quicker to compare than they."""
        content = self.content
        return self.name, self.sha256, content.sha256, content.pieces, content.depth


class Verdict(_Frozen):
    """What somebody found who looked closely: `verify`, or a restore drill."""

    at: datetime
    good: bool
    problems: tuple[str, ...] = ()


class Marks(_Frozen):
    """What may change about a snapshot after it was written."""

    protected: bool = False
    note: str = ""
    verified: Verdict | None = None
    drill: Verdict | None = None
    forgotten: datetime | None = None


class Record(_Frozen):
    """A snapshot as it is written, once."""

    sequence: int = Field(ge=1)
    subject: Subject
    tier: Tier
    state: State
    reason: str
    server_version: str
    taken_by: str
    started: datetime
    finished: datetime
    files: tuple[StoredFile, ...]
    missing: tuple[Missing, ...]
    counts: dict[str, int]
    size_bytes: int = Field(ge=0)
    added_bytes: int = Field(ge=0)
    lsl_version: str


class Snapshot(Record):
    """A snapshot as it is read: its record, its name, and its marks.

    id: SHA-256 of the record as stored. sequence: grows by one with every snapshot, whatever the
    clock does. size_bytes: of all files as they were added. added_bytes: what the repository grew
    by. Times are UTC.
    """

    id: Sha256
    marks: Marks = Marks()

    @property
    def short_id(self) -> str:
        """Return the first digits of the name, for people."""
        return self.id[:10]

    @property
    def is_usable(self) -> bool:
        """Tell whether there is anything to restore."""
        return self.state is not State.FAILED

    @property
    def is_verified(self) -> bool:
        """Tell whether everything in it was read back and found whole."""
        return self.marks.verified is not None and self.marks.verified.good

    @property
    def is_damaged(self) -> bool:
        """Tell whether something in it was read back and found to be other than was written."""
        return self.marks.verified is not None and not self.marks.verified.good

    def file(self, name: str) -> StoredFile | None:
        """Return a file by name, or None."""
        return next((file for file in self.files if file.name == name), None)


def newest_first(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Order by when they were written, which a clock that went backwards cannot change."""
    return sorted(snapshots, key=lambda snapshot: snapshot.sequence, reverse=True)

"""Looking whether what was saved is still there, and still what it was.

`check` reads what points (config, snapshots, indexes, recipes) and lists what it points at.
`verify` reads everything: each byte is hashed, zip checksums are computed anew, JSON is parsed,
and images must begin as images do. Only `verify` makes a snapshot a verified one.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image, UnidentifiedImageError

from lsl_core.backups.archives import Member, member_bytes, read_recipe
from lsl_core.backups.config import whole_copies
from lsl_core.backups.index import PackTable
from lsl_core.backups.needs import blobs_of
from lsl_core.backups.packs import blob_id, decode_blob, pack_key
from lsl_core.backups.repository import Repository
from lsl_core.backups.snapshot import Content, Snapshot, StoredFile, Verdict
from lsl_core.errors import Damaged, UserInput
from lsl_core.progress import NULL, Progress
from lsl_core.workspace.images import IMAGE_SUFFIXES, check_whole

#: Images above this are hashed and not opened; of longer JSON only the brackets are counted,
#: since parsing takes ten times its length in memory.
_IMAGE_BYTES = 64 * 1024 * 1024
_JSON_BYTES = 1024 * 1024
#: No string of CVAT is so long; holding a longer one would cost what was to be saved.
_STRING_BYTES = 4 * 1024 * 1024

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_UNREAD: tuple[str, ...] = ("The snapshot itself cannot be read.",)


@dataclass(frozen=True, slots=True)
class Report:
    """What a look at the repository found.

    problems: one sentence each. damaged: snapshot name -> what is wrong with it.
    whole: names of the snapshots that are whole, as far as was looked.
    notes: what is odd and harmless.
    """

    problems: tuple[str, ...]
    damaged: dict[str, tuple[str, ...]]
    whole: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems and not self.damaged


def check(repository: Repository) -> Report:
    """Check the structure; reads no images. Changes nothing and needs no lock."""
    repository.look_anew()
    problems, notes = _structure(repository)
    snapshots, unread = repository.read_snapshots()
    damaged = dict.fromkeys(unread, _UNREAD)
    there = {key.rpartition("/")[2] for key in repository.store.list("packs")}
    known: dict[str, str] = {}
    for one in snapshots:
        wrong = tuple(_lacks(repository, one, there, known))
        if wrong:
            damaged[one.id] = wrong
    whole = tuple(one.id for one in snapshots if one.id not in damaged)
    return Report(tuple(problems), damaged, whole, tuple(notes))


def _structure(repository: Repository) -> tuple[list[str], list[str]]:
    problems, notes = [], []
    if whole_copies(repository.store) < 2:
        problems.append("One of the two copies of config.json is damaged or gone.")
    sizes = {key.rpartition("/")[2]: size for key, size in repository.store.list("packs").items()}
    for name, table in repository.index.tables().items():
        if name not in sizes:
            problems.append(f"Pack {name[:10]} is missing.")
        elif sizes[name] != table.size:
            problems.append(f"Pack {name[:10]} has {sizes[name]:,} of {table.size:,} bytes.")
    problems += [f"{key[:16]} is damaged; its packs can be read without it, slower."
                 for key in repository.index.damaged]  # fmt: skip
    unlisted = repository.index.unlisted()
    if unlisted and not repository.index.damaged:
        size = sum(unlisted.values()) / 1e6
        notes.append(f"{len(unlisted)} packs ({size:,.1f} MB) of a backup that was cut short.")
    return problems, notes


def _lacks(
    repository: Repository, snapshot: Snapshot, there: set[str], known: dict[str, str]
) -> Iterator[str]:
    """Yield a sentence for each file that points at something that is not there."""
    for file in snapshot.files:
        if file.content.sha256 not in known:
            known[file.content.sha256] = _why_lacking(repository, file, there)
        if known[file.content.sha256]:
            yield f"{file.name}: {known[file.content.sha256]}"


def _why_lacking(repository: Repository, file: StoredFile, there: set[str]) -> str:
    try:
        for blob in blobs_of(repository.reader, file):
            place = repository.index.find(blob)
            if place is None or place.pack not in there:
                return f"piece {blob.hex()[:10]} is missing."
    except Damaged as error:
        return error.message
    return ""


def verify(
    repository: Repository,
    snapshots: Sequence[Snapshot] | None = None,
    *,
    progress: Progress = NULL,
) -> Report:
    """Read and hash everything that snapshots hold, open what CVAT made, and mark the verdict.

    Damaged pieces are struck from the index: the next backup that meets the same bytes stores
    them again, and snapshots that were damaged by their loss are whole again.

    Args:
        repository: needs its lock.
        snapshots: which; all that are not forgotten by default.
        progress: hears of each snapshot.
    """
    repository.require_lock()
    repository.look_anew()
    chosen = repository.snapshots() if snapshots is None else snapshots
    problems, notes = _structure(repository)
    unread = repository.read_snapshots()[1] if snapshots is None else []
    damaged = dict.fromkeys(unread, _UNREAD)
    progress.start("Verifying", total=len(chosen), unit="snapshots")
    look = _Look(repository)
    whole = []
    for one in chosen:
        progress.check()
        wrong = tuple(look.problems_of(one, progress))
        verdict = Verdict(at=repository.clock(), good=not wrong, problems=wrong[:20])
        repository.mark(one, verified=verdict)
        if wrong:
            damaged[one.id] = wrong
        else:
            whole.append(one.id)
        progress.advance()
    if damaged:
        _strike_damaged(repository, progress)
    return Report(tuple(problems), damaged, tuple(whole), tuple(notes))


class _Look:
    """One pass over snapshots; what was read once is not read again."""

    def __init__(self, repository: Repository) -> None:
        self._reader = repository.reader
        self._files: dict[str, tuple[str, ...]] = {}
        self._members: dict[tuple[str, int, str], str] = {}

    def problems_of(self, snapshot: Snapshot, progress: Progress) -> Iterator[str]:
        for file in snapshot.files:
            progress.check()
            key = f"{file.kind} {file.sha256} {file.content.sha256}"
            if key not in self._files:
                self._files[key] = tuple(self._of_file(file))
            for problem in self._files[key]:
                yield f"{file.name}: {problem}"

    def _of_file(self, file: StoredFile) -> Iterator[str]:
        try:
            if file.kind == "file":
                opened = _Opened(file.name, file.size)
                self._read(file.content, opened)
                if opened.problem:
                    yield opened.problem
                return
            around, members = read_recipe(self._reader, file)
            self._read(around, _Opened("", around.size))
            for member in members:
                if problem := self._of_member(member):
                    yield f"{member.name}: {problem}"
        except Damaged as error:
            yield error.message

    def _of_member(self, member: Member) -> str:
        key = (member.content.sha256, member.crc, PurePosixPath(member.name).suffix)
        if key not in self._members:
            try:
                opened = _Opened(member.name, member.size)
                self._read(member.content, None if member.how == "raw" else opened)
                if member.how == "raw":
                    for block in member_bytes(self._reader, member):
                        opened.take(block)
                wrong = opened.crc != member.crc or opened.size != member.size
                self._members[key] = "wrong checksum." if wrong else opened.problem
            except Damaged as error:
                self._members[key] = error.message
        return self._members[key]

    def _read(self, content: Content, opened: _Opened | None) -> None:
        digest, size = hashlib.sha256(), 0
        for block in self._reader.stream(content):
            digest.update(block)
            size += len(block)
            if opened is not None:
                opened.take(block)
        if digest.hexdigest() != content.sha256 or size != content.size:
            raise Damaged("its bytes differ from what was written.")


class _Opened:
    """Bytes on their way past: counted, summed, and at the end opened as what their name says."""

    def __init__(self, name: str, size: int) -> None:
        self._suffix = PurePosixPath(name.lower()).suffix
        limits = {".json": _JSON_BYTES, **dict.fromkeys(IMAGE_SUFFIXES, _IMAGE_BYTES)}
        self._kept = io.BytesIO() if size <= limits.get(self._suffix, -1) else None
        self._brackets = _Brackets() if self._suffix == ".json" and not self._kept else None
        self.crc = 0
        self.size = 0

    def take(self, block: bytes) -> None:
        """Take in the next bytes."""
        self.crc = zlib.crc32(block, self.crc)
        self.size += len(block)
        if self._kept is not None:
            self._kept.write(block)
        if self._brackets is not None:
            self._brackets.take(block)

    @property
    def problem(self) -> str:
        """Return what is wrong with the content, or nothing."""
        if self._brackets is not None and not self._brackets.are_closed:
            return "cannot be opened, as CVAT gave it: its brackets do not match"
        if self._kept is None:
            return ""
        try:
            if self._suffix == ".json":
                json.loads(self._kept.getvalue())
                return ""
            check_whole(self._kept.getvalue(), "it")
            with Image.open(self._kept):
                return ""
        except UnidentifiedImageError:
            return "is no image, as CVAT gave it."
        except (ValueError, OSError, UserInput, Image.DecompressionBombError) as error:
            return f"cannot be opened, as CVAT gave it: {error}"


class _Brackets:
    """Counts the brackets of JSON on its way past: cut or spliced text does not add up."""

    def __init__(self) -> None:
        self._held = b""
        self._depth = 0
        self._least = 1

    def take(self, block: bytes) -> None:
        """Take in the next bytes; an unfinished string is held until it ends."""
        text = _STRING.sub(b"", self._held + block)
        self._held = b""
        if (at := text.find(b'"')) >= 0:
            text, self._held = text[:at], text[at:]
            self._least = -1 if len(self._held) > _STRING_BYTES else self._least
            self._held = self._held[:_STRING_BYTES]
        self._depth += sum(map(text.count, (b"{", b"["))) - sum(map(text.count, (b"}", b"]")))
        self._least = min(self._least, self._depth)

    @property
    def are_closed(self) -> bool:
        """Tell whether all that was opened was closed, and nothing before."""
        return not self._held and self._depth == 0 <= self._least


def _strike_damaged(repository: Repository, progress: Progress) -> None:
    tables = repository.index.tables()
    there = {key.rpartition("/")[2] for key in repository.store.list("packs")}
    progress.start("Looking for what is damaged", total=len(tables), unit="packs")
    kept: dict[str, PackTable] = {}
    for name, table in tables.items():
        progress.check()
        if name in there:
            data = repository.store.read(pack_key(name))
            bad = {
                blob
                for blob, place in table.places()
                if not _is_whole(repository, blob, data[place.offset :][: place.length])
            }
            kept[name] = table.without(bad) if bad else table
        progress.advance()
    if any(table is not tables[name] for name, table in kept.items()) or len(kept) < len(tables):
        for key in repository.index.rewrite(kept):
            repository.store.delete(key)
        repository.index.forget()


def _is_whole(repository: Repository, blob: bytes, stored: bytes) -> bool:
    try:
        return blob_id(decode_blob(stored, repository.sealer)) == blob
    except Damaged:
        return False

"""The repository: snapshots written once, and the blobs that they point at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lsl_core import __version__
from lsl_core.backups.archives import Member, member_bytes, read_recipe, rebuild
from lsl_core.backups.blobs import BlobReader, BlobWriter
from lsl_core.backups.config import Config, has_config, new_config, read_config, write_config
from lsl_core.backups.index import Index
from lsl_core.backups.locking import Holder, RepositoryLock, break_locks, holders, user_name
from lsl_core.backups.recording import Draft
from lsl_core.backups.sealing import Key, Sealer, new_sealer, open_sealer
from lsl_core.backups.snapshot import (
    Marks,
    Record,
    Snapshot,
    State,
    StoredFile,
    Subject,
    Tier,
    newest_first,
)
from lsl_core.backups.store import Store, open_store
from lsl_core.errors import BackupError, Damaged, DiskFull, Locked, LslError, SnapshotMissing
from lsl_core.workspace.files import atomic_path

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time as the repository writes it down."""
    return datetime.now(UTC)


class Repository:
    """Backups in one place. Safe to read from several threads; one writer at a time."""

    def __init__(
        self, store: Store, config: Config, sealer: Sealer, *, clock: Clock = utc_now
    ) -> None:
        self.store = store
        self.config = config
        self.sealer = sealer
        self.clock = clock
        self.index = Index(store, sealer)
        self.reader = BlobReader(store, sealer, self.index)
        self._lock = RepositoryLock(store)
        self._records: dict[str, Record] = {}
        self._files: dict[tuple[object, ...], StoredFile] = {}
        self._last: int | None = None

    @classmethod
    def create(
        cls, location: str | Path | Store, *, key: Key | None = None, clock: Clock = utc_now
    ) -> Repository:
        """Make a new repository; with a key, everything in it is encrypted.

        Args:
            location: a folder, an fsspec URL, or a store of one's own.
            key: what it will open with, from then on.
            clock: where the times of snapshots come from.

        Raises:
            BackupError: when there is one already, or nothing can be written there.
        """
        store = open_store(location) if isinstance(location, str | Path) else location
        sealer, encryption = new_sealer(key)
        config = new_config(now=clock(), encryption=encryption)
        write_config(store, config)
        return cls(store, config, sealer, clock=clock)

    @classmethod
    def open(
        cls, location: str | Path | Store, *, key: Key | None = None, clock: Clock = utc_now
    ) -> Repository:
        """Open an existing repository.

        Raises:
            BackupError: when there is none, or the key is missing or wrong.
            FormatTooNew: when a newer LSL made it.
        """
        store = open_store(location) if isinstance(location, str | Path) else location
        config = read_config(store)
        return cls(store, config, open_sealer(key, config.encryption), clock=clock)

    @staticmethod
    def is_at(location: str | Path) -> bool:
        """Tell whether there is a repository, whole or not."""
        return has_config(open_store(location))

    @property
    def location(self) -> str:
        """Return where it lies, for people."""
        return self.store.location

    @property
    def is_encrypted(self) -> bool:
        """Tell whether a key is needed to read it."""
        return self.config.encryption is not None

    # Locking

    @contextmanager
    def lock(self, purpose: str) -> Iterator[None]:
        """Hold the one lock of the repository; needed for all that writes. May be nested.

        Raises:
            Locked: when somebody else holds it; says who, for what and since when.
        """
        was_held = self._lock.is_held
        with self._lock.hold(purpose):
            if not was_held:
                # others may have written since we last looked
                self.index.forget()
                self._last = None
            yield

    def look_anew(self) -> None:
        """Read everything again the next time, also what never changes."""
        self.index.forget()
        self._records.clear()
        self._files.clear()

    def lock_holders(self) -> list[Holder]:
        """Return who holds the lock now."""
        return holders(self.store)

    def unlock(self) -> int:
        """Remove every lock, for somebody who knows that nothing runs; return how many."""
        return break_locks(self.store)

    def require_lock(self) -> None:
        """Make sure that we hold the lock.

        Raises:
            Locked: when it was taken away.
            ValueError: when it was never taken (a bug).
        """
        self._lock.require()

    # Writing

    @contextmanager
    def record(
        self, subject: Subject, tier: Tier, *, server_version: str = "", reason: str = ""
    ) -> Iterator[Draft]:
        """Make one snapshot of what the block adds to the draft.

        It is written when the block ends: "ok", or "partial" when the draft lacks something. When
        the block raises an `LslError`, what was added until then is kept as a "failed" snapshot
        that names the reason, and the error goes on. Any other exception leaves no snapshot.

        Raises:
            ValueError: without the lock (a bug).
            Locked: when the lock was taken away meanwhile.
            DiskFull: when there is no room; older snapshots are whole.
        """
        self.require_lock()
        writer = BlobWriter(self.store, self.sealer, self.index)
        draft = Draft(writer, subject, tier, started=self.clock())
        made_by = {"server_version": server_version, "reason": reason}
        try:
            yield draft
        except (DiskFull, Locked):
            # the repository itself cannot be written
            raise
        except LslError as error:
            if error.exit_code != 130:
                draft.lack(subject.name or subject.key, str(error))
                self._write(draft, writer, State.FAILED, made_by)
            raise
        self._write(draft, writer, State.PARTIAL if draft.missing else State.OK, made_by)

    def _write(
        self, draft: Draft, writer: BlobWriter, state: State, made_by: dict[str, str]
    ) -> None:
        """Store packs, then indexes, then the record: what points comes after what it points at."""
        writer.flush()
        record = Record(
            sequence=self._next(),
            subject=draft.subject,
            tier=draft.tier,
            state=state,
            **made_by,
            taken_by=user_name(),
            started=draft.started,
            finished=max(self.clock(), draft.started),
            files=tuple(draft.files),
            missing=tuple(draft.missing),
            counts=draft.counts,
            size_bytes=sum(file.size for file in draft.files),
            added_bytes=writer.added_bytes,
            lsl_version=__version__,
        )
        data = self.sealer.seal(record.model_dump_json(indent=1).encode(), "snapshot")
        name = hashlib.sha256(data).hexdigest()
        self.require_lock()
        self.store.write(f"snapshots/{name}", data)
        draft.snapshot = Snapshot(**dict(record), id=name)

    def _next(self) -> int:
        """Return the next number; nobody else writes snapshots while we hold the lock."""
        if self._last is None:
            self._last = max((one.sequence for one in self._all()), default=0)
        self._last += 1
        return self._last

    # Reading

    def snapshots(
        self,
        *,
        subject: Subject | None = None,
        tier: Tier | None = None,
        forgotten: bool = False,
    ) -> list[Snapshot]:
        """Return the snapshots that can be read, newest first.

        Args:
            subject: only of this project, task or server (by id, whatever its name is now).
            tier: only of this tier.
            forgotten: also those that the next prune removes.
        """
        return [
            one
            for one in self._all()
            if (subject is None or one.subject.key == subject.key)
            and (tier is None or one.tier is tier)
            and (forgotten or one.marks.forgotten is None)
        ]

    def snapshot(self, id_: str) -> Snapshot:
        """Return a snapshot by the first digits of its name, or "latest".

        Raises:
            SnapshotMissing: when there is none, or several begin so.
        """
        found = self._all()
        if id_ == "latest":
            found = [one for one in found if one.marks.forgotten is None][:1]
        else:
            found = [one for one in found if one.id.startswith(id_.lower())] if id_ else []
        if len(found) == 1:
            return found[0]
        told = "Several snapshots begin with" if found else "There is no snapshot"
        raise SnapshotMissing(f'{told} "{id_}".', hint="See them all: lsl backup list")

    def _all(self) -> list[Snapshot]:
        return self.read_snapshots()[0]

    def read_snapshots(self) -> tuple[list[Snapshot], list[str]]:
        """Return all snapshots, newest first, and the names of those that are damaged.

        Records never change, so each is read once; `look_anew` reads them again.
        """
        names = {key.rpartition("/")[2]: key for key in self.store.list("snapshots")}
        unread = [key for name, key in names.items() if name not in self._records]
        damaged = []
        for key, data in self.store.read_many(unread).items():
            name = key.rpartition("/")[2]
            try:
                self._records[name] = self._open_record(name, data)
            except Damaged:
                damaged.append(name)
        marks = self.store.read_many([*self.store.list("marks")])
        found = [
            Snapshot.model_construct(
                **dict(self._records[name]), id=name, marks=self._open_marks(name, marks)
            )
            for name in names
            if name in self._records
        ]
        return newest_first(found), damaged

    def _open_record(self, name: str, data: bytes) -> Record:
        if hashlib.sha256(data).hexdigest() != name:
            raise Damaged(f"Snapshot {name[:10]} differs from what was written.")
        try:
            record = Record.model_validate_json(self.sealer.open(data, "snapshot"))
        except ValidationError as error:
            raise Damaged(
                f"Snapshot {name[:10]} cannot be understood.", detail=str(error)
            ) from error
        # most files of hourly snapshots are the same: they are in memory once
        shared = tuple(self._files.setdefault(file.key, file) for file in record.files)
        return record.model_copy(update={"files": shared})

    def _open_marks(self, name: str, found: dict[str, bytes]) -> Marks:
        data = found.get(f"marks/{name}")
        if data is None:
            return Marks()
        try:
            return Marks.model_validate_json(self.sealer.open(data, f"marks {name}"))
        except (Damaged, ValidationError):
            # unreadable marks must never cost a snapshot
            return Marks(protected=True, note="Its marks are damaged, so it is kept.")

    def read(self, snapshot: Snapshot, name: str) -> bytes:
        """Return a file of a snapshot as it was added; for files that fit into memory.

        Raises:
            SnapshotMissing: when the snapshot has no such file.
            Damaged: when it is not what was written any more.
        """
        return b"".join(self.stream(snapshot, name))

    def stream(self, snapshot: Snapshot, name: str) -> Iterator[bytes]:
        """Yield a file of a snapshot piece by piece; not for archives, see `extract`."""
        file = self._file(snapshot, name)
        if file.kind == "archive":
            raise ValueError(f"{name} is an archive: extract it, or read its members")
        return self.reader.stream(file.content)

    def read_json(self, snapshot: Snapshot, name: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return the JSON value in a file of a snapshot."""
        return json.loads(self.read(snapshot, name))

    def extract(self, snapshot: Snapshot, name: str, path: Path) -> bool:
        """Write a file or archive of a snapshot to `path`, whole or not at all.

        Returns:
            Whether it is the same to the last bit as what was added; see `archives.rebuild`.
        """
        file = self._file(snapshot, name)
        if file.kind == "archive":
            return rebuild(self.reader, file, path)
        with atomic_path(path) as part, part.open("wb") as out:
            for block in self.reader.stream(file.content):
                out.write(block)
        return True

    def members(self, snapshot: Snapshot, name: str) -> Iterator[Member]:
        """Yield the members of an archive of a snapshot, in its order."""
        return read_recipe(self.reader, self._file(snapshot, name))[1]

    def read_member(self, snapshot: Snapshot, name: str, member: str) -> bytes:
        """Return the content of one member of an archive, such as `data/0001.jpg`.

        Raises:
            SnapshotMissing: when the archive has no such member.
        """
        for found in self.members(snapshot, name):
            if found.name == member:
                return b"".join(member_bytes(self.reader, found))
        raise SnapshotMissing(f'{name} of snapshot {snapshot.short_id} has no "{member}".')

    def _file(self, snapshot: Snapshot, name: str) -> StoredFile:
        file = snapshot.file(name)
        if file is None:
            raise SnapshotMissing(f'Snapshot {snapshot.short_id} has no "{name}".')
        return file

    # Marks

    def mark(self, snapshot: Snapshot, **changes: Any) -> Snapshot:  # noqa: ANN401 - of Marks
        """Change marks of a snapshot; see `Marks` for their names.

        Raises:
            ValueError: without the lock (a bug).
        """
        self.require_lock()
        fresh = self.store.read_many([f"marks/{snapshot.id}"])
        marks = self._open_marks(snapshot.id, fresh).model_copy(update=changes)
        data = self.sealer.seal(marks.model_dump_json().encode(), f"marks {snapshot.id}")
        self.store.write(f"marks/{snapshot.id}", data)
        return snapshot.model_copy(update={"marks": marks})

    def protect(self, snapshot: Snapshot, on: bool = True, *, note: str = "") -> Snapshot:
        """Keep a snapshot whatever the retention says, or stop doing so."""
        return self.mark(snapshot, protected=on, note=note if on else "")

    def forget(self, snapshots: Sequence[Snapshot]) -> None:
        """Let the next prune remove these snapshots; until then `undelete` brings them back.

        Raises:
            BackupError: when one of them is protected; then none is forgotten.
        """
        for one in snapshots:
            if one.marks.protected:
                raise BackupError(
                    f"Snapshot {one.short_id} is protected.",
                    hint=f"If you mean it: lsl backup protect --off {one.short_id}",
                )
        for one in snapshots:
            self.mark(one, forgotten=self.clock())

    def undelete(self, snapshots: Sequence[Snapshot]) -> None:
        """Bring forgotten snapshots back, as long as no prune has run."""
        for one in snapshots:
            self.mark(one, forgotten=None)

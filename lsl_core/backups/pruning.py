"""Giving back the room of forgotten snapshots.

Nothing is removed that is not understood: when any snapshot cannot be read, or needs something
that is not there, nobody knows what else it needs, and pruning stops before it starts.

Order: what stays of half-empty packs is written into new packs, then an index of all that stays,
then forgotten snapshots go, then old indexes, then packs. A kill in between leaves at worst
packs that nobody needs, and the next prune takes them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lsl_core.backups.blobs import BlobWriter
from lsl_core.backups.index import PackTable, Place
from lsl_core.backups.locking import without_readers
from lsl_core.backups.needs import needed_blobs
from lsl_core.backups.packs import FULL_PACK, LENGTH, MAGIC, blob_id, decode_blob, pack_key
from lsl_core.backups.repository import Repository
from lsl_core.backups.snapshot import Snapshot
from lsl_core.errors import BackupError, Damaged
from lsl_core.progress import NULL, Progress

#: A pack is written anew when more than this part of it is needed by nobody …
_WASTE = 0.2
#: … or when it is smaller than this and there are others like it.
_SMALL = FULL_PACK // 4


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What a prune would do.

    remove: forgotten snapshots. give_up: damaged snapshots that go as well.
    delete, rewrite: packs by name. frees_bytes, rewrites_bytes: about.
    wasted_bytes: unneeded bytes that stay in packs not worth writing anew.
    """

    remove: tuple[Snapshot, ...]
    give_up: tuple[str, ...]
    delete: tuple[str, ...]
    rewrite: tuple[str, ...]
    frees_bytes: int
    rewrites_bytes: int
    wasted_bytes: int

    @property
    def does_nothing(self) -> bool:
        """Whether there is nothing to remove and nothing to tidy."""
        return not (self.remove or self.give_up or self.delete or self.rewrite)

    @property
    def lines(self) -> list[str]:
        """Say it, one line for each thing that would happen."""
        said = [
            f"Remove {one.tier} snapshot {one.short_id} of {one.subject.kind} {one.subject.id}"
            f" ({one.subject.name}), finished {one.finished:%Y-%m-%d %H:%M} UTC."
            for one in self.remove
        ]
        said += [f"Give up snapshot {name[:10]}, which cannot be read." for name in self.give_up]
        said.append(
            f"Free {self.frees_bytes / 1e6:,.1f} MB: delete packs ({len(self.delete)}), write "
            f"others anew ({len(self.rewrite)}, {self.rewrites_bytes / 1e6:,.1f} MB); "
            f"{self.wasted_bytes / 1e6:,.1f} MB stay unused."
        )
        return said


def plan_prune(repository: Repository, *, give_up: Collection[str] = ()) -> PrunePlan:
    """Say what `prune` would do; changes nothing.

    Args:
        repository: its forgotten snapshots are those that go.
        give_up: full names of damaged snapshots that may go too.

    Raises:
        BackupError: when something cannot be read, so that nobody knows what is needed.
    """
    repository.look_anew()
    kept, gone = _divide(repository, give_up)
    try:
        needed = needed_blobs(repository.reader, kept)
        # blobs of a killed backup that no index lists: known from here on
        missing = sum(repository.index.find(blob) is None for blob in needed)
    except Damaged as error:
        raise _refused(str(error)) from error
    if missing:
        raise _refused(f"{missing} pieces are missing.")
    tables = repository.index.tables()
    live = {name: _live_bytes(repository, table, needed) for name, table in tables.items()}
    delete = {name for name, size in live.items() if not size}
    rewrite = _worth_rewriting(tables, live, delete)
    dead = {name: tables[name].size - live[name] for name in tables}
    there = repository.index.unlisted()
    return PrunePlan(
        remove=tuple(gone),
        give_up=tuple(give_up),
        delete=(*sorted(delete), *there),
        rewrite=tuple(sorted(rewrite)),
        frees_bytes=sum(dead[name] for name in delete | rewrite) + sum(there.values()),
        rewrites_bytes=sum(live[name] for name in rewrite),
        wasted_bytes=sum(dead[name] for name in tables.keys() - delete - rewrite),
    )


def _divide(
    repository: Repository, give_up: Collection[str]
) -> tuple[list[Snapshot], list[Snapshot]]:
    snapshots, damaged = repository.read_snapshots()
    unread = [name for name in damaged if name not in give_up]
    if unread:
        names = ", ".join(name[:10] for name in unread)
        raise BackupError(
            f"Nothing was pruned: snapshot {names} cannot be read, so nobody knows what it needs.",
            hint="Bring its file back from a copy, or give it up: lsl backup prune --give-up "
            f"{unread[0][:10]}",
        )
    kept = [one for one in snapshots if one.marks.forgotten is None]
    return kept, [one for one in snapshots if one.marks.forgotten is not None]


def _refused(why: str) -> BackupError:
    return BackupError(
        f"Nothing was pruned, since a snapshot is damaged: {why}",
        hint="Run: lsl backup verify. Then forget what it calls damaged, or back up again.",
    )


def _live(
    repository: Repository, table: PackTable, needed: set[bytes]
) -> Iterator[tuple[bytes, Place]]:
    """Yield the needed blobs of a pack; of one that lies in two packs, one copy is needed."""
    for blob, place in table.places():
        if blob in needed and repository.index.find(blob) == place:
            yield blob, place


def _live_bytes(repository: Repository, table: PackTable, needed: set[bytes]) -> int:
    return sum(place.length + LENGTH.size for _, place in _live(repository, table, needed))


def _worth_rewriting(
    tables: dict[str, PackTable], live: dict[str, int], delete: set[str]
) -> set[str]:
    wasteful = {
        name
        for name, table in tables.items()
        if name not in delete and live[name] < (1 - _WASTE) * (table.size - len(MAGIC))
    }
    small = {name for name, table in tables.items() if table.size < _SMALL} - delete
    return wasteful | small if len(small) > 1 else wasteful


def prune(
    repository: Repository,
    *,
    give_up: Collection[str] = (),
    seen: PrunePlan | None = None,
    progress: Progress = NULL,
) -> PrunePlan:
    """Remove forgotten snapshots and all that only they needed. Needs the lock.

    Args:
        repository: what is looked after.
        give_up: full names of damaged snapshots that may go too.
        seen: what somebody looked at and agreed to; no other snapshot goes.
        progress: counts packs.

    Returns:
        What was done.

    Raises:
        BackupError: when something cannot be read, or more would go than was seen; then nothing
            is removed.
        Locked: when somebody restores from it.
    """
    repository.require_lock()
    with without_readers(repository.store, "prune"):
        return _prune(repository, give_up, seen, progress)


def _prune(
    repository: Repository, give_up: Collection[str], seen: PrunePlan | None, progress: Progress
) -> PrunePlan:
    plan = plan_prune(repository, give_up=give_up)
    if seen is not None:
        _require_seen(plan, seen)
    kept, _ = _divide(repository, give_up)
    needed = needed_blobs(repository.reader, kept)
    progress.start("Pruning", total=len(plan.rewrite), unit="packs")
    stored = _move(repository, plan, needed, progress)
    tables = repository.index.tables()
    # a new pack may come out equal to one that was to go
    gone = {*plan.delete, *plan.rewrite} - stored
    old = repository.index.rewrite({n: t for n, t in tables.items() if n not in gone})
    repository.require_lock()
    names = [*(one.id for one in plan.remove), *plan.give_up]
    # what points goes before what it points at
    for key in (f"snapshots/{name}" for name in names):
        repository.store.delete(key)
    for key in (*(f"marks/{name}" for name in names), *old):
        repository.store.delete(key)
    for name in gone:
        repository.store.delete(pack_key(name))
    repository.index.forget()
    return plan


def _require_seen(plan: PrunePlan, seen: PrunePlan) -> None:
    agreed = {one.id for one in seen.remove}
    more = [one.short_id for one in plan.remove if one.id not in agreed]
    if more:
        raise BackupError(
            f"Nothing was pruned: {', '.join(more)} would go too, forgotten since you looked.",
            hint="Look at the list again, then prune.",
        )


def _move(
    repository: Repository, plan: PrunePlan, needed: set[bytes], progress: Progress
) -> set[str]:
    """Write what stays of packs into new ones; return the names of those."""
    tables = repository.index.tables()
    writer = BlobWriter(repository.store, repository.sealer, repository.index)
    for name in plan.rewrite:
        progress.check()
        data = repository.store.read(pack_key(name))
        for blob, place in _live(repository, tables[name], needed):
            writer.keep(blob, _checked(repository, blob, data, place))
        progress.advance()
    writer.flush()
    return writer.stored


def _checked(repository: Repository, blob: bytes, data: bytes, place: Place) -> bytes:
    stored = data[place.offset : place.offset + place.length]
    if blob_id(decode_blob(stored, repository.sealer)) != blob:
        raise Damaged("A pack differs from what was written; nothing was removed.")
    return stored

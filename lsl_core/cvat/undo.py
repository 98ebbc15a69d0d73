"""Taking a push back: exactly what it made goes, and what it took away returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

from lsl_core.cvat.annotations import Action, stored_annotations
from lsl_core.cvat.content import Key, Kind, by_key, content_key, key_of
from lsl_core.cvat.journal import Batch, BatchState, Journal, Part, PushPhase, PushRecord
from lsl_core.cvat.push import known_before, open_record
from lsl_core.cvat.sending import SETTLE_S, Sender, make_batches
from lsl_core.cvat.session import CvatSession
from lsl_core.cvat.tasks import bare_task
from lsl_core.errors import UserInput
from lsl_core.progress import NULL, Progress

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """A tag, shape or track of ours that stays, since a person edited it.

    id: CVAT's, among those of its kind. frame: its own, or the first one of a track.
    """

    kind: Kind
    id: int
    frame: int
    label_id: int


@dataclass(frozen=True, slots=True)
class UndoResult:
    """What undoing a push did.

    deleted: what was ours and is gone now. gone: what a person had deleted before. restored: what
    the push had taken away and is back, with new ids. kept: ours that a person edited; they stay.
    is_verified: whether the server was read and holds just that.
    """

    push_id: str
    task_id: int
    deleted: int
    gone: int
    restored: int
    kept: tuple[Kept, ...]
    is_verified: bool


def undo_push(
    session: CvatSession,
    journal: Journal,
    push_id: str,
    *,
    progress: Progress = NULL,
    settle_s: float = SETTLE_S,
) -> UndoResult:
    """Delete what a push made, and bring back what it took away.

    What a person edited since stays and is listed. An undo that was killed goes on when it
    is asked for again. A push that is still open is settled first, and then undone.

    Raises:
        UserInput: no such push, one of another server, or one that is undone already.
        CvatError: when the server went away; ask again.
    """
    record = open_record(session, journal, push_id)
    if record.phase is PushPhase.UNDONE:
        raise UserInput(f"Push {push_id} is undone already.")
    sender = Sender(session, journal, push_id, known=known_before(record), settle_s=settle_s)
    if record.phase is not PushPhase.UNDOING:
        sender.settle(Part.PUSH)
        _plan_undo(session, journal, record)
    sender.send_all(Part.UNDO, progress, doing="Undoing")
    result = _result(session, journal, record)
    journal.finish(
        push_id,
        PushPhase.UNDONE,
        {"undone": {"deleted": result.deleted, "kept": len(result.kept), "gone": result.gone}},
    )
    return result


def _plan_undo(session: CvatSession, journal: Journal, record: PushRecord) -> None:
    live = _live(session, record)
    jobs = journal.jobs_of_created(record.id)
    ours = [
        live[key]
        for key, content in journal.created(record.id).items()
        if key in live and content_key(live[key]) == content
    ]
    back = sorted(_taken_away(journal.batches(record.id, Part.PUSH), live), key=itemgetter(1))
    creates = make_batches(
        [entry for entry, _ in back], [job for _, job in back], Action.CREATE, Part.UNDO
    )
    ours.sort(key=lambda entry: jobs[key_of(entry)])
    deletes = make_batches(ours, [jobs[key_of(e)] for e in ours], Action.DELETE, Part.UNDO)
    journal.begin_undo(record.id, chain(creates, deletes))


def _live(session: CvatSession, record: PushRecord) -> dict[Key, Json]:
    return by_key(stored_annotations(session, bare_task(session, record.task_id)))


def _taken_away(batches: list[Batch], live: Mapping[Key, Json]) -> list[tuple[Json, int]]:
    """Return what the push deleted and that is not there, each with its job."""
    sent = (BatchState.DONE, BatchState.SENDING)
    gone = {
        key_of(entry): (entry, batch.job_id)
        for batch in batches
        if batch.action is Action.DELETE and batch.state in sent
        for entry in batch.entries
        if key_of(entry) not in live
    }
    return list(gone.values())


def _result(session: CvatSession, journal: Journal, record: PushRecord) -> UndoResult:
    live = _live(session, record)
    created = journal.created(record.id)
    batches = journal.batches(record.id, Part.UNDO)
    to_delete = {key_of(e) for b in batches if b.action is Action.DELETE for e in b.entries}
    left = [key for key in created if key in live]
    kept = tuple(
        Kept(*key, frame=int(live[key]["frame"]), label_id=int(live[key]["label_id"]))
        for key in left
        if content_key(live[key]) != created[key]
    )
    returned = [e for b in batches if b.action is Action.CREATE for e in b.entries]
    there = set(map(content_key, live.values()))
    restored = sum(content_key(entry) in there for entry in returned)
    return UndoResult(
        push_id=record.id,
        task_id=record.task_id,
        deleted=sum(key not in live for key in to_delete),
        gone=len(created) - len(to_delete) - sum(key not in to_delete for key in left),
        restored=restored,
        kept=kept,
        is_verified=len(left) == len(kept) and restored == len(returned),
    )

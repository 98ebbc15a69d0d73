"""Taking a push back: exactly its own shapes go, and what it took away returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lsl_core.cvat.annotations import Action, task_annotations
from lsl_core.cvat.content import by_id, content_key
from lsl_core.cvat.journal import Batch, BatchState, Journal, Part, PushPhase, PushRecord
from lsl_core.cvat.push import known_ids, open_record
from lsl_core.cvat.sending import SETTLE_S, Sender, make_batches
from lsl_core.cvat.session import CvatSession
from lsl_core.errors import UserInput
from lsl_core.progress import NULL, Progress

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeptShape:
    """A shape of ours that stays, since a person edited it."""

    shape_id: int
    frame: int
    label_id: int


@dataclass(frozen=True, slots=True)
class UndoResult:
    """What undoing a push did.

    deleted: shapes of ours that are gone now. gone: those that a person had deleted before.
    restored: shapes that the push had taken away and that are back, with new ids. kept: ours that
    a person edited; they stay. is_verified: whether the server was read and holds just that.
    """

    push_id: str
    task_id: int
    deleted: int
    gone: int
    restored: int
    kept: tuple[KeptShape, ...]
    is_verified: bool


def undo_push(
    session: CvatSession,
    journal: Journal,
    push_id: str,
    *,
    progress: Progress = NULL,
    settle_s: float = SETTLE_S,
) -> UndoResult:
    """Delete the shapes that a push made, and bring back what it took away.

    Shapes that a person edited since stay and are listed. An undo that was killed goes on when it
    is asked for again. A push that is still open is settled first, and then undone.

    Raises:
        UserInput: no such push, one of another server, or one that is undone already.
        CvatError: when the server went away; ask again.
    """
    record = open_record(session, journal, push_id)
    if record.phase is PushPhase.UNDONE:
        raise UserInput(f"Push {push_id} is undone already.")
    sender = Sender(session, journal, push_id, known_ids=known_ids(record), settle_s=settle_s)
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
    live = by_id(task_annotations(session, record.task_id)["shapes"])
    batches = journal.batches(record.id, Part.PUSH)
    jobs = {int(s["frame"]): b.job_id for b in batches for s in b.shapes}
    ours = [
        live[shape_id]
        for shape_id, content in journal.created_shapes(record.id).items()
        if shape_id in live and content_key(live[shape_id]) == content
    ]
    back = _taken_away(batches, live)
    todo = make_batches(back, jobs, Action.CREATE, Part.UNDO)
    todo += make_batches(ours, jobs, Action.DELETE, Part.UNDO)
    journal.begin_undo(record.id, todo)


def _taken_away(batches: list[Batch], live: Mapping[int, Json]) -> list[Json]:
    """Return the shapes that the push deleted and that are not there."""
    sent = (BatchState.DONE, BatchState.SENDING)
    gone = {
        int(shape["id"]): shape
        for batch in batches
        if batch.action is Action.DELETE and batch.state in sent
        for shape in batch.shapes
        if int(shape["id"]) not in live
    }
    return list(gone.values())


def _result(session: CvatSession, journal: Journal, record: PushRecord) -> UndoResult:
    live = by_id(task_annotations(session, record.task_id)["shapes"])
    created = journal.created_shapes(record.id)
    batches = journal.batches(record.id, Part.UNDO)
    to_delete = {int(s["id"]) for b in batches if b.action is Action.DELETE for s in b.shapes}
    left = [live[i] for i in created if i in live]
    kept = tuple(
        KeptShape(int(s["id"]), int(s["frame"]), int(s["label_id"]))
        for s in left
        if content_key(s) != created[int(s["id"])]
    )
    returned = [s for b in batches if b.action is Action.CREATE for s in b.shapes]
    there = {content_key(s) for s in live.values()}
    restored = sum(content_key(s) in there for s in returned)
    deleted = sum(i not in live for i in to_delete)
    return UndoResult(
        push_id=record.id,
        task_id=record.task_id,
        deleted=deleted,
        gone=len(created) - len(to_delete) - sum(i not in to_delete for i in created if i in live),
        restored=restored,
        kept=kept,
        is_verified=len(left) == len(kept) and restored == len(returned),
    )

"""Taking a push back: exactly what it made goes, and what it took away returns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import chain

from lsl_core.cvat.annotations.changing import Action
from lsl_core.cvat.annotations.content import Kind, content_key, key_of
from lsl_core.cvat.annotations.reading import stored_entries, unless_cut
from lsl_core.cvat.annotations.spool import Spool
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.push.applying import known_before, open_record
from lsl_core.cvat.push.journal import BatchState, Journal, Part, PushPhase, PushRecord
from lsl_core.cvat.push.sending import SETTLE_S, Sender, make_batches
from lsl_core.cvat.tasks.reading import bare_task
from lsl_core.errors import UserInput
from lsl_core.progress import NULL, Progress


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
    result = unless_cut(partial(_result, session, journal, record))
    journal.finish(
        push_id,
        PushPhase.UNDONE,
        {"undone": {"deleted": result.deleted, "kept": len(result.kept), "gone": result.gone}},
    )
    return result


def _plan_undo(session: CvatSession, journal: Journal, record: PushRecord) -> None:
    ours, back = unless_cut(partial(_compare, session, journal, record))
    creates = make_batches(back.pairs(), Action.CREATE, Part.UNDO)
    deletes = make_batches(ours.pairs(), Action.DELETE, Part.UNDO)
    journal.begin_undo(record.id, chain(creates, deletes))


def _compare(session: CvatSession, journal: Journal, record: PushRecord) -> tuple[Spool, Spool]:
    """Return what the push made that is as it was sent, and what it took away; each by job."""
    sent = (BatchState.DONE, BatchState.SENDING)
    batches = journal.batches(record.id, Part.PUSH)
    taken = [b for b in batches if b.action is Action.DELETE and b.state in sent]
    gone = {key_of(entry) for batch in taken for entry in batch.entries}
    ours, back = Spool(), Spool()
    with journal.origins(record.id) as origin_of:
        for entry in stored_entries(session, bare_task(session, record.task_id)):
            gone.discard(key_of(entry))
            made = origin_of(key_of(entry))
            if made is not None and made.content == content_key(entry):
                ours.append(entry, made.job_id)
    for batch in taken:
        back.add((entry for entry in batch.entries if key_of(entry) in gone), batch.job_id)
    return ours, back


def _result(session: CvatSession, journal: Journal, record: PushRecord) -> UndoResult:
    batches = journal.batches(record.id, Part.UNDO)
    to_delete = {key_of(e) for b in batches if b.action is Action.DELETE for e in b.entries}
    returned = Counter(
        content_key(e) for b in batches if b.action is Action.CREATE for e in b.entries
    )
    there, kept, left, not_deleted = set[str](), list[Kept](), 0, 0
    with journal.origins(record.id) as origin_of:
        for entry in stored_entries(session, bare_task(session, record.task_id)):
            key, content = key_of(entry), content_key(entry)
            if content in returned:
                there.add(content)
            made = origin_of(key)
            if made is None:
                continue
            left += 1
            not_deleted += key in to_delete
            if made.content != content:
                kept.append(Kept(*key, int(entry["frame"]), int(entry["label_id"])))
    restored = sum(count for content, count in returned.items() if content in there)
    return UndoResult(
        push_id=record.id,
        task_id=record.task_id,
        deleted=len(to_delete) - not_deleted,
        gone=journal.count_created(record.id) - len(to_delete) - (left - not_deleted),
        restored=restored,
        kept=tuple(kept),
        is_verified=left == len(kept) and restored == returned.total(),
    )

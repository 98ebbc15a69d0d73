"""Pushing a plan, and finishing one that was interrupted.

Order of work: read the task and compare it with the plan, write a snapshot, write everything that
will be sent into the journal, send, read back. Killed at any point, `resume_push` ends in the
same state, and `undo_push` takes it back.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from lsl_core.cvat.annotations.changing import Action
from lsl_core.cvat.annotations.content import (
    Key,
    StateKey,
    content_key,
    key_of,
    kind_of,
    mark,
    state_key,
)
from lsl_core.cvat.annotations.reading import stored_entries, unless_cut
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.push.journal import BatchState, Journal, Part, PushPhase, PushRecord
from lsl_core.cvat.push.plan import PushMode, PushPlan
from lsl_core.cvat.push.sending import SETTLE_S, Sender, make_batches
from lsl_core.cvat.push.snapshot import read_snapshot, write_snapshot
from lsl_core.cvat.tasks.reading import bare_task
from lsl_core.errors import (
    CvatError,
    LabelMismatch,
    SnapshotMissing,
    TaskChanged,
    UserInput,
)
from lsl_core.progress import NULL, Progress
from lsl_core.words import plural

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FailedShapes:
    """How much of a frame the server refused, and why."""

    frame: int
    shapes: int
    reason: str


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did, read back from the server.

    Counts are of tags, shapes and tracks. added: those that are there now. removed: those that were
    taken away. kept: those that stayed, since a person edited them. missing: those that were stored
    and are not there as they were sent. failed: what the server refused. human_unchanged: whether
    everything else is what it was. task_url: where to look.
    """

    push_id: str
    task_id: int
    added: int
    removed: int
    kept: int
    missing: int
    failed: tuple[FailedShapes, ...]
    human_unchanged: bool
    task_url: str

    @property
    def is_verified(self) -> bool:
        """Whether the server holds exactly what was planned."""
        return not self.missing and not self.failed


def apply_push(
    session: CvatSession,
    plan: PushPlan,
    journal: Journal,
    *,
    snapshot: Path,
    confirmed_task: int | None = None,
    progress: Progress = NULL,
    settle_s: float = SETTLE_S,
) -> PushResult:
    """Do what a plan says, once.

    Args:
        session: who pushes; the user who made the plan.
        plan: of `plan_push`; made anew when the task was changed since.
        journal: where it is written down, for resuming and undoing.
        snapshot: file for the annotations as they are now, written first.
        confirmed_task: the task's number as a person typed it; a plan that takes away what
            people drew does nothing without it.
        progress: counts shapes; may cancel between batches, which leaves the push open.
        settle_s: how long to wait for a batch whose answer was lost.

    Raises:
        TaskChanged: when the task's annotations are not those of the plan.
        CvatError: when the server went away; `resume_push` goes on.
    """
    _require_allowed(session, plan, confirmed_task)
    unless_cut(lambda: write_snapshot(snapshot, session, plan.task, _unchanged(session, plan)))
    if plan.remove and state_key(read_snapshot(snapshot)) != plan.state:
        raise SnapshotMissing(
            "The snapshot does not hold what the task holds. Nothing was written to CVAT.",
            hint="Check the disk of the workspace.",
        )
    record = PushRecord(
        id=uuid.uuid4().hex[:12],
        url=session.url,
        task_id=plan.task.id,
        task_created=plan.task.created,
        run_id=plan.run_id,
        mode=plan.mode.value,
        owner=session.user,
        created=time.time(),
        phase=PushPhase.OPEN,
        snapshot=str(snapshot),
        summary={
            "task": plan.task.name,
            "add": plan.num_add,
            "remove": plan.num_remove,
            "token": plan.token,
        },
    )
    creates = make_batches(plan.create.pairs(), Action.CREATE, Part.PUSH)
    deletes = make_batches(plan.remove.pairs(), Action.DELETE, Part.PUSH)
    journal.begin(record, chain(creates, deletes))
    return _finish(session, journal, record, progress, settle_s)


def _require_allowed(session: CvatSession, plan: PushPlan, confirmed_task: int | None) -> None:
    if plan.new_labels:
        names = ", ".join(f'"{label.name}"' for label in plan.new_labels)
        raise LabelMismatch(
            f"Task {plan.task.id} has no label {names} yet.", hint="Create it, then plan anew."
        )
    if plan.url != session.url:
        raise UserInput("The plan is for another server.", hint="Make it anew.")
    is_for_all = plan.mode is PushMode.REPLACE_EVERYTHING and plan.remove
    if is_for_all and confirmed_task != plan.task.id:
        raise UserInput(
            f"This takes away {plural(plan.num_remove, 'object')} of task {plan.task.id} "
            f'"{plan.task.name}", whoever drew them.',
            hint=f"Type the number of the task to go on: --confirm-task {plan.task.id}",
        )


def _unchanged(session: CvatSession, plan: PushPlan) -> Iterator[Json]:
    """Yield what the task holds.

    Raises:
        TaskChanged: after the last, when together they are not what the plan was made for.
    """
    state, shapes = StateKey(), 0
    for entry in stored_entries(session, plan.task):
        state.add(entry)
        shapes += kind_of(entry) == "shapes"
        yield entry
    if state.hexdigest() != plan.state:
        count = f" It had {plan.num_shapes} shapes and has {shapes}."
        raise TaskChanged(
            f'Task {plan.task.id} "{plan.task.name}" was changed in CVAT since this plan.'
            f"{count if shapes != plan.num_shapes else ''}",
            hint="Refresh the plan and look at it again. Nothing was written.",
        )


def resume_push(
    session: CvatSession,
    journal: Journal,
    push_id: str,
    *,
    progress: Progress = NULL,
    settle_s: float = SETTLE_S,
) -> PushResult:
    """Finish a push that was killed, cancelled or cut off; nothing is sent twice.

    Raises:
        UserInput: no such push, one of another server, or one that is finished or undone.
        CvatError: as `apply_push`.
    """
    record = open_record(session, journal, push_id)
    if record.phase is not PushPhase.OPEN:
        raise UserInput(
            f"Push {push_id} is not open: it is {record.phase}.", hint="Make a new plan."
        )
    return _finish(session, journal, record, progress, settle_s)


def verify_push(session: CvatSession, journal: Journal, push_id: str) -> PushResult:
    """Read the task and compare it with what the journal says. Writes nothing."""
    record = open_record(session, journal, push_id)
    return _read_back(session, journal, record, kept=0)


def open_record(session: CvatSession, journal: Journal, push_id: str) -> PushRecord:
    """Return a push of this server, and see that its task is still the same.

    Raises:
        UserInput: a push of another server.
        CvatNotFound: its task was deleted.
        TaskChanged: the server's data were replaced.
    """
    record = journal.get(push_id)
    if record.url != session.url:
        raise UserInput(
            f"Push {push_id} went to {record.url}.", hint="Connect to that server first."
        )
    task = bare_task(session, record.task_id)
    if task.created != record.task_created:
        raise TaskChanged(
            f"Task {record.task_id} is not the one that was pushed to: it was made later.",
            hint="The server was set up anew; this push cannot be continued or undone.",
        )
    return record


def known_before(record: PushRecord) -> Iterator[Key]:
    """Yield what names the annotations that were there before a push."""
    return map(key_of, read_snapshot(Path(record.snapshot)))


def _finish(
    session: CvatSession, journal: Journal, record: PushRecord, progress: Progress, settle_s: float
) -> PushResult:
    sender = Sender(session, journal, record.id, known=known_before(record), settle_s=settle_s)
    sender.send_all(Part.PUSH, progress, doing="Pushing")
    progress.start("Reading back", total=1, unit="task")
    result = _read_back(session, journal, record, kept=len(sender.kept))
    summary = asdict(result)
    summary.pop("push_id")
    journal.finish(record.id, PushPhase.DONE, {"result": summary})
    progress.advance()
    return result


def _read_back(
    session: CvatSession, journal: Journal, record: PushRecord, *, kept: int
) -> PushResult:
    batches = journal.batches(record.id, Part.PUSH)
    removed = {key_of(e) for b in batches if b.action is Action.DELETE for e in b.entries}
    try:
        found = unless_cut(partial(_look, session, journal, record, removed))
    except CvatError as error:
        raise type(error)(
            f"The push is done, but it could not be read back. {error.message}",
            hint="Resume the push: it reads back again and writes nothing twice.",
            detail=error.detail,
        ) from error
    failed = [
        FailedShapes(int(next(iter(batch.entries))["frame"]), len(batch.entries), batch.reason)
        for batch in batches
        if batch.state is BatchState.FAILED
    ]
    created = [batch for batch in batches if batch.action is Action.CREATE]
    sent = sum(len(b.entries) for b in created if b.state is not BatchState.FAILED)
    return PushResult(
        push_id=record.id,
        task_id=record.task_id,
        added=found.intact,
        removed=found.removed,
        kept=kept,
        missing=sent - found.intact,
        failed=tuple(failed),
        human_unchanged=found.others_unchanged,
        task_url=f"{session.url}/tasks/{record.task_id}",
    )


class _Found(NamedTuple):
    """What a task holds after a push.

    intact: how much of what was made is there as it was sent. removed: how much of what was to be
    taken away is gone. others_unchanged: whether all else from before is what it was.
    """

    intact: int
    removed: int
    others_unchanged: bool


def _look(
    session: CvatSession, journal: Journal, record: PushRecord, removed: Collection[Key]
) -> _Found:
    gone, intact = set(removed), 0
    others = {
        mark(entry)
        for entry in read_snapshot(Path(record.snapshot))
        if key_of(entry) not in removed
    }
    with journal.origins(record.id) as origin_of:
        for entry in stored_entries(session, bare_task(session, record.task_id)):
            made = origin_of(key_of(entry))
            if made is not None:
                intact += made.content == content_key(entry)
            else:
                gone.discard(key_of(entry))
                others.discard(mark(entry))
    return _Found(intact, len(gone), not others)

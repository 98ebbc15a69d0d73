"""Bringing frames of a snapshot back into the live task, as a push that can be undone."""

from __future__ import annotations

from collections.abc import Collection

from lsl_core.backups import Repository, Snapshot
from lsl_core.backups.checking import verify
from lsl_core.cvat import CvatSession, PushPlan, PushResult
from lsl_core.cvat.backup import plan_restore
from lsl_core.errors import Damaged, RestoreRefused
from lsl_core.progress import NULL, Progress
from lsl_core.services.backups.restoring import saved_task
from lsl_core.services.labelling import pushing
from lsl_core.words import plural
from lsl_core.workspace import Workspace

__all__ = ["PushPlan", "apply_live", "plan_live"]


def plan_live(
    repository: Repository,
    session: CvatSession,
    snapshot: Snapshot,
    task_id: int,
    *,
    frames: Collection[int] | None = None,
    job: int | None = None,
    keep_newer: bool = False,
) -> PushPlan:
    """Work out what makes a live task, or some frames of it, what they were. Writes nothing.

    See `cvat.backup.plan_restore`; `apply_live` does it, `pushing.undo` takes it back.
    """
    if snapshot.subject.url != session.url:
        raise RestoreRefused(
            f"Snapshot {snapshot.short_id} is of {snapshot.subject.url}, not of {session.url}.",
            hint="Restore it as a new project or task instead.",
        )
    task = saved_task(repository, snapshot, task_id)
    return plan_restore(session, task, frames=frames, job=job, keep_newer=keep_newer)


def apply_live(
    session: CvatSession,
    workspace: Workspace,
    repository: Repository,
    snapshot: Snapshot,
    plan: PushPlan,
    *,
    confirm: str = "",
    progress: Progress = NULL,
) -> PushResult:
    """Do what `plan_live` worked out, as a push that `pushing.undo` takes back.

    Args:
        session: who does it.
        workspace: whose journal it is written in.
        repository: where the snapshot lies.
        snapshot: what it is brought back from; read and hashed first, unless that was done.
        plan: what a person has looked at.
        confirm: the task's number, typed, when something is taken away.
        progress: counts objects.

    Raises:
        RestoreRefused: something would go and the number was not typed.
        Damaged: the snapshot is not what was written.
        TaskChanged: the task moved since the plan was made; nothing is written then.
    """
    if plan.num_remove and confirm.strip() != str(plan.task.id):
        raise RestoreRefused(
            f"{plural(plan.num_remove, 'object')} of task {plan.task.id} would go.",
            hint=f"If you mean it, type the task's number: {plan.task.id}",
        )
    if not snapshot.is_verified:
        with repository.lock("verify before a restore"):
            report = verify(repository, [snapshot], progress=progress)
        if snapshot.id in report.damaged:
            raise Damaged(
                f"Snapshot {snapshot.short_id} is damaged: {report.damaged[snapshot.id][0]}",
                hint="Choose another one: lsl backup list",
            )
    return pushing.apply(session, workspace, plan, progress=progress)

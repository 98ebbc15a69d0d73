"""Pushing a preview to CVAT, with a way back."""

from __future__ import annotations

import time
from collections.abc import Mapping

from lsl_core import cvat
from lsl_core.cvat import (
    Conflicts,
    CvatSession,
    Journal,
    PushMode,
    PushPlan,
    PushRecord,
    PushResult,
    Review,
    UndoResult,
)
from lsl_core.errors import UserInput
from lsl_core.progress import NULL, Progress
from lsl_core.services import previewing
from lsl_core.types import Instances
from lsl_core.workspace import Workspace

__all__ = [
    "Conflicts",
    "PushMode",
    "PushPlan",
    "PushRecord",
    "PushResult",
    "Review",
    "UndoResult",
    "apply",
    "list_pushes",
    "plan",
    "resume",
    "review",
    "undo",
]


def plan(
    session: CvatSession,
    workspace: Workspace,
    preview_id: str,
    *,
    mapping: Mapping[str, str | None] | None = None,
    mode: PushMode = PushMode.ADD,
    conflicts: Conflicts = Conflicts.SKIP,
    polygons: bool = False,
    progress: Progress = NULL,
) -> PushPlan:
    """Work out what pushing a preview, as it is shown now, would do. Writes nothing.

    Raises:
        UserInput: when the preview is not of a task of this server.
        LabelMismatch: when a label has no place in the task.
        CvatError: when the task cannot be read.
    """
    info = previewing.get_preview(workspace, preview_id)
    if info.task_id is None or info.url != session.url:
        where = f"{info.url}, not {session.url}" if info.url else "images of this workspace"
        raise UserInput(
            f"This preview shows {where}.",
            hint="Push it where it came from, or make a new task: lsl cvat-export",
        )
    found = previewing.frames(workspace, preview_id)
    predictions: dict[int, Instances] = {}
    progress.start("Reading predictions", total=len(found), unit="frames")
    for frame in found:
        progress.check()
        if not frame.error:
            everything = previewing.frame_instances(workspace, info, frame)
            predictions[frame.ref.frame] = previewing.view_of(info, frame).of(everything)
        progress.advance()
    return cvat.plan_push(
        session,
        info.task_id,
        predictions,
        info.labels,
        mapping=mapping,
        mode=mode,
        conflicts=conflicts,
        polygons=polygons,
        run_id=preview_id,
        journal=Journal(workspace.journal),
    )


def apply(
    session: CvatSession, workspace: Workspace, push_plan: PushPlan, *, progress: Progress = NULL
) -> PushResult:
    """Do what a plan says, after a snapshot; read back what came of it.

    Raises:
        TaskChanged: when the task moved since the plan was made; nothing is written then.
        PartlyDone: when frames failed; the rest is pushed, and `resume` tries them again.
    """
    return cvat.apply_push(
        session,
        push_plan,
        Journal(workspace.journal),
        snapshot=workspace.snapshots / f"task-{push_plan.task.id}-{time.time_ns()}.json.gz",
        progress=progress,
    )


def resume(
    session: CvatSession, workspace: Workspace, push_id: str, *, progress: Progress = NULL
) -> PushResult:
    """Go on with a push that was stopped: nothing is lost, nothing is doubled."""
    return cvat.resume_push(session, Journal(workspace.journal), push_id, progress=progress)


def undo(
    session: CvatSession, workspace: Workspace, push_id: str, *, progress: Progress = NULL
) -> UndoResult:
    """Take back exactly what a push added; what people edited since stays and is listed."""
    return cvat.undo_push(session, Journal(workspace.journal), push_id, progress=progress)


def review(session: CvatSession, workspace: Workspace, push_id: str) -> Review:
    """Compare what a push added with the task as people left it. Writes nothing."""
    return cvat.review_push(session, Journal(workspace.journal), push_id)


def list_pushes(
    workspace: Workspace, *, url: str | None = None, task_id: int | None = None
) -> list[PushRecord]:
    """Return the pushes of this workspace, newest first."""
    return Journal(workspace.journal).pushes(url=url, task_id=task_id)

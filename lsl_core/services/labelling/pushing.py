"""Pushing a preview to CVAT, with a way back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from lsl_core import cvat
from lsl_core.cvat import (
    AS_USUAL,
    Conflicts,
    CvatSession,
    Drawing,
    Journal,
    LabelMaps,
    PushChoices,
    PushMode,
    PushPhase,
    PushPlan,
    PushRecord,
    PushResult,
    UndoResult,
)
from lsl_core.errors import TaskChanged, UserInput
from lsl_core.geometry.cleaning import Cleaning
from lsl_core.progress import NULL, Progress
from lsl_core.services import connections
from lsl_core.services.labelling import predicting, previewing
from lsl_core.services.labelling.previewing import PreviewInfo
from lsl_core.sources import coco
from lsl_core.types import ImageRef, Instances
from lsl_core.workspace import CvatSettings, Workspace

__all__ = [
    "AS_USUAL",
    "Cleaning",
    "Conflicts",
    "PushChoices",
    "PushMode",
    "PushPlan",
    "PushRecord",
    "PushResult",
    "UndoResult",
    "apply",
    "as_coco",
    "finish_begun",
    "label_map",
    "list_pushes",
    "plan",
    "resume",
    "run_push",
    "run_resume",
    "undo",
    "with_labels",
]

#: Phases of a push that a run which is done once more goes on from.
_BEGUN = (PushPhase.OPEN, PushPhase.DONE)


def plan(
    session: CvatSession,
    workspace: Workspace,
    preview_id: str,
    *,
    choices: PushChoices = AS_USUAL,
    progress: Progress = NULL,
) -> PushPlan:
    """Work out what pushing a preview, as it is shown now, would do. Writes nothing.

    Where the choices say nothing about a label, the map that was used for this task last counts,
    and then the name.

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
    known = label_map(workspace, url=info.url, task_id=info.task_id)
    shown = _Shown(workspace, info)
    return cvat.plan_push(
        session,
        info.task_id,
        shown,
        info.labels,
        choices=replace(choices, mapping={**known, **choices.mapping}),
        present=shown.class_ids(),
        run_id=preview_id,
        journal=Journal(workspace.journal),
        progress=progress,
    )


class _Shown(Mapping[int, Instances]):
    """What a person sees of each frame of a preview, read when it is asked for."""

    def __init__(self, workspace: Workspace, info: PreviewInfo) -> None:
        self._info, self._findings = info, predicting.Findings(workspace, info)
        found = previewing.frames(workspace, info.id)
        self._frames = {frame.ref.frame: frame for frame in found if not frame.error}

    def class_ids(self) -> set[int]:
        """Return the labels that have objects; no frame is read."""
        counts = previewing.counts(self._info, self._frames.values())
        return {i for i, label in enumerate(self._info.labels) if counts[label][0]}

    def __getitem__(self, number: int) -> Instances:
        frame = self._frames[number]
        return previewing.view_of(self._info, frame).of(self._findings.on(frame))

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


def label_map(workspace: Workspace, *, url: str, task_id: int) -> dict[str, str | None]:
    """Return where the labels of models went in a task last, other than to their own names."""
    return LabelMaps(workspace.journal).get(url=url, task_id=task_id)


def with_labels(
    session: CvatSession,
    workspace: Workspace,
    push_plan: PushPlan,
    *,
    choices: PushChoices,
    progress: Progress = NULL,
) -> PushPlan:
    """Make the labels that a plan needs in its task, or in the task's project; return it anew.

    Args:
        session: where the task is.
        workspace: where the preview is.
        push_plan: of `plan`, with these choices.
        choices: as they were.
        progress: counts frames.

    Raises:
        CvatDenied: when the user may not change the task.
        TaskChanged: when the task moved meanwhile; labels are made then, shapes are not.
    """
    if not push_plan.new_labels:
        return push_plan
    for label in push_plan.new_labels:
        cvat.add_label(session, push_plan.task.id, label.name, Drawing(label.type))
    made = plan(session, workspace, push_plan.run_id, choices=choices, progress=progress)
    require_same(made, push_plan.token)
    return made


def require_same(push_plan: PushPlan, token: str) -> None:
    """Return when a plan is the one that a person saw.

    Raises:
        TaskChanged: when it is another one.
    """
    if push_plan.token != token:
        raise TaskChanged(
            f'Task {push_plan.task.id} "{push_plan.task.name}", or the preview, was changed since '
            "the summary was made.",
            hint="Read the summary again. Nothing was written.",
        )


def apply(
    session: CvatSession,
    workspace: Workspace,
    push_plan: PushPlan,
    *,
    confirmed_task: int | None = None,
    progress: Progress = NULL,
) -> PushResult:
    """Do what a plan says, after a snapshot; read back what came of it.

    Raises:
        TaskChanged: when the task moved since the plan was made; nothing is written then.
        UserInput: when it takes away people's work and nobody typed the task's number.
        PartlyDone: when frames failed; the rest is pushed, and `resume` tries them again.
    """
    where = {
        match.label: match.target.name if match.target else None
        for match in push_plan.matches
        if match.is_settled
    }
    LabelMaps(workspace.journal).save(where, url=session.url, task_id=push_plan.task.id)
    return cvat.apply_push(
        session,
        push_plan,
        Journal(workspace.journal),
        snapshot=workspace.snapshots / f"task-{push_plan.task.id}-{time.time_ns()}.json.gz",
        confirmed_task=confirmed_task,
        progress=progress,
    )


def as_coco(session: CvatSession, push_plan: PushPlan) -> bytes:
    """Return what a plan would add as a COCO document, JSON; a dry run to look at elsewhere."""
    task = push_plan.task
    frames = cvat.task_frames(session, task.id)
    labels = [*cvat.task_labels(session, task.id), *push_plan.new_labels]
    shapes = [{"id": number, **shape} for number, shape in enumerate(push_plan.create)]
    found = cvat.to_instances({"shapes": shapes}, frames, labels).frames
    rows = [
        (ImageRef(task.id, n, frames[n].name, frames[n].image_hw, ""), one.instances, one.has_mask)
        for n, one in sorted(found.items())
        if len(one)
    ]
    names = tuple(label.name for label in labels)
    return json.dumps(coco.document(rows, names, with_scores=True)).encode()


def run_push(
    workspace: Workspace,
    *,
    connection: dict[str, Any],
    preview_id: str,
    choices: dict[str, Any],
    token: str,
    confirmed_task: int | None,
    progress: Progress,
) -> dict[str, Any]:
    """Push in the worker what a person saw and confirmed: the plan with this token, nothing else.

    A run that was killed and is run again finishes the push that it began.

    Raises:
        TaskChanged: when the plan, made anew, is another one.
    """
    with connections.open_session(CvatSettings.model_validate(connection)) as session:
        begun = [p for p in list_pushes(workspace, url=session.url) if p.run_id == preview_id]
        begun = [p for p in begun if p.summary.get("token") == token and p.phase in _BEGUN]
        if begun and begun[0].phase is PushPhase.DONE:
            return {"push": begun[0].id}
        if begun:
            return {"push": resume(session, workspace, begun[0].id, progress=progress).push_id}
        wanted = TypeAdapter(PushChoices).validate_python(choices)
        made = plan(session, workspace, preview_id, choices=wanted, progress=progress)
        require_same(made, token)
        made = with_labels(session, workspace, made, choices=wanted, progress=progress)
        result = apply(session, workspace, made, confirmed_task=confirmed_task, progress=progress)
    return {"push": result.push_id}


def run_resume(
    workspace: Workspace, *, connection: dict[str, Any], push_id: str, progress: Progress
) -> dict[str, Any]:
    """Finish a push in the worker; see `resume`."""
    with connections.open_session(CvatSettings.model_validate(connection)) as session:
        return {"push": resume(session, workspace, push_id, progress=progress).push_id}


def resume(
    session: CvatSession, workspace: Workspace, push_id: str, *, progress: Progress = NULL
) -> PushResult:
    """Go on with a push that was stopped: nothing is lost, nothing is doubled."""
    return cvat.resume_push(session, Journal(workspace.journal), push_id, progress=progress)


def finish_begun(
    session: CvatSession,
    workspace: Workspace,
    preview_id: str,
    task_id: int,
    *,
    progress: Progress = NULL,
) -> PushResult | None:
    """Finish the newest push of a preview to a task, None when none was begun or it is undone."""
    found = [
        push
        for push in list_pushes(workspace, url=session.url, task_id=task_id)
        if push.run_id == preview_id and push.phase in _BEGUN
    ]
    if not found:
        return None
    if found[0].phase is PushPhase.DONE:
        return cvat.verify_push(session, Journal(workspace.journal), found[0].id)
    return resume(session, workspace, found[0].id, progress=progress)


def undo(
    session: CvatSession, workspace: Workspace, push_id: str, *, progress: Progress = NULL
) -> UndoResult:
    """Take back exactly what a push added; what people edited since stays and is listed."""
    return cvat.undo_push(session, Journal(workspace.journal), push_id, progress=progress)


def list_pushes(
    workspace: Workspace, *, url: str | None = None, task_id: int | None = None
) -> list[PushRecord]:
    """Return the pushes of this workspace, newest first."""
    return Journal(workspace.journal).pushes(url=url, task_id=task_id)

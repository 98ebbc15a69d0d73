"""Annotations of a task and its jobs, read and changed as plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lsl_core.cvat.content import content_key
from lsl_core.cvat.packing import packed, unpacked
from lsl_core.cvat.session import CvatSession
from lsl_core.cvat.shapes import Converted, to_instances
from lsl_core.cvat.tasks import (
    CvatLabel,
    FrameInfo,
    JobInfo,
    JobKind,
    TaskInfo,
    data_meta,
    frames_of,
    get_task,
    jobs_of,
    labels_of,
    require_images,
)
from lsl_core.errors import CvatNotFound

Json = dict[str, Any]

_IN_POOL = "on a frame of the ground truth"


class Action(StrEnum):
    """What a PATCH does with the shapes that it carries."""

    CREATE = "create"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, eq=False)
class TaskState:
    """A task with all that a push or an import has to know, read at one time.

    annotations: as CVAT sends them, without ground truth and replicas. validation: frames whose
    shapes are not ordinary work, with the reason.
    """

    task: TaskInfo
    labels: tuple[CvatLabel, ...]
    frames: tuple[FrameInfo, ...]
    jobs: tuple[JobInfo, ...]
    annotations: Json
    validation: dict[int, str]

    def objects(self) -> Converted:
        """Return the annotations as instances; class ids index `labels`."""
        return to_instances(
            self.annotations,
            self.frames,
            self.labels,
            jobs=self.jobs,
            left_out_frames=self.validation,
        )


def read_task(session: CvatSession, task_id: int) -> TaskState:
    """Read a task whole: labels, frames, jobs and the annotations of all ordinary jobs.

    Raises:
        CvatNotFound: no such task.
        UserInput: a task without images.
    """
    task = require_images(get_task(session, task_id))
    frames = frames_of(task, data_meta(session, task))
    task_jobs = jobs_of(session, task)
    return TaskState(
        task,
        tuple(labels_of(session, task)),
        tuple(frames),
        tuple(task_jobs),
        task_annotations(session, task_id),
        validation_frames(session, task, task_jobs),
    )


def task_annotations(session: CvatSession, task_id: int) -> Json:
    """Return tags, shapes and tracks of a task as CVAT sends them, points in arrays."""
    answer: Json = session.transport.json(
        "GET",
        f"/api/tasks/{task_id}/annotations/",
        doing=f"reading the annotations of task {task_id}",
        hook=packed,
    )
    return answer


def task_contents(session: CvatSession, task_id: int) -> dict[int, str]:
    """Return the content of each shape of a task by its id; no shape is held longer than that."""
    answer = session.transport.json(
        "GET",
        f"/api/tasks/{task_id}/annotations/",
        doing=f"reading the annotations of task {task_id}",
        hook=_keyed,
    )
    return dict(answer["shapes"])


def _keyed(found: Json) -> Json | tuple[int, str]:
    """Return id and content of a shape; what else there is as it is."""
    if "points" in found and "label_id" in found:
        return int(found.get("id") or 0), content_key(found)
    return found


def job_annotations(session: CvatSession, job_id: int) -> Json:
    """Return tags, shapes and tracks of one job as CVAT sends them, points in arrays."""
    answer: Json = session.transport.json(
        "GET",
        f"/api/jobs/{job_id}/annotations/",
        doing=f"reading the annotations of job {job_id}",
        hook=packed,
    )
    return answer


def change_job(
    session: CvatSession, job_id: int, action: Action, shapes: Sequence[Json]
) -> list[Json]:
    """Create or delete shapes of a job in one step that CVAT does whole or not at all.

    Never repeated here: an answer that got lost may mean that it is done.

    Args:
        session: who does it.
        job_id: the job that covers the frames of all shapes.
        action: create adds them, delete takes those with these ids away.
        shapes: as `from_instances` makes them, or as they were read.

    Returns:
        The shapes as CVAT answered, in the order sent; created ones with their new ids.
    """
    answer = session.transport.json(
        "PATCH",
        f"/api/jobs/{job_id}/annotations/",
        doing=f"writing to job {job_id}"
        if action is Action.CREATE
        else f"deleting in job {job_id}",
        query={"action": action.value},
        body={"version": 0, "tags": [], "shapes": unpacked(shapes), "tracks": []},
    )
    return list(answer["shapes"])


def validation_frames(
    session: CvatSession, task: TaskInfo, task_jobs: Sequence[JobInfo]
) -> dict[int, str]:
    """Return the frames of a task whose shapes are no ordinary work, with the reason.

    In a task with a pool of ground truth, the pool lies behind the ordinary frames, and hidden
    copies of it (honeypots) lie among them. The range of a ground truth job says nothing: it is
    the whole task. Where ground truth was made for ordinary frames, CVAT keeps the two apart.
    """
    if task.validation != "gt_pool":
        return {}
    ordinary = [job for job in task_jobs if job.kind is JobKind.ANNOTATION]
    reasons = {
        frame: _IN_POOL
        for frame in range(task.frames)
        if not any(job.covers(frame) for job in ordinary)
    }
    try:
        layout = session.transport.json(
            "GET",
            f"/api/tasks/{task.id}/validation_layout",
            doing=f"reading the validation frames of task {task.id}",
        )
    except CvatNotFound:  # a server older than this question
        return reasons
    for frame in layout.get("validation_frames") or ():
        reasons[int(frame)] = _IN_POOL
    for frame in layout.get("honeypot_frames") or ():
        reasons[int(frame)] = "on a hidden copy of a ground truth frame"
    return reasons

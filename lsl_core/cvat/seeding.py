"""What people drew elsewhere goes into a task that was just made, which nobody works in yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lsl_core.cvat.annotations import Action, change_job
from lsl_core.cvat.drawing import from_instances
from lsl_core.cvat.label_matching import match_labels, require_settled
from lsl_core.cvat.session import CvatSession
from lsl_core.cvat.tasks import TaskInfo, job_of, task_jobs, task_labels
from lsl_core.geometry.drawable import within_image
from lsl_core.progress import NULL, Progress
from lsl_core.types import Instances

#: Shapes in one request: CVAT's proxy gives up after 60 s, and 1,000 masks take a few.
_BATCH = 500


def draw_in_new_task(
    session: CvatSession,
    task: TaskInfo,
    drawn: Mapping[int, tuple[Instances, NDArray[np.bool_]]],
    labels: Sequence[str],
    *,
    progress: Progress = NULL,
) -> int:
    """Draw objects as if a person had; return how many shapes there are now.

    Args:
        session: who draws.
        task: without annotations, its labels take any shape or masks.
        drawn: by frame number: objects with binary masks, and which masks were drawn; the others
            become rectangles where the label takes them.
        labels: names in the order of class ids.
        progress: may stop between two requests.

    Raises:
        LabelMismatch: when a project, whose labels the task has, lacks one that occurs.
    """
    matches = match_labels(labels, task_labels(session, task.id), has_masks=True)
    used = {c for found, _ in drawn.values() for c in found.class_ids.tolist()}
    require_settled([matches[c] for c in sorted(used)], task_id=task.id)
    targets = {i: m.target for i, m in enumerate(matches) if m.target is not None}
    jobs = task_jobs(session, task.id)
    waiting: dict[int, list[dict[str, object]]] = {}
    for frame, (instances, has_mask) in drawn.items():
        inside = within_image(instances)
        if len(inside) != len(instances):
            raise ValueError(f"objects outside the image on frame {frame}")
        objects = from_instances(
            inside,
            frame=frame,
            labels=targets,
            drawings={i: m.drawing for i, m in enumerate(matches) if m.drawing is not None},
            source="manual",
            has_mask=has_mask,
        )
        batch = waiting.setdefault(job_of(jobs, frame).id, [])
        batch += [shape for shapes in objects for shape in shapes]
    return sum(_send(session, job, shapes, progress) for job, shapes in waiting.items())


def _send(
    session: CvatSession, job: int, shapes: Sequence[dict[str, object]], progress: Progress
) -> int:
    count = 0
    for first in range(0, len(shapes), _BATCH):
        progress.check()
        batch = shapes[first : first + _BATCH]
        count += len(change_job(session, job, Action.CREATE, batch))
    return count


def delete_task(session: CvatSession, task_id: int) -> None:
    """Delete a task with everything in it; for one of ours that could not be finished."""
    session.transport.send("DELETE", f"/api/tasks/{task_id}", doing=f"deleting task {task_id}")

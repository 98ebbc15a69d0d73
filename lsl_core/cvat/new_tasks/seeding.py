"""What people drew elsewhere goes into a task that was just made, which nobody works in yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.cvat.annotations.content import content_key
from lsl_core.cvat.annotations.drawing import from_instances
from lsl_core.cvat.annotations.reading import job_annotations
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.new_tasks.arrivals import Arrival, ArrivalPhase
from lsl_core.cvat.new_tasks.upload import SETTLE_S
from lsl_core.cvat.tasks.entities import TaskInfo, job_of
from lsl_core.cvat.tasks.label_matching import match_labels, require_settled
from lsl_core.cvat.tasks.reading import task_jobs, task_labels
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
    arrival: Arrival | None = None,
    progress: Progress = NULL,
) -> int:
    """Draw objects as if a person had; return how many shapes were added.

    What is there already is not drawn again, so it can be repeated.

    Args:
        session: who draws.
        task: without annotations, its labels take any shape or masks.
        drawn: by frame number: objects with binary masks, and which masks were drawn; the others
            become rectangles where the label takes them.
        labels: names in the order of class ids.
        arrival: of the task; what an earlier process sent last gets its time to arrive.
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
    arrival = arrival or Arrival()
    arrival.settle(SETTLE_S)
    return sum(
        _send(session, job, _missing(session, job, shapes), arrival, progress)
        for job, shapes in waiting.items()
    )


def _missing(
    session: CvatSession, job: int, shapes: Sequence[dict[str, object]]
) -> list[dict[str, object]]:
    """Return the shapes that a job lacks."""
    there = Counter(map(content_key, job_annotations(session, job)["shapes"]))
    missing = []
    for shape in shapes:
        key = content_key(shape)
        if there[key]:
            there[key] -= 1
        else:
            missing.append(shape)
    return missing


def _send(
    session: CvatSession,
    job: int,
    shapes: Sequence[dict[str, object]],
    arrival: Arrival,
    progress: Progress,
) -> int:
    count = 0
    for first in range(0, len(shapes), _BATCH):
        progress.check()
        arrival.reach(ArrivalPhase.FILLING)
        batch = shapes[first : first + _BATCH]
        count += len(change_job(session, job, Action.CREATE, batch))
    return count

"""What the tests of pushes share: the objects of a model, and a person who draws."""

from __future__ import annotations

from collections import Counter

from lsl_core.cvat import (
    task_annotations,
    task_jobs,
    task_labels,
)
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.cvat.annotations.content import content_key
from lsl_core.cvat.annotations.packing import unpacked

MODEL_LABELS = ("cell",)
THREE = [(15, 15, 8), (45, 20, 10), (60, 45, 7)]


def live(session, task):
    return task_annotations(session, task.id)["shapes"]


def contents(session, task):
    return Counter(content_key(shape) for shape in live(session, task))


def draw_by_hand(session, task, shape, *, source="manual"):
    """Draw as a person does, in the job of the frame; return the stored shape."""
    job = next(j for j in task_jobs(session, task.id) if j.covers(shape["frame"]))
    full = {"rotation": 0.0, "attributes": [], "group": 0, "source": source, **shape}
    (number,) = change_job(session, job.id, Action.CREATE, [full])
    return {**full, "id": number}


def rectangle(session, task, points, *, frame=0, label="box"):
    ids = {found.name: found.id for found in task_labels(session, task.id)}
    return {"type": "rectangle", "frame": frame, "label_id": ids[label], "points": points}


def edit(session, task, shape, **changes):
    job = next(j for j in task_jobs(session, task.id) if j.covers(shape["frame"]))
    session.transport.json(
        "PATCH",
        f"/api/jobs/{job.id}/annotations/",
        doing="editing",
        query={"action": "update"},
        body={"shapes": unpacked([{**shape, **changes}]), "tags": [], "tracks": []},
    )

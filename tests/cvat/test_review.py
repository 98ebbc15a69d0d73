from __future__ import annotations

import pytest
from cvat_helpers import discs, make_task

from lsl_core.cvat import (
    Fate,
    apply_push,
    plan_push,
    review_push,
    task_annotations,
    task_jobs,
    task_labels,
    undo_push,
)
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.cvat.annotations.drawing import from_instances
from lsl_core.cvat.annotations.packing import unpacked
from lsl_core.errors import UserInput
from lsl_core.geometry.drawable import Drawing, within_image

FIVE = [(10, 10, 6), (40, 12, 8), (65, 15, 7), (20, 45, 9), (60, 45, 8)]


@pytest.fixture
def task(session, tmp_path):
    return make_task(session, tmp_path, frames=4, segment=2)


def drawn(session, task, places, *, frame, label="cell"):
    """Draw discs as a person does; return the stored shapes."""
    target = next(known for known in task_labels(session, task.id) if known.name == label)
    objects = from_instances(
        within_image(discs(places)),
        frame=frame,
        labels={0: target},
        drawings={0: Drawing.MASK},
        source="manual",
    )
    job = next(j for j in task_jobs(session, task.id) if j.covers(frame))
    shapes = [shape for parts in objects for shape in parts]
    ids = change_job(session, job.id, Action.CREATE, shapes)
    return [{**shape, "id": number} for shape, number in zip(shapes, ids, strict=True)]


def update(session, task, shape, **changes):
    job = next(j for j in task_jobs(session, task.id) if j.covers(shape["frame"]))
    session.transport.json(
        "PATCH",
        f"/api/jobs/{job.id}/annotations/",
        doing="editing",
        query={"action": "update"},
        body={"shapes": unpacked([{**shape, **changes}]), "tags": [], "tracks": []},
    )


def test_a_review_says_what_people_did_with_every_object(session, task, journal, tmp_path):
    drawn(session, task, [(40, 50, 5)], frame=0)
    plan = plan_push(session, task.id, {0: discs(FIVE), 2: discs(FIVE[:1])}, ("cell",))
    push = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    untouched = review_push(session, journal, push.push_id)
    assert untouched.by_label()["cell"].kept == 6
    assert all(not (row.moved or row.deleted or row.added) for row in untouched.rows)

    live = task_annotations(session, task.id)["shapes"]
    ours = {s["score"]: s for s in live if s["source"] == "auto" and s["frame"] == 0}
    kept, moved, relabelled, deleted, redrawn = (ours[s] for s in sorted(ours, reverse=True))
    (larger,) = from_instances(
        within_image(discs([(40, 12, 9)])),
        frame=0,
        labels={0: next(x for x in task_labels(session, task.id) if x.name == "cell")},
        drawings={0: Drawing.MASK},
    )
    update(session, task, moved, points=larger[0]["points"])
    ids = {label.name: label.id for label in task_labels(session, task.id)}
    update(session, task, relabelled, label_id=ids["thing"])
    job = task_jobs(session, task.id)[0]
    change_job(session, job.id, Action.DELETE, [deleted, redrawn])
    drawn(session, task, [(60, 46, 8)], frame=0)
    drawn(session, task, [(10, 30, 4)], frame=1)

    review = review_push(session, journal, push.push_id)
    rows = {(row.frame, row.label): row for row in review.rows}
    first = rows[0, "cell"]
    assert (first.kept, first.moved, first.relabelled, first.deleted, first.added) == (
        1,
        2,
        1,
        1,
        0,
    )
    assert all(0.5 < iou < 1 for iou in first.ious)
    assert rows[1, "cell"].added == 1
    assert rows[2, "cell"].kept == 1
    assert kept["id"] in {s["id"] for s in task_annotations(session, task.id)["shapes"]}
    assert review.by_label()["cell"].added == 1
    assert review.confusion() == {
        ("cell", "cell"): 4, ("cell", "thing"): 1, ("cell", ""): 1, ("", "cell"): 1,
    }  # fmt: skip
    scores = {one.fate: one.score for one in review.objects if one.frame == 0}
    assert scores[Fate.DELETED] == pytest.approx(deleted["score"])
    assert review.has_masks


def test_a_push_that_was_undone_has_no_review(session, task, journal, tmp_path):
    plan = plan_push(session, task.id, {0: discs(FIVE)}, ("cell",))
    push = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    undo_push(session, journal, push.push_id)
    with pytest.raises(UserInput, match="undone"):
        review_push(session, journal, push.push_id)

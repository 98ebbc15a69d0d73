"""What a push does on a real server: its plan, its labels, its end when killed, its review."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cvat_helpers import HW, LABELS, discs, write_images
from nursery import Nursery
from push_helpers import draw_by_hand, edit, rectangle
from random_work import draw_people, random_predictions, shapes_of

from lsl_core.cvat import (
    Arrivals,
    Conflicts,
    Drawing,
    Journal,
    LabelMaps,
    PushChoices,
    PushPhase,
    SavedKey,
    add_label,
    apply_push,
    connect,
    create_task,
    delete_task,
    job_annotations,
    list_tasks,
    plan_push,
    pull_frames,
    read_task,
    resume_push,
    review_push,
    task_annotations,
    task_jobs,
    task_labels,
    undo_push,
)
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.cvat.annotations.content import content_key
from lsl_core.cvat.annotations.packing import unpacked
from lsl_core.errors import CvatAuth, CvatUnreachable, LabelMismatch
from lsl_core.types import Instances

pytestmark = pytest.mark.live

KILLS = int(os.environ.get("LSL_LIVE_KILLS", "6"))
FIVE = [(10, 10, 6), (40, 12, 8), (65, 15, 7), (20, 45, 9), (60, 45, 8)]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"), 4)


@pytest.fixture
def task(session, images):
    """A task of its own, with its own labels."""
    made = create_task(session, "LSL live test of pushes", LABELS, images, segment_size=2)
    yield made
    delete_task(session, made.id)


def applied(session, task, found, journal, tmp_path, **choices):
    plan = plan_push(
        session, task.id, found, ("cell",), choices=PushChoices(**choices), journal=journal
    )
    return plan, apply_push(session, plan, journal, snapshot=tmp_path / "before.gz")


def test_a_key_that_is_no_key_any_more_is_refused(session):
    with pytest.raises(CvatAuth):
        connect(session.url, SavedKey(session.user, "0" * 40))


def test_a_certificate_that_cannot_be_checked_is_named(session):
    if not session.url.startswith("http://"):
        pytest.skip("the server speaks https well")
    with pytest.raises(CvatUnreachable, match="https"):
        connect(session.url.replace("http://", "https://"), session.saved_login)


def test_a_plan_tells_new_duplicate_and_conflict_apart(session, task, journal, tmp_path):
    people = discs([(15, 15, 8), (45, 20, 10)])
    objects = plan_push(session, task.id, {0: people}, ("cell",)).create
    for shape in objects:
        draw_by_hand(session, task, {**unpacked([shape])[0], "source": "manual"})
    # the same, half as large again, and one where nobody drew
    ours = discs([(15, 15, 8), (45, 20, 8), (60, 45, 7)])
    plan = plan_push(session, task.id, {0: ours}, ("cell",), journal=journal)
    (row,) = [row for row in plan.labels if row.label == "cell"]
    assert (row.now, row.add, row.duplicates, row.conflicts) == (2, 1, 1, 1)
    both, result = applied(session, task, {0: ours}, journal, tmp_path, conflicts=Conflicts.ADD)
    assert both.num_add == 2
    assert result.is_verified
    assert result.human_unchanged
    assert len(shapes_of(session, task)) == 4


def test_labels_are_shown_before_they_are_made(session, task, journal, tmp_path):
    found = {0: discs(FIVE[:2]), 1: discs(FIVE[:1], class_id=1)}
    labels, choices = ("cell", "platelet"), PushChoices(create=("platelet",))
    with pytest.raises(LabelMismatch, match="platelet"):
        plan_push(session, task.id, found, labels)
    shown = plan_push(session, task.id, found, labels, choices=choices)
    assert [label.name for label in shown.new_labels] == ["platelet"]
    assert "platelet" not in {label.name for label in task_labels(session, task.id)}
    made = add_label(session, task.id, "platelet", Drawing.MASK)
    plan = plan_push(session, task.id, found, labels, choices=choices, journal=journal)
    assert plan.token == shown.token
    assert apply_push(session, plan, journal, snapshot=tmp_path / "s.gz").is_verified
    assert Counter(s["label_id"] == made.id for s in shapes_of(session, task)) == {
        False: 2, True: 1,
    }  # fmt: skip


def test_a_label_map_that_is_kept_holds_for_the_next_push(session, task, tmp_path):
    maps = LabelMaps(tmp_path / "maps.sqlite")
    maps.save({"blob": "cell", "noise": None}, url=session.url, task_id=task.id)
    choices = PushChoices(mapping=maps.get(url=session.url, task_id=task.id))
    found = {0: Instances.concat([discs(FIVE[:2]), discs(FIVE[2:3], class_id=1)])}
    plan = plan_push(session, task.id, found, ("blob", "noise"), choices=choices)
    assert [(row.label, row.add) for row in plan.labels] == [("cell", 2)]


def test_every_kind_of_shape_is_read_and_the_rest_is_listed(session, task):
    ids = {label.name: label.id for label in task_labels(session, task.id)}
    base = {"frame": 1, "label_id": ids["thing"], "attributes": [], "source": "manual"}
    ring = [30.0, 5.0, 50.0, 5.0, 50.0, 20.0, 30.0, 20.0]
    for shape in (
        {"type": "polygon", "points": ring, "group": 7},
        {"type": "polygon", "points": [60.0, 5.0, 70.0, 5.0, 70.0, 20.0], "group": 7},
        {"type": "rectangle", "points": [5.0, 30.0, 25.0, 40.0], "rotation": 30.0},
        {"type": "ellipse", "points": [50.0, 45.0, 60.0, 40.0]},
        {"type": "mask", "points": [0, 4, 1, 4, 4, 5, 6, 7], "label_id": ids["cell"]},
        {"type": "points", "points": [3.0, 3.0]},
    ):
        draw_by_hand(session, task, {**base, **shape})
    job = next(j for j in task_jobs(session, task.id) if j.covers(1))
    session.transport.json(
        "PATCH", f"/api/jobs/{job.id}/annotations/", doing="the test", query={"action": "create"},
        body={"version": 0, "shapes": [], "tracks": [], "tags": [
            {"frame": 1, "label_id": ids["thing"], "group": 0, "source": "manual",
             "attributes": []}]},
    )  # fmt: skip
    read = read_task(session, task.id).objects()
    found = read.frames[1]
    assert sorted(len(ids) for ids in found.shape_ids) == [1, 1, 1, 2]
    assert found.instances.image_hw == HW
    areas = sorted(found.instances.masks.areas().tolist())
    assert areas[0] == 8  # the mask of nine with its hole
    assert {left.reason for left in read.left_out} == {
        "a tag, which marks no place", "a points, which has no area",
    }  # fmt: skip


def test_ground_truth_is_neither_read_nor_written(session, task, journal, tmp_path):
    body = {"type": "ground_truth", "task_id": task.id, "frame_selection_method": "manual",
            "frames": [0, 3]}  # fmt: skip
    truth = session.transport.json("POST", "/api/jobs", doing="the test", body=body)
    shape = {**rectangle(session, task, [1.0, 1.0, 9.0, 9.0]), "attributes": []}
    change_job(session, truth["id"], Action.CREATE, [shape])
    assert len(read_task(session, task.id).objects().frames[0]) == 0
    _, result = applied(session, task, {0: discs(FIVE)}, journal, tmp_path)
    assert result.is_verified
    assert len(job_annotations(session, truth["id"])["shapes"]) == 1


def test_a_review_tells_what_people_did(session, task, journal, tmp_path):
    _, push = applied(session, task, {0: discs(FIVE)}, journal, tmp_path)
    ours = shapes_of(session, task)
    _, moved, relabelled, deleted, _ = ours
    points = list(moved["points"])
    points[-4:] = [value + 1 for value in points[-4:]]
    edit(session, task, moved, points=points)
    ids = {label.name: label.id for label in task_labels(session, task.id)}
    edit(session, task, relabelled, label_id=ids["thing"])
    change_job(session, task_jobs(session, task.id)[0].id, Action.DELETE, [deleted])
    draw_by_hand(session, task, rectangle(session, task, [30.0, 40.0, 40.0, 55.0]))
    review = review_push(session, journal, push.push_id)
    total = review.total
    assert (total.kept, total.moved, total.relabelled, total.deleted, total.added) == (
        2, 1, 1, 1, 1,
    )  # fmt: skip
    assert 0.5 < total.ious[0] < 1
    assert [row.frame for row in review.worst_frames()] == [0]


def test_edited_shapes_stay_when_a_push_is_undone(session, task, journal, tmp_path):
    _, push = applied(session, task, {0: discs(FIVE)}, journal, tmp_path)
    edited = shapes_of(session, task)[0]
    edit(session, task, edited, occluded=True)
    undone = undo_push(session, journal, push.push_id)
    assert [kept.id for kept in undone.kept] == [edited["id"]]
    assert [shape["id"] for shape in shapes_of(session, task)] == [edited["id"]]


def test_killed_at_random_instants_a_push_resumes_to_exactly_its_plan(session, task, tmp_path):
    phases: Counter[str] = Counter()
    with Nursery(session.url) as nursery:
        whole = tmp_path / "whole"
        whole.mkdir()
        draw_people(session, task, np.random.default_rng(0))
        whole_s = nursery.run(whole, task.id, 1)
        for seed in range(KILLS):
            rng = np.random.default_rng(seed)
            people = draw_people(session, task, rng)
            folder = tmp_path / str(seed)
            folder.mkdir()
            nursery.run(folder, task.id, seed, kill_after_s=rng.uniform(0.3, 1.1) * whole_s)
            journal = Journal(folder / "j.sqlite")
            opened = [push for push in journal.pushes() if push.phase is PushPhase.OPEN]
            phases[journal.pushes()[0].phase.value if journal.pushes() else "not begun"] += 1
            if opened:
                assert resume_push(session, journal, opened[0].id, settle_s=5.0).is_verified
            if not journal.pushes():
                continue
            after = shapes_of(session, task)
            assert [shape for shape in after if shape["source"] != "auto"] == people
            ours = [content_key(shape) for shape in after if shape["source"] == "auto"]
            assert len(ours) == len(set(ours)) == journal.pushes()[0].summary["add"]
            found = random_predictions(np.random.default_rng(seed))
            assert plan_push(session, task.id, found, ("cell",), journal=journal).does_nothing
    print(f"{KILLS} kills: {dict(phases)}")


def test_a_new_task_that_was_interrupted_goes_on(session, images, tmp_path, monkeypatch):
    arrivals = Arrivals(tmp_path / "a.sqlite")

    def broken(*args, **more):
        raise CvatUnreachable("the server went away")

    with monkeypatch.context() as patch:
        patch.setattr("lsl_core.cvat.new_tasks.create.upload_images", broken)
        with pytest.raises(CvatUnreachable):
            create_task(session, "LSL live test resumed", LABELS, images,
                        arrival=arrivals.open("key", url=session.url))  # fmt: skip
    (half,) = [task for task in list_tasks(session) if "LSL upload" in task.name]
    arrival = arrivals.open("key", url=session.url)
    assert arrival.is_resumed
    made = create_task(session, "LSL live test resumed", LABELS, images, arrival=arrival)
    try:
        assert (made.id, made.name) == (half.id, "LSL live test resumed")
        pulled = pull_frames(session, made.id, tmp_path / "store")
        assert [p.read_bytes() for p in pulled.paths] == [p.read_bytes() for p in images]
    finally:
        delete_task(session, made.id)
        arrival.forget()


def test_a_task_of_one_size_refuses_objects_of_another(session, task):
    found = replace(discs(FIVE[:1]), image_hw=(HW[0] + 10, HW[1]))
    with pytest.raises(Exception, match="predict again"):
        plan_push(session, task.id, {0: found}, ("cell",))
    assert not task_annotations(session, task.id)["shapes"]

"""A push: what its plan says, and what applying it does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from cvat_helpers import HW, Answer, FaultProxy, discs, make_task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from push_helpers import MODEL_LABELS, THREE, contents, draw_by_hand, edit, live, rectangle

from lsl_core.cvat import (
    Conflicts,
    PasswordLogin,
    PushChoices,
    PushMode,
    apply_push,
    connect,
    job_annotations,
    plan_push,
    read_snapshot,
    read_task,
    undo_push,
)
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.cvat.push.journal import Journal
from lsl_core.errors import (
    LabelMismatch,
    TaskChanged,
    UserInput,
)
from lsl_core.sandbox import Sandbox
from lsl_core.types import CropMasks, Instances


@pytest.fixture
def task(session, tmp_path):
    return make_task(session, tmp_path, frames=4, segment=2)


# -- plan ---------------------------------------------------------------------------------------


def test_a_plan_writes_nothing_and_says_what_it_would_do(session, task):
    draw_by_hand(session, task, rectangle(session, task, [1, 1, 9, 9], frame=2))
    before = live(session, task)
    plan = plan_push(session, task.id, {0: discs(THREE), 3: discs(THREE[:1])}, MODEL_LABELS)
    assert live(session, task) == before
    rows = {row.label: row for row in plan.labels}
    assert (rows["cell"].now, rows["cell"].add, rows["cell"].after) == (0, 4, 4)
    assert (rows["box"].now, rows["box"].add, rows["box"].after) == (1, 0, 1)
    assert [(row.frame, row.add) for row in plan.frames] == [(0, 3), (3, 1)]
    assert (plan.num_add, plan.num_remove, plan.does_nothing) == (4, 0, False)


def test_the_token_is_the_same_for_the_same_plan_only(session, task):
    def token(**choices):
        found = {0: discs(choices.pop("places", THREE))}
        wanted = PushChoices(**choices)
        return plan_push(session, task.id, found, MODEL_LABELS, choices=wanted).token

    first = token()
    assert token() == first
    assert token(places=THREE[:2]) != first
    draw_by_hand(session, task, rectangle(session, task, [1, 1, 9, 9]))
    assert token() != first


def test_labels_without_a_place_are_all_named(session, task):
    found = discs(THREE)
    ids = np.array([0, 1, 2], np.int32)
    three = Instances(found.boxes, found.scores, ids, found.masks, HW)
    with pytest.raises(LabelMismatch, match=r'"nut": .*; "bolt": ') as caught:
        plan_push(session, task.id, {0: three}, ("cell", "nut", "bolt"))
    assert "map" in caught.value.hint.lower()
    mapping = {"nut": "thing", "bolt": None}
    choices = PushChoices(mapping=mapping)
    plan = plan_push(session, task.id, {0: three}, ("cell", "nut", "bolt"), choices=choices)
    assert {row.label: row.add for row in plan.labels} == {"cell": 1, "thing": 1}


class _Read(dict):
    """Predictions that count how often one is read."""

    times = 0

    def __getitem__(self, frame):
        self.times += 1
        return super().__getitem__(frame)


def test_what_is_known_to_be_there_is_checked_before_frames_are_read(session, task):
    found = _Read({0: discs(THREE), 1: discs(THREE)})
    with pytest.raises(LabelMismatch, match='"nut": the task has no label'):
        plan_push(session, task.id, found, ("nut",), present=[0])
    assert found.times == 0
    with pytest.raises(LabelMismatch, match='"nut": the task has no label'):
        plan_push(session, task.id, found, ("nut",), present=[])  # what was said was wrong
    assert plan_push(session, task.id, found, ("cell",), present=[0]).num_add == 6


def test_a_label_that_takes_other_shapes_is_a_mismatch(session, task):
    boxes = Instances(discs(THREE).boxes, np.ones(3, np.float32), np.zeros(3, np.int32), None, HW)
    with pytest.raises(LabelMismatch, match="takes only mask shapes, the model gives boxes"):
        plan_push(session, task.id, {0: boxes}, ("cell",))


def test_a_label_without_objects_does_not_stop_a_push(session, task):
    plan = plan_push(session, task.id, {0: discs(THREE)}, ("cell", "unknown"))
    assert [m.problem for m in plan.matches] == ["", 'the task has no label "unknown"']


def test_frames_that_cannot_take_objects_are_listed(session, task):
    path = f"/api/tasks/{task.id}/data/meta"
    session.transport.json("PATCH", path, doing="deleting", body={"deleted_frames": [1]})
    found = {0: discs(THREE), 1: discs(THREE[:2]), 9: discs(THREE[:1])}
    plan = plan_push(session, task.id, found, MODEL_LABELS)
    assert plan.num_add == 3
    assert [(s.frame, s.objects) for s in plan.skipped] == [(1, 2), (9, 1)]
    assert "deleted" in plan.skipped[0].reason


def test_objects_for_an_image_of_another_size_are_refused(session, task):
    wrong = Instances.empty((10, 10), masks=CropMasks.empty())
    with pytest.raises(UserInput, match="80×60 pixels"):
        plan_push(session, task.id, {0: wrong}, MODEL_LABELS)


def test_a_persons_object_about_the_same_thing_is_a_conflict_and_wins(session, task):
    # the box of the first disc, drawn a little larger, and under another label
    theirs = rectangle(session, task, [6, 6, 26, 26], label="thing")
    draw_by_hand(session, task, theirs)
    found = {0: discs(THREE)}
    plan = plan_push(session, task.id, found, MODEL_LABELS)
    assert (plan.num_add, plan.num_conflicts, plan.num_duplicates) == (2, 1, 0)
    choices = PushChoices(conflicts=Conflicts.ADD)
    anyway = plan_push(session, task.id, found, MODEL_LABELS, choices=choices)
    assert (anyway.num_add, anyway.num_conflicts) == (3, 1)


def test_a_persons_equal_object_is_a_duplicate(session, task, push):
    push({0: discs(THREE[:1])})
    (ours,) = live(session, task)
    edit(session, task, ours, source="manual")
    # one pixel of radius is an IoU below 0.9, the same radius a duplicate
    plan = plan_push(session, task.id, {0: discs([THREE[0], THREE[1]])}, MODEL_LABELS)
    assert (plan.num_add, plan.num_duplicates) == (1, 1)
    plan = plan_push(session, task.id, {0: discs([(15, 15, 6)])}, MODEL_LABELS)
    assert (plan.num_add, plan.num_duplicates, plan.num_conflicts) == (0, 0, 1)


def test_the_same_object_twice_in_one_prediction_is_pushed_once(session, task):
    plan = plan_push(session, task.id, {0: discs([THREE[0], THREE[0]])}, MODEL_LABELS)
    assert (plan.num_add, plan.num_duplicates) == (1, 1)


def test_lying_on_automatic_shapes_is_a_warning(session, task, push):
    push({0: discs([(15, 15, 8)])})
    plan = plan_push(session, task.id, {0: discs([(15, 15, 10)])}, MODEL_LABELS)
    assert plan.num_add == 1
    assert any("automatic shapes" in warning for warning in plan.warnings)


def test_lost_holes_are_a_warning(session, task):
    ring = discs([(30, 30, 15)])
    full = ring.masks.crop(0) & ~discs([(30, 30, 6)]).masks.crop(0)
    masks = CropMasks.from_crops([full], [(0, 0)])
    found = Instances(ring.boxes, ring.scores, ring.class_ids, masks, HW)
    plan = plan_push(session, task.id, {0: found}, ("outline",))
    hole = int(discs([(30, 30, 6)]).masks.areas()[0])
    assert any(f"1 objects differ by {hole} pixels" in warning for warning in plan.warnings)


# -- apply --------------------------------------------------------------------------------------


def test_a_push_is_read_back_and_people_s_shapes_are_untouched(session, task, push, tmp_path):
    draw_by_hand(session, task, rectangle(session, task, [1.25, 1, 9, 9.5], frame=1))
    before = live(session, task)
    plan, result = push({0: discs(THREE), 3: discs(THREE[:2])})
    assert (result.added, result.removed, result.missing, result.failed) == (5, 0, 0, ())
    assert result.is_verified
    assert result.human_unchanged
    after = live(session, task)
    assert [shape for shape in after if shape["id"] == before[0]["id"]] == before
    assert len(after) == 6
    assert {s["source"] for s in after if s["id"] != before[0]["id"]} == {"auto"}
    assert list(read_snapshot(tmp_path / "before.json.gz")) == before
    assert plan.num_add == result.added


def test_scores_are_kept_by_the_server_and_by_the_journal(session, task, push, journal):
    _, result = push({0: discs(THREE)})
    kept = {shape["id"]: shape["score"] for shape in live(session, task)}
    assert sorted(kept.values()) == [0.5, 0.7, 0.9]
    assert journal.scores(result.push_id) == kept


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_pull_of_a_push_gives_the_same_masks(session, task, push, journal, seed, count):
    rng = np.random.default_rng(seed)
    crops = [rng.random((rng.integers(1, 20), rng.integers(1, 20))) < 0.6 for _ in range(count)]
    # strips side by side, so that no two of them are about the same thing
    masks = CropMasks.from_crops(crops, [(20 * i, 5) for i in range(count)])
    ones = np.ones(count, np.float32)
    boxes = np.zeros((count, 4), np.float32)
    found = Instances(boxes, ones, np.zeros(count, np.int32), masks, HW)
    _, result = push({2: found})
    try:
        got = read_task(session, task.id).objects().frames[2]
        kept = [i for i in range(count) if crops[i].any()]
        assert len(got) == result.added == len(kept)
        order = np.argsort(got.instances.boxes[:, 0])
        for i, row in zip(kept, order.tolist(), strict=True):
            x, y, w, h = got.instances.masks.crops[row].tolist()
            back = np.zeros_like(crops[i])
            back[y - 5 : y - 5 + h, x - 20 * i : x - 20 * i + w] = got.instances.masks.crop(row)
            assert np.array_equal(back, crops[i])
    finally:
        undo_push(session, journal, result.push_id)
    assert live(session, task) == []


def test_a_second_push_of_the_same_run_adds_nothing(session, task, push):
    found = {0: discs(THREE), 3: discs(THREE)}
    push(found)
    before = contents(session, task)
    for mode in PushMode:
        plan, result = push(found, mode=mode)
        assert (plan.num_add, plan.num_duplicates, result.added) == (0, 6, 0)
        assert contents(session, task) == before


def test_a_task_that_changed_since_the_plan_is_not_pushed_to(session, task, journal, tmp_path):
    plan = plan_push(session, task.id, {0: discs(THREE)}, MODEL_LABELS)
    draw_by_hand(session, task, rectangle(session, task, [1, 1, 9, 9]))
    with pytest.raises(TaskChanged, match="had 0 shapes and has 1"):
        apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    assert len(live(session, task)) == 1
    assert journal.pushes() == []
    assert not (tmp_path / "s.gz").exists()


def test_replacing_our_own_push_leaves_other_automatic_shapes(session, task, push):
    other = rectangle(session, task, [30, 30, 50, 50], label="thing")
    theirs = draw_by_hand(session, task, other, source="auto")
    push({0: discs(THREE[:1]), 2: discs(THREE[:1])})
    plan, result = push({0: discs([(15, 15, 9)])}, mode=PushMode.REPLACE_OWN)
    assert (plan.num_add, plan.num_remove) == (1, 1)
    assert (result.added, result.removed) == (1, 1)
    assert result.human_unchanged
    after = live(session, task)
    assert theirs["id"] in {shape["id"] for shape in after}
    # the frame that the new prediction is silent about keeps what it had
    assert Counter(shape["frame"] for shape in after) == {0: 2, 2: 1}


def test_what_an_undo_brings_back_is_still_of_the_push_that_made_it(
    session, task, push, journal, tmp_path
):
    _, first = push({0: discs(THREE), 1: discs(THREE[:1])})
    _, second = push({0: discs([(15, 15, 9)])}, mode=PushMode.REPLACE_OWN)
    edited = next(shape for shape in live(session, task) if shape["frame"] == 1)
    edit(session, task, edited, occluded=True)
    everything = PushChoices(mode=PushMode.REPLACE_EVERYTHING)
    found = {0: discs([(70, 50, 4)]), 1: discs([(70, 50, 4)])}
    plan = plan_push(session, task.id, found, MODEL_LABELS, choices=everything, journal=journal)
    third = apply_push(
        session, plan, journal, snapshot=tmp_path / "third.gz", confirmed_task=task.id
    )
    assert undo_push(session, journal, third.push_id).restored == 2
    assert undo_push(session, journal, second.push_id).restored == 3
    last = undo_push(session, journal, first.push_id)
    # the one that a person edited stays theirs, under whatever number
    assert (last.deleted, last.gone, len(last.kept), last.is_verified) == (3, 0, 1, True)
    assert [shape["occluded"] for shape in live(session, task)] == [True]


def test_replacing_automatic_shapes_never_touches_people_s(session, task, push):
    auto = rectangle(session, task, [30, 30, 50, 50], label="thing")
    draw_by_hand(session, task, auto, source="auto")
    kept = [
        draw_by_hand(
            session, task, rectangle(session, task, [40 + i, 1, 48 + i, 6]), source=source
        )["id"]
        for i, source in enumerate(("manual", "semi-auto", "file"))
    ]
    plan, result = push({0: discs([(15, 15, 9)])}, mode=PushMode.REPLACE_AUTOMATIC)
    assert (plan.num_add, plan.num_remove, result.removed) == (1, 1, 1)
    assert result.human_unchanged
    ids = {shape["id"] for shape in live(session, task)}
    assert ids >= set(kept)
    assert len(ids) == 4


def test_an_automatic_shape_that_a_person_edited_is_theirs(session, task, push, journal):
    push({0: discs(THREE)})
    edited = live(session, task)[0]
    edit(session, task, edited, occluded=True)
    for mode in (PushMode.REPLACE_OWN, PushMode.REPLACE_AUTOMATIC):
        found = {0: discs([(70, 50, 4)])}
        choices = PushChoices(mode=mode)
        plan = plan_push(session, task.id, found, MODEL_LABELS, choices=choices, journal=journal)
        assert edited["id"] not in {shape["id"] for shape in plan.remove}
        assert len(plan.remove) == 2
        assert any("edited by people" in warning for warning in plan.warnings)


def test_replacing_our_own_needs_to_know_what_is_ours(session, task):
    choices = PushChoices(mode=PushMode.REPLACE_OWN)
    with pytest.raises(UserInput, match="workspace"):
        plan_push(session, task.id, {}, MODEL_LABELS, choices=choices)


def test_a_frame_that_cvat_refuses_does_not_stop_the_others(sandbox, session, task, push):
    def refuse_frame_one(method, path, forward):
        if method == "PATCH" and b'"frame": 1' in forward.body:
            return Answer(400, [], b'["label_id `7` is invalid"]')
        return forward()

    login = PasswordLogin("demo", "demo-password")
    with FaultProxy(sandbox.url) as proxy, connect(proxy.url, login, organisation="") as through:
        proxy.fault = refuse_frame_one
        found = {0: discs(THREE), 1: discs(THREE[:2]), 2: discs(THREE[:1])}
        _, result = push(found, through=through)
    (failed,) = result.failed
    assert (failed.frame, failed.shapes) == (1, 2)
    assert "label_id" in failed.reason
    assert (result.added, result.missing, result.is_verified) == (4, 0, False)
    assert Counter(shape["frame"] for shape in live(session, task)) == {0: 3, 2: 1}


def test_what_an_upgraded_cvat_refuses_to_delete_stays_alone(tmp_path):
    login, folder = PasswordLogin("demo", "demo-password"), tmp_path / "sandbox"
    with Sandbox(folder, version="2.39.0") as old, connect(old.url, login) as session:
        task = make_task(session, tmp_path)
        for numbers in (4, 6, 8):
            outline = rectangle(session, task, [1.0, 1, 9, 1, 9, 9, 1, 9][:numbers])
            draw_by_hand(session, task, {**outline, "type": "polygon"})
    with Sandbox(folder) as new, connect(new.url, login) as session:
        journal, before = Journal(tmp_path / "lsl.sqlite"), contents(session, task)
        choices = PushChoices(mode=PushMode.REPLACE_EVERYTHING)
        plan = plan_push(session, task.id, {0: discs(THREE)}, MODEL_LABELS, choices=choices)
        result = apply_push(
            session, plan, journal, snapshot=tmp_path / "s.gz", confirmed_task=task.id
        )
        (failed,) = result.failed
        assert (failed.frame, failed.shapes) == (0, 1)
        assert "invalid length" in failed.reason
        assert (result.added, result.removed, result.missing) == (3, 2, 0)
        assert not result.is_verified
        assert undo_push(session, journal, result.push_id).is_verified
        assert contents(session, task) == before


@pytest.mark.parametrize("version", ["2.30.0", "2.39.0"])
def test_older_servers_take_a_push_and_an_undo(tmp_path, version):
    journal = Journal(tmp_path / "lsl.sqlite")
    with (
        Sandbox(tmp_path / "sandbox", version=version) as old,
        connect(old.url, PasswordLogin("demo", "demo-password")) as session,
    ):
        task = make_task(session, tmp_path)
        plan = plan_push(session, task.id, {0: discs(THREE)}, MODEL_LABELS)
        assert any("keeps no scores" in warning for warning in plan.warnings)
        result = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
        assert result.is_verified
        assert sorted(journal.scores(result.push_id).values()) == [0.5, 0.7, 0.9]
        assert undo_push(session, journal, result.push_id).deleted == 3
        assert live(session, task) == []


# -- ground truth -------------------------------------------------------------------------------


def test_shapes_of_a_ground_truth_job_are_not_read_nor_written(session, task, push):
    body = {
        "type": "ground_truth",
        "task_id": task.id,
        "frame_selection_method": "manual",
        "frames": [0, 3],
    }
    truth = session.transport.json("POST", "/api/jobs", doing="creating", body=body)
    shape = rectangle(session, task, [1, 1, 9, 9])
    change_job(session, truth["id"], Action.CREATE, [{**shape, "attributes": []}])
    assert len(read_task(session, task.id).objects().frames[0]) == 0
    _, result = push({0: discs(THREE)})
    assert result.is_verified
    assert len(job_annotations(session, truth["id"])["shapes"]) == 1

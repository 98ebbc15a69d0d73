from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cvat_helpers import HW, Answer, FaultProxy, discs, make_task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsl_core.cvat import (
    Conflicts,
    PasswordLogin,
    PushChoices,
    PushMode,
    PushPhase,
    apply_push,
    connect,
    job_annotations,
    plan_push,
    read_snapshot,
    read_task,
    resume_push,
    task_annotations,
    task_jobs,
    task_labels,
    undo_push,
    verify_push,
)
from lsl_core.cvat.annotations import Action, change_job
from lsl_core.cvat.content import content_key
from lsl_core.cvat.journal import Batch, BatchState, Journal, Part, PushRecord
from lsl_core.cvat.sending import Sender
from lsl_core.errors import (
    CvatAuth,
    CvatUnreachable,
    LabelMismatch,
    RunCancelled,
    TaskChanged,
    UserInput,
)
from lsl_core.progress import NullProgress
from lsl_core.sandbox import Sandbox
from lsl_core.types import CropMasks, Instances

MODEL_LABELS = ("cell",)
THREE = [(15, 15, 8), (45, 20, 10), (60, 45, 7)]


@pytest.fixture
def task(session, tmp_path):
    return make_task(session, tmp_path, frames=4, segment=2)


@pytest.fixture
def push(session, task, journal, tmp_path):
    """Plan and push in one step, with the snapshot beside."""

    def run(found, *, through=None, settle_s=0.5, confirmed_task=None, **choices):
        with_session = through or session
        plan = plan_push(
            with_session,
            task.id,
            found,
            MODEL_LABELS,
            choices=PushChoices(**choices),
            journal=journal,
        )
        snapshot = tmp_path / "before.json.gz"
        result = apply_push(
            with_session,
            plan,
            journal,
            snapshot=snapshot,
            confirmed_task=confirmed_task,
            settle_s=settle_s,
        )
        return plan, result

    return run


def live(session, task):
    return task_annotations(session, task.id)["shapes"]


def contents(session, task):
    return Counter(content_key(shape) for shape in live(session, task))


def draw_by_hand(session, task, shape, *, source="manual"):
    """Draw as a person does, in the job of the frame; return the stored shape."""
    job = next(j for j in task_jobs(session, task.id) if j.covers(shape["frame"]))
    full = {"rotation": 0.0, "attributes": [], "group": 0, "source": source, **shape}
    return change_job(session, job.id, Action.CREATE, [full])[0]


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
        body={"shapes": [{**shape, **changes}], "tags": [], "tracks": []},
    )


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
    assert read_snapshot(tmp_path / "before.json.gz")["shapes"] == before
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


# -- interruptions ------------------------------------------------------------------------------


class _Killed(BaseException):
    """Stands for the end of the process."""


def test_a_push_killed_between_commit_and_journal_resumes_without_doubles(
    session, task, journal, tmp_path
):
    class Dying(Journal):
        def mark_done(self, *args):
            raise _Killed

    found = {0: discs(THREE), 3: discs(THREE)}
    plan = plan_push(session, task.id, found, MODEL_LABELS)
    with pytest.raises(_Killed):
        apply_push(session, plan, Dying(tmp_path / "lsl.sqlite"), snapshot=tmp_path / "s.gz")
    stored = len(live(session, task))
    assert stored > 0
    (record,) = journal.pushes(url=session.url, task_id=task.id)
    assert record.phase is PushPhase.OPEN
    assert journal.created_shapes(record.id) == {}

    result = resume_push(session, journal, record.id, settle_s=0.1)
    assert (result.added, result.is_verified) == (6, True)
    assert len(live(session, task)) == 6
    assert set(journal.created_shapes(record.id)) == {s["id"] for s in live(session, task)}
    assert undo_push(session, journal, record.id).deleted == 6


def test_a_push_killed_before_it_was_sent_resumes(session, task, journal, tmp_path):
    class Dying(Journal):
        def mark_sending(self, batch_id):
            super().mark_sending(batch_id)
            raise _Killed

    plan = plan_push(session, task.id, {0: discs(THREE)}, MODEL_LABELS)
    with pytest.raises(_Killed):
        apply_push(session, plan, Dying(tmp_path / "lsl.sqlite"), snapshot=tmp_path / "s.gz")
    assert live(session, task) == []
    result = resume_push(session, journal, journal.pushes()[0].id, settle_s=0.1)
    assert (result.added, result.is_verified) == (3, True)


def test_a_shape_that_was_there_before_is_never_taken_for_ours(session, task, journal):
    theirs = draw_by_hand(session, task, rectangle(session, task, [1, 1, 9, 9]), source="auto")
    job = task_jobs(session, task.id)[0]
    same = {key: value for key, value in theirs.items() if key != "id"}
    batch = Batch(0, job.id, Action.CREATE, Part.PUSH, (same,))
    record = PushRecord(
        "p", session.url, task.id, task.created, "", "add", "demo", 0.0, PushPhase.OPEN, "", {}
    )
    for known, state in (([theirs["id"]], BatchState.PLANNED), ([], BatchState.DONE)):
        push = replace(record, id=f"p{len(known)}")
        journal.begin(push, [batch])
        journal.mark_sending(journal.batches(push.id, Part.PUSH)[0].id)
        sender = Sender(session, journal, push.id, known_ids=known, settle_s=0.05)
        sender.settle(Part.PUSH)
        assert [b.state for b in journal.batches(push.id, Part.PUSH)] == [state]


def test_a_cancelled_push_stays_open_and_can_be_undone(session, task, journal, tmp_path):
    class Stop(NullProgress):
        def __init__(self):
            self.checks = 0

        def check(self):
            self.checks += 1
            if self.checks > 1:
                raise RunCancelled("stopped")

    plan = plan_push(session, task.id, {0: discs(THREE), 3: discs(THREE)}, MODEL_LABELS)
    with pytest.raises(RunCancelled):
        apply_push(session, plan, journal, snapshot=tmp_path / "s.gz", progress=Stop())
    (record,) = journal.pushes()
    assert len(live(session, task)) == 3
    undone = undo_push(session, journal, record.id)
    assert (undone.deleted, undone.is_verified) == (3, True)
    assert live(session, task) == []
    assert journal.get(record.id).phase is PushPhase.UNDONE
    with pytest.raises(UserInput, match="not open"):
        resume_push(session, journal, record.id)


def _faulty(kind, times):
    """Return a fault that hits the first `times` writes of annotations."""
    hits: list[str] = []

    def fault(method, path, forward):
        if method != "PATCH" or "action=create" not in path or len(hits) >= times:
            return forward()
        hits.append(path)
        if kind == "refused 429":
            return Answer(429, [("Retry-After", "0")], b"{}")
        if kind == "cut before":
            return None
        answer = forward()
        if kind == "cut after":
            return None
        if kind == "cut in the middle":
            answer.body = answer.body[: len(answer.body) // 2]
            return answer
        return Answer(int(kind.split()[0]), [], b"<h1>trouble</h1>")

    return fault


@pytest.mark.parametrize(
    "kind",
    ["cut before", "cut after", "cut in the middle", "504 after", "502 after", "500 after",
     "refused 429"],
)  # fmt: skip
def test_an_answer_that_got_lost_doubles_nothing(sandbox, session, task, push, kind):
    with FaultProxy(sandbox.url) as proxy:
        login = PasswordLogin("demo", "demo-password")
        with connect(proxy.url, login, organisation="") as through:
            proxy.fault = _faulty(kind, times=2)
            _, result = push({0: discs(THREE), 3: discs(THREE)}, through=through, settle_s=0.1)
    assert (result.added, result.is_verified) == (6, True)
    assert len(live(session, task)) == 6


def test_a_server_that_goes_away_leaves_a_push_that_resumes(
    sandbox, session, task, journal, tmp_path, monkeypatch
):
    monkeypatch.setattr("lsl_core.cvat.sending._RETRY_WAITS_S", (0.01,))
    login = PasswordLogin("demo", "demo-password")
    with FaultProxy(sandbox.url) as proxy, connect(proxy.url, login, organisation="") as through:
        plan = plan_push(through, task.id, {0: discs(THREE)}, MODEL_LABELS)
        proxy.fault = lambda m, path, forward: None if m == "PATCH" else forward()
        with pytest.raises(CvatUnreachable):
            apply_push(through, plan, journal, snapshot=tmp_path / "s.gz", settle_s=0.05)
        proxy.fault = lambda m, path, forward: forward()
        (record,) = journal.pushes()
        assert resume_push(through, journal, record.id, settle_s=0.05).added == 3
    assert len(live(session, task)) == 3


def test_a_session_that_ends_in_the_middle_can_be_resumed(
    sandbox, session, task, journal, tmp_path
):
    login = PasswordLogin("demo", "demo-password")
    expired = Answer(401, [], b'{"detail": "Invalid token."}')
    with FaultProxy(sandbox.url) as proxy, connect(proxy.url, login, organisation="") as through:
        plan = plan_push(through, task.id, {0: discs(THREE)}, MODEL_LABELS)
        proxy.fault = lambda m, path, forward: expired if m == "PATCH" else forward()
        with pytest.raises(CvatAuth):
            apply_push(through, plan, journal, snapshot=tmp_path / "s.gz")
        proxy.fault = lambda m, path, forward: forward()
        assert resume_push(through, journal, journal.pushes()[0].id).is_verified


# -- undo ---------------------------------------------------------------------------------------


def test_undo_takes_exactly_ours_and_leaves_what_a_person_edited(session, task, push, journal):
    human = draw_by_hand(session, task, rectangle(session, task, [1, 1, 9, 9], frame=1))
    _, result = push({0: discs(THREE), 3: discs(THREE[:1])})
    ours = [shape for shape in live(session, task) if shape["id"] != human["id"]]
    edit(session, task, ours[0], points=[*ours[0]["points"][:-4], 1, 1, 17, 17])
    job = next(j for j in task_jobs(session, task.id) if j.covers(ours[1]["frame"]))
    change_job(session, job.id, Action.DELETE, [ours[1]])

    undone = undo_push(session, journal, result.push_id)
    assert (undone.deleted, undone.gone, undone.restored) == (2, 1, 0)
    assert [kept.shape_id for kept in undone.kept] == [ours[0]["id"]]
    assert undone.is_verified
    assert {s["id"] for s in live(session, task)} == {human["id"], ours[0]["id"]}
    with pytest.raises(UserInput, match="undone already"):
        undo_push(session, journal, result.push_id)


def test_undo_of_a_replacement_brings_back_what_was_there(session, task, push, journal):
    push({0: discs(THREE)})
    before = contents(session, task)
    _, result = push({0: discs([(15, 15, 9)])}, mode=PushMode.REPLACE_OWN)
    assert contents(session, task) != before
    undone = undo_push(session, journal, result.push_id)
    assert (undone.deleted, undone.restored, undone.is_verified) == (1, 3, True)
    assert contents(session, task) == before


def test_an_undo_that_was_killed_goes_on(session, task, push, journal, tmp_path):
    class Dying(Journal):
        def mark_done(self, *args):
            raise _Killed

    _, result = push({0: discs(THREE), 3: discs(THREE)})
    with pytest.raises(_Killed):
        undo_push(session, Dying(tmp_path / "lsl.sqlite"), result.push_id)
    assert journal.get(result.push_id).phase is PushPhase.UNDOING
    undone = undo_push(session, journal, result.push_id)
    assert (undone.deleted, undone.is_verified) == (6, True)
    assert live(session, task) == []


def test_a_shape_edited_while_the_undo_was_interrupted_stays(
    session, task, push, journal, tmp_path
):
    class Dying(Journal):
        def mark_sending(self, *args):
            raise _Killed

    _, result = push({0: discs(THREE)})
    with pytest.raises(_Killed):
        undo_push(session, Dying(tmp_path / "lsl.sqlite"), result.push_id)
    edited = live(session, task)[1]
    edit(session, task, edited, occluded=True)
    undone = undo_push(session, journal, result.push_id)
    assert [shape["id"] for shape in live(session, task)] == [edited["id"]]
    assert [kept.shape_id for kept in undone.kept] == [edited["id"]]
    assert undone.deleted == 2


def test_verifying_later_sees_what_changed(session, task, push, journal):
    human = draw_by_hand(session, task, rectangle(session, task, [1, 1, 9, 9], frame=1))
    _, result = push({0: discs(THREE)})
    assert verify_push(session, journal, result.push_id) == result
    edit(session, task, human, points=[2, 2, 9, 9])
    first = next(shape for shape in live(session, task) if shape["source"] == "auto")
    edit(session, task, first, occluded=True)
    now = verify_push(session, journal, result.push_id)
    assert (now.added, now.missing, now.human_unchanged) == (2, 1, False)


def test_a_push_belongs_to_its_server(sandbox, session, push, journal, tmp_path):
    _, result = push({0: discs(THREE)})
    with (
        Sandbox(tmp_path / "other") as other,
        connect(other.url, PasswordLogin("demo", "demo-password")) as elsewhere,
        pytest.raises(UserInput, match=f"went to {sandbox.url}"),
    ):
        undo_push(elsewhere, journal, result.push_id)


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

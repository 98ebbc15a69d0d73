"""A push that is killed, cut off, cancelled or taken back."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from cvat_helpers import Answer, FaultProxy, discs, make_task
from push_helpers import MODEL_LABELS, THREE, contents, draw_by_hand, edit, live, rectangle

from lsl_core.cvat import (
    PasswordLogin,
    PushMode,
    PushPhase,
    apply_push,
    connect,
    plan_push,
    resume_push,
    task_jobs,
    undo_push,
    verify_push,
)
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.cvat.push.journal import Batch, BatchState, Journal, Part, PushRecord
from lsl_core.cvat.push.sending import Sender
from lsl_core.errors import (
    CvatAuth,
    CvatUnreachable,
    RunCancelled,
    UserInput,
)
from lsl_core.progress import NullProgress
from lsl_core.sandbox import Sandbox


@pytest.fixture
def task(session, tmp_path):
    return make_task(session, tmp_path, frames=4, segment=2)


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
    assert not journal.count_created(record.id)

    result = resume_push(session, journal, record.id, settle_s=0.1)
    assert (result.added, result.is_verified) == (6, True)
    assert len(live(session, task)) == 6
    assert set(dict(journal.created(record.id))) == {
        ("shapes", s["id"]) for s in live(session, task)
    }
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
    for known, state in (([("shapes", theirs["id"])], BatchState.PLANNED), ([], BatchState.DONE)):
        push = replace(record, id=f"p{len(known)}")
        journal.begin(push, [batch])
        journal.mark_sending(journal.batches(push.id, Part.PUSH)[0].id)
        sender = Sender(session, journal, push.id, known=known, settle_s=0.05)
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


def test_what_is_stored_while_the_last_look_is_on_its_way_is_not_sent_again(
    sandbox, session, task, push
):
    """The server stores late, and its answer to the look that began before comes after."""
    settle_s, late = 0.3, []

    def fault(method, path, forward):
        if method == "PATCH" and not late:
            late.append(forward)
            return Answer(504, [], b"<h1>504 Gateway Time-out</h1>")
        answer = forward()
        if method == "GET" and f"jobs/{job.id}/annotations" in path and len(late) == 1:
            late.append(late[0]())
            time.sleep(settle_s)
        return answer

    job = task_jobs(session, task.id)[0]
    with FaultProxy(sandbox.url) as proxy:
        login = PasswordLogin("demo", "demo-password")
        with connect(proxy.url, login, organisation="") as through:
            proxy.fault = fault
            _, result = push({0: discs(THREE)}, through=through, settle_s=settle_s)
    assert len(late) == 2
    assert (result.added, result.is_verified) == (3, True)
    assert len(live(session, task)) == 3


def test_a_server_that_goes_away_leaves_a_push_that_resumes(
    sandbox, session, task, journal, tmp_path, monkeypatch
):
    monkeypatch.setattr("lsl_core.cvat.push.sending._RETRY_WAITS_S", (0.01,))
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
    assert [kept.id for kept in undone.kept] == [ours[0]["id"]]
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
    assert [kept.id for kept in undone.kept] == [edited["id"]]
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

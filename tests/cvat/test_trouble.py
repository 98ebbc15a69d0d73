"""Randomised pushes and pulls through a proxy that breaks things; kill -9 at random instants.

A few by default; `LSL_TROUBLE_RUNS=1000 LSL_KILL_RUNS=200` asks for more.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter

import numpy as np
import pytest
import urllib3
from cvat_helpers import FaultProxy, make_task
from nursery import Nursery
from random_work import (
    AFTER,
    BEFORE,
    SETTLE_S,
    draw_people,
    random_predictions,
    require_planned,
    shapes_of,
    trouble,
)

from lsl_core.cvat import (
    Journal,
    PasswordLogin,
    PushChoices,
    PushMode,
    PushPhase,
    apply_push,
    connect,
    plan_push,
    pull_frames,
    read_task,
    resume_push,
    undo_push,
)
from lsl_core.cvat.annotations.content import content_key
from lsl_core.errors import CvatError

RUNS = int(os.environ.get("LSL_TROUBLE_RUNS", "6"))
FIRST_SEED = int(os.environ.get("LSL_TROUBLE_SEED", "0"))
KILLS = int(os.environ.get("LSL_KILL_RUNS", "5"))
#: More than this many attempts are no bad luck any more.
ATTEMPTS = 60
#: Share of all requests that meet trouble.
SHARE = 0.08

#: Seconds that a run, and a kill, may take on a busy machine.
RUN_S, KILL_S = 20, 20
#: By how much the longest wait for a kill changes after one that came too late, and after others:
#: three of four kills find work going on, however fast the machine is at the time.
LATE, EARLY = 0.91, 1.03


@pytest.fixture(scope="module")
def task(sandbox, tmp_path_factory):
    login = PasswordLogin("demo", "demo-password")
    with connect(sandbox.url, login, organisation="") as session:
        yield make_task(session, tmp_path_factory.mktemp("task"), frames=4, segment=2)


@pytest.fixture
def quick(monkeypatch):
    """The same work with short waits and many small batches."""
    monkeypatch.setattr("lsl_core.cvat.push.sending._RETRY_WAITS_S", (0.01, 0.02, 0.03))
    monkeypatch.setattr("lsl_core.cvat.push.sending._BATCH_SHAPES", 5)


def insist(work):
    """Do work again until the server lets it pass, as a person would."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(CvatError):
            return work()
    raise AssertionError(f"not through after {ATTEMPTS} attempts")


def push_through(session, plan, journal, snapshot):
    """Push a plan, or resume it where it stopped, until it is done."""

    def work():
        newest = [r for r in journal.pushes() if r.phase is PushPhase.OPEN]
        if newest:
            return resume_push(session, journal, newest[0].id, settle_s=SETTLE_S)
        return apply_push(session, plan, journal, snapshot=snapshot, settle_s=SETTLE_S)

    return insist(work)


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(120 + RUN_S * RUNS)
def test_random_trouble_loses_nothing_and_doubles_nothing(sandbox, session, task, tmp_path):
    seen: Counter[str] = Counter()
    login = PasswordLogin("demo", "demo-password")
    sent = {path.name: path.read_bytes() for path in _uploaded(sandbox, session, task, tmp_path)}
    with FaultProxy(sandbox.url) as proxy, connect(proxy.url, login, organisation="") as through:
        through.transport.use_retries(
            urllib3.Retry(total=2, status_forcelist=(502, 503, 504), raise_on_status=False)
        )
        for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
            rng = np.random.default_rng(seed)
            people = draw_people(session, task, rng)
            folder = tmp_path / str(seed)
            folder.mkdir()
            journal = Journal(folder / "j.sqlite")
            proxy.fault = trouble(rng, SHARE, seen)
            _push_twice_and_undo(through, session, task, rng, people, journal, folder)
            _pull_all(through, task, folder, sent)
            proxy.fault = lambda method, path, forward: forward()
    assert RUNS < 40 or set(seen) == {*BEFORE, *AFTER}, "not every kind of trouble came up"
    sys.stdout.write(f"{RUNS} runs, trouble: {dict(seen)}\n")


def _uploaded(sandbox, session, task, tmp_path):
    pulled = pull_frames(session, task.id, tmp_path / "quiet")
    assert not pulled.failed
    return pulled.paths


def _push_twice_and_undo(through, direct, task, rng, people, journal, folder):
    first = random_predictions(rng)
    plan = insist(lambda: plan_push(through, task.id, first, ("cell",), journal=journal))
    result = push_through(through, plan, journal, folder / "1.gz")
    assert result.is_verified
    assert result.human_unchanged
    after = shapes_of(direct, task)
    require_planned(people, plan, after)

    again = insist(lambda: plan_push(through, task.id, first, ("cell",), journal=journal))
    assert again.does_nothing
    objects = insist(lambda: read_task(through, task.id)).objects()
    assert sum(map(len, objects.frames.values())) == len(after)

    mode = PushMode(rng.choice([m.value for m in PushMode if m is not PushMode.REPLACE_EVERYTHING]))
    second = random_predictions(rng)
    plan = insist(
        lambda: plan_push(
            through, task.id, second, ("cell",), choices=PushChoices(mode=mode), journal=journal
        )
    )
    result = push_through(through, plan, journal, folder / "2.gz")
    assert result.is_verified
    require_planned(after, plan, shapes_of(direct, task))

    def undo():
        if journal.get(result.push_id).phase is PushPhase.UNDONE:
            return None
        return undo_push(through, journal, result.push_id, settle_s=SETTLE_S)

    undone = insist(undo)
    assert undone is None or undone.is_verified
    now = shapes_of(direct, task)
    assert Counter(map(content_key, now)) == Counter(map(content_key, after))
    ids = {shape["id"] for shape in people}
    assert [shape for shape in now if shape["id"] in ids] == people


def _pull_all(through, task, folder, sent):
    pulled = insist(lambda: pull_frames(through, task.id, folder / "store"))
    for _ in range(ATTEMPTS):
        if not pulled.failed:
            break
        pulled = insist(lambda: pull_frames(through, task.id, folder / "store"))
    assert {path.name: path.read_bytes() for path in pulled.paths} == sent
    assert len(pulled.refs) == 4


@pytest.fixture
def nursery(sandbox):
    with Nursery(sandbox.url) as running:
        yield running


@pytest.mark.timeout(120 + KILL_S * KILLS)
def test_killed_at_any_instant_a_push_resumes_and_an_undo_goes_on(session, task, nursery, tmp_path):
    people = draw_people(session, task, np.random.default_rng(7))
    push_s = undo_s = nursery.run(_folder(tmp_path, "whole"), task.id, 1)
    phases: Counter[str] = Counter()
    for number in range(KILLS):
        rng = np.random.default_rng(1000 + number)
        people = draw_people(session, task, rng)
        folder = _folder(tmp_path, str(number))
        nursery.run(folder, task.id, number, kill_after_s=rng.uniform(0, push_s))
        journal = Journal(folder / "j.sqlite")
        phases[_phase(journal)] += 1
        push_s *= LATE if _phase(journal) == PushPhase.DONE else EARLY
        predictions = random_predictions(np.random.default_rng(number))
        plan = plan_push(session, task.id, predictions, ("cell",), journal=journal)
        opened = [r for r in journal.pushes() if r.phase is PushPhase.OPEN]
        if opened:
            result = resume_push(session, journal, opened[0].id, settle_s=SETTLE_S)
        elif not journal.pushes():
            result = apply_push(session, plan, journal, snapshot=folder / "s.gz")
        push_id = journal.pushes()[0].id
        assert not opened or result.is_verified
        after = shapes_of(session, task)
        _require_exactly(session, task, people, after, predictions, journal)

        nursery.run(folder, task.id, number, undo=push_id, kill_after_s=rng.uniform(0, undo_s))
        phases[_phase(journal)] += 1
        undo_s *= LATE if _phase(journal) == PushPhase.UNDONE else EARLY
        if journal.get(push_id).phase is not PushPhase.UNDONE:
            assert undo_push(session, journal, push_id, settle_s=SETTLE_S).is_verified
        assert shapes_of(session, task) == people
    sys.stdout.write(f"{KILLS} kills of a push, {KILLS} of an undo; found {dict(phases)}\n")


def _folder(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    return folder


def _phase(journal):
    return next((record.phase.value for record in journal.pushes()), "not begun")


def _require_exactly(session, task, people, after, predictions, journal):
    """See that everything planned is there once: what a plan on the empty task would add."""
    assert [shape for shape in after if shape["source"] != "auto"] == people
    ours = [shape for shape in after if shape["source"] == "auto"]
    (record,) = journal.pushes()
    assert len(ours) == record.summary["add"]
    assert len({content_key(shape) for shape in ours}) == len(ours)
    assert set(dict(journal.created(record.id))) == {("shapes", shape["id"]) for shape in ours}
    assert plan_push(session, task.id, predictions, ("cell",), journal=journal).does_nothing

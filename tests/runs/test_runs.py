from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lsl_core.errors import UserInput
from lsl_core.progress import Progress
from lsl_core.runs import Order, Queue, RunStore
from lsl_core.runs.store import _MIGRATIONS
from lsl_core.types import Mode, RunPhase
from lsl_core.workspace import Database, Workspace

HERE = f"{__name__}"


def count(workspace: Workspace, *, to: int, progress: Progress) -> dict[str, Any]:
    progress.start("Counting", total=to, unit="numbers")
    for i in range(to):
        progress.check()
        progress.advance()
        progress.metric("square", i * i, at=i)
    return {"last": to, "root": str(workspace.root)}


def wait_for_cancel(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    while True:
        time.sleep(0.05)
        progress.check()


def ask_the_impossible(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    raise UserInput("Task 41 has no images.", hint="Upload some.", detail="log only")


def break_down(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    raise ZeroDivisionError("our bug")


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue(Workspace.create(tmp_path / "w", mode=Mode.FSIS))
    monkeypatch.setattr(made, "ensure_worker", lambda: None)
    return made


def submit(queue: Queue, function: str, **arguments: Any) -> str:
    order = Order(f"{HERE}:{function}", arguments)
    return queue.submit(order, kind="test", subject=function, owner="ana")


def test_a_run_leaves_its_result_progress_and_figures(queue: Queue) -> None:
    run_id = submit(queue, "count", to=5)
    assert queue.store.get(run_id).phase is RunPhase.QUEUED
    assert queue.work_once()
    run = queue.store.get(run_id)
    assert run.phase is RunPhase.DONE
    assert (run.step, run.done, run.total, run.unit) == ("Counting", 5, 5, "numbers")
    assert run.result == {"last": 5, "root": str(queue.workspace.root)}
    assert queue.store.metrics(run_id)["square"] == [(i, i * i) for i in range(5)]
    assert not queue.work_once()


def find_all_there(workspace: Workspace, *, progress: Progress) -> dict[str, Any]:
    progress.start("Packing", total=0, unit="")
    progress.start("Loading", total=3000, unit="images")
    progress.advance(3000)
    found = Queue(workspace).store.recent(active=True)[0]
    return {"done": found.done}


def test_a_step_that_ended_at_once_is_seen_as_ended(queue: Queue) -> None:
    run_id = submit(queue, "find_all_there")
    queue.work_once()
    assert queue.store.get(run_id).result == {"done": 3000}
    lines = [text for _, text in queue.store.log(run_id)]
    assert lines[:2] == ["Packing", "Loading: 3000 images"]


def test_a_failure_is_told_in_its_own_words(queue: Queue) -> None:
    run_id = submit(queue, "ask_the_impossible")
    queue.work_once()
    run = queue.store.get(run_id)
    assert (run.phase, run.message, run.hint) == (
        RunPhase.FAILED,
        "Task 41 has no images.",
        "Upload some.",
    )
    assert "log only" in queue.store.log(run_id)[-1][1]


def test_our_own_bug_is_logged_and_the_worker_goes_on(queue: Queue) -> None:
    broken, fine = submit(queue, "break_down"), submit(queue, "count", to=1)
    queue.work_once()
    queue.work_once()
    assert queue.store.get(broken).phase is RunPhase.FAILED
    assert "ZeroDivisionError" in queue.store.log(broken)[-1][1]
    assert queue.store.get(fine).phase is RunPhase.DONE


def test_a_waiting_run_is_cancelled_at_once(queue: Queue) -> None:
    run_id = submit(queue, "count", to=5)
    queue.store.cancel(run_id)
    assert queue.store.get(run_id).phase is RunPhase.CANCELLED
    queue.work_once()
    assert queue.store.get(run_id).phase is RunPhase.CANCELLED


def test_a_run_that_is_to_be_alone_is_refused_while_its_twin_waits(queue: Queue) -> None:
    order = Order("tests.nowhere:nothing", {})
    same = {"kind": "restore", "subject": "snapshot 1", "alone": True}
    first = queue.store.add(order, owner="ana", **same)
    with pytest.raises(UserInput, match="under way already, asked for by ana"):
        queue.store.add(order, owner="ben", **same)
    queue.store.add(order, owner="ben", kind="restore", subject="snapshot 2", alone=True)
    queue.store.cancel(first)
    queue.store.add(order, owner="ben", **same)


def test_unknown_runs_say_so(queue: Queue) -> None:
    with pytest.raises(UserInput, match='no run "nope"'):
        queue.store.get("nope")


def test_a_run_taken_by_a_dead_worker_is_put_back(queue: Queue) -> None:
    run_id = submit(queue, "count", to=1)
    queue._huey.dequeue()
    assert not queue.work_once()
    queue.requeue()
    assert queue.work_once()
    assert queue.store.get(run_id).phase is RunPhase.DONE


def until(check: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def test_a_worker_process_runs_cancels_and_its_death_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(Path(__file__).parent)]))
    queue = Queue(Workspace.create(tmp_path / "w", mode=Mode.FSIS))
    order = Order(f"{Path(__file__).stem}:wait_for_cancel", {})
    first = queue.submit(order, kind="test", subject="first", owner="ana")
    until(lambda: queue.store.get(first).phase is RunPhase.RUNNING)
    queue.store.cancel(first)
    until(lambda: queue.store.get(first).phase is RunPhase.CANCELLED)

    second = queue.submit(order, kind="test", subject="second", owner="ana")
    until(lambda: queue.store.get(second).phase is RunPhase.RUNNING)
    assert queue.mark_lost() == []
    os.kill(worker_of(queue), signal.SIGKILL)
    until(lambda: not queue.has_worker())
    assert [run.id for run in queue.mark_lost()] == [second]
    assert queue.store.get(second).phase is RunPhase.LOST


def worker_of(queue: Queue) -> int:
    return int((queue.workspace.data / "worker.pid").read_text())


@pytest.mark.parametrize("old", [
    "modelling:run_train", "pretrained:run_pull", "predicting:run_predict_task",
    "pushing:run_push", "pushing:run_resume", "exporting:run_export",
    "labelstudio:run_train_project", "backup_runs:run_backup", "sourcing:run_import_task",
])  # fmt: skip
def test_a_run_asked_for_before_the_services_had_rooms_is_found(tmp_path: Path, old: str) -> None:
    path = tmp_path / "lsl.db"
    with Database(path, room="runs", migrations=_MIGRATIONS[:1]).write() as db:
        db.execute(
            "INSERT INTO runs (id, kind, subject, owner, function, arguments, phase, created)"
            " VALUES ('old', '', '', '', ?, '{}', 'queued', 0)",
            (f"lsl_core.services.{old}",),
        )
    module, _, function = RunStore(path).order("old").function.partition(":")
    assert callable(getattr(importlib.import_module(module), function))

from __future__ import annotations

import pytest
from app_world import words

from lsl_core.errors import TrainingDiverged
from lsl_core.runs import RunStore
from lsl_core.services import activity
from lsl_core.types import Mode, RunPhase, SlideWindows
from lsl_core.ui import keys


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch) -> None:
    monkeypatch.setattr("lsl_core.runs.queue.Queue.ensure_worker", lambda self: None)


def submit(workspace) -> str:
    return activity.submit_training(
        workspace, source="belt line", name="belt", mode=Mode.FSIS, owner="ana", minutes=1.5
    )


def test_nothing_was_started_yet(open_page) -> None:
    assert "No work was given to the background yet" in words(open_page("activity"))


def test_a_waiting_run_is_listed_and_can_be_cancelled(open_page, workspace) -> None:
    run_id = submit(workspace)
    app = open_page("activity")
    row = app.dataframe[0].value.iloc[0]
    assert (row["State"], row["What"], row["By"]) == (
        "Waiting",
        "Training belt on belt line",
        "ana",
    )
    app.button(key=keys.ACTIVITY_CANCEL).click().run()
    assert activity.get_run(workspace, run_id).phase is RunPhase.CANCELLED


def test_a_failed_run_says_why_what_to_do_and_can_run_again(open_page, workspace) -> None:
    run_id = submit(workspace)
    store = RunStore(workspace.database)
    store.note(run_id, "read 12 images")
    store.end(run_id, RunPhase.FAILED, message="The source is empty.", hint="Import it again.")
    app = open_page("activity", run=run_id)
    assert "The source is empty" in words(app)
    assert "Import it again" in words(app)
    assert any("read 12 images" in code.value for code in app.code)
    app.button(key=keys.ACTIVITY_AGAIN).click().run()
    assert len(activity.list_runs(workspace)) == 2


def test_a_training_that_broke_runs_again_with_the_next_seed(workspace) -> None:
    run_id, store = submit(workspace), RunStore(workspace.database)
    for seed in ("1", "2"):
        error = TrainingDiverged(12)
        store.end(run_id, RunPhase.FAILED, message=error.message, hint=error.hint)
        run_id = activity.run_again(workspace, run_id)
        assert activity.run_command(workspace, run_id).endswith(f"--seed {seed}")
    store.end(run_id, RunPhase.LOST, message="Stopped unexpectedly.")
    again = activity.run_again(workspace, run_id)
    assert activity.run_command(workspace, again).endswith("--seed 2"), "it goes on where it was"


def test_every_run_shows_the_command_that_does_the_same(open_page, world) -> None:
    run_id = submit(world.workspace)
    assert activity.run_command(world.workspace, run_id) == (
        "lsl auto-label --train 'belt line' --task fsis --minutes 1.5"
    )
    run_id = activity.submit_prediction(
        world.workspace, world.session, task_id=7, model="belt-v1", slide=SlideWindows()
    )
    assert activity.run_command(world.workspace, run_id) == (
        "lsl cvat-inference --train belt-v1 --cvat-task-id 7 --slidewindow "
        "--slidewindow-size 1024 1024 --overlap 150 --dry-run"
    )
    run_id = activity.submit_import(world.workspace, world.session, task_id=7, name="good")
    app = open_page("activity", run=run_id)
    assert any("lsl import --cvat-task-id 7 --name good" in code.value for code in app.code)


def test_the_log_of_an_unknown_run_opens_the_newest(open_page, workspace) -> None:
    submit(workspace)
    app = open_page("activity", run="gone")
    assert "Training belt on belt line" in words(app)
    assert not app.error

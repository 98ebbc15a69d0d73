"""A training as a person starts it, watches it and cancels it, with the real worker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lsl_core.services import activity, workspaces
from lsl_core.services.models import versions
from lsl_core.services.workspaces import Workspace
from lsl_core.types import RunPhase, RunState
from lsl_core.ui import keys

sys.path.insert(0, str(Path(__file__).parents[1] / "app"))  # its world of tasks and previews

from app_world import World

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture
def workspace(tmp_path: Path):
    """Two images to learn and two to measure on; its runs end with the test."""
    workspace = workspaces.create_workspace(tmp_path / "belt")
    world = World(workspace, session=None)
    world.add_source("belt", images=2)
    world.add_source("measured", images=2, first=2)
    yield workspace
    for run in activity.list_runs(workspace, active=True):
        activity.cancel_run(workspace, run.id)


def until(workspace: Workspace, page, is_so: Callable[[RunState], bool]) -> RunState:
    """Wait until the training is so far; fail when it ends before."""
    while True:
        (run,) = activity.list_runs(workspace)
        if is_so(run):
            return run
        assert run.phase.is_active, f"{run.phase}: {run.message}"
        page.wait_for_timeout(200)


def is_worth_keeping(run: RunState) -> bool:
    """Whether the training itself, after the first pass, is a third through."""
    return run.step == "Training" and run.done * 3 >= run.total


def order(page) -> None:
    page.get_by_text("Time and evidence").click()
    minutes = page.get_by_role("slider")
    minutes.press("Home")
    minutes.press("ArrowRight")
    page.get_by_text("At most 1 min of steps").wait_for()
    page.locator(f".st-key-{keys.TRAIN_VALID}").get_by_role("combobox").click()
    page.get_by_role("option", name="measured").click()
    page.get_by_role("button", name="Train belt").click()


@pytest.mark.timeout(400)  # a busy machine still learns
def test_a_cancelled_training_keeps_its_best(workspace, serve, new_page) -> None:
    page = new_page()
    url = serve(APP, LSL_WORKSPACE=str(workspace.root), OMP_NUM_THREADS="1")
    page.goto(f"{url}/train?source=belt")
    order(page)
    main = page.locator("[data-testid=stMain]")
    main.get_by_text("Training belt on belt").wait_for()
    until(workspace, page, is_worth_keeping)
    main.locator(".js-plotly-plot").first.wait_for()
    main.get_by_role("button", name="Cancel").click()
    run = until(workspace, page, lambda run: run.phase is RunPhase.CANCELLED)
    assert run.hint == "belt-v1 is kept: the best until then."
    main.get_by_text("belt-v1 is kept").wait_for()
    kept = versions.get_model(workspace, "belt-v1")
    assert kept.settings["iterations"] > 0
    assert kept.metrics is not None
    assert kept.metrics.num_images == 2
    assert not activity.list_runs(workspace, active=True)

from __future__ import annotations

from pathlib import Path

import pytest

from lsl_core.runs import Order, RunStore
from lsl_core.services import workspaces
from lsl_core.services.models import training_cost
from lsl_core.services.workspaces import Workspace
from lsl_core.types import Mode, RunPhase


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspaces.create_workspace(tmp_path / "w", Mode.FSOD)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("lsl_core.runs.store.time.time", lambda: now[0])
    return now


def trained(
    workspace: Workspace, clock: list[float], *, steps: int, step_s: float, around_s: float,
    phase: RunPhase = RunPhase.DONE, **arguments: str,
) -> None:  # fmt: skip
    store = RunStore(workspace.database)
    order = Order("module:function", arguments)
    run_id = store.add(order, kind="train", subject="bolts on line", owner="ana")
    store.start(run_id)
    rows = [("seconds", at, at * step_s) for at in range(10, steps + 1, 10)]
    store.add_metrics(run_id, [("loss", 10, 1.0), *rows])
    clock[0] += steps * step_s + around_s
    store.end(run_id, phase)
    clock[0] += 1


def test_nothing_is_said_before_a_training_was_measured(workspace, clock) -> None:
    assert training_cost.estimate(workspace, family="compact") is None
    trained(workspace, clock, steps=50, step_s=1, around_s=5, phase=RunPhase.FAILED)
    trained(workspace, clock, steps=50, step_s=9, around_s=5, family="foundation")
    assert training_cost.estimate(workspace, family="compact") is None


def test_the_cost_is_the_median_of_the_last_trainings(workspace, clock) -> None:
    for _ in range(5):  # of the machine before this one
        trained(workspace, clock, steps=20, step_s=50, around_s=500)
    for step_s, around_s in ((0.1, 20), (0.2, 30), (0.1, 10), (0.3, 40), (5, 10)):
        trained(workspace, clock, steps=100, step_s=step_s, around_s=around_s, family="compact")
    cost = training_cost.estimate(workspace, family="compact")
    assert cost is not None
    assert cost.step_s == pytest.approx(0.2)
    assert cost.around_s == pytest.approx(20)
    assert cost.num_trainings == 5
    assert cost.steps(minutes=2) == 600

"""What a training costs on this machine, from the trainings that it has done."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from lsl_core.runs import RunStore
from lsl_core.types import RunPhase
from lsl_core.workspace import Workspace

__all__ = ["Cost", "estimate"]

#: Trainings that are looked at: older ones may have had another machine.
_RECENT = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """What a training will take.

    around_s: seconds beside the training steps, to load, measure and compare. step_s: seconds of a
    step, held-out checks and folds among them. num_trainings: how many it was measured on.
    """

    around_s: float
    step_s: float
    num_trainings: int

    def steps(self, minutes: float) -> int:
        """Return how many steps fit into a time."""
        return round(minutes * 60 / self.step_s)


def estimate(workspace: Workspace, *, family: str) -> Cost | None:
    """Return what a training takes, the median of the last ones that ended well here.

    Only runs of this workspace's worker count: they know their whole time, start and end.

    Args:
        workspace: which has runs.
        family: of models; one family says nothing of the other.

    Returns:
        None when there was no such training yet.
    """
    store = RunStore(workspace.database)
    around: list[float] = []
    steps: list[float] = []
    for run in store.recent():
        if run.kind != "train" or run.phase is not RunPhase.DONE or len(steps) == _RECENT:
            continue
        told = store.metrics(run.id).items()  # folds tell "seconds, fold 1 of 3"
        last = [points[-1] for name, points in told if name.startswith("seconds")]
        if not last or store.order(run.id).arguments.get("family", "compact") != family:
            continue
        spent = sum(seconds for _, seconds in last)
        steps.append(spent / sum(at for at, _ in last))
        around.append(max(0.0, (run.ended or 0.0) - (run.started or 0.0) - spent))
    return Cost(median(around), median(steps), len(steps)) if steps else None

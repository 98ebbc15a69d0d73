"""What a person chose in the viewer, and the objects that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lsl_core.types import Decision, Instances, View
from lsl_core.types.view import STEPS, percent


def _empty() -> Mapping[int, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ViewerState:
    """Everything that was chosen in the viewer for one image.

    threshold: lowest score shown, a whole number of percents in [0, 1].
    thresholds: class id -> threshold, for the labels that have one of their own.
    selected: id of the selected object, or None.
    decisions: object id -> decision. An id is the position in the packed `Instances`, unless
        `pack` was given others.
    image: the image that `selected` and `decisions` belong to.
    """

    threshold: float = 0.5
    thresholds: Mapping[int, float] = field(default_factory=_empty)
    selected: int | None = None
    decisions: Mapping[int, Decision] = field(default_factory=_empty)
    image: str = ""

    def limits(self, num_labels: int) -> NDArray[np.float32]:
        """Return the threshold of every label, (num_labels,), for `Instances.above`."""
        limits = np.full(num_labels, percent(self.threshold), np.float32)
        for class_id, value in self.thresholds.items():
            if 0 <= class_id < num_labels:
                limits[class_id] = percent(value)
        return limits / np.float32(STEPS)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Self:
        """Read what the browser sent; thresholds travel as whole percents."""
        return cls(
            threshold=message["threshold"] / STEPS,
            thresholds={int(k): v / STEPS for k, v in message["thresholds"].items()},
            selected=message["selected"],
            decisions={int(k): Decision(v) for k, v in message["decisions"].items()},
            image=message["image"],
        )

    def to_message(self) -> dict[str, Any]:
        """Return what the browser reads: the inverse of `from_message`."""
        return {
            "threshold": percent(self.threshold),
            "thresholds": {str(k): percent(v) for k, v in sorted(self.thresholds.items())},
            "selected": self.selected,
            "decisions": {str(k): str(v) for k, v in sorted(self.decisions.items())},
            "image": self.image,
        }


def levels(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return for each score the highest percent at which its object is still shown, (N,).

    `levels(scores) >= p` says the same as `scores >= float32(p) / float32(100)`, the comparison
    of `View`, for every whole p. The browser compares these whole numbers, so a score
    on the boundary cannot fall on different sides in float32 and in double.
    """
    steps = np.arange(STEPS + 1, dtype=np.float32) / np.float32(STEPS)
    return (np.searchsorted(steps, scores, side="right") - 1).astype(np.int32)


def shown_mask(
    instances: Instances, state: ViewerState, *, ids: NDArray[np.integer[Any]] | None = None
) -> NDArray[np.bool_]:
    """Return which objects the viewer shows and counts, (N,).

    Shown is what scores at least its label's threshold; what was kept is always in, what was
    rejected is always out. The viewer counts by the same rule.

    Args:
        instances: what was packed.
        state: what was chosen.
        ids: the ids given to `pack`, when they were not the positions.
    """
    num_labels = int(instances.class_ids.max(initial=-1)) + 1
    rows = range(len(instances)) if ids is None else ids.tolist()
    place = {row: i for i, row in enumerate(rows)}
    decisions = {place[row]: said for row, said in state.decisions.items() if row in place}
    limits = tuple(state.limits(num_labels).tolist())
    return View(limits, decisions=decisions).shows(instances)


def shown(
    instances: Instances, state: ViewerState, *, ids: NDArray[np.integer[Any]] | None = None
) -> Instances:
    """Return the objects that the viewer shows and counts; see `shown_mask`."""
    return instances.take(shown_mask(instances, state, ids=ids))

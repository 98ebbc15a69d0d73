"""What a person chose to see, and the one rule of what that shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lsl_core.types.instances import Instances

#: Thresholds are whole percents, here and in the browser, so that both compare alike.
STEPS = 100


def percent(threshold: float) -> int:
    """Return the whole percent nearest to a threshold, in [0, 100]."""
    return min(STEPS, max(0, round(threshold * STEPS)))


class Decision(StrEnum):
    """What a person said about one object."""

    KEEP = "keep"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class View:
    """A choice of what counts, over one prediction.

    thresholds: score in [0, 1] per class id; counts to the whole percent. mask_threshold: in
    (0, 1]. decisions: by position of the object in its prediction; they win over the threshold.
    """

    thresholds: tuple[float, ...]
    mask_threshold: float = 0.5
    decisions: dict[int, Decision] = field(default_factory=dict)

    def shows(self, instances: Instances) -> NDArray[np.bool_]:
        """Return which objects count, (N,) bool: kept, or at their threshold and not rejected."""
        return self.shows_scores(instances.scores, instances.class_ids)

    def shows_scores(
        self, scores: NDArray[np.float32], class_ids: NDArray[np.int32]
    ) -> NDArray[np.bool_]:
        """Return the same from the columns alone, (N,) bool."""
        percents = np.array([percent(threshold) for threshold in self.thresholds], np.float32)
        shown: NDArray[np.bool_] = scores >= (percents / np.float32(STEPS))[class_ids]
        for position, decision in self.decisions.items():
            if 0 <= position < len(shown):
                shown[position] = decision is Decision.KEEP
        return shown

    def of(self, instances: Instances) -> Instances:
        """Return the objects that count, with binary masks."""
        return instances.take(self.shows(instances)).binary(self.mask_threshold)

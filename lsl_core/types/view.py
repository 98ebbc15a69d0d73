"""What a person chose to see, and the one rule of what that shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lsl_core.types.instances import Instances

#: Scores are compared this much below the threshold, so that a score which is a threshold's own
#: value in another precision (float32 here, double in the browser) counts as reached.
SCORE_TOLERANCE = 1e-6


class Decision(StrEnum):
    """What a person said about one object."""

    KEEP = "keep"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class View:
    """A choice of what counts, over one prediction.

    thresholds: score in [0, 1] per class id. mask_threshold: in (0, 1]. decisions: by position
    of the object in its prediction; they win over the threshold.
    """

    thresholds: tuple[float, ...]
    mask_threshold: float = 0.5
    decisions: dict[int, Decision] = field(default_factory=dict)

    def shows(self, instances: Instances) -> NDArray[np.bool_]:
        """Return which objects count, (N,) bool: kept, or at their threshold and not rejected."""
        limit = np.asarray(self.thresholds, np.float64)
        shown = instances.scores.astype(np.float64) >= limit[instances.class_ids] - SCORE_TOLERANCE
        for position, decision in self.decisions.items():
            if 0 <= position < len(shown):
                shown[position] = decision is Decision.KEEP
        return shown

    def of(self, instances: Instances) -> Instances:
        """Return the objects that count, with binary masks."""
        return instances.take(self.shows(instances)).binary(self.mask_threshold)

"""What a prediction saves: the score threshold after which people have least left to do.

The work is counted in seconds of a person, `types.effort`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsl_core.training.scoring.score import Matches, matches
from lsl_core.types import Instances
from lsl_core.types.effort import DELETE_S, DRAW_BOX_S, DRAW_MASK_S, LOOK_S, MEND

#: Threshold of a label that the held-out images say nothing about.
USUAL_THRESHOLD = 0.3
#: Work within this share of the least is as good: the middle of that range is taken.
_AS_GOOD = 0.01


def best_thresholds(
    truth: Sequence[Instances], found: Sequence[Instances], labels: Sequence[str]
) -> dict[str, float]:
    """Return for each label the score above which correcting takes least time."""
    has_masks = any(t.masks is not None for t in found if len(t))
    draw_s = DRAW_MASK_S if has_masks else DRAW_BOX_S
    per_label = matches(truth, found, labels)
    return {name: _least_work(of, draw_s) for name, of in zip(labels, per_label, strict=True)}


def correction_seconds(of: Matches, draw_s: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the work when the best k objects of a label are shown, for k = 0 … N."""
    mended = of.right & ~of.close
    shown = LOOK_S + DELETE_S * ~of.right - draw_s * of.right + MEND * draw_s * mended
    return np.concatenate([[0.0], np.cumsum(shown)]) + of.wanted * draw_s


def _least_work(of: Matches, draw_s: float) -> float:
    if not of.wanted or not of.right.any():
        return USUAL_THRESHOLD
    work = correction_seconds(of, draw_s)[1:]
    good = np.flatnonzero(work <= work.min() * (1 + _AS_GOOD))
    middle = (of.scores[good[0]] + of.scores[good[-1]]) / 2
    return float(np.clip(round(float(middle), 2), 0.05, 0.95))

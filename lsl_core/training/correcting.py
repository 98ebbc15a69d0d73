"""What a prediction saves: the score threshold after which people have least left to do.

The work is counted in seconds of a person:

- every shown object is looked at (1.6 s: yes or no to a box, Papadopoulos et al., CVPR 2016,
  arXiv 1602.08405);
- a false one is also selected and deleted (1.6 s: point 1.1, click 0.2, key 0.28; the
  keystroke-level model of Card, Moran and Newell, CACM 1980);
- a missed one is drawn: a box by its four extreme points (7 s, Papadopoulos et al., ICCV 2017,
  arXiv 1708.02750), a mask with a click tool (26 s: 79 s for COCO's polygons, Lin et al., ECCV
  2014, divided by the 3 of Benenson et al., CVPR 2019, arXiv 1903.10830);
- one that is right only roughly, at IoU 0.5 but not at 0.75, is mended at half the price of
  drawing it: our assumption, nobody measured it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsl_core.training.score import Matches, matches
from lsl_core.types import Instances

LOOK_S = 1.6
DELETE_S = 1.6
DRAW_BOX_S = 7.0
DRAW_MASK_S = 26.0
MEND = 0.5
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

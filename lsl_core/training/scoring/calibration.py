"""Scores that are chances: two numbers fitted to what was right on the held-out images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from lsl_core.training.scoring.score import matches
from lsl_core.types import Instances

#: With fewer right or fewer false objects the raw scores are kept: two numbers need some evidence.
LEAST_EVIDENCE = 30
#: Pull towards leaving scores as they are (slope 1, shift 0), in observations.
_PULL = 2.0
_EDGE = 1e-6


def fit_calibration(
    truth: Sequence[Instances], found: Sequence[Instances], labels: Sequence[str]
) -> tuple[float, float] | None:
    """Fit the slope and shift of a logistic curve from raw scores to chances of being right.

    An object is right at IoU 0.5. The order of scores never changes, so neither does AP.

    Returns:
        (slope > 0, shift), or None when there is too little evidence.

    Source: Platt, Probabilistic Outputs for Support Vector Machines, 1999.
    """
    per_label = matches(truth, found, labels)
    scores = np.concatenate([np.zeros(0), *[of.scores for of in per_label]])
    right = np.concatenate([np.zeros(0), *[of.right for of in per_label]]) > 0
    if min(int(right.sum()), int((~right).sum())) < LEAST_EVIDENCE:
        return None
    inner = np.clip(scores, _EDGE, 1 - _EDGE)
    logits = np.log(inner / (1 - inner))

    def loss(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        slope, shift = np.exp(values[0]), values[1]
        z = slope * logits + shift
        likelihood = np.logaddexp(0, np.where(right, -z, z)).sum()
        return float(likelihood + _PULL * (values[0] ** 2 + values[1] ** 2))

    fitted = minimize(loss, np.zeros(2), method="L-BFGS-B")
    return round(float(np.exp(fitted.x[0])), 6), round(float(fitted.x[1]), 6)


def calibration_error(
    truth: Sequence[Instances], found: Sequence[Instances], labels: Sequence[str], *, bins: int = 10
) -> float:
    """Return the expected calibration error: how far scores are from shares that are right."""
    per_label = matches(truth, found, labels)
    scores = np.concatenate([np.zeros(0), *[of.scores for of in per_label]])
    right = np.concatenate([np.zeros(0), *[of.right for of in per_label]])
    place = np.minimum((scores * bins).astype(int), bins - 1)
    total = np.bincount(place, minlength=bins)
    gap = np.abs(np.bincount(place, scores - right, minlength=bins))
    return float(gap.sum() / max(1, total.sum()))

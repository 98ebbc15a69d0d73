"""The size of an object as evidence of its label, beside what the network sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsl_core.types import Hw

F32 = NDArray[np.float32]
#: Mean and spread of the logarithm of each label's size, as in the card; () tells nothing.
Sizes = tuple[tuple[float, float], ...]

#: A box that comes as near as this to the edge, in pixels, may be cut by it.
EDGE_PX = 1.0


def log_sizes(boxes: F32) -> F32:
    """Return the logarithm of the square root of the area of each box, (N,)."""
    logs: F32 = np.log(np.maximum(boxes[:, 2:] - boxes[:, :2], 1)).mean(axis=1)
    return logs


def are_whole(boxes: F32, image_hw: Hw) -> NDArray[np.bool_]:
    """Tell which boxes no edge of their window cuts, (N,)."""
    h, w = image_hw
    inside = (boxes > EDGE_PX) & (boxes < np.array([w, h] * 2, np.float32) - EDGE_PX)
    return np.asarray(inside.all(axis=1), np.bool_)


def told_by_size(chances: F32, boxes: F32, sizes: Sizes, image_hw: Hw) -> F32:
    """Weigh the chances of labels by how likely an object of that size is under each (Bayes).

    Args:
        chances: (K, N) of N boxes.
        boxes: (N, 4) pixels of the window; where an edge may cut an object, its chances stay.
        sizes: of the K labels; with () all chances stay.
        image_hw: of the window.
    """
    if not sizes:
        return chances
    mean, spread = np.array(sizes, np.float32).T[:, :, None]  # (K, 1) each
    away = (log_sizes(boxes) - mean) / spread  # (K, N)
    evidence = -(away**2) / 2 - np.log(spread)
    likely = np.exp(evidence - evidence.max(axis=0))
    weighed = np.where(are_whole(boxes, image_hw), chances * likely, chances)
    told: F32 = (weighed / weighed.sum(axis=0)).astype(np.float32)
    return told

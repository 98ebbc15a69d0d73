"""Objects that one window found twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.boxes import iou, meeting_pairs
from lsl_core.geometry.masks import areas, shared_areas
from lsl_core.types import Hw, Instances
from lsl_core.windows.fragments import Floats, Ints, Pixels, depths, fragments_of

#: IoU above which two uncut objects of one label in one window are one. People draw objects that
#: overlap; none that hide each other nearly whole.
DOUBLE = 0.8


def double_pairs(
    boxes: Floats, seen_in: Ints, class_ids: NDArray[np.int32], views: Ints, image_hw: Hw
) -> Ints:
    """Return pairs of one window and label, uncut, whose boxes nearly agree, (P, 2).

    Cut objects are left to the strips: what two of them look like beyond the cut is not known.
    """
    uncut = np.flatnonzero(depths(boxes, views[seen_in], image_hw).min(1) > 0)
    # windows side by side, so that a sweep meets no two of them
    apart = boxes[uncut] + (seen_in[uncut] * float(2 * image_hw[1]))[:, None] * (1, 0, 1, 0)
    left, right = meeting_pairs(apart)
    near = iou(apart[left], apart[right]) > DOUBLE
    left, right = uncut[left[near]], uncut[right[near]]
    same = class_ids[left] == class_ids[right]
    return np.stack([left[same], right[same]], axis=1)


def losers(pairs: Ints, ious: Floats, scores: NDArray[np.float32]) -> Ints:
    """Return the worse of each double; one that lost already takes nobody with it."""
    gone: set[int] = set()
    pairs = pairs[ious > DOUBLE]
    order = np.argsort(-scores[pairs].max(axis=1, initial=0), kind="stable")
    for a, b in pairs[order].tolist():
        if a not in gone and b not in gone:
            gone.add(b if scores[a] >= scores[b] else a)
    return np.array(sorted(gone), np.int64)


def mask_ious(pixels: Sequence[Pixels], boxes: Ints, pairs: Ints) -> Floats:
    """Return the IoU of the two crops of each pair, (P,)."""
    inter = shared_areas(pixels, boxes, pairs[:, 0], pairs[:, 1])
    both = areas([pixels[i] for i in pairs[:, 0].tolist()])
    both += areas([pixels[i] for i in pairs[:, 1].tolist()])
    return np.asarray(inter / np.maximum(both - inter, 1), np.float64)


def without_doubles(found: Instances, seen_in: Ints, views: Ints) -> tuple[Instances, Ints]:
    """Return the objects without those that a window found twice, and their windows."""
    boxes = found.boxes.astype(np.float64)
    pairs = double_pairs(boxes, seen_in, found.class_ids, views, found.image_hw)
    if not len(pairs):
        return found, seen_in
    if found.masks is None:
        ious = iou(boxes[pairs[:, 0]], boxes[pairs[:, 1]])
    else:
        some, local = np.unique(pairs, return_inverse=True)
        close = fragments_of(found, some, seen_in, views)
        assert close.solid is not None
        local = local.reshape(-1, 2)
        meets = iou(close.boxes[local[:, 0]], close.boxes[local[:, 1]]) > 0
        pairs, local = pairs[meets], local[meets]
        ious = mask_ious(close.solid, close.boxes.astype(np.int64), local)
    stays = np.ones(len(found), bool)
    stays[losers(pairs, ious, found.scores)] = False
    return found.take(stays), seen_in[stays]

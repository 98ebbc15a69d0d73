"""Objects that one window found twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.boxes import iou, meeting_pairs
from lsl_core.geometry.masks import areas, shared_areas
from lsl_core.types import Hw, Instances
from lsl_core.windows.fragments import Floats, Ints, Pixels, depths, fragments_of

#: IoU above which two objects of one label in one window are one: no result can tell them apart.
DOUBLE = 0.5
#: Boxes overlap more than what is in them. In three scenes of 1,000 objects, a fifth of them found
#: twice 1 px off, 9 doubles stay at 0.6, 42 at 0.7 and 110 at 0.8; where 30 % of the objects truly
#: overlap, no more are lost at 0.6 than at 0.8.
DOUBLE_BOX = 0.6
#: Boxes with less in common hold no double.
NEAR = 0.4
#: IoU of parts that their window cuts: what they look like beyond the cut is not known.
DOUBLE_CUT = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Objects of one window and label that lie on each other.

    both: (P, 2) positions. limits: (P,) IoU above which they are one.
    """

    both: Ints
    limits: Floats

    def __len__(self) -> int:
        return len(self.both)


def double_pairs(
    boxes: Floats,
    seen_in: Ints,
    class_ids: NDArray[np.int32],
    views: Ints,
    image_hw: Hw,
    *,
    has_masks: bool,
) -> Pairs:
    """Return pairs of one window and label whose boxes nearly agree."""
    # windows side by side, so that a sweep meets no two of them
    apart = boxes + (seen_in * float(2 * image_hw[1]))[:, None] * (1, 0, 1, 0)
    left, right = meeting_pairs(apart)
    near = iou(apart[left], apart[right]) > (NEAR if has_masks else DOUBLE_BOX)
    left, right = left[near], right[near]
    same = class_ids[left] == class_ids[right]
    both = np.stack([left[same], right[same]], axis=1)
    is_cut = depths(boxes[both.ravel()], views[seen_in[both.ravel()]], image_hw).min(1) <= 0
    limit = DOUBLE if has_masks else DOUBLE_BOX
    return Pairs(both, np.where(is_cut.reshape(-1, 2).any(1), max(limit, DOUBLE_CUT), limit))


def losers(pairs: Pairs, ious: Floats, scores: NDArray[np.float32]) -> Ints:
    """Return the worse of each double; one that lost already takes nobody with it."""
    gone: set[int] = set()
    both = pairs.both[ious > pairs.limits]
    order = np.argsort(-scores[both].max(axis=1, initial=0), kind="stable")
    for a, b in both[order].tolist():
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
    has_masks = found.masks is not None
    pairs = double_pairs(
        boxes, seen_in, found.class_ids, views, found.image_hw, has_masks=has_masks
    )
    if not len(pairs):
        return found, seen_in
    if not has_masks:
        ious = iou(boxes[pairs.both[:, 0]], boxes[pairs.both[:, 1]])
    else:
        some, local = np.unique(pairs.both, return_inverse=True)
        close = fragments_of(found, some, seen_in, views)
        assert close.solid is not None
        local = local.reshape(-1, 2)
        meets = iou(close.boxes[local[:, 0]], close.boxes[local[:, 1]]) > 0
        pairs = Pairs(pairs.both[meets], pairs.limits[meets])
        ious = mask_ious(close.solid, close.boxes.astype(np.int64), local[meets])
    stays = np.ones(len(found), bool)
    stays[losers(pairs, ious, found.scores)] = False
    return found.take(stays), seen_in[stays]

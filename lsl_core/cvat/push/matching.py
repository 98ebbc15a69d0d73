"""Which of the objects to be pushed are in CVAT already, or stand against a person's work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsl_core.cvat.annotations.shapes import FrameAnnotations
from lsl_core.geometry import boxes as box_math
from lsl_core.geometry import masks as mask_math
from lsl_core.types import CropMasks, Instances

#: From this IoU on, two objects of one label are the same object (issue 5 of the tracker).
DUPLICATE_IOU = 0.9
#: From this IoU on, ours and a person's object are about the same thing and differ.
CONFLICT_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What each of N new objects meets among the live ones.

    duplicate: (N,) bool, the same object is there. conflict: (N,) bool, a person drew something
    else about it. beside_auto: (N,) bool, an automatic shape that is no duplicate lies there.
    """

    duplicate: NDArray[np.bool_]
    conflict: NDArray[np.bool_]
    beside_auto: NDArray[np.bool_]


def match(
    new: Instances,
    live: FrameAnnotations,
    *,
    labels: NDArray[np.int64],
    live_labels: NDArray[np.int64],
    as_box: NDArray[np.bool_],
) -> Matches:
    """Compare new objects with those that CVAT holds for the same frame.

    Args:
        new: N objects, masks in their smallest crops, or boxes only.
        live: M objects.
        labels: (N,) CVAT's label ids.
        live_labels: (M,) the same of the live ones.
        as_box: (N,) whether an object will be drawn as a rectangle.
    """
    count = len(new)
    left, right, iou = _pairs(new, live, as_box)
    same = labels[left] == live_labels[right]
    is_auto = np.array([source == "auto" for source in live.sources], bool)[right]
    double = same & (iou >= DUPLICATE_IOU)
    about = iou >= CONFLICT_IOU
    duplicate = np.zeros(count, bool)
    duplicate[left[double]] = True
    conflict, beside = np.zeros(count, bool), np.zeros(count, bool)
    conflict[left[about & ~is_auto]] = True
    beside[left[about & is_auto]] = True
    return Matches(duplicate, conflict & ~duplicate, beside & ~duplicate & ~conflict)


def _pairs(
    new: Instances, live: FrameAnnotations, as_box: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of new and live objects whose boxes meet, with their IoU.

    Masks are compared where both sides have one, boxes otherwise.
    """
    theirs = live.instances
    low, high = box_math.meeting_pairs(np.concatenate([new.boxes, theirs.boxes]))
    across = (low < len(new)) & (high >= len(new))
    left, right = low[across], high[across] - len(new)
    iou = box_math.iou(new.boxes[left], theirs.boxes[right])
    if isinstance(new.masks, CropMasks) and isinstance(theirs.masks, CropMasks):
        exact = live.has_mask[right] & ~as_box[left]
        iou[exact] = mask_iou(new.masks, theirs.masks, left[exact], right[exact])
    return left, right, iou


def mask_iou(
    first: CropMasks, second: CropMasks, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the IoU of mask left[k] of the first with mask right[k] of the second, (K,)."""
    if not len(left):
        return np.zeros(0)
    mine, theirs = np.unique(left), np.unique(right)
    crops = [first.crop(i).view(np.uint8) for i in mine.tolist()]
    crops += [second.crop(i).view(np.uint8) for i in theirs.tolist()]
    places = mask_math.corners(np.concatenate([first.crops[mine], second.crops[theirs]]))
    sizes = mask_math.areas(crops)
    a = np.searchsorted(mine, left)
    b = len(mine) + np.searchsorted(theirs, right)
    # tight crops may miss each other where the float boxes meet
    low = np.maximum(places[a, :2], places[b, :2])
    meet = (low < np.minimum(places[a, 2:], places[b, 2:])).all(1)
    inter = np.zeros(len(left), np.int64)
    inter[meet] = mask_math.shared_areas(crops, places, a[meet], b[meet])
    iou: NDArray[np.float64] = inter / (sizes[a] + sizes[b] - inter)
    return iou

"""Outlines drawn a little too far out, over a small neighbour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from lsl_core.geometry.boxes import area, meeting_pairs, shared
from lsl_core.geometry.masks import corners
from lsl_core.types import CropMasks, Instances, SoftMasks
from lsl_core.windows.fragments import Floats, Pixels, solid_of

#: Only so small an object is swallowed by an outline that is a few pixels off, solid pixels.
SMALL_PX = 300
#: The box of a small object is no larger than this, as bars lie across theirs.
SMALL_BOX_PX = 10 * SMALL_PX
#: Share of the small object that the other one covers; less does no harm, more is on top of it.
COVERED = (0.25, 0.85)
#: What the large one would lose, as a share of it; more is no rim.
LOSS = 0.25
#: How deep a rim may be, pixels.
RIM_PX = 5

_KERNEL = np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)
#: Rows and columns of a crop.
Part = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Rim:
    """Where a large object covers a small one with its rim only: the same place in both crops."""

    large: int
    small: int
    in_large: Part
    in_small: Part


def rims(boxes: Floats, places: Floats, solid: Callable[[int], Pixels]) -> Iterator[Rim]:
    """Find small objects that lie under the rim of a larger one, which should give way.

    Objects that truly overlap do so deeper than a rim, and stay as they are.

    Args:
        boxes: (N, 4) around what is solid.
        places: (N, 4) where the crops lie, x1, y1, x2, y2; whole numbers.
        solid: gives the pixels 0/1 of a crop.
    """
    left, right = meeting_pairs(boxes)
    sizes = area(boxes)
    small = np.where(sizes[left] <= sizes[right], left, right)
    large = left + right - small
    inter = area(shared(boxes[left], boxes[right]))
    near = (sizes[small] <= SMALL_BOX_PX) & (inter >= COVERED[0] * sizes[small])
    near &= sizes[large] >= 2 * sizes[small]
    large, small = large[near], small[near]
    common = shared(places[large], places[small])
    meets = (common[:, :2] < common[:, 2:]).all(1)
    large, small, common = large[meets], small[meets], common[meets]
    parts = [(common - np.tile(places[at, :2], 2)).astype(int).tolist() for at in (large, small)]
    for i, k, in_large, in_small in zip(large.tolist(), small.tolist(), *parts, strict=True):
        one = Rim(i, k, _part(*in_large), _part(*in_small))
        if _is_rim(one, solid(i), solid(k)):
            yield one


def _part(x0: int, y0: int, x1: int, y1: int) -> Part:
    return slice(y0, y1), slice(x0, x1)


def _is_rim(one: Rim, large: Pixels, small: Pixels) -> bool:
    size = cv2.countNonZero(small)
    if size > SMALL_PX:
        return False
    both = cv2.bitwise_and(large[one.in_large], small[one.in_small])
    count = cv2.countNonZero(both)
    is_partly = COVERED[0] <= count / max(1, size) <= COVERED[1]
    if not is_partly or count > LOSS * cv2.countNonZero(large):
        return False
    rows, columns = one.in_large
    top, left = max(0, rows.start - RIM_PX), max(0, columns.start - RIM_PX)
    around = large[top : rows.stop + RIM_PX, left : columns.stop + RIM_PX]
    deep = cv2.erode(around, _KERNEL, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    here = deep[rows.start - top :, columns.start - left :][: both.shape[0], : both.shape[1]]
    return not cv2.countNonZero(cv2.bitwise_and(both, here))


def without_rims(found: Instances) -> Instances:
    """Return the objects with every rim over a small neighbour given to that neighbour.

    Soft pixels of the large object stay below what is certain of the small one, at any mask
    threshold. Boxes stay.
    """
    masks = found.masks
    if masks is None or len(found) < 2:
        return found
    places = corners(masks.crops).astype(np.float64)
    if isinstance(masks, SoftMasks):
        soft = masks
        over = list(rims(found.boxes.astype(np.float64), places, lambda i: solid_of(soft.crop(i))))
        return replace(found, masks=_softened(soft, over)) if over else found
    binary = masks
    over = list(rims(places, places, lambda i: binary.crop(i).view(np.uint8)))
    return replace(found, masks=_cut(binary, over)) if over else found


def _softened(masks: SoftMasks, over: list[Rim]) -> SoftMasks:
    values = masks.values.copy()
    for rim in over:
        height, width = masks.crop(rim.large).shape
        begin, end = masks.starts[rim.large : rim.large + 2].tolist()
        place = values[begin:end].reshape(height, width)[rim.in_large]
        cv2.min(place, 255 - masks.crop(rim.small)[rim.in_small], dst=place)
    return SoftMasks(values, masks.starts, masks.crops)


def _cut(masks: CropMasks, over: list[Rim]) -> CropMasks:
    kept: dict[int, Pixels] = {}
    for rim in over:
        large = kept.setdefault(rim.large, masks.crop(rim.large).view(np.uint8))
        large[rim.in_large] &= ~masks.crop(rim.small)[rim.in_small]
    places = [(x, y) for x, y, _, _ in masks.crops[list(kept)].tolist()]
    order = np.arange(len(masks))
    order[list(kept)] = len(masks) + np.arange(len(kept))
    return CropMasks.concat([masks, CropMasks.from_crops(list(kept.values()), places)]).take(order)

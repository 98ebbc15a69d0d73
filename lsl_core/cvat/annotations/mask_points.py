"""CVAT's points of a mask, both ways: run lengths over a box, then the box itself.

The run lengths are those that `CropMasks` keeps, so nothing is decoded; the box is left, top,
right, bottom, the last two inclusive. Points are number by number what
`cvat_sdk.masks.encode_mask` makes of the pixels.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lsl_core.types import CropMasks

_NO_NUMBERS = "damaged: its points are no numbers"
_NO_RUNS = "damaged: a mask of numbers that are no run lengths"
_NOT_FILLED = "damaged: the run lengths of a mask do not fill its box"


def to_points(masks: CropMasks) -> list[list[int]]:
    """Return CVAT's points of each mask."""
    boxes = masks.crops.copy()
    boxes[:, 2:] += boxes[:, :2] - 1
    # mask by mask, so that its numbers are still in the cache when its list is made
    rows = zip(pairwise(masks.starts.tolist()), boxes.tolist(), strict=True)
    return [masks.runs[begin:end].tolist() + box for (begin, end), box in rows]


def from_points(points: Sequence[object]) -> tuple[CropMasks, dict[int, str]]:
    """Return the masks that can be read, in order, and why others cannot, by position.

    All masks are read and checked together: one by one, small ones take ten times as long.
    """
    numbers, counts, faults = array("d"), [], dict[int, str]()
    for i, given in enumerate(points):
        if not isinstance(given, list | array) or len(given) < 5:
            faults[i] = _NO_RUNS
            continue
        try:
            numbers.extend(array("d", given))  # whole or not at all
        except (TypeError, OverflowError):
            faults[i] = _NO_NUMBERS
        else:
            counts.append(len(given))
    masks, is_whole, is_filled = _read(np.array(numbers), np.array(counts, np.int64))
    readable = [i for i in range(len(points)) if i not in faults]
    for row in np.flatnonzero(~(is_whole & is_filled)).tolist():
        faults[readable[row]] = _NOT_FILLED if is_whole[row] else _NO_RUNS
    return masks if (is_whole & is_filled).all() else masks.take(is_whole & is_filled), faults


def _read(
    numbers: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[CropMasks, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return N masks, and of each whether its numbers are whole, and fill its box.

    Args:
        numbers: the points of all masks, one after the other.
        counts: (N,) how many points each has, 5 at least.
    """
    if not len(counts):
        return CropMasks.empty(), np.ones(0, bool), np.ones(0, bool)
    ends = np.cumsum(counts)
    at_corners = ends[:, None] - (4, 3, 2, 1)
    is_run = np.ones(len(numbers), bool)
    is_run[at_corners] = False
    with np.errstate(invalid="ignore"):  # what does not fit is found by comparing
        runs, corners = numbers[is_run].astype(np.uint32), numbers[at_corners].astype(np.int32)
    starts = np.append(0, ends - 4 * np.arange(1, len(ends) + 1))
    is_whole = np.logical_and.reduceat(runs == numbers[is_run], starts[:-1])
    is_whole &= (corners == numbers[at_corners]).all(1)
    left, top, right, bottom = corners.astype(np.int64).T
    width, height = right - left + 1, bottom - top + 1
    is_filled = np.add.reduceat(runs, starts[:-1], dtype=np.int64) == width * height
    is_filled &= (width > 0) & (height > 0)
    crops = np.stack([left, top, width, height], axis=1).astype(np.int32)
    return CropMasks(runs, starts, crops), is_whole, is_filled

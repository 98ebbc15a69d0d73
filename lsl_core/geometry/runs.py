"""Run lengths of many masks at once, without decoding a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsl_core.types import CropMasks
from lsl_core.types.masks import Crops

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SetRuns:
    """The runs of set pixels of N masks, in order.

    owner: (R,) which mask. start, stop: (R,) first pixel and the one past the last, counted
    row-major in the mask's crop. A run may go on over the end of a row.
    """

    owner: Ints
    start: Ints
    stop: Ints


def set_runs(masks: CropMasks) -> SetRuns:
    """Return where the set pixels of each mask are."""
    sizes = masks.crops[:, 2].astype(np.int64) * masks.crops[:, 3]
    begins = np.cumsum(sizes) - sizes
    owner = np.repeat(np.arange(len(masks)), np.diff(masks.starts))
    stop = np.cumsum(masks.runs, dtype=np.int64) - begins[owner]
    is_set = (np.arange(len(owner)) - masks.starts[owner]) % 2 == 1
    is_set &= masks.runs > 0
    owner, stop = owner[is_set], stop[is_set]
    return SetRuns(owner, stop - masks.runs[is_set], stop)


def from_set_runs(runs: SetRuns, crops: Crops) -> CropMasks:
    """Return the masks with these set runs in crops of this size; runs that touch become one."""
    sizes = crops[:, 2].astype(np.int64) * crops[:, 3]
    begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    if not len(crops):
        return CropMasks.empty()
    start, stop = begins[runs.owner] + runs.start, begins[runs.owner] + runs.stop
    # a run that begins where the one before it ends, in the same mask, is its continuation
    touches = (start[1:] == stop[:-1]) & (runs.owner[1:] == runs.owner[:-1])
    start = start[np.append(True, ~touches)[: len(start)]]
    stop = stop[np.append(~touches, True)[-len(stop) :]] if len(stop) else stop
    owner_end = begins[np.searchsorted(begins, stop, side="left")]
    # begins are there once for the background run; a run that ends with its crop has no rest
    edges = np.sort(np.concatenate([begins, start, stop[stop != owner_end]]))
    lengths = np.diff(edges)
    first = np.searchsorted(edges[:-1], begins[:-1], side="left")
    starts = np.append(first, len(lengths)).astype(np.int64)
    return CropMasks(lengths.astype(np.uint32), starts, crops.astype(np.int32, copy=True))


def tight_crops(masks: CropMasks) -> Crops:
    """Return x, y, width, height around the set pixels, (N, 4) int32; 0 wide and high if none."""
    runs = set_runs(masks)
    tight = np.zeros((len(masks), 4), np.int32)
    tight[:, :2] = masks.crops[:, :2]
    if not len(runs.owner):
        return tight
    width = masks.crops[runs.owner, 2].astype(np.int64)
    top, bottom = runs.start // width, (runs.stop - 1) // width
    one_row = top == bottom
    left = np.where(one_row, runs.start % width, 0)
    right = np.where(one_row, (runs.stop - 1) % width, width - 1)
    first = np.flatnonzero(np.append(True, runs.owner[1:] != runs.owner[:-1]))
    x0, y0 = np.minimum.reduceat(left, first), np.minimum.reduceat(top, first)
    x1, y1 = np.maximum.reduceat(right, first) + 1, np.maximum.reduceat(bottom, first) + 1
    owners = runs.owner[first]
    tight[owners] += np.stack([x0, y0, x1 - x0, y1 - y0], 1).astype(np.int32)
    return tight


def trim(masks: CropMasks) -> CropMasks:
    """Return the same pixels in the smallest crops; a mask without a pixel keeps its crop."""
    tight = tight_crops(masks)
    empty = tight[:, 2] == 0
    tight[empty] = masks.crops[empty]
    if np.array_equal(tight, masks.crops):
        return masks
    runs = set_runs(masks)
    old, new = masks.crops[runs.owner].astype(np.int64), tight[runs.owner].astype(np.int64)
    dx, dy = new[:, 0] - old[:, 0], new[:, 1] - old[:, 1]

    def place(pixel: Ints) -> Ints:
        moved: Ints = (pixel // old[:, 2] - dy) * new[:, 2] + pixel % old[:, 2] - dx
        return moved

    # A run over several rows only exists where the tight crop has the full width.
    placed = SetRuns(runs.owner, place(runs.start), place(runs.stop - 1) + 1)
    return from_set_runs(placed, tight)

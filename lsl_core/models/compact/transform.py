"""From the pixels of a window to the input of the network; the same in training and prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.types import Hw

F32 = NDArray[np.float32]

#: Goes into every cache key; change it when anything here or in `decode` changes the answer.
TRANSFORM_VERSION = "compact-2"

#: Side of the blocks that are levelled apart, in pixels of the network's input. Dim regions
#: beside bright ones keep their contrast, and two windows that share a strip agree on it.
BLOCK_PX = 256
#: Percentiles that become 0 and 1 (MODELS recipe: 1 and 99.8, which outlast a few hot pixels).
LOW, HIGH = 1.0, 99.8
#: No range is stretched beyond this many grey levels, so that empty ground stays calm.
LEAST_RANGE = 8.0
#: Rows that are levelled at a time: they stay in the processor's cache.
_STRIP_PX = 32


def scaled(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Resize a window by the model's factor, each side to at least 8 pixels."""
    h, w = scaled_hw((pixels.shape[0], pixels.shape[1]), scale)
    if (h, w) == pixels.shape[:2]:
        return pixels
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (w, h), interpolation=how), np.uint8)


def scaled_hw(image_hw: Hw, scale: float) -> Hw:
    """Return the size that `scaled` gives."""
    return max(8, round(image_hw[0] * scale)), max(8, round(image_hw[1] * scale))


def levelled(pixels: NDArray[np.uint8], least_range: float, *, out: F32 | None = None) -> F32:
    """Stretch the grey levels of each region to about [-1, 1], colours kept.

    Args:
        pixels: (h, w, 3) uint8.
        least_range: grey levels; a region with less contrast is not stretched further.
        out: (h, w, 3) float32 that is written and returned; may be part of a larger image.
    """
    levels = Levels.of(pixels, least_range)
    h, w = pixels.shape[:2]
    result = np.empty((h, w, 3), np.float32) if out is None else out
    across = _weights(levels.middles.shape[1], w).T
    # minus the middle, since grey levels are added to it, and beside it the half
    ends = [np.repeat(v @ across, 3, axis=1) for v in (-levels.middles, levels.halves)]
    nodes = np.concatenate(ends, axis=1)
    steps = np.diff(nodes, axis=0, append=nodes[-1:])
    block, share = np.divmod(_places(len(nodes), h), 1)
    begins = np.searchsorted(block, np.arange(len(nodes) + 1)).tolist()
    share = share[:, None].astype(np.float32)
    grey, written = pixels.reshape(h, -1), result.reshape(h, -1)
    fields = np.empty((_STRIP_PX, 6 * w), np.float32)
    for node, step, (begin, end) in zip(nodes, steps, pairwise(begins), strict=True):
        for top in range(begin, end, _STRIP_PX):
            rows = slice(top, min(top + _STRIP_PX, end))
            here = fields[: rows.stop - top]
            if share[rows].any():
                np.multiply(share[rows], step, out=here)
                here += node
            else:  # above the middle of the first block, below that of the last
                here[...] = node
            middle, half = here[:, : 3 * w], here[:, 3 * w :]
            cv2.accumulate(grey[rows], middle)
            np.divide(middle, half, out=written[rows])
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """What is mid-grey and how far light and dark lie from it, in each block of a window.

    middles, halves: (rows, columns) float32, grey levels; bilinear between the middles of blocks.
    """

    middles: F32
    halves: F32

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], least_range: float) -> Levels:
        """Look at the pixels (h, w, 3) of a window."""
        low, span = _levels(pixels, least_range)
        half = np.asarray(span / 2, np.float32)
        return cls(low + half, half)

    def shares(self, hw: Hw) -> tuple[F32, F32]:
        """Return (h, rows) and (columns, w): down @ values @ across gives each pixel its value."""
        rows, columns = self.middles.shape
        return _weights(rows, hw[0]), _weights(columns, hw[1]).T


def _places(count: int, length: int) -> NDArray[np.float64]:
    """Return where each of `length` pixels lies between the middles of `count` blocks."""
    at = (np.arange(length) + 0.5) * count / length - 0.5
    return np.asarray(np.clip(at, 0, count - 1))


def _weights(count: int, length: int) -> F32:
    """Return the share that each of `count` blocks has in each of `length` pixels."""
    away = np.abs(_places(count, length)[:, None] - np.arange(count))
    return np.asarray(np.maximum(1 - away, 0), np.float32)


def sample_step(hw: Hw) -> int:
    """Return the step between rows and columns that leaves some 16,000 pixels."""
    return max(1, round(math.sqrt(hw[0] * hw[1] / 16_000)))


def has_bright_ground(image: F32) -> bool:
    """Tell whether most of a levelled image is brighter than the middle of its range."""
    step = sample_step((image.shape[0], image.shape[1]))
    return bool(np.median(image[::step, ::step]) > 0)


def dark_ground(image: F32) -> F32:
    """Turn a levelled image of bright ground into its negative; others stay as they are.

    A model needs this where its support set has both kinds (`settings["invert"]` of its card):
    fluorescence beside stained slides.
    """
    return -image if has_bright_ground(image) else image


def contrast(pixels: NDArray[np.uint8]) -> float:
    """Return the smallest range of grey levels of any region: what training calls contrast."""
    return float(_levels(pixels, LEAST_RANGE)[1].min())


def _levels(pixels: NDArray[np.uint8], least_range: float) -> tuple[F32, F32]:
    """Return the low level and the range of each block, (rows, columns) float32 each.

    A block looks at a neighbourhood twice its side, so that levels change slowly.
    """
    regions = _Regions.of((pixels.shape[0], pixels.shape[1]))
    low, high = _percentiles(regions.counts(pixels), (LOW, HIGH))
    low = np.asarray(low, np.float32)
    return low, np.asarray(np.maximum(high - low, least_range), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Regions:
    """Which pixels of an image of one size each block looks at, in cells that are counted once.

    samples: y, x and step of a grid of pixels, y1, x1 where it ends, and the cells of it that
    regions are made of: y0, y1, x0, x1 in the grid. parts: numbers of the cells of each region,
    region after region. first: where each begins. shape: rows and columns of regions.
    """

    samples: list[tuple[tuple[int, int, int, int, int], list[tuple[int, int, int, int]]]]
    parts: NDArray[np.int64]
    first: NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, hw: Hw) -> Self:
        """Return the regions of an image of (height, width) pixels."""
        down, across = (_neighbourhoods(length) for length in hw)
        alike: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        for i, (top, bottom) in enumerate(down):
            for j, (left, right) in enumerate(across):
                step = sample_step((bottom - top, right - left))
                alike.setdefault((step, top % step, left % step), []).append((i, j))
        samples, num_cells = [], 0
        parts: dict[tuple[int, ...], list[int]] = {}
        for (step, _, _), places in alike.items():
            rows, y, y1 = _in_grid([down[i] for i, _ in places], step)
            columns, x, x1 = _in_grid([across[j] for _, j in places], step)
            made = [[(*r, *c) for r in tall for c in wide]
                    for tall, wide in zip(rows, columns, strict=True)]  # fmt: skip
            cells = sorted({cell for own in made for cell in own})
            number = {cell: num_cells + k for k, cell in enumerate(cells)}
            parts.update(zip(places, ([number[cell] for cell in own] for own in made), strict=True))
            samples.append(((y, x, step, y1, x1), cells))
            num_cells += len(cells)
        shape = (len(down), len(across))
        ordered = [parts[place] for place in np.ndindex(shape)]
        ends = np.cumsum([len(own) for own in ordered])
        return cls(samples, np.concatenate(ordered), np.append(0, ends[:-1]), shape)

    def counts(self, pixels: NDArray[np.uint8]) -> F32:
        """Return how often each grey level occurs in each region's sample, (rows, columns, 256)."""
        counted = []
        for (y, x, step, y1, x1), cells in self.samples:
            part = pixels[y:y1:step, x:x1:step]
            sample = np.empty(part.shape, np.uint8)
            for channel in range(3):
                sample[..., channel] = part[..., channel]
            grey = sample.reshape(len(sample), -1)
            for top, bottom, left, right in cells:
                cell = grey[top:bottom, 3 * left : 3 * right]
                counted.append(cv2.calcHist([cell], [0], None, [256], [0, 256]).ravel())
        sums = np.add.reduceat(np.array(counted)[self.parts], self.first)
        return np.asarray(sums.reshape(*self.shape, 256), np.float32)


def _neighbourhoods(length: int) -> list[tuple[int, int]]:
    """Return what the blocks along one axis look at, from and to."""
    count = max(1, round(length / BLOCK_PX))
    reach = length / count / 2
    return [
        (max(0, int((i * 2 - 1) * reach)), min(length, int((i * 2 + 3) * reach)))
        for i in range(count)
    ]


def _in_grid(
    spans: list[tuple[int, int]], step: int
) -> tuple[list[list[tuple[int, int]]], int, int]:
    """Cut spans of pixels where any of them ends.

    Returns the pieces of each, in steps of a grid, and where that begins and ends in pixels.
    """
    begin, end = min(low for low, _ in spans), max(high for _, high in spans)
    own = [((low - begin) // step, -((begin - high) // step)) for low, high in spans]
    cuts = sorted({cut for span in own for cut in span})
    at = {cut: k for k, cut in enumerate(cuts)}
    pieces = [list(pairwise(cuts[at[low] : at[high] + 1])) for low, high in own]
    return pieces, begin, end


def _percentiles(counts: F32, percents: tuple[float, ...]) -> NDArray[np.float64]:
    """Return what `np.percentile` does for grey levels that were counted, (P, …) of (…, 256)."""
    until = np.cumsum(counts, axis=-1)
    found = []
    for percent in percents:
        rank = percent / 100 * (until[..., -1:].astype(np.float64) - 1)
        below, above = ((until <= end(rank)).sum(-1) for end in (np.floor, np.ceil))
        found.append(below + (above - below) * (rank % 1)[..., 0])
    return np.asarray(found)

"""From the pixels of a window to the input of the network; the same in training and prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

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
            np.multiply(share[rows], step, out=here)
            here += node
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
    h, w = pixels.shape[:2]
    rows, columns = max(1, round(h / BLOCK_PX)), max(1, round(w / BLOCK_PX))
    reach_y, reach_x = h / rows / 2, w / columns / 2
    counts = np.empty((rows, columns, 256), np.float32)
    for i in range(rows):
        for j in range(columns):
            top, bottom = (i * 2 - 1) * reach_y, (i * 2 + 3) * reach_y
            left, right = (j * 2 - 1) * reach_x, (j * 2 + 3) * reach_x
            part = pixels[max(0, int(top)) : int(bottom), max(0, int(left)) : int(right)]
            step = sample_step((part.shape[0], part.shape[1]))
            counts[i, j] = _counted(part[::step, ::step])
    low = np.asarray(_percentile(counts, LOW), np.float32)
    return low, np.asarray(np.maximum(_percentile(counts, HIGH) - low, least_range), np.float32)


def _counted(values: NDArray[np.uint8]) -> F32:
    """Return how often each grey level occurs in (h, w, 3), (256,)."""
    flat = np.concatenate([values[..., channel] for channel in range(3)])
    return np.asarray(cv2.calcHist([flat], [0], None, [256], [0, 256]).ravel(), np.float32)


def _percentile(counts: F32, percent: float) -> NDArray[np.float64]:
    """Return what `np.percentile` does for grey levels that were counted, (..., 256)."""
    until = np.cumsum(counts, axis=-1)
    rank = percent / 100 * (until[..., -1:].astype(np.float64) - 1)
    below, above = ((until <= end(rank)).sum(-1) for end in (np.floor, np.ceil))
    return np.asarray(below + (above - below) * (rank % 1)[..., 0])

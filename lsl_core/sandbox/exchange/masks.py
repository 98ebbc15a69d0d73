"""CVAT's masks and COCO's: row-wise runs of a crop against column-wise runs of the image."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from pycocotools import mask as coco_mask

from lsl_core.sandbox.calls.work import WorkFailed

Bits: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
Ints: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Crop = tuple[int, int, Bits]


def from_cvat(points: list[float], *, height: int, width: int) -> Crop:
    """Decode a CVAT mask.

    Args:
        points: row-wise runs, background first, then left, top, right, bottom (inclusive).
        height: the image's, pixels.
        width: the image's, pixels.

    Returns:
        Left, top and the crop (h, w). Runs that do not add up to the box are cut or filled with
        background, in silence, as CVAT exports them.

    Raises:
        WorkFailed: for a box that is inverted, empty or outside the image.
    """
    if len(points) < 5:
        raise WorkFailed("A mask without a box cannot be exported")
    left, top, right, bottom = (int(value) for value in points[-4:])
    box_h, box_w = bottom - top + 1, right - left + 1
    if box_h < 1 or box_w < 1 or left < 0 or top < 0 or right >= width or bottom >= height:
        raise WorkFailed(f"could not broadcast a mask's box {points[-4:]} into {width}x{height}")
    runs = np.asarray(points[:-4], np.float64).astype(np.int64).clip(0)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)[: box_h * box_w]
    filled = np.zeros(box_h * box_w, bool)
    filled[: len(flat)] = flat
    return left, top, filled.reshape(box_h, box_w)


def to_cvat(left: int, top: int, crop: Bits) -> list[float]:
    """Encode a crop as CVAT's mask points."""
    flat = crop.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate(([0], edges, [len(flat)]))).tolist()
    if len(flat) and flat[0]:
        runs.insert(0, 0)
    height, width = crop.shape
    box = [left, top, left + width - 1, top + height - 1]
    return [float(value) for value in [*runs, *box]]


def _column_runs(left: int, top: int, crop: Bits, height: int) -> Ints:
    """Find where foreground starts and ends in column order, (n, 2), ends exclusive."""
    padded = np.zeros((crop.shape[1], crop.shape[0] + 2), np.int8)
    padded[:, 1:-1] = crop.T
    steps = np.diff(padded, axis=1)
    columns, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    base = (columns + left) * height + top
    return np.stack([base + starts, base + ends], axis=1).astype(np.int64)


def to_coco(left: int, top: int, crop: Bits, *, height: int, width: int) -> dict[str, Any]:
    """Encode a crop as COCO's uncompressed RLE of the whole image."""
    runs = _column_runs(left, top, crop, height)
    if len(runs):
        # A run that reaches the bottom goes on at the top of the next column.
        is_new = np.concatenate(([True], runs[1:, 0] != runs[:-1, 1]))
        starts = runs[is_new, 0]
        ends = runs[np.concatenate((is_new[1:], [True])), 1]
        edges = np.stack([starts, ends], axis=1).reshape(-1)
    else:
        edges = np.zeros(0, np.int64)
    counts = np.diff(np.concatenate(([0], edges, [height * width]))).tolist()
    if len(counts) > 1 and counts[-1] == 0:
        counts.pop()
    return {"counts": counts, "size": [height, width]}


def from_coco(rle: dict[str, Any]) -> Crop | None:
    """Decode COCO's RLE, compressed or not.

    Returns:
        Left, top and the tight crop (h, w); None for an empty mask.
    """
    height, width = (int(value) for value in rle["size"])
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        full = coco_mask.decode({"size": [height, width], "counts": counts}).astype(bool)
        first = 0
    else:
        runs = np.asarray(counts, np.int64)
        ends = np.cumsum(runs)
        if not len(ends) or ends[-1] != height * width:
            raise WorkFailed("The RLE of a mask does not add up to its size")
        solid = ends[1::2][runs[1::2] > 0]
        if not len(solid):
            return None
        # Only the columns that the mask touches are unfolded.
        first = int((ends[0] if len(ends) else 0) // height)
        last = int((solid[-1] - 1) // height)
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, _clipped(runs, first, last, height))
        full = flat.reshape(last - first + 1, height).T
    return _tight(full, first)


def _clipped(runs: Ints, first: int, last: int, height: int) -> Ints:
    ends = np.cumsum(runs).clip(first * height, (last + 1) * height)
    return np.diff(np.concatenate(([first * height], ends)))


def _tight(full: Bits, first: int) -> Crop | None:
    rows = np.flatnonzero(full.any(axis=1))
    columns = np.flatnonzero(full.any(axis=0))
    if not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    return first + left, top, full[top : rows[-1] + 1, left : columns[-1] + 1]


def ellipse(points: list[float], *, height: int, width: int, rotation: float) -> Crop | None:
    """Fill a CVAT ellipse: centre x, y, then its right edge's x and its top edge's y."""
    cx, cy, right, top = points
    rx, ry = max(abs(right - cx), 1e-6), max(abs(cy - top), 1e-6)
    reach = max(rx, ry)
    x0, x1 = max(0, int(cx - reach)), min(width, int(cx + reach) + 2)
    y0, y1 = max(0, int(cy - reach)), min(height, int(cy + reach) + 2)
    if x0 >= x1 or y0 >= y1:
        return None
    ys, xs = np.mgrid[y0:y1, x0:x1] + 0.5
    angle = np.deg2rad(rotation)
    dx, dy = xs - cx, ys - cy
    u = dx * np.cos(angle) + dy * np.sin(angle)
    v = -dx * np.sin(angle) + dy * np.cos(angle)
    found = _tight((u / rx) ** 2 + (v / ry) ** 2 <= 1, x0)
    return None if found is None else (found[0], found[1] + y0, found[2])

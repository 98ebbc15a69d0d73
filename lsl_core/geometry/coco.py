"""Masks to and from COCO's forms: polygons and run lengths, which are column-major.

Format: https://github.com/cocodataset/cocoapi, `common/maskApi.c`; pycocotools 2.0.11.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from lsl_core.errors import UserInput
from lsl_core.types import CropMasks, Hw

Place = tuple[int, int]
Ints = NDArray[np.int64]


class CocoRle(TypedDict):
    """COCO's compressed run lengths of a whole image; size is [height, width]."""

    size: list[int]
    counts: str


def to_coco_counts(masks: CropMasks, image_hw: Hw) -> list[list[int]]:
    """Return COCO's uncompressed run lengths of each mask over the whole image.

    The image is never drawn: the columns of the crop are shifted to their place.

    Raises:
        ValueError: if a crop leaves the image (clip first).
    """
    height, width = image_hw
    ends = masks.crops[:, :2] + masks.crops[:, 2:]
    if (masks.crops[:, :2] < 0).any() or (ends > (width, height)).any():
        raise ValueError("a mask leaves the image")
    return [
        _column_counts(masks.crop(i), left, top, image_hw)
        for i, (left, top, _, _) in enumerate(masks.crops.tolist())
    ]


def _column_counts(pixels: NDArray[np.bool_], x: int, y: int, image_hw: Hw) -> list[int]:
    h, w = pixels.shape
    columns = np.zeros((w, h + 1), np.int8)  # the row more ends every run with its column
    columns[:, :h] = pixels.T
    edges = np.flatnonzero(np.diff(columns.ravel(), prepend=np.int8(0)))
    column = edges[0::2] // (h + 1)
    shift = (x + column) * image_hw[0] + y - column * (h + 1)
    runs = np.stack([edges[0::2] + shift, edges[1::2] + shift], 1).ravel()
    # where the crop is as high as the image, a run may go on at the top of the next column
    inner = np.flatnonzero(runs[1:-1:2] == runs[2::2]) * 2 + 1
    runs = np.delete(runs, np.concatenate([inner, inner + 1]))
    counts: list[int] = np.diff(runs, prepend=0, append=image_hw[0] * image_hw[1]).tolist()
    return counts if counts[-1] else counts[:-1]


def to_coco_rle(masks: CropMasks, image_hw: Hw) -> list[CocoRle]:
    """Return COCO's compressed run lengths of each mask, ready for JSON.

    Args:
        masks: N masks inside the image.
        image_hw: (height, width) of the image, pixels.
    """
    if not len(masks):
        return []
    size = [int(image_hw[0]), int(image_hw[1])]
    plain = [{"size": size, "counts": counts} for counts in to_coco_counts(masks, image_hw)]
    packed = coco_mask.frPyObjects(plain, size[0], size[1])
    return [{"size": list(size), "counts": rle["counts"].decode("ascii")} for rle in packed]


def from_coco_segmentation(segmentation: object, image_hw: Hw) -> tuple[NDArray[np.bool_], Place]:
    """Return the smallest crop with the object, (h, w) bool, and its left and top in the image.

    Args:
        segmentation: the field of a COCO annotation: a list of polygons (their union), or
            run lengths with counts as a list, a string or bytes.
        image_hw: (height, width) of the image, pixels; polygons are cut at its border.

    Raises:
        UserInput: if it is none of these, belongs to another size, or holds no pixel.
    """
    if isinstance(segmentation, Mapping):
        crop, (x, y) = _from_rle(segmentation, image_hw)
    elif isinstance(segmentation, Sequence) and not isinstance(segmentation, str | bytes):
        crop, (x, y) = _from_polygons(segmentation, image_hw)
    else:
        raise _unusable("it is neither a list of polygons nor run lengths")
    columns, rows = np.flatnonzero(crop.any(0)), np.flatnonzero(crop.any(1))
    if not len(columns):
        raise _unusable("it holds no pixel of the image")
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    return np.ascontiguousarray(crop[top:bottom, left:right]), (x + int(left), y + int(top))


def _unusable(reason: str) -> UserInput:
    return UserInput(
        f"A COCO segmentation cannot be used: {reason}.",
        hint="Export the annotations again, or mend the file.",
        detail=reason,
    )


def _from_polygons(polygons: Sequence[object], image_hw: Hw) -> tuple[NDArray[np.bool_], Place]:
    rings = [_ring(polygon) for polygon in polygons]
    if not rings:
        raise _unusable("it has no polygon")
    points = np.concatenate(rings)
    x0, y0 = (max(0, math.floor(v) - 1) for v in points.min(0))
    x1 = min(image_hw[1], math.ceil(points[:, 0].max()) + 2)
    y1 = min(image_hw[0], math.ceil(points[:, 1].max()) + 2)
    if x1 <= x0 or y1 <= y0:
        raise _unusable("it lies outside the image")
    # Whole-pixel shifts leave COCO's rasterising rule as it is.
    local = [(ring - (x0, y0)).ravel().tolist() for ring in rings]
    rle = coco_mask.merge(coco_mask.frPyObjects(local, y1 - y0, x1 - x0))
    return cast("NDArray[np.bool_]", coco_mask.decode(rle).astype(bool)), (x0, y0)


def _ring(polygon: object) -> NDArray[np.float64]:
    try:
        flat = np.asarray(polygon, np.float64)
    except (TypeError, ValueError) as error:
        raise _unusable("a polygon is not a list of numbers") from error
    if flat.ndim != 1 or len(flat) % 2 or len(flat) < 6 or not np.isfinite(flat).all():
        raise _unusable("a polygon needs at least three points, x and y by turns")
    return flat.reshape(-1, 2)


def _from_rle(rle: Mapping[object, object], image_hw: Hw) -> tuple[NDArray[np.bool_], Place]:
    height, width = image_hw
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, Sequence) or list(size) != [height, width]:
        raise _unusable(f"it is for an image of (height, width) {size}, not {[height, width]}")
    if isinstance(counts, str | bytes):
        lengths = _unpacked(counts)
    else:
        try:
            lengths = np.asarray(counts, np.int64).ravel()
        except (TypeError, ValueError) as error:
            raise _unusable("its counts are not whole numbers") from error
    if (lengths < 0).any() or int(lengths.sum()) != height * width:
        raise _unusable(f"its counts do not add up to {height} × {width} pixels")
    ends = np.cumsum(lengths)
    is_set = (np.arange(len(lengths)) % 2 == 1) & (lengths > 0)
    if not is_set.any():
        raise _unusable("it holds no pixel of the image")
    x0 = int((ends - lengths)[is_set][0]) // height
    x1 = (int(ends[is_set][-1]) - 1) // height + 1
    begin = np.clip(ends - lengths, x0 * height, x1 * height)
    inside = np.clip(ends, x0 * height, x1 * height) - begin
    stripe = np.repeat(np.arange(len(lengths)) % 2 == 1, inside)
    return stripe.reshape(x1 - x0, height).T, (x0, 0)


def _unpacked(packed: str | bytes) -> Ints:
    """Return the run lengths of COCO's string: 5 bits a sign, low first, later ones as steps."""
    try:
        raw = packed.encode("ascii") if isinstance(packed, str) else packed
    except UnicodeEncodeError as error:
        raise _unusable("its counts hold a sign that COCO does not use") from error
    signs = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    if not len(signs) or (signs < 0).any() or (signs > 63).any() or signs[-1] & 0x20:
        raise _unusable("its counts are cut off or not COCO's")
    first = np.flatnonzero(np.append(True, (signs[:-1] & 0x20) == 0))
    digits = np.diff(np.append(first, len(signs)))
    if digits.max() > 12:
        raise _unusable("its counts are not COCO's")
    place = np.arange(len(signs)) - np.repeat(first, digits)
    steps = np.add.reduceat((signs & 0x1F) << (5 * place), first)
    negative = (signs[first + digits - 1] & 0x10) != 0
    steps -= np.where(negative, np.int64(1) << (5 * digits), 0)
    # from the fourth number on, each is a step from the number two before it
    steps[1::2] = np.cumsum(steps[1::2])
    steps[2::2] = np.cumsum(steps[2::2])
    return steps

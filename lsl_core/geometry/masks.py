"""Crops of masks against each other and against the image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.runs import tight_crops
from lsl_core.types import CropMasks, Hw, SoftMasks
from lsl_core.types.masks import Crops

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]


def corners(crops: Crops) -> Ints:
    """Return x, y, width, height as x1, y1, x2, y2, (N, 4)."""
    wide = crops.astype(np.int64)
    return np.concatenate([wide[:, :2], wide[:, :2] + wide[:, 2:]], axis=1)


def pixel_boxes(masks: CropMasks) -> NDArray[np.float32]:
    """Return the box around the set pixels of each mask, (N, 4) float32; empty if none."""
    return corners(tight_crops(masks)).astype(np.float32)


def areas(pixels: Sequence[Pixels]) -> Ints:
    """Return how many pixels of each crop are not zero, (N,)."""
    return np.array(list(map(cv2.countNonZero, pixels)), np.int64)


def shared_areas(pixels: Sequence[Pixels], boxes: Ints, left: Ints, right: Ints) -> Ints:
    """Return how many pixels crop left[k] and crop right[k] both have set, (K,).

    Args:
        pixels: N crops; set pixels have a bit in common, such as 1 or 255 throughout.
        boxes: (N, 4) where they lie, x1, y1, x2, y2.
        left: (K,) positions of crops.
        right: (K,) positions of crops whose boxes meet those of `left`.
    """
    low = np.maximum(boxes[left, :2], boxes[right, :2])
    high = np.minimum(boxes[left, 2:], boxes[right, 2:])
    parts = [low - boxes[left, :2], high - boxes[left, :2]]
    parts += [low - boxes[right, :2], high - boxes[right, :2]]
    rows = np.concatenate([np.stack([left, right], axis=1), *parts], axis=1).tolist()
    count, both = cv2.countNonZero, cv2.bitwise_and
    return np.fromiter(
        (
            count(both(pixels[i][ay:ay1, ax:ax1], pixels[j][by:by1, bx:bx1]))
            for i, j, ax, ay, ax1, ay1, bx, by, bx1, by1 in rows
        ),
        np.int64,
        len(rows),
    )


def areas_inside(pixels: Sequence[Pixels], boxes: Ints, index: Ints, regions: Ints) -> Ints:
    """Return how many pixels crop index[k] has set inside region k, (K,).

    Args:
        pixels: N crops.
        boxes: (N, 4) where they lie, x1, y1, x2, y2.
        index: (K,) positions of crops.
        regions: (K, 4) x1, y1, x2, y2, each meeting its crop's box.
    """
    box = boxes[index]
    low = np.maximum(box[:, :2], regions[:, :2]) - box[:, :2]
    high = np.minimum(box[:, 2:], regions[:, 2:]) - box[:, :2]
    rows = np.concatenate([index[:, None], low, high], axis=1).tolist()
    count = cv2.countNonZero
    return np.fromiter(
        (count(pixels[i][y:y1, x:x1]) for i, x, y, x1, y1 in rows), np.int64, len(rows)
    )


def clip(masks: CropMasks, image_hw: Hw) -> CropMasks:
    """Return the part of each mask inside the image; an unset pixel for one outside.

    Masks that lie inside keep their runs.
    """
    places = corners(masks.crops)
    high = np.array([image_hw[1], image_hw[0]])
    leaves = np.flatnonzero(((places[:, :2] < 0) | (places[:, 2:] > high)).any(1))
    if not len(leaves):
        return masks
    cut = []
    for i in leaves.tolist():
        x, y, x1, y1 = places[i].tolist()
        left, top = min(max(x, 0), image_hw[1] - 1), min(max(y, 0), image_hw[0] - 1)
        bottom, right = max(0, image_hw[0] - y), max(0, image_hw[1] - x)
        inside = masks.crop(i)[max(0, top - y) : bottom, max(0, left - x) : right]
        is_outside = x1 <= 0 or y1 <= 0 or not inside.size
        cut.append((np.zeros((1, 1), bool) if is_outside else inside, (left, top)))
    clipped = CropMasks.from_crops([pixels for pixels, _ in cut], [xy for _, xy in cut])
    order = np.arange(len(masks))
    order[leaves] = len(masks) + np.arange(len(leaves))
    return CropMasks.concat([masks, clipped]).take(order)


def trim_soft(masks: SoftMasks) -> SoftMasks:
    """Return the same probabilities without border rows and columns that are 0 throughout.

    A mask that is 0 everywhere becomes one pixel.
    """
    kept, places = [], []
    for i, (x, y, _, _) in enumerate(masks.crops.tolist()):
        crop = masks.crop(i)
        dx, dy, w, h = cv2.boundingRect(crop)
        kept.append(crop[dy : dy + max(h, 1), dx : dx + max(w, 1)])
        places.append((x + dx, y + dy))
    return SoftMasks.from_crops(kept, places)

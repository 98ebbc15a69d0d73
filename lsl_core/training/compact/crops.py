"""Crops with strong augmentation: what a network sees of a few images, again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.training.compact.mixing import View, mosaic, paste
from lsl_core.training.examples.tiles import LEAST_VISIBLE, Tile

F32 = NDArray[np.float32]
Ints = NDArray[np.integer[Any]]

#: Sides of a training crop, pixels of the network's input (recipe of the first trials: 192).
CROP_PX = 192
#: Share of the crops that are centred near an object; the rest see any place.
ON_OBJECT = 0.8
#: Scale of a crop is drawn evenly on a logarithmic axis between 1 / this and this.
SCALE = 1.5
#: How much of the change of scale and light masks get: they are turned freely and stretched as
#: well, and minutes are too short to learn all of that. Measured at 80 s: AP50 of the sample parts
#: .69 with 1 and .80 with half; of blood cells in boxes .87 with 1 and .80 with half.
CALM = 0.55
#: Sides of an object may change apart by this share, when masks are turned freely.
STRETCH = 0.1
#: Share of the crops that are mosaics, and of those with objects of another view pasted in.
#: Measured, 300 steps, mean of two seeds: AP50 of blood cells .784 without and .832 with mosaics,
#: nuclei learnt from one image .756 without and .782 with pasting.
MOSAIC, PASTE = 0.25, 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """One augmented view.

    image: (s, s, 3) float32. inside: (s, s) bool, whether the image reaches here. ids: (s, s)
    int32, 1 + row of the object, 0 for none; all 0 for boxes. class_ids: (N,). boxes, centres:
    (N, 4) and (N, 2) of the visible parts, crop pixels. doubtful: (N,) bool, objects of which
    too little is seen to learn from.
    """

    image: F32
    inside: NDArray[np.bool_]
    ids: NDArray[np.int32]
    class_ids: NDArray[np.int32]
    boxes: F32
    centres: F32
    doubtful: NDArray[np.bool_]


def draw_crop(
    tiles: Sequence[Tile], rng: np.random.Generator, *, with_masks: bool, mixed: bool = True
) -> Crop:
    """Draw one crop of a random tile, at times with objects or corners of others in it.

    Args:
        tiles: at least one.
        rng: decides everything.
        with_masks: whether objects are pixels, not boxes.
        mixed: whether other tiles may show in it.
    """

    def view() -> View:
        return _view(tiles[int(rng.integers(len(tiles)))], rng, with_masks=with_masks)

    seen = view()
    if mixed and len(tiles) > 1 and rng.random() < MOSAIC:
        seen = mosaic([seen, view(), view(), view()], rng)
    if mixed and with_masks and rng.random() < PASTE:
        seen = paste(seen, view(), rng)
    image = _recoloured(seen.image, rng, CALM if with_masks else 1.0)
    image[~seen.inside] = 0
    return (_masks_crop if with_masks else _boxes_crop)(replace(seen, image=image))


def _view(tile: Tile, rng: np.random.Generator, *, with_masks: bool) -> View:
    """Turn, flip and scale a tile, and look at a part of it."""
    to_crop = _placement(tile, rng, with_masks=with_masks)  # (2, 3), tile pixels to crop pixels
    size = (CROP_PX, CROP_PX)
    image = cv2.warpAffine(tile.image, to_crop, size, flags=cv2.INTER_LINEAR)
    ones = np.ones(tile.ids.shape, np.uint8)
    inside = cv2.warpAffine(ones, to_crop, size, flags=cv2.INTER_NEAREST) > 0
    ids = np.zeros(size, np.int32)
    boxes = np.zeros((len(tile.class_ids), 4), np.float32)
    if with_masks:
        # float32 holds every index exactly up to 2**24, and is a type that OpenCV turns.
        owners = tile.ids.astype(np.float32)
        ids = cv2.warpAffine(owners, to_crop, size, flags=cv2.INTER_NEAREST).astype(np.int32)
        sizes = tile.areas * np.float32(abs(np.linalg.det(to_crop[:, :2])))
    else:
        corners = tile.boxes.reshape(-1, 2, 2) - 0.5
        turned = corners @ to_crop[:, :2].T + to_crop[:, 2] + 0.5  # (N, 2, 2)
        whole = np.concatenate([turned.min(axis=1), turned.max(axis=1)], axis=1)
        sizes = _areas(whole)
        boxes = np.clip(whole, 0, CROP_PX).astype(np.float32)
    return View(np.asarray(image, np.float32), inside, ids, tile.class_ids, boxes, sizes)


def _areas(boxes: NDArray[np.floating[Any]]) -> F32:
    """Return the area of each box, (N,)."""
    areas: F32 = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).astype(np.float32)
    return areas


def _placement(tile: Tile, rng: np.random.Generator, *, with_masks: bool) -> NDArray[np.float64]:
    """Choose where the crop looks, turned, flipped and scaled."""
    h, w = tile.ids.shape
    centre: NDArray[np.floating[Any]] = rng.uniform((0, 0), (w, h))
    if len(tile.centres) and rng.random() < ON_OBJECT:
        centre = tile.centres[_rare_first(tile, rng)] + rng.normal(0, CROP_PX / 8, 2)
    scale = SCALE ** (rng.uniform(-1, 1) * (CALM if with_masks else 1.0))
    turn = rng.uniform(0, 2 * math.pi) if with_masks else rng.integers(4) * math.pi / 2
    stretch = rng.uniform(1 - STRETCH, 1 + STRETCH, 2) if with_masks else np.ones(2)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = math.cos(turn), math.sin(turn)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.diag(stretch * scale * [flip, 1.0])
    middle = np.array([CROP_PX / 2, CROP_PX / 2])
    # Pixel centres lie at halves: warpAffine counts them from 0.
    shift = middle - 0.5 - matrix @ (centre - 0.5)
    return np.concatenate([matrix, shift[:, None]], axis=1)


def _rare_first(tile: Tile, rng: np.random.Generator) -> int:
    """Choose an object; a label with few examples on the tile is as likely as one with many."""
    counts = np.bincount(tile.class_ids)[tile.class_ids]
    weights = 1 / np.sqrt(counts)
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _recoloured(image: F32, rng: np.random.Generator, strength: float) -> F32:
    """Change light, contrast, colour, sharpness and noise."""
    gain = np.exp(strength * (rng.uniform(-0.33, 0.33) + rng.uniform(-0.1, 0.1, 3)))
    offset = strength * (rng.uniform(-0.25, 0.25) + rng.uniform(-0.08, 0.08, 3))
    image = (image + 1) * gain.astype(np.float32) - 1 + offset.astype(np.float32)
    if rng.random() < 0.5:
        unit = np.clip((image + 1) / 2, 0, 2)
        power = math.exp(strength * rng.uniform(-0.36, 0.36))
        image = np.power(unit, power, dtype=np.float32) * 2 - 1
    if rng.random() < 0.25:
        blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.4 + 0.8 * strength))
        image = np.asarray(blurred, np.float32)
    if rng.random() < 0.5:
        noise = rng.standard_normal(image.shape, np.float32)
        image = image + noise * np.float32(rng.uniform(0.01, 0.12 * strength))
    return np.asarray(image, np.float32)


def _masks_crop(view: View) -> Crop:
    """Find the visible part of every object."""
    objects = np.flatnonzero(np.bincount(view.ids.ravel(), minlength=1)[1:])
    renumber = np.zeros(len(view.class_ids) + 1, np.int32)
    renumber[objects + 1] = np.arange(len(objects)) + 1
    ids = renumber[view.ids]
    y, x = np.nonzero(ids)
    owner = ids[y, x] - 1
    count = np.bincount(owner, minlength=len(objects))
    total_x = np.bincount(owner, x + 0.5, minlength=len(objects))
    total_y = np.bincount(owner, y + 0.5, minlength=len(objects))
    return Crop(
        view.image,
        view.inside,
        ids,
        view.class_ids[objects],
        _extents(owner, x, y, len(objects)),
        np.stack([total_x / count, total_y / count], axis=1).astype(np.float32),
        count < LEAST_VISIBLE * view.sizes[objects],
    )


def _extents(owner: Ints, x: Ints, y: Ints, num_objects: int) -> F32:
    """Return the box around the pixels (x, y) of each object, (N, 4)."""
    low = np.full((num_objects, 2), CROP_PX, np.int64)
    high = np.zeros((num_objects, 2), np.int64)
    for axis, place in enumerate((x, y)):
        np.minimum.at(low[:, axis], owner, place)
        np.maximum.at(high[:, axis], owner, place + 1)
    return np.concatenate([low, high], axis=1).astype(np.float32)


def _boxes_crop(view: View) -> Crop:
    """Leave out the boxes of which nothing is seen."""
    areas = _areas(view.boxes)
    kept = areas > 0
    boxes = view.boxes[kept]
    return Crop(
        view.image,
        view.inside,
        view.ids,
        view.class_ids[kept],
        boxes,
        (boxes[:, :2] + boxes[:, 2:]) * np.float32(0.5),
        areas[kept] < LEAST_VISIBLE * view.sizes[kept],
    )

"""A drawn image with scored objects, some of them exactly on a threshold."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from lsl_core.sandbox.scenes import SceneKind, draw_scene
from lsl_core.types import CropMasks, Instances, LabelMap, Window

SIDE = 2048


@cache
def sample(kind: str = "parts") -> tuple[np.ndarray, Instances, LabelMap]:
    """Return pixels, instances with masks (the first 100 score whole percents) and labels."""
    scene = draw_scene(SceneKind(kind), seed=3, image_hw=(SIDE, SIDE))
    rng = np.random.default_rng(5)
    scores = rng.beta(3, 2, len(scene.instances)).clip(0.051, 1).astype(np.float32)
    on_step = np.arange(min(100, len(scores)))
    scores[on_step] = ((on_step * 7) % 95 + 5).astype(np.float32) / np.float32(100)
    order = np.argsort(-scores, kind="stable")
    found = scene.instances
    instances = Instances(found.boxes, scores, found.class_ids, found.masks, found.image_hw)
    return scene.pixels, instances.take(order), LabelMap(scene.labels)


def in_cvat() -> Instances:
    """Return what the task holds already: every ninth object, moved a little."""
    _, instances, _ = sample()
    return instances.take(np.arange(0, len(instances), 9)).moved(6, 4, instances.image_hw)


def boxes_only() -> Instances:
    """Return the same objects as a detector of boxes gives them."""
    _, found, _ = sample()
    return Instances(found.boxes, found.scores, found.class_ids, None, found.image_hw)


def crowd(count: int = 6000) -> tuple[np.ndarray, Instances, LabelMap]:
    """Return an image with thousands of small rings."""
    rng = np.random.default_rng(1)
    pixels = np.full((SIDE, SIDE, 3), 190, np.uint8)
    crops, places = [], []
    for x, y in rng.integers(0, SIDE - 24, (count, 2)).tolist():
        side = int(rng.integers(12, 24))
        ring = np.zeros((side, side), np.uint8)
        cv2.circle(ring, (side // 2, side // 2), side // 2 - 1, 1, 3)
        pixels[y : y + side, x : x + side][ring > 0] = rng.integers(30, 120, 3)
        crops.append(ring)
        places.append((x, y))
    masks = CropMasks.from_crops(crops, places)
    x, y, w, h = masks.crops.T
    boxes = np.stack([x, y, x + w, y + h], 1).astype(np.float32)
    scores = np.sort(rng.beta(3, 2, count).clip(0.05, 1).astype(np.float32))[::-1].copy()
    ids = rng.integers(0, 3, count).astype(np.int32)
    return pixels, Instances(boxes, scores, ids, masks, (SIDE, SIDE)), LabelMap(("a", "b", "c"))


#: Larger than what is sent whole; white lines, one pixel wide, vanish in what is sent of it.
LARGE_HW, EVERY = (5000, 6000), 8


@cache
def large() -> tuple[np.ndarray, Instances, LabelMap]:
    """Return a picture of upright lines that only its own pixels show, with one object."""
    pixels = np.full((*LARGE_HW, 3), 40, np.uint8)
    pixels[:, ::EVERY] = 255
    box = np.array([[3000, 2500, 3040, 2540]], np.float32)
    one = Instances(box, np.ones(1, np.float32), np.zeros(1, np.int32), None, LARGE_HW)
    return pixels, one, LabelMap(("a",))


def large_part(part: Window, pixels: int) -> np.ndarray:
    """Return a part of that picture."""
    found = large()[0][part.y : part.y + part.height, part.x : part.x + part.width]
    size = (pixels, max(1, round(part.height * pixels / part.width)))
    return np.asarray(cv2.resize(found, size, interpolation=cv2.INTER_AREA), np.uint8)

"""Labelled images made ready for a network: cut into windows, scaled, levelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.masks import clip
from lsl_core.models.compact import transform
from lsl_core.models.compact.sizes import Sizes, are_whole, log_sizes
from lsl_core.training.examples.samples import Sample
from lsl_core.types import OBJECT_THRESHOLD, CropMasks, Hw, Instances, SlideWindows, Window
from lsl_core.windows import plan

F32 = NDArray[np.float32]

#: An object of which a crop shows less than this share is not evidence of how it looks.
LEAST_VISIBLE = 0.35
#: No label's sizes are believed to spread less, in logarithms: a few objects look alike by chance,
#: and boxes that are found are not as exact as those that are drawn.
LEAST_SPREAD = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One window of a sample, at the scale of the network.

    image: (h, w, 3) float32, levelled. ids: (h, w) int32, 1 + index of the object that owns the
    pixel, 0 for none; all 0 where objects have boxes only. class_ids, areas, centres, boxes: (N,)
    labels, areas in pixels, (N, 2) places and (N, 4) boxes of the objects.
    """

    image: F32
    ids: NDArray[np.int32]
    class_ids: NDArray[np.int32]
    areas: F32
    centres: F32
    boxes: F32


def windows_of(
    sample: Sample, slide: SlideWindows, *, least_visible: float = OBJECT_THRESHOLD
) -> list[tuple[Window, Instances]]:
    """Cut what was drawn on an image along its windows.

    Args:
        sample: the image.
        slide: how it is cut.
        least_visible: share of an object, in [0, 1], that a window must show for it to count there.
    """
    instances = sample.instances
    return [(w, _inside(instances, w, least_visible)) for w in plan(instances.image_hw, slide)]


def _inside(instances: Instances, window: Window, least_visible: float) -> Instances:
    """Return the visible part of every object in a window, in its pixels."""
    hw: Hw = (window.height, window.width)
    if hw == instances.image_hw:
        return instances
    moved = instances.moved(-window.x, -window.y, hw)
    limit = np.array([hw[1], hw[0]] * 2, np.float32)
    boxes = np.clip(moved.boxes, 0, limit)
    sizes = boxes[:, 2:] - boxes[:, :2]
    whole = np.maximum((moved.boxes[:, 2:] - moved.boxes[:, :2]).prod(axis=1), 1e-6)
    shown = np.where((sizes > 0).all(axis=1), sizes.prod(axis=1) / whole, 0)
    kept = shown > 0
    masks = moved.masks
    if isinstance(masks, CropMasks):
        before = np.maximum(masks.areas(), 1)
        masks = clip(masks.take(kept), hw)
        areas = masks.areas()
        visible = areas / before[kept] >= least_visible
        positions = np.flatnonzero(kept)[visible & (areas > 0)]
        masks = masks.take(np.flatnonzero(visible & (areas > 0)))
    else:
        positions = np.flatnonzero((shown > 0) & (shown >= least_visible))
    return Instances(
        boxes[positions], moved.scores[positions], moved.class_ids[positions], masks, hw
    )


def object_sizes(samples: Sequence[Sample]) -> F32:
    """Return the square root of the area of every object, pixels, (N,)."""
    sizes = [np.zeros(0)]
    for sample in samples:
        boxes, masks = sample.instances.boxes, sample.instances.masks
        if isinstance(masks, CropMasks):
            sizes.append(np.sqrt(masks.areas()))
        else:
            sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
            sizes.append(np.sqrt(sides.prod(axis=1)))
    sizes_px: F32 = np.concatenate(sizes).astype(np.float32)
    return sizes_px[sizes_px > 0]


def label_sizes(samples: Sequence[Sample], num_labels: int) -> Sizes:
    """Return mean and spread of the logarithm of each label's size.

    Objects at the edge of their image may be cut and tell nothing. The spread is that of another
    object to come: the fewer were drawn, the wider. A label of which no whole object was drawn may
    have any size that others have. With one label, or no whole object, there is nothing to tell.
    """
    drawn = [sample.instances for sample in samples]
    whole = [are_whole(of.boxes, of.image_hw) for of in drawn]
    logs = np.concatenate([log_sizes(of.boxes)[w] for of, w in zip(drawn, whole, strict=True)])
    ids = np.concatenate([of.class_ids[w] for of, w in zip(drawn, whole, strict=True)])
    if num_labels < 2 or not len(logs):
        return ()
    of_label = [logs[ids == k] if (ids == k).any() else logs for k in range(num_labels)]
    return tuple((float(of.mean()), _spread(of)) for of in of_label)


def _spread(logs: F32) -> float:
    return max(float(logs.std()), LEAST_SPREAD) * math.sqrt(1 + 1 / len(logs))


def make_tile(
    pixels: NDArray[np.uint8],
    instances: Instances,
    *,
    scale: float,
    least_range: float,
    invert: bool = False,
) -> Tile:
    """Scale and level one window with its objects; `invert` as in `transform.dark_ground`."""
    small = transform.scaled(pixels, scale)
    h, w = small.shape[:2]
    zoom = np.array([w / pixels.shape[1], h / pixels.shape[0]], np.float32)
    boxes = (instances.boxes * np.tile(zoom, 2)).astype(np.float32)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    ids = np.zeros((h, w), np.int32)
    if isinstance(instances.masks, CropMasks):
        areas = instances.masks.areas() * zoom.prod()
        rows, columns = ((np.arange(n) + 0.5) / z for n, z in ((h, zoom[1]), (w, zoom[0])))
        ids = owners(instances)[rows.astype(int)[:, None], columns.astype(int)]
    image = transform.levelled(small, least_range)
    return Tile(
        transform.dark_ground(image) if invert else image,
        ids,
        instances.class_ids,
        areas.astype(np.float32),
        ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32),
        boxes,
    )


def owners(instances: Instances) -> NDArray[np.int32]:
    """Return which object owns each pixel, 1 + its index; the smaller one where two overlap."""
    assert isinstance(instances.masks, CropMasks)
    owner = np.zeros(instances.image_hw, np.int32)
    masks = clip(instances.masks, instances.image_hw)
    for i in np.argsort(-masks.areas(), kind="stable").tolist():
        x, y, w, h = masks.crops[i].tolist()
        owner[y : y + h, x : x + w][masks.crop(i)] = i + 1
    return owner


def polarity(tile: Tile) -> float:
    """Return how much brighter objects are than ground, in levels of [-1, 1]; 0 without either."""
    objects = tile.ids > 0
    if not objects.any():  # boxes: their middles
        for x1, y1, x2, y2 in tile.boxes.tolist():
            half_w, half_h = (x2 - x1) / 4, (y2 - y1) / 4
            rows = slice(round(y1 + half_h), max(round(y2 - half_h), round(y1 + half_h) + 1))
            objects[rows, round(x1 + half_w) : max(round(x2 - half_w), round(x1 + half_w) + 1)] = 1
    grey = tile.image.mean(axis=2)
    if not objects.any() or objects.all():
        return 0.0
    ground = ~objects
    for x1, y1, x2, y2 in tile.boxes.astype(int).tolist():
        ground[y1 : y2 + 1, x1 : x2 + 1] = False
    ground = ground if ground.any() else ~objects
    return float(np.median(grey[objects]) - np.median(grey[ground]))

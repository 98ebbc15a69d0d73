"""Instances as anybody draws them: inside their image, as rectangles, as outlines."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.masks import clip, pixel_boxes
from lsl_core.geometry.polygons import to_polygons
from lsl_core.geometry.runs import trim
from lsl_core.types import CropMasks, Instances

#: Decimals of a coordinate: a hundredth of a pixel is finer than any screen.
_DECIMALS = 2
#: A rectangle thinner than this, in pixels, cannot be seen or picked in CVAT.
_THINNEST = 0.5


class Drawing(StrEnum):
    """What a shape is drawn as; the value is CVAT's shape type."""

    RECTANGLE = "rectangle"
    POLYGON = "polygon"
    MASK = "mask"


def within_image(instances: Instances) -> Instances:
    """Return the objects cut at the border of their image; those with nothing left are gone.

    Masks come back in their smallest crops.

    Raises:
        ValueError: for soft masks: choose a mask threshold first.
    """
    height, width = instances.image_hw
    boxes = np.clip(instances.boxes, 0, np.array([width, height, width, height], np.float32))
    seen = np.asarray(np.isfinite(boxes).all(axis=1))
    seen = seen & ((boxes[:, 2:] - boxes[:, :2]) >= _THINNEST).all(axis=1)
    masks = instances.masks
    if masks is not None:
        if not isinstance(masks, CropMasks):
            raise ValueError("soft masks cannot be drawn; take binary() first")
        masks = trim(clip(masks, instances.image_hw))
        seen = masks.areas() > 0
    whole = Instances(boxes, instances.scores, instances.class_ids, masks, instances.image_hw)
    return whole if seen.all() else whole.take(seen)


def without_holes(instances: Instances) -> Instances:
    """Return the objects with the holes of their binary masks filled."""
    masks = instances.masks
    if not isinstance(masks, CropMasks):
        return instances
    from scipy import ndimage  # a sixth of a second, which every command would wait

    filled = [ndimage.binary_fill_holes(masks.crop(i)) for i in range(len(masks))]
    places = [(x, y) for x, y, _, _ in masks.crops.tolist()]
    return replace(instances, masks=CropMasks.from_crops(filled, places))


def rectangles(
    instances: Instances, has_mask: NDArray[np.bool_] | None = None
) -> list[list[float]]:
    """Return the box of each object; around its pixels where there is a mask."""
    boxes: NDArray[np.float32] = instances.boxes
    if isinstance(instances.masks, CropMasks):
        around = pixel_boxes(instances.masks)
        boxes = around if has_mask is None else np.where(has_mask[:, None], around, boxes)
    # by way of text, so that 0.1 is 0.1 and not the float32 next to it
    rounded: list[list[float]] = np.round(boxes.astype(np.float64), _DECIMALS).tolist()
    return rounded


def rings(instances: Instances, i: int, *, tolerance: float = 0.0) -> list[list[float]]:
    """Return the outline of each part of a mask, as x and y by turns; polygons have no holes.

    Args:
        instances: with binary masks.
        i: which object.
        tolerance: how far an outline may leave the exact one, pixels; saves corners.
    """
    masks = instances.masks
    if not isinstance(masks, CropMasks):
        raise TypeError("an object without a mask has no outline")
    (parts,) = to_polygons(masks.take(np.array([i])), tolerance=tolerance)
    return [part.outline.ravel().tolist() for part in parts]

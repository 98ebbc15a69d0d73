"""Instances become CVAT's shapes: checked here, since CVAT stores any nonsense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.cvat.annotations.mask_points import to_points
from lsl_core.cvat.tasks.entities import CvatLabel
from lsl_core.errors import UserInput
from lsl_core.geometry.coco import from_coco_segmentation
from lsl_core.geometry.drawable import Drawing, rectangles, rings
from lsl_core.types import CropMasks, Hw, Instances

Json = dict[str, Any]


def from_instances(
    instances: Instances,
    *,
    frame: int,
    labels: Mapping[int, CvatLabel],
    drawings: Mapping[int, Drawing],
    source: str = "auto",
    first_group: int = 1,
    has_mask: NDArray[np.bool_] | None = None,
    tolerance: float = 0.0,
) -> list[list[Json]]:
    """Return the shapes that draw each object on a frame, ready to be sent.

    Args:
        instances: of `geometry.drawable.within_image`; binary masks or none.
        frame: number in the task.
        labels: CVAT's label of each class id that occurs.
        drawings: how the objects of each class id are drawn.
        source: who drew them, as CVAT shows it.
        first_group: number of the first group; an object of several polygons is a group.
        has_mask: (N,) False for objects whose mask is only their box, as sources keep them; they
            are drawn as the rectangle that they were where the label takes one.
        tolerance: how far a polygon may leave the outline, pixels.

    Returns:
        One list per object; several shapes only for polygons.
    """
    boxes, masks = rectangles(instances, has_mask), instances.masks
    points = to_points(masks) if isinstance(masks, CropMasks) else []
    objects: list[list[Json]] = []
    group = first_group
    for i, class_id in enumerate(instances.class_ids.tolist()):
        label, drawing = labels[class_id], drawings[class_id]
        if has_mask is not None and not has_mask[i] and label.type == "any":
            drawing = Drawing.RECTANGLE
        drawn: list[list[Any]]
        if drawing is Drawing.RECTANGLE:
            drawn = [boxes[i]]
        elif drawing is Drawing.MASK:
            drawn = [points[i]]
        else:
            drawn = rings(instances, i, tolerance=tolerance)
        shapes = [_shape(drawing, label, frame, numbers, source) for numbers in drawn]
        for shape in shapes:
            shape["score"] = round(float(instances.scores[i]), 4)
            shape["group"] = group if len(shapes) > 1 else 0
        group += len(shapes) > 1
        objects.append(shapes)
    return objects


def lost_pixels(masks: CropMasks, drawn: Sequence[Sequence[Json]], image_hw: Hw) -> tuple[int, int]:
    """Return how many masks are not what their polygons give back, and by how many pixels.

    Polygons have no holes, and simple ones leave the outline.

    Args:
        masks: N masks.
        drawn: the polygons of each.
        image_hw: (height, width) of the image.
    """
    objects = pixels = 0
    for i, shapes in enumerate(drawn):
        mine, (left, top) = masks.crop(i), masks.crops[i, :2].tolist()
        try:
            theirs, (x, y) = from_coco_segmentation([s["points"] for s in shapes], image_hw)
        except UserInput:  # too thin for a pixel
            differ = int(mine.sum())
        else:
            both = _overlap(mine, (left, top), theirs, (x, y))
            differ = int(mine.sum()) + int(theirs.sum()) - 2 * both
        objects += differ > 0
        pixels += differ
    return objects, pixels


def _overlap(
    first: NDArray[np.bool_], at: tuple[int, int], second: NDArray[np.bool_], there: tuple[int, int]
) -> int:
    """Return how many pixels two crops at (x, y) share."""
    x0, y0 = max(at[0], there[0]), max(at[1], there[1])
    x1 = max(x0, min(at[0] + first.shape[1], there[0] + second.shape[1]))
    y1 = max(y0, min(at[1] + first.shape[0], there[1] + second.shape[0]))
    one = first[y0 - at[1] : y1 - at[1], x0 - at[0] : x1 - at[0]]
    other = second[y0 - there[1] : y1 - there[1], x0 - there[0] : x1 - there[0]]
    return int((one & other).sum())


def _shape(drawing: Drawing, label: CvatLabel, frame: int, points: list[Any], source: str) -> Json:
    return {
        "type": drawing.value,
        "frame": frame,
        "label_id": label.id,
        "points": points,
        "rotation": 0.0,
        "occluded": False,
        "outside": False,
        "z_order": 0,
        "group": 0,
        "source": source,
        # CVAT adds defaults when it answers a read, not when it answers a create
        "attributes": [{"spec_id": a.id, "value": a.default} for a in label.attributes],
        "elements": [],
    }

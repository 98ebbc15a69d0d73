"""What the windows of one image found, side by side, in image pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.boxes import area, meeting_pairs
from lsl_core.geometry.masks import areas, corners
from lsl_core.types import Hw, Instances, SoftMasks
from lsl_core.types.masks import crops_of

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: A side that lies on the border of the image is no cut: as far away as can be.
FAR = 1 << 30

#: So little of an object in a strip may be an outline drawn too far out: it does not tell what
#: belongs together, and beside an object of its label in a window that sees deeper it is none.
EDGE_PX = 8

#: Where a soft mask is taken for the object when two windows are compared.
SOLID = 128


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """N objects or parts of objects, as K windows saw them.

    views: (K, 4) int64, x1, y1, x2, y2 of the windows.
    seen_in: (N,) int64, which window.
    boxes: (N, 4) float64, around what is solid; whole numbers where there are pixels.
    scores: (N,) float32. class_ids: (N,) int32.
    solid: N crops uint8 that fill `boxes`; set pixels are 1. None when there are only boxes.
    pixels: N crops uint8 that fill `places`: what is joined, solid or soft. None as above.
    places: (N, 4) int64, x1, y1, x2, y2; contains the box.
    image_hw: (height, width) of the image.
    """

    views: Ints
    seen_in: Ints
    boxes: Floats
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    solid: Sequence[Pixels] | None
    pixels: Sequence[Pixels] | None
    places: Ints
    image_hw: Hw

    def __len__(self) -> int:
        return len(self.boxes)

    def areas(self) -> Floats:
        """Return the number of solid pixels of each, or the area of its box, (N,)."""
        if self.solid is None:
            return area(self.boxes)
        return areas(self.solid).astype(np.float64)

    def depths(self) -> Floats:
        """Return how far each side lies from the border that its window cuts there, (N, 4).

        0 and less: cut. Where the window ends with the image nothing is cut, and the side is FAR.
        """
        return depths(self.boxes, self.views[self.seen_in], self.image_hw)


def depths(boxes: Floats, views: Ints, image_hw: Hw) -> Floats:
    """Return how far side k of row i lies inside view i, (N, 4); FAR at borders of the image."""
    inside = np.concatenate([boxes[:, :2] - views[:, :2], views[:, 2:] - boxes[:, 2:]], axis=1)
    at_edge = np.concatenate([views[:, :2] <= 0, views[:, 2:] >= image_hw[::-1]], axis=1)
    return np.where(at_edge, FAR, inside)


def meets_another_view(boxes: Floats, seen_in: Ints, views: Ints) -> NDArray[np.bool_]:
    """Return which boxes reach into what another window sees too, or touch it, (N,).

    On a grid of windows this is exact; elsewhere it may say yes too often, never too seldom.
    """
    alone = views.copy()
    a, b = meeting_pairs(views)
    a, b = np.concatenate([a, b]), np.concatenate([b, a])
    for low in (0, 1):
        before, after = views[b, low] < views[a, low], views[b, low] > views[a, low]
        np.maximum.at(alone[:, low], a[before], views[b[before], low + 2])
        np.minimum.at(alone[:, low + 2], a[after], views[b[after], low])
    twins = a[(views[a, :2] == views[b, :2]).all(1)]
    alone[twins, 2:] = alone[twins, :2]
    own = alone[seen_in]
    outside = np.concatenate([boxes[:, :2] <= own[:, :2], boxes[:, 2:] >= own[:, 2:]], axis=1)
    return np.asarray(outside.any(1))


def places_of(found: Instances) -> Floats:
    """Return where each object lies at most, x1, y1, x2, y2, (N, 4)."""
    if found.masks is None:
        return found.boxes.astype(np.float64)
    return corners(found.masks.crops).astype(np.float64)


def fragments_of(found: Instances, index: Ints, seen_in: Ints, views: Ints) -> Fragments:
    """Return the objects of `found` at `index` as fragments.

    Binary masks are decoded; soft pixels are views of those of `found`.

    Args:
        found: N objects.
        index: (M,) which of them.
        seen_in: (N,) the window of each object.
        views: (K, 4) x1, y1, x2, y2 of the windows.
    """
    solid: list[Pixels] | None = None
    pixels: list[Pixels] | None = None
    places = np.zeros((len(index), 4), np.int64)
    if found.masks is None:
        boxes = found.boxes[index].astype(np.float64)
    elif isinstance(found.masks, SoftMasks):
        masks = found.masks
        pixels = crops_of(masks.values, masks.starts, masks.crops, index)
        places = corners(masks.crops[index])
        certain = (masks.values >= SOLID).view(np.uint8)
        boxes, solid = _tight(crops_of(certain, masks.starts, masks.crops, index), places, pixels)
    else:
        boxes, solid = _tight(found.masks.take(index).filled(1), corners(found.masks.crops[index]))
        pixels, places = solid, boxes.astype(np.int64)
    scores, class_ids = found.scores[index], found.class_ids[index]
    return Fragments(
        views, seen_in[index], boxes, scores, class_ids, solid, pixels, places, found.image_hw
    )


def solid_of(crop: Pixels) -> Pixels:
    """Return what stands for the object: its certain pixels, or its surest ones if none is."""
    solid = (crop >= SOLID).view(np.uint8)
    if cv2.countNonZero(solid):
        return solid
    return (crop >= max(1, int(crop.max()) // 2)).view(np.uint8)


def _tight(
    crops: list[Pixels], places: Ints, soft: Sequence[Pixels] | None = None
) -> tuple[Floats, list[Pixels]]:
    """Return the box around the set pixels of each crop, and what fills it.

    A crop without a set pixel is replaced by the surest pixels of the soft one, or has an empty box
    at its place.
    """
    rects = np.array(list(map(cv2.boundingRect, crops)), np.int32).reshape(-1, 4)
    if soft is not None:
        for k in np.flatnonzero(rects[:, 2] == 0).tolist():
            crops[k] = solid_of(soft[k])
            rects[k] = cv2.boundingRect(crops[k])
    inside = corners(rects)
    cut = [crop[y:y1, x:x1] for crop, (x, y, x1, y1) in zip(crops, inside.tolist(), strict=True)]
    return (places[:, [0, 1, 0, 1]] + inside).astype(np.float64), cut

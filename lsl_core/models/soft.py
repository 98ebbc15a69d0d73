"""Masks from maps of probabilities: crops at the resolution of the window, with their boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lsl_core.types import Hw, Instances, SoftMasks

F32 = NDArray[np.float32]

#: Foreground below this probability is in no mask, whatever the mask threshold.
FAINT = 0.1


@dataclass(frozen=True, slots=True)
class Frame:
    """How output pixels lie in the window.

    image_hw: size of the window, pixels. zoom: (x, y) window pixels per output pixel.
    grid_hw: output pixels that show the window, the padding left out.
    """

    image_hw: Hw
    zoom: tuple[float, float]
    grid_hw: Hw

    @classmethod
    def of(cls, image_hw: Hw, input_hw: Hw, *, stride: int) -> Frame:
        """Return the frame of a window that was scaled to `input_hw` before padding.

        Args:
            image_hw: size of the window.
            input_hw: what became of it, without padding.
            stride: input pixels a side per output pixel.
        """
        zoom = (stride * image_hw[1] / input_hw[1], stride * image_hw[0] / input_hw[0])
        return cls(image_hw, zoom, (-(-input_hw[0] // stride), -(-input_hw[1] // stride)))


def enlarged(
    soft: F32, left: int, top: int, frame: Frame
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return a crop of output pixels at full resolution, 0 to 255, and its place in the window."""
    (zoom_x, zoom_y), (h, w) = frame.zoom, frame.image_hw
    rows, columns = soft.shape
    x1, x2 = max(0, int((left - 0.5) * zoom_x)), min(w, int((left + columns + 0.5) * zoom_x) + 1)
    y1, y2 = max(0, int((top - 0.5) * zoom_y)), min(h, int((top + rows + 0.5) * zoom_y) + 1)
    if x1 >= x2 or y1 >= y2:
        return np.zeros((0, 0), np.uint8), (x1, y1)
    # Window edges repeat the last output pixel instead of fading out to nothing.
    rimmed = np.zeros((rows + 2, columns + 2), np.float32)
    rimmed[1:-1, 1:-1] = soft
    if left == 0:
        rimmed[:, 0] = rimmed[:, 1]
    if left + columns >= frame.grid_hw[1]:
        rimmed[:, -1] = rimmed[:, -2]
    if top == 0:
        rimmed[0] = rimmed[1]
    if top + rows >= frame.grid_hw[0]:
        rimmed[-1] = rimmed[-2]
    to_grid = np.array(
        [
            [1 / zoom_x, 0, (x1 + 0.5) / zoom_x - 0.5 - left + 1],
            [0, 1 / zoom_y, (y1 + 0.5) / zoom_y - 0.5 - top + 1],
        ]
    )
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine((rimmed * 255).astype(np.float32), to_grid, (x2 - x1, y2 - y1), flags=how)
    return np.rint(crop).astype(np.uint8), (x1, y1)


def assembled(
    crops: list[NDArray[np.uint8]],
    places: list[tuple[int, int]],
    scores: F32,
    class_ids: NDArray[np.int32],
    frame: Frame,
) -> Instances:
    """Cut each crop to its mask, put boxes around what is more likely than not, sort."""
    tight, corners, boxes = [], [], []
    for crop, (left, top) in zip(crops, places, strict=True):
        x, y, w, h = cv2.boundingRect((crop >= FAINT * 255).astype(np.uint8))
        if not w:
            x, y, w, h = 0, 0, 1, 1
        part = crop[y : y + h, x : x + w]
        tight.append(part)
        corners.append((left + x, top + y))
        bx, by, bw, bh = cv2.boundingRect((part >= 128).astype(np.uint8))
        if not bw:
            bx, by, bw, bh = 0, 0, w, h
        bx, by = bx + left + x, by + top + y
        boxes.append((bx, by, bx + bw, by + bh))
    box_column = np.array(boxes, np.float32).reshape(-1, 4)
    masks = SoftMasks.from_crops(tight, corners)
    whole = Instances(box_column, scores, class_ids.astype(np.int32), masks, frame.image_hw)
    return whole.take(np.argsort(-scores, kind="stable"))


def semantic_parts(layers: F32, frame: Frame, floor_score: float) -> Instances:
    """Make one instance of each connected part of each label.

    Args:
        layers: (K, h, w) probability of each label.
        frame: how they lie in the window.
        floor_score: lowest mean probability kept.
    """
    crops, places, scores, class_ids = [], [], [], []
    for class_id, layer in enumerate(layers):
        parts, _ = ndimage.label(layer >= 0.5)
        grown = cv2.dilate(parts.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
        parts = np.where(parts == 0, grown, parts)  # the soft rim belongs to its part
        for i, where in enumerate(ndimage.find_objects(parts)):
            soft = np.where(parts[where] == i + 1, layer[where], 0)
            score = float(soft[soft >= 0.5].mean())
            crop, place = enlarged(soft, where[1].start, where[0].start, frame)
            if score >= floor_score and crop.size:
                crops.append(crop)
                places.append(place)
                scores.append(score)
                class_ids.append(class_id)
    return assembled(
        crops, places, np.array(scores, np.float32), np.array(class_ids, np.int32), frame
    )

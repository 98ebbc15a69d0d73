"""Masks as one transparent picture, drawn from their run lengths: no mask is decoded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.runs import Ints, set_runs
from lsl_core.types import CropMasks, Instances
from lsl_core.types.palette import label_style

#: How strongly a mask tints what is below it, of 255.
ALPHA = 112


def mask_layer(instances: Instances, *, max_side_px: int) -> NDArray[np.uint8]:
    """Return the masks alone, to be laid over the image at the same size.

    Each pixel shows the one image pixel in its middle. Where masks overlap, the earlier object
    lies on top: predictions come best score first.

    Args:
        instances: objects in image pixels, with `CropMasks`.
        max_side_px: longer side of the result; never larger than the image.

    Returns:
        (h, w, 4) uint8, RGBA: the label's colour where there is an object, else nothing.
    """
    masks = instances.masks
    if not isinstance(masks, CropMasks):
        raise TypeError("a layer is drawn from binary masks: use instances.binary(mask_threshold)")
    scale = min(1.0, max_side_px / max(instances.image_hw))
    height, width = (max(1, round(side * scale)) for side in instances.image_hw)
    owner, row, left, right = _spans(masks, instances.image_hw, (height, width))
    shown = np.flatnonzero(right > left)[::-1]  # what is written last lies on top
    count = (right - left)[shown]
    begins = np.repeat((row * width + left)[shown] - (np.cumsum(count) - count), count)
    palette = np.zeros((int(instances.class_ids.max(initial=-1)) + 2, 4), np.uint8)
    for label in range(len(palette) - 1):
        palette[label + 1] = (*label_style(label).colour, ALPHA)
    numbers = np.zeros(height * width, np.int32)
    labels = instances.class_ids[owner[shown]] + 1
    numbers[begins + np.arange(len(begins))] = np.repeat(labels, count)
    layer = palette.view(np.uint32).ravel()[numbers]
    return layer.view(np.uint8).reshape(height, width, 4)


def _spans(
    masks: CropMasks, image_hw: tuple[int, int], layer_hw: tuple[int, int]
) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the stretches of layer pixels that masks cover: owner, row, left, right (R,)."""
    runs = set_runs(masks)
    x, y, width, _ = masks.crops[runs.owner].astype(np.int64).T
    first, last = runs.start // width, (runs.stop - 1) // width
    num_rows = last - first + 1  # a run may go on in the next row of its crop
    run = np.repeat(np.arange(len(first)), num_rows)
    row = first[run] + np.arange(len(run)) - np.repeat(np.cumsum(num_rows) - num_rows, num_rows)
    begin = np.maximum(runs.start[run] - row * width[run], 0) + x[run]
    end = np.minimum(runs.stop[run] - row * width[run], width[run]) + x[run]
    of_row, from_column = _layer_rows(image_hw[0], layer_hw[0]), _columns(image_hw[1], layer_hw[1])
    place = row + y[run]
    inside = (place >= 0) & (place < image_hw[0])
    inside[inside] = of_row[place[inside]] >= 0
    begin, end = (np.clip(side[inside], 0, image_hw[1]) for side in (begin, end))
    owner = runs.owner[run[inside]]
    return owner, of_row[place[inside]], from_column[begin], from_column[end]


def _middles(image_px: int, layer_px: int) -> Ints:
    """Return the image pixel that each layer pixel shows, (layer_px,)."""
    middles: Ints = ((np.arange(layer_px) + 0.5) * image_px / layer_px).astype(np.int64)
    return middles


def _layer_rows(image_px: int, layer_px: int) -> Ints:
    """Return the layer row that shows each image row, -1 for none, (image_px,)."""
    rows = np.full(image_px, -1, np.int64)
    rows[_middles(image_px, layer_px)] = np.arange(layer_px)
    return rows


def _columns(image_px: int, layer_px: int) -> Ints:
    """Return the first layer column at or after each image column, (image_px + 1,)."""
    return np.searchsorted(_middles(image_px, layer_px), np.arange(image_px + 1)).astype(np.int64)

"""Found objects in the words of CVAT's serverless functions.

A detector answers with a list of shapes. A mask is the flat pixels of its crop, 0 or 1, row by
row, and then left, top, right, bottom, inclusive: holes survive. CVAT makes run lengths of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.drawable import Drawing, rectangles, rings, within_image
from lsl_core.geometry.polygons import Polygon, Ring, to_polygons
from lsl_core.types import MODES, CropMasks, Geometry, Instances, ModelCard

Json = dict[str, Any]


def drawing_of(card: ModelCard) -> Drawing:
    """Return how a model's objects are drawn when nobody asks for something else."""
    return Drawing.MASK if MODES[card.mode].gives is Geometry.MASKS else Drawing.RECTANGLE


def label_specs(labels: Sequence[str], drawing: Drawing) -> list[Json]:
    """Return the labels as the `spec` of a function lists them."""
    return [{"id": i, "name": name, "type": drawing.value} for i, name in enumerate(labels)]


def cvat_answer(instances: Instances, labels: Sequence[str], drawing: Drawing) -> bytes:
    """Return the JSON text that CVAT expects of a detector function.

    Objects are cut at the border of the image, as a push does it. A polygon has no holes; an
    object of several parts becomes several polygons of one group. Beside a mask go the corners
    of its largest part, which CVAT takes when a person asks it to convert masks to polygons.

    Args:
        instances: masks binary, or boxes only.
        labels: names by class id.
        drawing: mask, polygon or rectangle; whoever asks for masks of a model with boxes only
            gets rectangles.
    """
    inside = within_image(instances)
    if inside.masks is None:
        drawing = Drawing.RECTANGLE
    draw = {Drawing.MASK: _masks, Drawing.POLYGON: _polygons, Drawing.RECTANGLE: _boxes}[drawing]
    return b"[" + b",".join(draw(inside, labels)) + b"]"


def _digits(pixels: Sequence[NDArray[np.bool_]]) -> memoryview:
    """Return "0," or "1," for every pixel: a list of Python numbers would take 30 times longer."""
    flat = np.concatenate([crop.ravel() for crop in pixels])
    text = np.full((flat.size, 2), ord(","), np.uint8)
    text[:, 0] = flat + np.uint8(ord("0"))
    return text.ravel().data


def _head(instances: Instances, labels: Sequence[str], i: int, drawing: Drawing) -> Json:
    return {
        "confidence": str(round(float(instances.scores[i]), 4)),
        "label": labels[int(instances.class_ids[i])],
        "type": drawing.value,
    }


def _masks(instances: Instances, labels: Sequence[str]) -> Iterator[bytes]:
    masks = instances.masks
    assert isinstance(masks, CropMasks)
    if not len(masks):
        return
    digits, at = _digits(masks.decoded()), 0
    parts = to_polygons(masks)
    for i, (x, y, w, h) in enumerate(masks.crops.tolist()):
        shape = _head(instances, labels, i, Drawing.MASK)
        shape["points"] = _largest(parts[i]).ravel().tolist()
        head = json.dumps(shape, separators=(",", ":")).encode()
        pixels = bytes(digits[2 * at : 2 * (at + w * h)])
        at += w * h
        yield head[:-1] + b',"mask":[%b%d,%d,%d,%d]}' % (pixels, x, y, x + w - 1, y + h - 1)


def _largest(parts: Sequence[Polygon]) -> Ring:
    rings = [part.outline for part in parts]
    return rings[0] if len(rings) == 1 else max(rings, key=_enclosed)


def _enclosed(ring: Ring) -> float:
    x, y = ring.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _polygons(instances: Instances, labels: Sequence[str]) -> Iterator[bytes]:
    group = 0
    for i in range(len(instances)):
        parts = rings(instances, i)
        group += len(parts) > 1
        for points in parts:
            shape = _head(instances, labels, i, Drawing.POLYGON) | {"points": points}
            if len(parts) > 1:
                shape["group_id"] = group
            yield json.dumps(shape, separators=(",", ":")).encode()


def _boxes(instances: Instances, labels: Sequence[str]) -> Iterator[bytes]:
    for i, points in enumerate(rectangles(instances)):
        shape = _head(instances, labels, i, Drawing.RECTANGLE) | {"points": points}
        yield json.dumps(shape, separators=(",", ":")).encode()

"""Masks as polygons with holes, along the edges of their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.types import CropMasks

#: (K, 2) corners x, y in image pixels.
Ring = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Polygon:
    """One connected part of a mask: its outline and the holes in it."""

    outline: Ring
    holes: tuple[Ring, ...]


def to_polygons(masks: CropMasks, *, tolerance: float = 0.0) -> list[list[Polygon]]:
    """Return the parts of each mask; a mask without a pixel has none.

    Corners are corners of pixels, so that the area of a polygon less its holes is the number of
    pixels. Parts that touch at a corner only are one part.

    Args:
        masks: N masks.
        tolerance: how far a simplified outline may leave the exact one, pixels; 0 is exact.
    """
    rows = zip(masks.decoded(), masks.crops[:, :2], strict=True)
    return [_parts(pixels, xy, tolerance) for pixels, xy in rows]


def _parts(pixels: NDArray[np.bool_], xy: NDArray[np.int32], tolerance: float) -> list[Polygon]:
    # OpenCV walks along pixel centres. Twice as large, a centre is next to one pixel corner.
    double = cv2.resize(pixels.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if hierarchy is None:
        return []
    rings = [_corners(contour.reshape(-1, 2), tolerance) + xy for contour in contours]
    parents = hierarchy.reshape(-1, 4)[:, 3].tolist()
    return [
        Polygon(
            ring, tuple(rings[k] for k, p in enumerate(parents) if p == i and len(rings[k]) > 2)
        )
        for i, ring in enumerate(rings)
        if parents[i] < 0
    ]


def _turned(points: NDArray[Any], by: int) -> NDArray[Any]:
    """Return a ring begun elsewhere; `np.roll` does the same in several times the time."""
    return np.concatenate([points[-by:], points[:-by]])


def _corners(contour: NDArray[Any], tolerance: float) -> Ring:
    points = (contour + 1) // 2
    points = points[(points != _turned(points, 1)).any(1)]
    if tolerance > 0:
        simple = cv2.approxPolyDP(points.astype(np.int32), tolerance, closed=True).reshape(-1, 2)
        points = simple if len(simple) > 2 else points
    before, after = _turned(points, 1) - points, _turned(points, -1) - points
    # corners on a straight line say nothing
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    ring: Ring = points[turns].astype(np.float64)
    return ring

"""A last look at shapes before they are sent: CVAT stores any nonsense, and breaks on it later.

Real servers took a mask whose runs do not add up, a box outside the image and an odd polygon with
200, and then failed every COCO export of the task.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lsl_core.types import Hw

Json = dict[str, Any]


def require_sound(shapes: Iterable[Json], sizes: Sequence[Hw]) -> None:
    """Return when every shape can be read back, shown and exported.

    Args:
        shapes: as they will be sent.
        sizes: (height, width) of every frame of the task.

    Raises:
        ValueError: for the first that cannot; a bug of ours, since plans cut at the border.
    """
    for shape in shapes:
        reason = fault(shape, sizes[shape["frame"]])
        if reason:
            raise ValueError(f"a {shape['type']} on frame {shape['frame']}: {reason}")


def fault(shape: Json, image_hw: Hw) -> str:
    """Return what is wrong with a mask, polygon or rectangle, or ""."""
    points = shape["points"]
    if not math.isfinite(sum(points)):
        return "a coordinate that is no number"
    if shape["type"] == "mask":
        return _mask_fault(points, image_hw)
    if shape["type"] == "rectangle":
        if len(points) != 4 or points[0] >= points[2] or points[1] >= points[3]:
            return "no box"
    elif len(points) < 6 or len(points) % 2:
        return "fewer than three corners, or half of one"
    height, width = image_hw
    xs, ys = points[0::2], points[1::2]
    if min(xs) < 0 or min(ys) < 0 or max(xs) > width or max(ys) > height:
        return "outside the image"
    return ""


def _mask_fault(points: Sequence[int], image_hw: Hw) -> str:
    *runs, left, top, right, bottom = points
    if not (0 <= left <= right < image_hw[1] and 0 <= top <= bottom < image_hw[0]):
        return "a mask box outside the image"
    area = sum(runs)
    if min(runs, default=0) < 0 or sum(map(int, runs)) != area:
        return "a run that is no length"
    if area != (right - left + 1) * (bottom - top + 1):
        return "runs that do not add up to the box"
    return "" if len(runs) > 1 else "an empty mask"

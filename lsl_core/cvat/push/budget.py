"""How much a frame can hold before CVAT's editor, which draws everything in SVG, gets slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

#: Shapes on one frame: people report a slow editor from about here (CVAT's issues 39, 3875, 7790).
SHAPES_A_FRAME = 1000
#: Corners of polygons on one frame. No figure is published: ten corners a shape is our own choice.
CORNERS_A_FRAME = 10 * SHAPES_A_FRAME


def over_budget(
    live: Mapping[int, Sequence[Json]], create: Iterable[Json], remove: Iterable[Json]
) -> list[str]:
    """Return a sentence about frames with too many shapes, and one about too many corners.

    Args:
        live: shapes by frame, as they are.
        create: shapes to be added.
        remove: shapes of `live` that go.
    """
    shapes: Counter[int] = Counter()
    corners: Counter[int] = Counter()
    touched = set()
    for shape in create:
        touched.add(int(shape["frame"]))
        shapes[int(shape["frame"])] += 1
        corners[int(shape["frame"])] += _corners(shape)
    for shape in remove:
        shapes[int(shape["frame"])] -= 1
        corners[int(shape["frame"])] -= _corners(shape)
    for frame in touched:
        shapes[frame] += len(live.get(frame, ()))
        corners[frame] += sum(map(_corners, live.get(frame, ())))
    return [
        *_said(touched, shapes, SHAPES_A_FRAME, "shapes", "Raise the threshold."),
        *_said(touched, corners, CORNERS_A_FRAME, "corners of polygons", "Push masks, or allow "
               "polygons to be simpler."),
    ]  # fmt: skip


def _said(touched: set[int], counts: Counter[int], most: int, what: str, hint: str) -> list[str]:
    crowded = sorted(frame for frame in touched if counts[frame] > most)
    if not crowded:
        return []
    frames = "1 frame" if len(crowded) == 1 else f"{len(crowded)} frames"
    return [
        f"{frames} will have more than {most:,} {what}, frame {crowded[0]} the first of them: "
        f"CVAT's editor gets slow there. {hint}"
    ]


def _corners(shape: Json) -> int:
    return len(shape.get("points") or ()) // 2 if shape["type"] == "polygon" else 0

"""Shapes as SVG, for the sandbox's own pages."""

from __future__ import annotations

import json
import math
from html import escape

import cv2
import numpy as np

from lsl_core.sandbox.base.store import Row
from lsl_core.sandbox.calls.work import WorkFailed
from lsl_core.sandbox.exchange import masks

#: Points of a points shape are drawn this wide, in parts of the image's longer side.
_DOT = 1 / 200


def shape(row: Row, *, color: str, name: str, height: int, width: int) -> str:
    """Draw one shape.

    Args:
        row: type, points (JSON), rotation and source of the shape.
        color: its label's colour.
        name: its label's name, shown when the mouse rests on it.
        height: the image's, pixels.
        width: the image's, pixels.

    Returns:
        An SVG element; nothing for a shape that has no outline to draw.
    """
    points: list[float] = json.loads(row["points"])
    inner = _outline(row["type"], points, height=height, width=width, turn=row["rotation"])
    if not inner:
        return ""
    is_automatic = row["source"] == "auto"
    title = f"{name} ({'automatic' if is_automatic else row['source']})"
    kind = "auto" if is_automatic else "hand"
    return (
        f'<g class="{kind}" style="--c:{escape(color, quote=True)}">'
        f"<title>{escape(title)}</title>{inner}</g>"
    )


def _outline(kind: str, points: list[float], *, height: int, width: int, turn: float) -> str:
    if kind == "rectangle" and len(points) == 4:
        x1, y1, x2, y2 = points
        middle = f"{(x1 + x2) / 2:g} {(y1 + y2) / 2:g}"
        size = f'x="{min(x1, x2):g}" y="{min(y1, y2):g}" width="{abs(x2 - x1):g}"'
        return f'<rect {size} height="{abs(y2 - y1):g}" transform="rotate({turn:g} {middle})"/>'
    if kind == "ellipse" and len(points) == 4:
        cx, cy, right, top = points
        size = f'rx="{abs(right - cx):g}" ry="{abs(cy - top):g}"'
        return (
            f'<ellipse cx="{cx:g}" cy="{cy:g}" {size} transform="rotate({turn:g} {cx:g} {cy:g})"/>'
        )
    if kind == "mask":
        return _mask(points, height=height, width=width)
    if kind == "points":
        radius = max(height, width) * _DOT
        pairs = zip(points[0::2], points[1::2], strict=False)
        return "".join(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}"/>' for x, y in pairs)
    if kind in ("polygon", "polyline") and len(points) >= 4:
        text = " ".join(f"{value:g}" for value in points[: len(points) // 2 * 2])
        return f'<{kind} points="{text}"/>'
    return ""


def _mask(points: list[float], *, height: int, width: int) -> str:
    try:
        left, top, crop = masks.from_cvat(points, height=height, width=width)
    except (WorkFailed, ValueError, OverflowError):
        return ""
    # Twice the size, so that contours (through pixel middles) hug the pixels' edges.
    big = crop.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    rings, _ = cv2.findContours(big, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts: list[str] = []
    for ring in rings:
        corners = np.asarray(ring, np.float64).reshape(-1, 2)
        corners = (corners + (corners % 2)) / 2 + (left, top)
        text = " ".join(f"{x:g} {y:g}" for x, y in corners)
        parts.append(f"M{text}Z")
    return f'<path fill-rule="evenodd" d="{"".join(parts)}"/>' if parts else ""


def stroke(height: int, width: int) -> float:
    """Choose how thick lines are, so that they look alike in images of any size."""
    return max(1.0, math.hypot(height, width) / 900)

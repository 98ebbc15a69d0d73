"""Objects drawn on their image, for files, thumbnails and reports.

Looks like the viewer of the dashboard: tint and fill pattern, outline with a dark and a light
halo, the label's number and, where there is room, its name. What is drawn keeps its size in the
result, so a thumbnail is drawn small and not shrunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.types import Instances, SoftMasks
from lsl_core.types.palette import label_style

Pixels = NDArray[np.uint8]
#: One closed outline: (M, 1, 2) int32 points, one pixel apart.
Ring = NDArray[np.int32]

_INK = (20, 23, 28)
_PAPER = (255, 255, 255)
_TINT, _HATCH = 0.32, 0.65
#: Below this side, results are drawn at twice the size and halved: lines of half a pixel.
_SMALL_PX = 1600


@dataclass(frozen=True, slots=True)
class _Pen:
    """Sizes in pixels of the canvas that is drawn on."""

    scale: float
    line: int
    font: int

    @property
    def halo(self) -> int:
        return max(1, round(self.line / 3))


@dataclass(frozen=True, slots=True, eq=False)
class _Shape:
    """One object on the canvas: corner, mask of its crop, outlines."""

    class_id: int
    x: int
    y: int
    mask: NDArray[np.bool_]
    rings: tuple[Ring, ...]
    is_box: bool


def render_overlay(
    pixels: Pixels,
    instances: Instances,
    names: Sequence[str],
    *,
    existing: Instances | None = None,
    max_side_px: int | None = None,
    with_text: bool = True,
    with_legend: bool = False,
) -> Pixels:
    """Return a copy of the image with its objects drawn on it.

    Args:
        pixels: (h, w, 3) RGB.
        instances: objects in image pixels, `CropMasks` or boxes; best score first, as predicted.
        names: label names in the order of class ids, any script.
        existing: other objects, drawn with a dashed outline.
        max_side_px: longer side of the result; default: that of the image.
        with_text: numbers and names beside the objects.
        with_legend: a strip below with number, name and count of each label; adds to the height.
    """
    if pixels.shape[:2] != tuple(instances.image_hw):
        raise ValueError(f"image {pixels.shape[:2]}, instances for {instances.image_hw}")
    side = max(pixels.shape[:2])
    out_scale = min(1.0, (max_side_px or side) / side)
    factor = 2 if side * out_scale < _SMALL_PX else 1
    pen = _pen(instances, out_scale * factor, side, smallest_font=11 * factor)
    canvas = _resized(pixels, pen.scale)
    shapes = _shapes(instances, pen.scale)
    for shape in shapes:
        _fill(canvas, shape, pen)
    _draw_outlines(canvas, shapes, pen)
    if existing is not None:
        for shape in _shapes(existing, pen.scale):
            _draw_dashed(canvas, shape, pen)
    if with_text:
        _draw_names(canvas, shapes, names, pen)
    if factor > 1:
        canvas = _resized(canvas, 1 / factor)
    if with_legend:
        counts = np.bincount(instances.class_ids, minlength=len(names)).tolist()
        canvas = np.concatenate([canvas, _legend(canvas.shape[1], names, counts)])
    return canvas


def _pen(instances: Instances, scale: float, side: int, *, smallest_font: int) -> _Pen:
    """Lines follow the size of the result, but never swallow small objects."""
    drawn = side * scale
    wide = instances.boxes[:, 2:] - instances.boxes[:, :2]
    typical = float(np.median(np.sqrt(wide.prod(axis=1)))) * scale if len(instances) else drawn
    line = max(1, round(min(drawn / 900, typical / 18)))
    return _Pen(scale, line, max(smallest_font, round(min(drawn / 80, typical * 0.4))))


def _resized(pixels: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return pixels.copy()
    height, width = (max(1, round(length * scale)) for length in pixels.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def _shapes(instances: Instances, scale: float) -> list[_Shape]:
    masks = instances.masks
    if isinstance(masks, SoftMasks):
        raise TypeError("soft masks have no outline: use instances.binary(mask_threshold)")
    if masks is None:
        return [
            _box_shape(int(label), box * scale)
            for label, box in zip(instances.class_ids, instances.boxes, strict=True)
        ]
    return [
        _mask_shape(int(instances.class_ids[i]), masks.crop(i), masks.crops[i, :2], scale)
        for i in range(len(instances))
    ]


def _mask_shape(
    class_id: int, crop: NDArray[np.bool_], xy: NDArray[np.int32], scale: float
) -> _Shape:
    height, width = crop.shape
    x, y = xy.tolist()
    left, top = round(x * scale), round(y * scale)
    right, bottom = round((x + width) * scale), round((y + height) * scale)
    size = (max(1, right - left), max(1, bottom - top))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    grey = cv2.resize(crop.astype(np.uint8) * 255, size, interpolation=how)
    mask = grey >= min(128, int(grey.max(initial=1)) or 1)
    found, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(left, top)
    )
    return _Shape(class_id, left, top, mask, tuple(np.asarray(r, np.int32) for r in found), False)


def _box_shape(class_id: int, box: NDArray[np.float32]) -> _Shape:
    left, top, right, bottom = (round(v) for v in box.tolist())
    xs, ys = np.arange(left, max(right, left + 1)), np.arange(top, max(bottom, top + 1))
    sides = [
        np.stack([xs, np.full_like(xs, ys[0])], 1),
        np.stack([np.full_like(ys, xs[-1]), ys], 1),
        np.stack([xs[::-1], np.full_like(xs, ys[-1])], 1),
        np.stack([np.full_like(ys, xs[0]), ys[::-1]], 1),
    ]
    ring = np.concatenate(sides).astype(np.int32)[:, None]
    return _Shape(class_id, left, top, np.ones((len(ys), len(xs)), bool), (ring,), True)


def _fill(canvas: Pixels, shape: _Shape, pen: _Pen) -> None:
    """Tint the object, with its label's pattern stronger."""
    height, width = canvas.shape[:2]
    x1, y1 = max(0, shape.x), max(0, shape.y)
    mask = shape.mask[y1 - shape.y :, x1 - shape.x :][: max(0, height - y1), : max(0, width - x1)]
    if not mask.size:
        return
    style = label_style(shape.class_id)
    alpha = np.full(mask.shape, _TINT * (0.3 if shape.is_box else 1), np.float32)
    if not shape.is_box:
        alpha[_hatched(style.pattern, y1, x1, mask.shape, pen.line)] = _HATCH
    alpha[~mask] = 0
    region = canvas[y1 : y1 + mask.shape[0], x1 : x1 + mask.shape[1]]
    mixed = region + alpha[..., None] * (np.array(style.colour, np.float32) - region)
    region[:] = np.rint(mixed).astype(np.uint8)


def _hatched(pattern: str, y: int, x: int, shape: tuple[int, ...], line: int) -> NDArray[np.bool_]:
    """Return where the pattern has ink; it is anchored to the image, so neighbours agree."""
    ys, xs = np.ogrid[y : y + shape[0], x : x + shape[1]]
    step, ink = 8 + 4 * line, line
    inked = {
        "rising": (xs + ys) % step < ink,
        "falling": (xs - ys) % step < ink,
        "grid": (xs % step < ink) | (ys % step < ink),
        "level": (ys % step < ink) & (xs >= 0),
        "upright": (xs % step < ink) & (ys >= 0),
        "dots": (xs % step < 2 * ink) & (ys % step < 2 * ink),
    }.get(pattern)
    return np.zeros(shape, bool) if inked is None else inked


def _draw_outlines(canvas: Pixels, shapes: Iterable[_Shape], pen: _Pen) -> None:
    """Draw all halos below all colours, so that neighbours do not cut each other's line."""
    shapes = list(shapes)
    every = [ring for shape in shapes for ring in shape.rings]
    if pen.line >= 2:
        cv2.drawContours(canvas, every, -1, _PAPER, pen.line + 4 * pen.halo, cv2.LINE_AA)
    cv2.drawContours(canvas, every, -1, _INK, pen.line + 2 * pen.halo, cv2.LINE_AA)
    for shape in shapes:
        colour = label_style(shape.class_id).colour
        cv2.drawContours(canvas, shape.rings, -1, colour, pen.line, cv2.LINE_AA)


def _draw_dashed(canvas: Pixels, shape: _Shape, pen: _Pen) -> None:
    dash = 4 + 3 * pen.line
    for ring in shape.rings:
        cv2.polylines(canvas, [ring], True, _INK, pen.line + 2 * pen.halo, cv2.LINE_AA)
        dashes = [ring[i : i + dash] for i in range(0, len(ring), 2 * dash)]
        cv2.polylines(canvas, dashes, False, _PAPER, pen.line, cv2.LINE_AA)


def _draw_names(canvas: Pixels, shapes: Iterable[_Shape], names: Sequence[str], pen: _Pen) -> None:
    """Write number and name on a dark plate, larger objects first, where nothing is yet."""
    taken = np.zeros(canvas.shape[:2], bool)
    for shape in sorted(shapes, key=lambda s: -s.mask.size):
        height, width = shape.mask.shape
        number = str(shape.class_id + 1)
        name = names[shape.class_id] if shape.class_id < len(names) else ""
        text = f"{number} {name}".strip()
        if _text_width(text, pen.font) > 1.2 * width:
            text = number
        if height * width < (1.5 * pen.font) ** 2:
            continue
        plate = (_text_width(text, pen.font) + round(0.9 * pen.font), round(1.35 * pen.font))
        x = int(np.clip(shape.x + (width - plate[0]) // 2, 0, max(0, canvas.shape[1] - plate[0])))
        y = int(np.clip(shape.y - plate[1] // 2, 0, max(0, canvas.shape[0] - plate[1])))
        place = (slice(y, y + plate[1]), slice(x, x + plate[0]))
        if taken[place].any():
            continue
        taken[place] = True
        canvas[place] = _INK
        canvas[place][:, : max(2, pen.font // 4)] = label_style(shape.class_id).colour
        _write(canvas, text, (x + round(0.5 * pen.font), y + round(1.03 * pen.font)), pen.font)


def _text_width(text: str, size: int) -> int:
    """Return the width of a text; OpenCV's own sans font knows every script we need."""
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), cv2.FontFace("sans"), size, 600)
    return int(width)


def _write(
    canvas: Pixels, text: str, at: tuple[int, int], size: int, colour: tuple[int, int, int] = _PAPER
) -> None:
    cv2.putText(canvas, text, at, colour, cv2.FontFace("sans"), size, 600)


def _legend(width: int, names: Sequence[str], counts: Sequence[int]) -> Pixels:
    """Return a strip as wide as the image: swatch, number, name and count of each label."""
    font = int(np.clip(width / 60, 11, 40))
    row = round(1.9 * font)
    cells = [(f"{i + 1} {n}: {c}", i) for i, (n, c) in enumerate(zip(names, counts, strict=False))]
    places, x, y = [], font // 2, 0
    for text, i in cells:
        needed = _text_width(text, font) + 3 * font
        if x > font and x + needed > width:
            x, y = font // 2, y + row
        places.append((text, i, x, y))
        x += needed
    strip = np.full((y + row, width, 3), 255, np.uint8)
    for text, i, left, top in places:
        style = label_style(i)
        box = strip[top + row // 2 - font // 2 :, left:][:font, :font]
        hatched = _hatched(style.pattern, 0, 0, box.shape[:2], max(1, font // 12))
        pale = np.array(style.colour) * _TINT + 255 * (1 - _TINT)
        box[:] = style.colour if style.pattern == "solid" else pale.astype(np.uint8)
        box[hatched] = style.colour
        _write(strip, text, (left + round(1.4 * font), top + round(1.28 * font)), font, _INK)
    return strip

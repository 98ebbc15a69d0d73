"""One object out of the parts that several windows saw of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.windows.fragments import FAR, SOLID, Fragments, Pixels

#: From this depth on, a pixel is as well seen as can be.
DEEP_PX = 256

Rect = tuple[int, int, int, int]
View = Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """An object: its pixels, where they begin in the image, and the box of what is solid."""

    pixels: Pixels
    xy: tuple[int, int]
    box: Rect


def compose(fragments: Fragments, members: Sequence[int]) -> Composed | None:
    """Return one object out of its fragments, or None when nothing is left.

    Where one window sees the object, its pixels are taken. Where several do, soft pixels are
    mixed, each the stronger the deeper it lies in its window, so that no seam shows; solid pixels
    come from the window that sees them deepest. Equal views stay what they are.
    """
    assert fragments.pixels is not None
    seen_in = fragments.seen_in[members].tolist()
    views = {view: fragments.views[view].tolist() for view in seen_in}
    parts: dict[int, list[tuple[Rect, Pixels]]] = {view: [] for view in views}
    for i, view, place in zip(members, seen_in, fragments.places[members].tolist(), strict=True):
        parts[view].append((place, fragments.pixels[i]))
    is_soft = fragments.pixels is not fragments.solid
    x0, y0 = fragments.places[members, :2].min(0).tolist()
    x1, y1 = fragments.places[members, 2:].max(0).tolist()
    whole = np.zeros((y1 - y0, x1 - x0), np.uint8)
    rows = list(pairwise(_cuts(y0, y1, [v[1::2] for v in views.values()], is_soft)))
    for left, right in pairwise(_cuts(x0, x1, [v[0::2] for v in views.values()], is_soft)):
        for top, bottom in rows:
            cell = (left, top, right, bottom)
            out = whole[top - y0 : bottom - y0, left - x0 : right - x0]
            seeing = [view for view, rect in views.items() if _contains(rect, cell)]
            if len(seeing) > 1 and is_soft:
                weights = [_weight(views[view], cell, fragments.image_hw) for view in seeing]
                _mix([_painted(parts[view], cell) for view in seeing], weights, out)
            elif seeing:
                deepest = max(seeing, key=lambda v: _depth(views[v], cell, fragments.image_hw))
                _paint(parts[deepest], cell, out)
    return _trimmed(whole, (x0, y0), is_soft)


def _trimmed(whole: Pixels, xy: tuple[int, int], is_soft: bool) -> Composed | None:
    dx, dy, w, h = cv2.boundingRect(whole)
    if not w:
        return None
    pixels = whole[dy : dy + h, dx : dx + w]
    x, y = xy[0] + dx, xy[1] + dy
    bx, by, bw, bh = 0, 0, w, h
    if is_soft:
        solid = cv2.boundingRect((pixels >= SOLID).view(np.uint8))
        bx, by, bw, bh = solid if solid[2] else (bx, by, bw, bh)
    return Composed(pixels, (x, y), (x + bx, y + by, x + bx + bw, y + by + bh))


def _cuts(low: int, high: int, spans: list[View], is_soft: bool) -> list[int]:
    """Return where the cells of one axis begin and end: borders of windows, or their midst."""
    cuts = {low, high, *(border for span in spans for border in span)}
    if not is_soft:
        begins, ends = sorted(span[0] for span in spans), sorted(span[1] for span in spans)
        cuts.update((begin + end) // 2 for begin, end in zip(begins[1:], ends, strict=False))
    return sorted(cut for cut in cuts if low <= cut <= high)


def _contains(view: View, cell: Rect) -> bool:
    return view[0] <= cell[0] and view[1] <= cell[1] and cell[2] <= view[2] and cell[3] <= view[3]


def _depth(view: View, cell: Rect, image_hw: tuple[int, int]) -> int:
    """Return how deep the middle of a cell lies in a view; borders of the image are far away."""
    x, y = cell[0] + cell[2], cell[1] + cell[3]  # both doubled
    return min(
        x - 2 * view[0] if view[0] > 0 else FAR,
        y - 2 * view[1] if view[1] > 0 else FAR,
        2 * view[2] - x if view[2] < image_hw[1] else FAR,
        2 * view[3] - y if view[3] < image_hw[0] else FAR,
    )


def _paint(parts: list[tuple[Rect, Pixels]], cell: Rect, out: Pixels) -> None:
    """Draw what one window shows of the object in a cell."""
    left, top, right, bottom = cell
    for (x, y, x1, y1), pixels in parts:
        a, b, c, d = max(x, left), max(y, top), min(x1, right), min(y1, bottom)
        if a < c and b < d:
            place = out[b - top : d - top, a - left : c - left]
            cv2.max(place, pixels[b - y : d - y, a - x : c - x], dst=place)


def _painted(parts: list[tuple[Rect, Pixels]], cell: Rect) -> Pixels:
    patch = np.zeros((cell[3] - cell[1], cell[2] - cell[0]), np.uint8)
    _paint(parts, cell, patch)
    return patch


def _weight(view: View, cell: Rect, image_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return how deep the pixels of a cell lie in a view, (h, w)."""
    axes = []
    for low, size in ((0, image_hw[1]), (1, image_hw[0])):
        at = np.arange(cell[low], cell[low + 2], dtype=np.float32)
        depth = np.full(len(at), DEEP_PX, np.float32)
        if view[low] > 0:
            np.minimum(depth, at - (view[low] - 1), out=depth)
        if view[low + 2] < size:
            np.minimum(depth, view[low + 2] - at, out=depth)
        axes.append(depth)
    return axes[1][:, None] * axes[0]


def _mix(patches: list[Pixels], weights: list[NDArray[np.float32]], out: Pixels) -> None:
    """Write the weighted mean of what several windows show."""
    if len(patches) == 2:
        out[...] = cv2.blendLinear(patches[0], patches[1], weights[0], weights[1])
        return
    total = np.zeros(out.shape, np.float32)
    for patch, weight in zip(patches, weights, strict=True):
        cv2.accumulateProduct(patch.astype(np.float32), weight, total)
    out[...] = np.rint(total / np.sum(weights, axis=0))

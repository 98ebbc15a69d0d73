"""One object out of the parts that several windows saw of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.windows.fragments import FAR, SOLID, Fragments, Pixels

#: From this depth on, a pixel is as well seen as can be.
DEEP_PX = 256

Rect = tuple[int, int, int, int]
View = Rect
Span = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """An object: its pixels, where they begin in the image, and the box of what is solid."""

    pixels: Pixels
    xy: tuple[int, int]
    box: Rect


@dataclass(frozen=True, slots=True, eq=False)
class Composer:
    """The fragments of an image, ready to be composed.

    views: x1, y1, x2, y2 of the windows. seen_in: window of each fragment. places: x1, y1, x2,
    y2 of its pixels. is_soft: whether pixels are probabilities.
    """

    views: list[View]
    seen_in: list[int]
    places: list[Rect]
    pixels: Sequence[Pixels]
    is_soft: bool
    image_hw: tuple[int, int]

    @classmethod
    def of(cls, fragments: Fragments) -> Self:
        """Return a composer of fragments that have pixels."""
        assert fragments.pixels is not None
        return cls(
            [(x, y, x1, y1) for x, y, x1, y1 in fragments.views.tolist()],
            fragments.seen_in.tolist(),
            [(x, y, x1, y1) for x, y, x1, y1 in fragments.places.tolist()],
            fragments.pixels,
            fragments.pixels is not fragments.solid,
            fragments.image_hw,
        )

    def compose(self, members: Sequence[int], *, witnesses: bool = False) -> Composed | None:
        """Return one object out of its fragments, or None when nothing is left.

        Where one window sees the object, its pixels are taken. Where several do, soft pixels are
        mixed, each the stronger the deeper it lies in its window, so that no seam shows; solid
        pixels come from the window that sees them deepest. Equal views stay what they are.

        Args:
            members: fragments.
            witnesses: whether windows that see the place and found nothing have a say as well.
        """
        if len(members) == 2 and not self.is_soft and not witnesses:
            pair = self._pair(*members)
            if pair is not None:
                return pair
        parts: dict[int, list[tuple[Rect, Pixels]]] = {}
        for i in members:
            parts.setdefault(self.seen_in[i], []).append((self.places[i], self.pixels[i]))
        places = [self.places[i] for i in members]
        x0, y0 = min(p[0] for p in places), min(p[1] for p in places)
        x1, y1 = max(p[2] for p in places), max(p[3] for p in places)
        views = {view: self.views[view] for view in parts}
        if witnesses:
            around = (x0, y0, x1, y1)
            views = {k: view for k, view in enumerate(self.views) if _meets(view, around)}
            parts = {view: parts.get(view, []) for view in views}
        whole = np.zeros((y1 - y0, x1 - x0), np.uint8)
        columns, rows = self._cells(list(views.values()), (x0, y0, x1, y1))
        for left, right in columns:
            for top, bottom in rows:
                cell = (left, top, right, bottom)
                seeing = {v: rect for v, rect in views.items() if _contains(rect, cell)}
                out = whole[top - y0 : bottom - y0, left - x0 : right - x0]
                self._fill(out, cell, seeing, parts)
        return _trimmed(whole, (x0, y0), self.is_soft)

    def _pair(self, i: int, k: int) -> Composed | None:
        """Return the usual case, two solid parts in neighbouring windows, by two copies.

        None when the windows do not lie in line and side by side.
        """
        one, two = self.views[self.seen_in[i]], self.views[self.seen_in[k]]
        if (one[1], one[3]) == (two[1], two[3]) and one[0] != two[0]:
            axis = 0
        elif (one[0], one[2]) == (two[0], two[2]) and one[1] != two[1]:
            axis = 1
        else:
            return None
        if one[axis] > two[axis]:
            i, k, one, two = k, i, two, one
        midst = (two[axis] + one[axis + 2]) // 2
        a, b = self.places[i], self.places[k]
        x0, y0 = min(a[0], b[0]), min(a[1], b[1])
        x1, y1 = max(a[2], b[2]), max(a[3], b[3])
        whole = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for at, pixels, is_first in ((a, self.pixels[i], True), (b, self.pixels[k], False)):
            left, top, right, bottom = at
            if axis == 0:
                left, right = (left, min(right, midst)) if is_first else (max(left, midst), right)
            else:
                top, bottom = (top, min(bottom, midst)) if is_first else (max(top, midst), bottom)
            if left < right and top < bottom:
                part = pixels[top - at[1] : bottom - at[1], left - at[0] : right - at[0]]
                whole[top - y0 : bottom - y0, left - x0 : right - x0] = part
        return _trimmed(whole, (x0, y0), self.is_soft)

    def _cells(self, views: list[View], around: Rect) -> tuple[list[Span], list[Span]]:
        """Return the columns and rows of cells in which the same windows see all pixels.

        A column or row ends where a window does. Solid pixels also change hands in the midst
        between two windows; along one line of windows they do so nowhere else.
        """
        spans = [{(v[0], v[2]) for v in views}, {(v[1], v[3]) for v in views}]
        is_line = not self.is_soft and min(len(spans[0]), len(spans[1])) == 1
        across, down = (around[0], around[2]), (around[1], around[3])
        columns = pairwise(_cuts(across, spans[0], not is_line, not self.is_soft))
        rows = pairwise(_cuts(down, spans[1], not is_line, not self.is_soft))
        return list(columns), list(rows)

    def _fill(
        self,
        out: Pixels,
        cell: Rect,
        seeing: dict[int, View],
        parts: dict[int, list[tuple[Rect, Pixels]]],
    ) -> None:
        """Write one cell: all of it is seen by the same windows."""
        if len(seeing) == 1:
            _paint(parts[next(iter(seeing))], cell, out)
        elif seeing and self.is_soft:
            weights = [_weight(view, cell, self.image_hw) for view in seeing.values()]
            _mix([_painted(parts[view], cell) for view in seeing], weights, out)
        elif seeing:
            depths = {_depth(rect, cell, self.image_hw): view for view, rect in seeing.items()}
            _paint(parts[depths[max(depths)]], cell, out)


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


def _cuts(around: Span, spans: Iterable[Span], at_borders: bool, at_midst: bool) -> list[int]:
    """Return where cells begin and end on one axis."""
    low, high = around
    cuts = {low, high}
    if at_borders:
        cuts.update(border for span in spans for border in span if low < border < high)
    if at_midst:
        begins, ends = sorted(begin for begin, _ in spans), sorted(end for _, end in spans)
        midst = ((begin + end) // 2 for begin, end in zip(begins[1:], ends, strict=False))
        cuts.update(at for at in midst if low < at < high)
    return sorted(cuts)


def _meets(view: View, cell: Rect) -> bool:
    return view[0] < cell[2] and cell[0] < view[2] and view[1] < cell[3] and cell[1] < view[3]


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

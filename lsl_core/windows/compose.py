"""One object out of the parts that several windows saw of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.windows.fragments import FAR, SOLID, Fragments, Pixels

#: From this depth on, a pixel is as well seen as can be.
DEEP_PX = 256

#: x1, y1, x2, y2.
Rect = Sequence[int]
View = tuple[int, ...]
Span = tuple[int, int]
Place = tuple[int, int]
#: Columns and rows in which the same windows see all pixels.
Cells = tuple[list[Span], list[Span]]
Views = Mapping[int, View]
#: What each window shows of an object.
Parts = Mapping[int, list[tuple[Rect, Pixels]]]


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
            [tuple(view) for view in fragments.views.tolist()],
            fragments.seen_in.tolist(),
            fragments.places.tolist(),
            fragments.pixels,
            fragments.pixels is not fragments.solid,
            fragments.image_hw,
        )

    def compose(
        self, members: Sequence[int], around: Rect, *, witnesses: bool = False
    ) -> Composed | None:
        """Return one object out of its fragments, or None when nothing is left.

        Where one window sees the object, its pixels are taken. Where several do, soft pixels are
        mixed, each the stronger the deeper it lies in its window, so that no seam shows; solid
        pixels come from the window that sees them deepest. Equal views stay what they are.

        Args:
            members: fragments.
            around: the box around their places.
            witnesses: whether windows that see the place and found nothing have a say as well.
        """
        if not self.is_soft and not witnesses:
            block = self._block(members, around)
            if block is not None:
                return block
        parts = self._parts(members)
        x0, y0, x1, y1 = around
        views = {view: self.views[view] for view in parts}
        if witnesses:
            views = {k: view for k, view in enumerate(self.views) if _meets(view, around)}
            parts = {view: parts.get(view, []) for view in views}
        whole = np.zeros((y1 - y0, x1 - x0), np.uint8)
        columns, rows = self._cells(list(views.values()), around)
        fill = self._mix_cells if self.is_soft else self._paint_cells
        fill(whole, (x0, y0), (columns, rows), views, parts)
        return _trimmed(whole, (x0, y0), self.is_soft)

    def average(self, members: Sequence[int], around: Rect) -> Composed | None:
        """Return what lies between the outlines that several windows drew of one object.

        The mean of the windows over each pixel and its neighbours, solid from half on: as near
        to the truth as the mean of the distances to their outlines, in a tenth of its time.

        Args:
            members: fragments, the deepest first; it stands in where another window sees nothing.
            around: the box around their places.
        """
        x0, y0 = around[:2]
        shown: list[tuple[Rect, Pixels]] = []
        for view, parts in self._parts(members).items():
            left, top, right, bottom = seen = self.views[view]
            if not _contains(seen, around):
                layer = _painted([(self.places[members[0]], self.pixels[members[0]])], around)
                layer[max(0, top - y0) : bottom - y0, max(0, left - x0) : right - x0] = 0
                _paint(parts, around, layer)
                shown.append((around, layer))
            else:
                shown.append(parts[0] if len(parts) == 1 else (around, _painted(parts, around)))
        return _trimmed(_between(shown, around, self.is_soft), (x0, y0), self.is_soft)

    def _parts(self, members: Sequence[int]) -> dict[int, list[tuple[Rect, Pixels]]]:
        parts: dict[int, list[tuple[Rect, Pixels]]] = {}
        for i in members:
            parts.setdefault(self.seen_in[i], []).append((self.places[i], self.pixels[i]))
        return parts

    def _block(self, members: Sequence[int], around: Rect) -> Composed | None:
        """Return the usual case by one copy for each part, None in all others.

        The usual case are solid parts, one in each window of a block of columns and rows. There
        the deepest window is known without looking: it changes in the midst of each overlap.
        """
        views = [self.views[self.seen_in[i]] for i in members]
        shares = _shares(frozenset(views))
        if len(shares) != len(members):
            return None
        x0, y0, x1, y1 = around
        whole = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for i, view in zip(members, views, strict=True):
            x, y, right, bottom = self.places[i]
            left, top, until_x, until_y = shares[view]
            a, c = max(x, left), min(right, until_x)
            b, d = max(y, top), min(bottom, until_y)
            if a < c and b < d:
                whole[b - y0 : d - y0, a - x0 : c - x0] = self.pixels[i][
                    b - y : d - y, a - x : c - x
                ]
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

    def _paint_cells(
        self, whole: Pixels, xy: Place, cells: Cells, views: Views, parts: Parts
    ) -> None:
        """Write solid pixels: each cell as the window shows it that sees it deepest."""
        columns, rows = cells
        width, height = self.image_hw[1], self.image_hw[0]
        across = {v: [_depth(at[0], at[2], s, width) for s in columns] for v, at in views.items()}
        down = {v: [_depth(at[1], at[3], s, height) for s in rows] for v, at in views.items()}
        for j, (top, bottom) in enumerate(rows):
            owners = [_deepest(across, down, i, j) for i in range(len(columns))]
            for owner, run in groupby(range(len(columns)), owners.__getitem__):
                if owner is not None:
                    span = list(run)
                    left, right = columns[span[0]][0], columns[span[-1]][1]
                    out = whole[top - xy[1] : bottom - xy[1], left - xy[0] : right - xy[0]]
                    _paint(parts[owner], (left, top, right, bottom), out)

    def _mix_cells(
        self, whole: Pixels, xy: Place, cells: Cells, views: Views, parts: Parts
    ) -> None:
        """Write soft pixels: each cell as a mean of all windows that see it."""
        for left, right in cells[0]:
            for top, bottom in cells[1]:
                cell = (left, top, right, bottom)
                seeing = {v: rect for v, rect in views.items() if _contains(rect, cell)}
                out = whole[top - xy[1] : bottom - xy[1], left - xy[0] : right - xy[0]]
                if len(seeing) == 1:
                    _paint(parts[next(iter(seeing))], cell, out)
                elif seeing:
                    weights = [_weight(view, cell, self.image_hw) for view in seeing.values()]
                    _mix([_shown(parts[view], cell) for view in seeing], weights, out)


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


def _between(shown: list[tuple[Rect, Pixels]], around: Rect, is_soft: bool) -> Pixels:
    """Return the mean of pixels and their neighbours over what windows show; solid from half on.

    Out of nine pixels seven count, so that thin bars of views that hardly overlap stay bars.
    """
    x0, y0, x1, y1 = around
    total = np.zeros((y1 - y0, x1 - x0), np.float32)
    for (x, y, right, bottom), pixels in shown:
        cv2.accumulate(pixels, total[y - y0 : bottom - y0, x - x0 : right - x0])
    near = cv2.boxFilter(total, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    count = 7 * len(shown)
    if not is_soft:
        return np.asarray((near >= count / 2) & (total > 0)).view(np.uint8)
    mean = np.minimum(np.rint(near / count), 255).astype(np.uint8)
    return np.asarray(cv2.min(mean, _painted(shown, around)), np.uint8)


@lru_cache(maxsize=4096)
def _shares(views: frozenset[View]) -> Mapping[View, Rect]:
    """Return which part of the plane each view of a block sees deepest; nothing for no block."""
    across = _axis({(view[0], view[2]) for view in views})
    down = _axis({(view[1], view[3]) for view in views})
    if len(across) * len(down) != len(views):
        return {}
    parts = {}
    for view in views:
        (x0, x1), (y0, y1) = across[view[0], view[2]], down[view[1], view[3]]
        parts[view] = (x0, y0, x1, y1)
    return parts


def _axis(spans: set[Span]) -> Mapping[Span, Span]:
    """Return which part of an axis belongs to each window along it; nothing for nested windows."""
    ordered = sorted(spans)
    if any(a[0] == b[0] or a[1] >= b[1] for a, b in pairwise(ordered)):
        return {}
    cuts = [-FAR, *((a[1] + b[0]) // 2 for a, b in pairwise(ordered)), FAR]
    return dict(zip(ordered, pairwise(cuts), strict=True))


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


def _contains(view: Rect, cell: Rect) -> bool:
    return view[0] <= cell[0] and view[1] <= cell[1] and cell[2] <= view[2] and cell[3] <= view[3]


def _depth(begin: int, end: int, span: Span, size: int) -> int:
    """Return how deep the middle of a span lies in a view on one axis, doubled; -1 outside.

    Borders of the image are far away.
    """
    if span[0] < begin or span[1] > end:
        return -1
    middle = span[0] + span[1]
    low = middle - 2 * begin if begin > 0 else FAR
    return min(low, 2 * end - middle) if end < size else low


def _deepest(
    across: Mapping[int, list[int]], down: Mapping[int, list[int]], column: int, row: int
) -> int | None:
    """Return the view that sees a cell deepest, None when none sees it."""
    deepest, owner = 0, None
    for view, depths in across.items():
        depth = min(depths[column], down[view][row])
        if depth >= deepest:
            deepest, owner = depth, view
    return owner


def _paint(parts: list[tuple[Rect, Pixels]], cell: Rect, out: Pixels) -> None:
    """Draw what one window shows of the object in a cell."""
    left, top, right, bottom = cell
    for (x, y, x1, y1), pixels in parts:
        a, b, c, d = max(x, left), max(y, top), min(x1, right), min(y1, bottom)
        if a < c and b < d:
            place = out[b - top : d - top, a - left : c - left]
            part = pixels[b - y : d - y, a - x : c - x]
            if len(parts) == 1:
                place[...] = part
            else:
                cv2.max(place, part, dst=place)


def _painted(parts: list[tuple[Rect, Pixels]], cell: Rect) -> Pixels:
    patch = np.zeros((cell[3] - cell[1], cell[2] - cell[0]), np.uint8)
    _paint(parts, cell, patch)
    return patch


def _shown(parts: list[tuple[Rect, Pixels]], cell: Rect) -> Pixels:
    """Return what one window shows of the object in a cell, a view where one part fills it."""
    if len(parts) != 1 or not _contains(parts[0][0], cell):
        return _painted(parts, cell)
    (x, y, _, _), pixels = parts[0]
    return pixels[cell[1] - y : cell[3] - y, cell[0] - x : cell[2] - x]


def _weight(view: View, cell: Rect, image_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return how deep the pixels of a cell lie in a view, (h, w)."""
    across = _pixel_depths(view[0], view[2], image_hw[1])[cell[0] - view[0] : cell[2] - view[0]]
    down = _pixel_depths(view[1], view[3], image_hw[0])[cell[1] - view[1] : cell[3] - view[1]]
    return down[:, None] * across


@lru_cache(maxsize=1024)
def _pixel_depths(begin: int, end: int, size: int) -> NDArray[np.float32]:
    """Return how deep each pixel of a view lies in it on one axis, (end - begin,)."""
    depth = np.full(end - begin, DEEP_PX, np.float32)
    inward = np.arange(1, end - begin + 1, dtype=np.float32)
    if begin > 0:
        np.minimum(depth, inward, out=depth)
    if end < size:
        np.minimum(depth, inward[::-1], out=depth)
    return depth


def _mix(patches: list[Pixels], weights: list[NDArray[np.float32]], out: Pixels) -> None:
    """Write the weighted mean of what several windows show."""
    if len(patches) == 2:
        out[...] = cv2.blendLinear(patches[0], patches[1], weights[0], weights[1])
        return
    total = np.zeros(out.shape, np.float32)
    for patch, weight in zip(patches, weights, strict=True):
        cv2.accumulateProduct(patch.astype(np.float32), weight, total)
    out[...] = np.rint(total / np.sum(weights, axis=0))

"""Scenes with a known truth, and what windows see of them.

Nothing here knows who joins the windows. A scene is blobs, rings and bars of several labels, some
larger than the strip that windows share and laid across it. Each window sees the objects in it as
a detector would: cut at its borders, outlines some pixels off, with the faults that `Faults` asks
for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.types import SlideWindows
from lsl_core.windows import plan

Pixels = NDArray[np.uint8]

#: A window does not find an object of which it shows fewer pixels.
FEWEST_PX = 12


@dataclass(frozen=True)
class Faults:
    """What windows get wrong. Shares are chances per object and window.

    jitter: pixels that an outline is off at most. missed: not found. split: found as two parts.
    relabelled: cut objects under another label. doubled: found twice. overlapping: share of the
    objects that lie on another one of their size, hiding up to half of it.
    """

    jitter: int = 1
    missed: float = 0.0
    split: float = 0.0
    relabelled: float = 0.02
    doubled: float = 0.0
    overlapping: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Size of a scene. side: pixels of the square image; 0 for `density` objects a megapixel."""

    objects: int = 1000
    side: int = 0
    density: float = 60.0
    window: int = 1024
    overlap: int = 150
    smallest: int = 10
    largest: int = 120
    across: float = 0.1
    labels: int = 3
    seed: int = 0
    faults: Faults = field(default_factory=Faults)

    @property
    def pixels(self) -> int:
        """Side of the image."""
        return self.side or max(
            self.window + 64, round(math.sqrt(self.objects / self.density) * 1e3)
        )


@dataclass
class Objects:
    """Columns of N objects: box (x1, y1, x2, y2), score, label, masks: crops 0/1 that fill it.

    No masks where only boxes are compared.
    """

    box: NDArray[np.int32]
    score: NDArray[np.float32]
    label: NDArray[np.int32]
    masks: list[Pixels]

    def __len__(self) -> int:
        return len(self.box)


@dataclass
class Fragments(Objects):
    """What windows found, in image pixels; window: (N,) which of them."""

    window: NDArray[np.int32]


@dataclass
class Scene:
    """An image's truth and what its windows found.

    cut: (N,) no window shows it whole. shows: which object each fragment shows; nobody who joins
    may look at it.
    """

    side: int
    windows: NDArray[np.int32]
    truth: Objects
    cut: NDArray[np.bool_]
    found: Fragments
    shows: NDArray[np.int64]


def make(wanted: Plan) -> Scene:
    """Return the scene of a plan; the same plan gives the same scene."""
    rng = np.random.default_rng([wanted.seed, 7919])
    side = wanted.pixels
    slide = SlideWindows(wanted.window, wanted.window, wanted.overlap)
    windows = np.array(
        [(w.x, w.y, w.x + w.width, w.y + w.height) for w in plan((side, side), slide)], np.int32
    )
    truth = _truth(rng, wanted, side, windows)
    return Scene(side, windows, truth, _cut(truth, windows), *_seen(rng, wanted, truth, windows))


# ------------------------------------------------------------------ truth
def _outline(rng: np.random.Generator, across: float) -> Pixels:
    """Return one shape, about so many pixels across, in the smallest crop."""
    kind = rng.random()
    if kind < 0.06:  # a bar
        length, angle = across, rng.uniform(0, math.pi)
        dx, dy = abs(length * math.cos(angle)), length * math.sin(angle)
        canvas = np.zeros((int(dy) + 12, int(dx) + 12), np.uint8)
        ends = ((6, 6), (6 + int(dx), 6 + int(dy)))
        cv2.line(canvas, *ends, 1, int(max(3, across / 14)))
    else:
        spokes = int(rng.integers(5, 10))
        radius = rng.uniform(0.55, 1.0, spokes)
        turn = np.arange(64) / 64 * spokes
        low, part = turn.astype(int), turn % 1
        ease = (1 - np.cos(part * math.pi)) / 2
        radii = radius[low] * (1 - ease) + radius[(low + 1) % spokes] * ease
        angles = np.arange(64) / 64 * 2 * math.pi + rng.uniform(0, 2 * math.pi)
        points = np.stack([np.cos(angles) * radii, np.sin(angles) * radii * rng.uniform(0.7, 1)], 1)
        points -= points.min(0)
        points *= across / points.max()
        canvas = np.zeros(tuple(np.ceil(points.max(0)[::-1]).astype(int) + 2), np.uint8)
        cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
        if kind > 0.9 and across > 24:  # a ring
            middle = (canvas.shape[1] // 2, canvas.shape[0] // 2)
            cv2.circle(canvas, middle, int(across * rng.uniform(0.12, 0.22)), 0, -1)
    x, y, w, h = cv2.boundingRect(canvas)
    return canvas[y : y + h, x : x + w]


def _largest_part(pixels: Pixels) -> Pixels:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=4)
    return np.asarray(parts == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), np.uint8)


def _truth(
    rng: np.random.Generator, wanted: Plan, side: int, windows: NDArray[np.int32]
) -> Objects:
    taken = np.zeros((side, side), np.uint8)
    begins = np.unique(windows[:, 0])
    strips = (begins[1:] + begins[:-1] + wanted.window) / 2
    boxes: list[tuple[int, int, int, int]] = []
    masks: list[Pixels] = []
    labels: list[int] = []
    num_across = round(wanted.across * wanted.objects)
    for i in range(wanted.objects):
        for _ in range(30):
            base = None
            if boxes and i >= num_across and rng.random() < wanted.faults.overlapping:
                base = int(rng.integers(len(boxes)))
            across = _size(rng, wanted, i < num_across)
            if base is not None:
                x0, y0, x1, y1 = boxes[base]
                across = max(x1 - x0, y1 - y0) * rng.uniform(0.8, 1.25)
            shape = _outline(rng, min(across, side * 0.5))
            h, w = shape.shape
            if h >= side or w >= side:
                continue
            x, y = _place(rng, side, (h, w), strips if i < num_across else strips[:0])
            if base is not None:
                angle = rng.uniform(0, 2 * math.pi)
                x = round((x0 + x1 - w) / 2 + (x1 - x0) * 0.6 * math.cos(angle))
                y = round((y0 + y1 - h) / 2 + (y1 - y0) * 0.6 * math.sin(angle))
                x, y = min(max(x, 0), side - w), min(max(y, 0), side - h)
            here = taken[y : y + h, x : x + w]
            free = shape & (here == 0)
            share = cv2.countNonZero(free) / max(1, cv2.countNonZero(shape))
            if share < (0.85 if base is None else 0.4):
                continue
            if base is None and share < 1:
                shape = _largest_part(free)
            cx, cy, cw, ch = cv2.boundingRect(shape)
            shape = np.ascontiguousarray(shape[cy : cy + ch, cx : cx + cw])
            x, y = x + cx, y + cy
            if cv2.countNonZero(shape) < 20:
                continue
            taken[y : y + ch, x : x + cw] |= shape
            boxes.append((x, y, x + cw, y + ch))
            masks.append(shape)
            alike = base is not None and rng.random() < 0.7
            labels.append(labels[base] if alike else int(rng.integers(wanted.labels)))
            break
    n = len(boxes)
    return Objects(
        np.array(boxes, np.int32).reshape(-1, 4),
        np.ones(n, np.float32),
        np.array(labels, np.int32),
        masks,
    )


def _size(rng: np.random.Generator, wanted: Plan, is_across: bool) -> float:
    if is_across:
        return float(wanted.overlap * rng.uniform(1.1, 1.8)) if wanted.overlap > 60 else 150.0
    return float(wanted.smallest * (wanted.largest / wanted.smallest) ** rng.random())


def _place(
    rng: np.random.Generator, side: int, hw: tuple[int, int], strips: NDArray[np.float64]
) -> tuple[int, int]:
    x, y = int(rng.integers(side - hw[1] + 1)), int(rng.integers(side - hw[0] + 1))
    if len(strips):
        which = rng.random()
        if which < 0.6:
            x = int(rng.choice(strips) - hw[1] / 2 + rng.normal(0, 12))
        if which > 0.4:
            y = int(rng.choice(strips) - hw[0] / 2 + rng.normal(0, 12))
    return min(max(x, 0), side - hw[1]), min(max(y, 0), side - hw[0])


def _cut(truth: Objects, windows: NDArray[np.int32]) -> NDArray[np.bool_]:
    cut = np.ones(len(truth), bool)
    for window in windows:
        inside = (truth.box[:, :2] >= window[:2]) & (truth.box[:, 2:] <= window[2:])
        cut &= ~inside.all(1)
    return cut


# ------------------------------------------------------------- what windows see
def _seen(
    rng: np.random.Generator, wanted: Plan, truth: Objects, windows: NDArray[np.int32]
) -> tuple[Fragments, NDArray[np.int64]]:
    faults = wanted.faults
    rows: list[tuple[int, tuple[int, int, int, int], float, int, Pixels]] = []
    shows: list[int] = []
    for k, view in enumerate(windows.tolist()):
        meets = (truth.box[:, :2] < view[2:]) & (truth.box[:, 2:] > view[:2])
        for i in np.flatnonzero(meets.all(1)).tolist():
            x0, y0 = truth.box[i, :2].tolist()
            a, b = max(0, view[0] - x0), max(0, view[1] - y0)
            shown = truth.masks[i][b : view[3] - y0, a : view[2] - x0]
            visible = cv2.countNonZero(shown)
            if visible < FEWEST_PX or rng.random() < faults.missed:
                continue
            share = visible / cv2.countNonZero(truth.masks[i])
            label = int(truth.label[i])
            if share < 1 and rng.random() < faults.relabelled:
                label = (label + 1) % wanted.labels
            times = 1 + (rng.random() < faults.doubled)
            for again in range(times):
                jitter = max(faults.jitter, again)
                pixels, (x, y) = _jittered(rng, truth.masks[i], (x0, y0), jitter)
                score = 0.45 + 0.45 * share + rng.normal(0, 0.04) - 0.1 * again
                parts = [pixels]
                if rng.random() < faults.split and min(pixels.shape) >= 12:
                    parts = _halves(rng, pixels)
                for part in parts:
                    row = _inside(part, (x, y), view)
                    if row is not None:
                        rows.append((k, *row[:1], float(np.clip(score, 0.05, 0.99)), label, row[1]))
                        shows.append(i)
    found = Fragments(
        np.array([row[1] for row in rows], np.int32).reshape(-1, 4),
        np.array([row[2] for row in rows], np.float32),
        np.array([row[3] for row in rows], np.int32),
        [row[4] for row in rows],
        np.array([row[0] for row in rows], np.int32),
    )
    return found, np.array(shows, np.int64)


def _jittered(
    rng: np.random.Generator, pixels: Pixels, xy: tuple[int, int], jitter: int
) -> tuple[Pixels, tuple[int, int]]:
    """Return the pixels with their outline off by up to `jitter`: moved, grown or shrunk."""
    if not jitter:
        return pixels, xy
    thickness = cv2.countNonZero(pixels) / max(pixels.shape)
    reach = min(jitter, max(1, int(thickness / 5)))
    pad = jitter + 1
    grown = cv2.copyMakeBorder(pixels, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    if thickness >= 12:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        change = int(rng.integers(3))
        if change:
            changed = (cv2.erode if change == 1 else cv2.dilate)(grown, kernel)
            grown = changed if cv2.countNonZero(changed) else grown
    dx, dy = rng.integers(-reach, reach + 1, 2).tolist()
    return grown, (xy[0] - pad + dx, xy[1] - pad + dy)


def _halves(rng: np.random.Generator, pixels: Pixels) -> list[Pixels]:
    """Return the two sides of a line through the pixels."""
    h, w = pixels.shape
    ys, xs = np.mgrid[:h, :w]
    angle = rng.uniform(0, math.pi)
    side = (xs - w * rng.uniform(0.35, 0.65)) * math.cos(angle)
    side = side + (ys - h * rng.uniform(0.35, 0.65)) * math.sin(angle)
    return [pixels * (side < 0).astype(np.uint8), pixels * (side >= 0).astype(np.uint8)]


def _inside(
    pixels: Pixels, xy: tuple[int, int], view: list[int]
) -> tuple[tuple[int, int, int, int], Pixels] | None:
    """Return box and crop of what lies inside a window, None for next to nothing."""
    x, y = xy
    a, b = max(0, view[0] - x), max(0, view[1] - y)
    shown = pixels[b : max(0, view[3] - y), a : max(0, view[2] - x)]
    if not shown.size or cv2.countNonZero(shown) < FEWEST_PX // 2:
        return None
    cx, cy, w, h = cv2.boundingRect(np.ascontiguousarray(shown))
    crop = np.ascontiguousarray(shown[cy : cy + h, cx : cx + w])
    left, top = x + a + cx, y + b + cy
    return (left, top, left + w, top + h), crop

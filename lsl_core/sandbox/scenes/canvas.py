"""A picture that remembers which object owns each pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.types import CropMasks, Hw, Instances

F32 = NDArray[np.float32]
Number = TypeVar("Number", np.float32, np.uint8)

#: Objects with fewer visible pixels are not annotated: a person would not draw them either.
MIN_VISIBLE_PX = 40
#: Rows that are lit at a time, so that a large picture needs no float copy of itself.
STRIP_ROWS = 256


@dataclass(frozen=True, slots=True)
class Patch:
    """A square piece of picture around an object, not yet placed.

    alpha: (s, s) float32 in [0, 1], how much of each pixel the object covers.
    colour: (s, s, 3) float32, RGB in [0, 255].
    is_glass: whether the colour is a transmission in [0, 1] to multiply with what lies below.
    """

    alpha: F32
    colour: F32
    is_glass: bool = False


@dataclass(slots=True)
class Canvas:
    """What has been painted so far.

    pixels: (h, w, 3) uint8 RGB. owner: (h, w) int32, 1 + index of the topmost object, 0 for none.
    """

    pixels: NDArray[np.uint8]
    owner: NDArray[np.int32] = field(init=False)
    class_ids: list[int] = field(default_factory=list)
    areas: list[tuple[int, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owner = np.zeros(self.pixels.shape[:2], np.int32)

    def paint(self, patch: Patch, left: int, top: int, class_id: int | None) -> None:
        """Put a patch at (left, top), clipped to the picture; None paints what is no object."""
        h, w = self.owner.shape
        size = len(patch.alpha)
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + size, w), min(top + size, h)
        if x1 >= x2 or y1 >= y2:
            return
        here = np.s_[y1:y2, x1:x2]
        cut = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
        alpha = patch.alpha[cut]
        below = self.pixels[here].astype(np.float32)
        colour = patch.colour[cut] * below if patch.is_glass else patch.colour[cut]
        below += alpha[..., None] * (colour - below)
        self.pixels[here] = np.clip(below, 0, 255)
        if class_id is not None:
            self.class_ids.append(class_id)
            self.areas.append((x1, y1, x2, y2))
            self.owner[here][alpha >= 0.5] = len(self.class_ids)

    def shade(self, alpha: F32, left: int, top: int, strength: float) -> None:
        """Darken below an object: its shadow."""
        self.paint(
            Patch(alpha * strength, np.zeros((*alpha.shape, 3), np.float32)), left, top, None
        )

    def instances(self) -> Instances:
        """Return the visible part of every object, holes kept."""
        crops, places, ids = [], [], []
        for i, (x1, y1, x2, y2) in enumerate(self.areas):
            visible = self.owner[y1:y2, x1:x2] == i + 1
            if np.count_nonzero(visible) < MIN_VISIBLE_PX:
                continue
            x, y, w, h = cv2.boundingRect(visible.astype(np.uint8))
            crops.append(visible[y : y + h, x : x + w])
            places.append((x1 + x, y1 + y))
            ids.append(self.class_ids[i])
        masks = CropMasks.from_crops(crops, places)
        xywh = masks.crops.astype(np.float32)
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        scores = np.ones(len(ids), np.float32)
        return Instances(boxes, scores, np.array(ids, np.int32), masks, self.owner.shape)


def smooth_noise(rng: np.random.Generator, image_hw: Hw, *, cell_px: float) -> F32:
    """Return noise in about [-1, 1] whose bumps are `cell_px` wide, (h, w)."""
    h, w = image_hw
    coarse = rng.standard_normal((int(h / cell_px) + 3, int(w / cell_px) + 3)).astype(np.float32)
    return as_f32(cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)) * np.float32(0.6)


def normal(rng: np.random.Generator, image_hw: Hw) -> F32:
    """Return a standard normal number per pixel, (h, w)."""
    return rng.standard_normal(image_hw, np.float32)


def as_f32(array: NDArray[Any]) -> F32:
    """Return the array as float32, copied only when it is not."""
    return np.asarray(array, np.float32)


def as_pixels(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the array as uint8, copied only when it is not."""
    return np.asarray(array, np.uint8)


def stretched(small: NDArray[Number], image_hw: Hw) -> NDArray[Number]:
    """Enlarge a coarse map to the picture, of the same type."""
    large = cv2.resize(small, image_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, small.dtype)


def tiled(tile: NDArray[Number], image_hw: Hw) -> NDArray[Number]:
    """Repeat a tile over the picture."""
    h, w = image_hw
    reps = (-(-h // tile.shape[0]), -(-w // tile.shape[1])) + (1,) * (tile.ndim - 2)
    return np.tile(tile, reps)[:h, :w]


def expose(
    pixels: NDArray[np.uint8],
    light: F32,
    *,
    rng: np.random.Generator,
    blur_px: float,
    noise: float,
) -> NDArray[np.uint8]:
    """Photograph a painted picture: lens blur, uneven light, sensor noise.

    Args:
        pixels: (h, w, 3) what is there.
        light: (h', w') coarse map of the light, about 1; stretched over the picture.
        rng: source of the noise.
        blur_px: standard deviation of the lens blur.
        noise: standard deviation of the sensor noise, in grey levels.
    """
    h, w = pixels.shape[:2]
    if blur_px > 0:
        pixels = as_pixels(cv2.GaussianBlur(pixels, (0, 0), blur_px))
    light = as_f32(cv2.resize(light, (w, h), interpolation=cv2.INTER_CUBIC))
    grain = rng.normal(0, noise, (STRIP_ROWS + 64, w, 1)).astype(np.float32)
    colour_grain = rng.normal(0, noise * 0.5, (STRIP_ROWS, 61, 3)).astype(np.float32)
    colour_grain = tiled(colour_grain, (STRIP_ROWS, w))
    out = np.empty_like(pixels)
    for y in range(0, h, STRIP_ROWS):
        strip = pixels[y : y + STRIP_ROWS].astype(np.float32)
        n = len(strip)
        strip *= light[y : y + n, :, None]
        first = int(rng.integers(0, 64))
        strip += grain[first : first + n]
        strip += np.roll(colour_grain, int(rng.integers(0, w)), axis=1)[:n]
        out[y : y + n] = np.clip(strip, 0, 255)
    return out


def light_map(rng: np.random.Generator, *, vignette: float, tilt: float) -> F32:
    """Return a coarse map of the light: darker corners, and one side brighter than the other."""
    y, x = np.mgrid[-1:1:12j, -1:1:16j].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + tilt * (np.cos(angle) * x + np.sin(angle) * y) - vignette * (x**2 + y**2) / 2
    light += 0.02 * rng.standard_normal(light.shape)
    return as_f32(light)


class Crowd:
    """Discs placed so far, in a grid: a new one is checked against its neighbours only."""

    def __init__(self, *, cell_px: float) -> None:
        self._cell = cell_px
        self._grid: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
        self.discs: list[tuple[float, float, float]] = []

    def fits(self, x: float, y: float, radius: float, *, closeness: float) -> bool:
        """Whether a disc stays `closeness` times the sum of radii from the others' centres."""
        column, row = int(x // self._cell), int(y // self._cell)
        return all(
            np.hypot(x - ox, y - oy) >= closeness * (radius + other)
            for i in range(column - 1, column + 2)
            for j in range(row - 1, row + 2)
            for ox, oy, other in self._grid.get((i, j), ())
        )

    def add(self, x: float, y: float, radius: float) -> None:
        """Take a place."""
        self._grid.setdefault((int(x // self._cell), int(y // self._cell)), []).append(
            (x, y, radius)
        )
        self.discs.append((x, y, radius))

"""Washers, nuts and bolts on a worn conveyor belt, seen by a camera above it."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.sandbox.scenes.canvas import (
    F32,
    Canvas,
    Crowd,
    Patch,
    as_pixels,
    expose,
    light_map,
    normal,
    smooth_noise,
    stretched,
    tiled,
)
from lsl_core.types import Hw, Instances

LABELS = ("washer", "nut", "bolt")
WASHER, NUT, BOLT = range(3)

#: Parts per square of this side, in pixels: the density of the scene.
PITCH_PX = 112
#: Steel, zinc, brass, black oxide, copper: RGB of the metals, and how often they come.
METALS = np.array(
    [[168, 172, 178], [196, 198, 196], [196, 160, 92], [74, 76, 82], [178, 112, 80]], np.float32
)
RUST = np.array([112, 66, 38], np.float32)
METAL_SHARES = np.array([0.36, 0.28, 0.16, 0.12, 0.08])


def draw(rng: np.random.Generator, image_hw: Hw) -> tuple[NDArray[np.uint8], Instances]:
    """Draw a belt with parts; return its pixels and every visible part."""
    canvas = Canvas(_belt(rng, image_hw))
    _wear(canvas, rng)
    light = rng.uniform(0, 2 * np.pi)
    for x, y, radius in _places(rng, image_hw):
        _drop(canvas, rng, x, y, radius, light)
    pixels = expose(
        canvas.pixels,
        light_map(rng, vignette=rng.uniform(0.15, 0.3), tilt=rng.uniform(0.05, 0.16)),
        rng=rng,
        blur_px=rng.uniform(0.5, 0.8),
        noise=rng.uniform(2.0, 4.5),
    )
    return pixels, canvas.instances()


def _belt(rng: np.random.Generator, image_hw: Hw) -> NDArray[np.uint8]:
    """Rubber with a woven pattern, streaks along its travel, stains."""
    side = 960
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    weave = np.sin((x + y) * (2 * np.pi / 8)) * np.sin((x - y) * (2 * np.pi / 8))
    grain = normal(rng, (side, side))
    streaks = cv2.blur(normal(rng, (side, side)), (121, 1)) * 11
    tile = 5.0 * weave + 2.6 * grain + 2.2 * streaks
    h, w = image_hw
    stains = smooth_noise(rng, (h // 8 + 1, w // 8 + 1), cell_px=rng.uniform(9, 16))
    base = np.clip(stains * 7 + rng.uniform(62, 84), 24, 255).astype(np.uint8)
    pattern = tiled(np.clip(tile + 24, 0, 255).astype(np.uint8), image_hw)
    grey = cv2.add(stretched(base, image_hw) - np.uint8(24), pattern)
    tint = np.array([0.93, 1.02, 1.0]) + rng.uniform(-0.05, 0.05, 3)
    return as_pixels(cv2.merge([cv2.convertScaleAbs(grey, alpha=t) for t in tint]))


def _wear(canvas: Canvas, rng: np.random.Generator) -> None:
    """Pale scratches and dark grease spots: what a model must learn to leave alone."""
    h, w = canvas.owner.shape
    for _ in range(round(h * w / 60_000)):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        points = np.array([[x, y]]) + np.cumsum(
            rng.normal(0, 9, (6, 2)) + np.array([10, 0]), axis=0
        )
        grey = int(rng.uniform(96, 128))
        layer = [np.rint(points * 16).astype(np.int32)]
        cv2.polylines(canvas.pixels, layer, False, (grey,) * 3, 1, cv2.LINE_AA, 4)
    for _ in range(round(h * w / 130_000)):
        radius = rng.uniform(6, 22)
        size = int(radius * 3)
        y, x = np.mgrid[-1.5 : 1.5 : size * 1j, -1.5 : 1.5 : size * 1j].astype(np.float32)
        wobble = smooth_noise(rng, (size, size), cell_px=radius / 2) * 0.35
        alpha = np.clip((1 - np.hypot(x, y * 1.4) + wobble) * 3, 0, 1).astype(np.float32)
        canvas.shade(alpha, int(rng.uniform(0, w)), int(rng.uniform(0, h)), rng.uniform(0.2, 0.4))


def _places(rng: np.random.Generator, image_hw: Hw) -> list[tuple[float, float, float]]:
    """Where the parts lie: mostly apart, now and then one upon another."""
    h, w = image_hw
    crowd = Crowd(cell_px=130)
    wanted = round(h * w / PITCH_PX**2)
    for _ in range(wanted * 4):
        radius = rng.uniform(19, 34)
        x, y = rng.uniform(-8, w + 8), rng.uniform(-8, h + 8)
        if crowd.discs and rng.random() < 0.25:
            ox, oy, other = crowd.discs[int(rng.integers(len(crowd.discs)))]
            angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.86, 1.15) * (radius + other)
            x, y = ox + np.cos(angle) * reach, oy + np.sin(angle) * reach
        if crowd.fits(x, y, radius, closeness=0.85):
            crowd.add(x, y, radius)
        if len(crowd.discs) == wanted:
            break
    return crowd.discs


def _drop(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, radius: float, light: float
) -> None:
    """Put one part of a random kind on the belt, with its shadow."""
    class_id = int(rng.choice(3, p=(0.4, 0.27, 0.33)))
    reach = int(radius * (1.55 if class_id == BOLT else 1.0)) + 10
    left, top = int(x) - reach, int(y) - reach
    v, u = np.mgrid[0 : 2 * reach, 0 : 2 * reach].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    u, v = u - (x - left), v - (y - top)
    cos, sin = math.cos(angle), math.sin(angle)
    along, across = u * cos + v * sin, v * cos - u * sin
    outside, height = _SHAPES[class_id](rng, along, across, radius)
    alpha = np.clip(0.5 - outside, 0, 1)
    drop = 3.5
    shift = np.array([[1, 0, -drop * math.cos(light)], [0, 1, -drop * math.sin(light)]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(alpha, shift, alpha.shape[::-1]), (0, 0), 2.6)
    canvas.shade(shadow.astype(np.float32), left, top, 0.62)
    colour = _metal(rng, height, along, across, light)
    canvas.paint(Patch(alpha, colour), left, top, class_id)


def _metal(rng: np.random.Generator, height: F32, along: F32, across: F32, light: float) -> F32:
    """Light a height map as metal: diffuse, a highlight, brushing, a few scuffs."""
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(height, (0, 0), 0.8))
    towards = slope_x * math.cos(light) + slope_y * math.sin(light)
    level = 0.86 + 0.55 * np.tanh(-1.3 * towards)
    sheen = rng.uniform(0.1, 0.24) * np.sin(np.arctan2(across, along) * 2 + rng.uniform(0, 6))
    brushed = cv2.blur(normal(rng, height.shape), (9, 1)) * 0.10
    gloss = np.clip(-towards - 0.55, 0, 1) * 110
    metal = METALS[int(rng.choice(len(METALS), p=METAL_SHARES))] * np.float32(
        rng.uniform(0.85, 1.08)
    )
    colour = (level + sheen + brushed)[..., None] * metal + gloss[..., None]
    if rng.random() < 0.3:  # rust
        rust = np.clip(smooth_noise(rng, height.shape, cell_px=9) * 1.6 - 0.35, 0, 0.6)
        colour += rust[..., None] * (RUST - colour)
    lit: F32 = np.clip(colour, 0, 255).astype(np.float32)
    return lit


def _washer(rng: np.random.Generator, along: F32, across: F32, radius: float) -> tuple[F32, F32]:
    """A flat ring; return the signed distance to its edge (negative inside) and its height."""
    away = np.hypot(along, across)
    outside = np.maximum(away - radius, radius * rng.uniform(0.48, 0.62) - away)
    return outside, np.minimum(-outside, 2.0).astype(np.float32)


def _nut(rng: np.random.Generator, along: F32, across: F32, radius: float) -> tuple[F32, F32]:
    """A hexagon with a threaded hole and a chamfer."""
    away = np.hypot(along, across)
    turns = [k * math.pi / 3 for k in range(3)]
    sides = [np.abs(along * math.cos(t) + across * math.sin(t)) for t in turns]
    hexagon = np.maximum.reduce(sides) - radius * 0.84
    hole = radius * rng.uniform(0.38, 0.45) - away
    height = np.minimum(-hexagon, 2.2) + np.clip(radius * 0.86 - away, -3, 0) * 0.5
    sunk = radius * 0.14  # the thread begins in a countersink
    height -= np.where(hole > -sunk, (hole + sunk) * 1.3 + np.sin(away * 2.4) * 0.4, 0)
    return np.maximum(hexagon, hole).astype(np.float32), height.astype(np.float32)


def _bolt(rng: np.random.Generator, along: F32, across: F32, radius: float) -> tuple[F32, F32]:
    """A hexagon head on a threaded shank, lying on its side."""
    length, half = radius * rng.uniform(1.15, 1.5), radius * rng.uniform(0.26, 0.34)
    head_length, head_half = radius * rng.uniform(0.36, 0.46), half * rng.uniform(1.75, 2.05)
    start = -length
    thread = np.sin(along * (2 * math.pi / 3.6))
    shank = np.maximum(np.abs(across) - half - 0.45 * thread, along - length)
    shank = np.maximum(shank, start - along)
    head = np.maximum(
        np.abs(along - start - head_length / 2) - head_length / 2, np.abs(across) - head_half
    )
    round_shank = np.sqrt(np.clip(half**2 - across**2, 0, None)) * 1.1 + thread * 0.9
    facets = np.minimum(-head, 2.0) - np.where(np.abs(across) > head_half * 0.5, 0.9, 0)
    height = np.where(head < 0, facets + half, round_shank)
    return np.minimum(shank, head).astype(np.float32), height.astype(np.float32)


_SHAPES = {WASHER: _washer, NUT: _nut, BOLT: _bolt}

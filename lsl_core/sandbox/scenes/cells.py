"""A stained blood smear: red cells that touch and overlap, white cells, platelets."""

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
    smooth_noise,
    stretched,
)
from lsl_core.types import Hw, Instances

LABELS = ("red cell", "white cell", "platelet")
RED, WHITE, PLATELET = range(3)

#: Cells per square of this side, in pixels: the density of the scene.
PITCH_PX = 70
#: How often each label comes.
SHARES = (0.86, 0.05, 0.09)
#: What the stain takes from red, green and blue light at density 1.
EOSIN = np.array([0.20, 0.62, 0.52], np.float32)
AZURE = np.array([0.95, 1.35, 0.42], np.float32)
LILAC = np.array([0.34, 0.46, 0.12], np.float32)


def draw(rng: np.random.Generator, image_hw: Hw) -> tuple[NDArray[np.uint8], Instances]:
    """Draw a smear; return its pixels and the visible part of every cell."""
    canvas = Canvas(_plasma(rng, image_hw))
    focus = rng.uniform(0.8, 1.5)
    stain = rng.uniform(0.8, 1.2)
    for x, y, radius, class_id in _places(rng, image_hw):
        reach = int(radius * 1.35) + 6
        left, top = int(x) - reach, int(y) - reach
        v, u = np.mgrid[0 : 2 * reach, 0 : 2 * reach].astype(np.float32)
        patch = _CELLS[class_id](rng, u - (x - left), v - (y - top), radius, focus, stain)
        canvas.paint(patch, left, top, class_id)
    _specks(canvas, rng)
    pixels = expose(
        canvas.pixels,
        light_map(rng, vignette=rng.uniform(0.12, 0.28), tilt=rng.uniform(0.02, 0.08)),
        rng=rng,
        blur_px=rng.uniform(0.5, 0.9),
        noise=rng.uniform(1.5, 3.5),
    )
    return pixels, canvas.instances()


def _plasma(rng: np.random.Generator, image_hw: Hw) -> NDArray[np.uint8]:
    """The pale ground between the cells, unevenly stained."""
    h, w = image_hw
    uneven = smooth_noise(rng, (h // 8 + 1, w // 8 + 1), cell_px=rng.uniform(14, 26))
    uneven = stretched(uneven, image_hw)
    ground = np.array([238, 226, 222]) + rng.uniform(-8, 8, 3)
    depth = (3.0, 6.0, 4.0)
    tones = zip(ground, depth, strict=True)
    return as_pixels(cv2.merge([cv2.convertScaleAbs(uneven, alpha=d, beta=g) for g, d in tones]))


def _places(rng: np.random.Generator, image_hw: Hw) -> list[tuple[float, float, float, int]]:
    """Where the cells lie: scattered, in chains and in clumps."""
    h, w = image_hw
    crowd = Crowd(cell_px=110)
    chosen: list[tuple[float, float, float, int]] = []
    wanted = round(h * w / PITCH_PX**2)
    for _ in range(wanted * 5):
        class_id = int(rng.choice(3, p=SHARES))
        radius = (rng.normal(22, 2.0), rng.uniform(34, 46), rng.uniform(6.5, 9.5))[class_id]
        x, y = rng.uniform(-10, w + 10), rng.uniform(-10, h + 10)
        if class_id == RED and crowd.discs and rng.random() < 0.45:
            ox, oy, other = crowd.discs[int(rng.integers(len(crowd.discs)))]
            angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.76, 1.02) * (radius + other)
            x, y = ox + np.cos(angle) * reach, oy + np.sin(angle) * reach
        closeness = 0.76 if class_id == RED else 1.03
        if crowd.fits(x, y, radius, closeness=closeness):
            crowd.add(x, y, radius)
            chosen.append((x, y, radius, class_id))
        if len(chosen) == wanted:
            break
    # White cells are drawn last: they lie upon the thin red ones, never under them.
    return sorted(chosen, key=lambda place: place[3] == WHITE)


def _outline(
    rng: np.random.Generator, u: F32, v: F32, radius: float, wobble: float
) -> tuple[F32, F32]:
    """Return how far each pixel is from the centre, 1 at a bumpy outline, and in pixels beyond."""
    squeeze, turn = rng.uniform(0.9, 1.0), rng.uniform(0, np.pi)
    cos, sin = math.cos(turn), math.sin(turn)
    across = ((v * cos - u * sin) / squeeze).astype(np.float32)
    spot = u * cos + v * sin + 1j * across
    away = np.abs(spot)
    ray = spot / np.maximum(away, 1e-3)  # (s, s) complex, of length 1; its k-th power turns k times
    power = ray
    reach = np.full_like(away, radius)
    for k in (2, 3, 4, 5):
        power = power * ray
        bump = radius * wobble * rng.normal(0, 1) / k
        phase = rng.uniform(0, 2 * math.pi)
        reach += power.real * (bump * math.cos(phase)) - power.imag * (bump * math.sin(phase))
    return (away / reach).astype(np.float32), (away - reach).astype(np.float32)


def _pass(density: F32, stain: NDArray[np.float32]) -> F32:
    """Return the light that passes, (s, s, 3) in [0, 1] (Beer and Lambert)."""
    light: F32 = np.exp(-density[..., None] * stain).astype(np.float32)
    return light


def _red(
    rng: np.random.Generator, u: F32, v: F32, radius: float, focus: float, stain: float
) -> Patch:
    """A disc, thin in the middle, with the dark line and the pale ring of a bright-field edge."""
    share, beyond = _outline(rng, u, v, radius, 0.05)
    alpha = np.clip(0.5 - beyond / focus, 0, 1)
    hollow, wide = rng.uniform(0.3, 0.72), rng.uniform(0.4, 0.52)
    density = (
        1
        - hollow * np.exp(-((share / wide) ** 2))
        + 0.05 * smooth_noise(rng, share.shape, cell_px=5)
    )
    density = density * rng.uniform(0.62, 0.95) * stain
    density += 0.22 * np.exp(-((beyond + 1.5) ** 2) / (2 * focus**2))
    return Patch(alpha.astype(np.float32), _pass(density.astype(np.float32), EOSIN), True)


def _white(
    rng: np.random.Generator, u: F32, v: F32, radius: float, focus: float, stain: float
) -> Patch:
    """A large pale cell around a dark nucleus of one to four lobes."""
    share, beyond = _outline(rng, u, v, radius, 0.05)
    alpha = np.clip(0.5 - beyond / focus, 0, 1)
    lobes = int(rng.integers(1, 5))
    angles = rng.uniform(0, 6.3) + np.arange(lobes) * rng.uniform(1.0, 1.6)
    spread = 0.0 if lobes == 1 else radius * 0.36
    size = radius * (0.68 if lobes == 1 else 0.40)
    field = np.zeros_like(share)
    for angle in angles:
        x, y = spread * np.cos(angle), spread * np.sin(angle)
        field += np.exp(-((u - x) ** 2 + (v - y) ** 2) / (size * 0.8) ** 2)
    nucleus = np.clip((field - 0.32) * 7, 0, 1)
    chromatin = 1 + 0.22 * smooth_noise(rng, share.shape, cell_px=4)
    body = np.clip(0.42 + 0.16 * smooth_noise(rng, share.shape, cell_px=3), 0.1, 1)
    body = body + 0.25 * np.exp(-((beyond + 1.2) ** 2) / (2 * focus**2))
    through = _pass(body.astype(np.float32), LILAC)
    through = through * _pass((nucleus * chromatin * 0.85 * stain).astype(np.float32), AZURE)
    # It hides what lies below: a clear ground first, then its own colour.
    colour = through * np.array([236, 226, 226], np.float32)
    return Patch(alpha.astype(np.float32), colour.astype(np.float32))


def _platelet(
    rng: np.random.Generator, u: F32, v: F32, radius: float, focus: float, stain: float
) -> Patch:
    """A small granular fragment."""
    share, beyond = _outline(rng, u, v, radius, 0.12)
    alpha = np.clip(0.5 - beyond / focus, 0, 1)
    density = 0.75 - 0.35 * share + 0.2 * smooth_noise(rng, share.shape, cell_px=2.5)
    density = np.clip(density, 0.25, 1.1) * 0.75 * stain
    return Patch(alpha.astype(np.float32), _pass(density.astype(np.float32), AZURE), True)


def _specks(canvas: Canvas, rng: np.random.Generator) -> None:
    """Grains of dried stain: what a model must learn to leave alone."""
    h, w = canvas.owner.shape
    for _ in range(round(h * w / 40_000)):
        y, x = np.mgrid[-5:6, -5:6].astype(np.float32)
        alpha = np.exp(-(x**2 + y**2) / (2 * rng.uniform(0.8, 1.5) ** 2))
        left, top = int(rng.uniform(0, w)), int(rng.uniform(0, h))
        canvas.shade(alpha.astype(np.float32), left, top, rng.uniform(0.3, 0.7))


_CELLS = {RED: _red, WHITE: _white, PLATELET: _platelet}

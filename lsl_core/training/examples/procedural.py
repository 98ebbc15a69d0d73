"""Images made by rule, of things that look like nothing in particular, with their masks.

The network learns from them what an object is before it sees a photograph: an outline that
closes, an inside unlike the ground, neighbours that touch and cover one another. Every scene is a
domain of its own: one family of shapes, one kind of ground, one light, one sharpness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

#: Square root of the area of the median object of a scene, pixels, drawn between these: the
#: sizes that training resizes real objects to, and some room.
SIZES_PX = (13.0, 36.0)
#: Objects on the fullest scene of 224 × 224 pixels with the smallest objects.
MOST = 160


@dataclass(frozen=True, slots=True)
class _Domain:
    """What the objects of one scene have in common.

    size, spread: median side in pixels and its log deviation. length: longest ratio of the sides.
    lobes, rough: number and height of the waves of the outline. corner: 2 for ellipses, more
    towards rectangles. hole: share of objects with one. cover: how much of another object a new
    one may hide. cluster: share of objects that are put beside another. colours: (2, 3), between
    which objects lie. rim, core, grain, fade: strength of a rim, of a spot inside, of a texture,
    and of soft light from one side. pattern, pitch: strength of a regular pattern of stripes or
    spots inside, and pixels from one to the next.
    """

    size: float
    spread: float
    length: float
    lobes: int
    rough: float
    corner: float
    hole: float
    cover: float
    cluster: float
    colours: F32
    rim: float
    core: float
    grain: float
    fade: float
    pattern: float
    pitch: float


def draw_scene(
    rng: np.random.Generator, side: int = 224
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Draw one scene.

    Returns:
        (side, side, 3) uint8 pixels, and (side, side) int32, 1 + index of the object that is
        seen at each pixel, 0 for ground.
    """
    ground = _ground(rng, side)
    domain = _domain(rng, ground)
    image, ids = ground.copy(), np.zeros((side, side), np.int32)
    if rng.random() < 0.5:
        _litter(image, rng, domain)
    room = int(side * side / domain.size**2)
    wanted = int(min(MOST, max(1, room * rng.uniform(0.03, 0.9) ** 1.5)))
    places: list[NDArray[np.float64]] = []
    for _ in range(wanted):
        centre = rng.uniform(0, side, 2)
        if places and rng.random() < domain.cluster:
            turn = rng.uniform(0, 2 * math.pi)
            step = domain.size * rng.uniform(0.8, 1.3)
            near = places[int(rng.integers(len(places)))]
            centre = near + step * np.array([math.cos(turn), math.sin(turn)])
        if _put(image, ids, centre, domain, rng, len(places) + 1):
            places.append(centre)
    return _photograph(image, rng), ids


def _domain(rng: np.random.Generator, ground: F32) -> _Domain:
    size = math.exp(rng.uniform(*np.log(SIZES_PX)))
    mean = ground.mean(axis=(0, 1))
    contrast = rng.uniform(0.15, 0.8) * (1 if rng.random() < 0.7 else -1)
    if not 0 < mean.mean() + contrast < 1:  # no camera sees darker than black
        contrast = -contrast
    tint = rng.uniform(-1, 1, 3) * rng.choice([0.0, 0.1, 0.4])
    first = mean + contrast + tint
    second = first + rng.uniform(-0.25, 0.25) + rng.uniform(-0.2, 0.2, 3) * rng.integers(2)
    return _Domain(
        size=size,
        spread=rng.uniform(0.05, 0.4),
        length=rng.choice([1.15, 1.5, 2.0, 3.5]),
        lobes=int(rng.integers(2, 7)),
        rough=rng.choice([0.0, 0.05, 0.12, 0.22]),
        corner=rng.choice([2.0, 2.0, 2.0, 3.0, 6.0]),
        hole=rng.choice([0.0, 0.0, 0.0, 0.3, 1.0]),
        cover=rng.choice([0.0, 0.1, 0.35]),
        cluster=rng.choice([0.0, 0.3, 0.7]),
        colours=np.stack([first, second]).astype(np.float32),
        rim=rng.choice([0.0, 0.0, 0.5, -0.4]) * rng.uniform(0.3, 1),
        core=rng.choice([0.0, 0.0, 0.4, -0.4]) * rng.uniform(0.3, 1),
        grain=rng.choice([0.0, 0.05, 0.15]),
        fade=rng.choice([0.0, 0.2, 0.5]),
        pattern=rng.choice([0.0, 0.0, 0.0, 0.4]) * rng.uniform(0.4, 1),
        pitch=size * rng.uniform(0.12, 0.5),
    )


def _put(
    image: F32,
    ids: NDArray[np.int32],
    centre: NDArray[np.float64],
    domain: _Domain,
    rng: np.random.Generator,
    number: int,
) -> bool:
    """Draw one object unless it hides too much of others; return whether it was drawn."""
    area = (domain.size * math.exp(rng.normal(0, domain.spread))) ** 2
    ratio = math.sqrt(rng.uniform(1, domain.length))
    radius = math.sqrt(area / math.pi)
    reach = int(radius * ratio * 1.4) + 3
    left, top = int(centre[0]) - reach, int(centre[1]) - reach
    x1, y1 = max(0, left), max(0, top)
    x2, y2 = min(image.shape[1], left + 2 * reach), min(image.shape[0], top + 2 * reach)
    if x2 - x1 < 3 or y2 - y1 < 3:
        return False
    y, x = np.mgrid[y1:y2, x1:x2].astype(np.float32)
    depth = _depth(x - centre[0], y - centre[1], (radius * ratio, radius / ratio), domain, rng)
    inside = depth < 1
    there = ids[y1:y2, x1:x2]
    shown = inside & (there == 0) if domain.cover == 0 else inside
    hidden = np.bincount(there[inside], minlength=number)[1:]
    limit = 0.15 if domain.cover == 0 else domain.cover
    if not shown.any() or hidden.sum() > limit * inside.sum() or (hidden > limit * area).any():
        return False
    there[shown] = number
    part = image[y1:y2, x1:x2]
    part[shown] = _paint(x, y, depth, domain, rng)[shown]
    return True


def _depth(
    x: F32, y: F32, radii: tuple[float, float], domain: _Domain, rng: np.random.Generator
) -> F32:
    """Return how far out each pixel lies: 0 at the centre, 1 on the outline; a hole lies out."""
    turn = rng.uniform(0, 2 * math.pi)
    u = (math.cos(turn) * x + math.sin(turn) * y) / radii[0]
    v = (-math.sin(turn) * x + math.cos(turn) * y) / radii[1]
    power = domain.corner
    away = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    if domain.rough:
        angle = np.arctan2(v, u)
        for lobes in (domain.lobes, domain.lobes + int(rng.integers(1, 4))):
            wave = np.cos(lobes * angle + rng.uniform(0, 2 * math.pi))
            away = away / (1 + domain.rough * rng.uniform(0.2, 0.8) * wave)
    if rng.random() < domain.hole:
        away = np.where(away < rng.uniform(0.3, 0.6), 2.0, away)
    return np.asarray(away, np.float32)


def _paint(x: F32, y: F32, depth: F32, domain: _Domain, rng: np.random.Generator) -> F32:
    """Return the colour of an object at each pixel, (h, w, 3)."""
    mix = rng.uniform(0, 1)
    colour = (domain.colours[0] * mix + domain.colours[1] * (1 - mix)) * np.ones((*x.shape, 3))
    light = np.zeros(x.shape, np.float32)
    if domain.rim:
        light += domain.rim * (depth > 0.75)
    if domain.core:
        light += domain.core * (depth < 0.45)
    if domain.fade:
        slope = rng.normal(0, 1, 2)
        along = (x - x.mean()) * slope[0] + (y - y.mean()) * slope[1]
        light += domain.fade * along / (np.abs(along).max() + 1e-6) - domain.fade * depth / 2
    if domain.grain:
        light += (
            domain.grain
            * cv2.GaussianBlur(
                rng.standard_normal(x.shape, np.float32), (0, 0), rng.uniform(0.6, 2.0)
            )
            * 2
        )
    if domain.pattern:
        light += domain.pattern * _pattern(x, y, max(domain.pitch, 3.0), rng)
    strength = np.abs(domain.colours[0] - domain.colours[1]).mean() + 0.25
    return np.asarray(colour + light[..., None] * strength, np.float32)


def _pattern(x: F32, y: F32, pitch_px: float, rng: np.random.Generator) -> F32:
    """Return stripes or spots between -1 and 1, turned at will, (h, w)."""
    turn = rng.uniform(0, math.pi)
    cos, sin, pitch = math.cos(turn), math.sin(turn), 2 * math.pi / pitch_px
    waves = np.sin((x * cos + y * sin) * pitch + rng.uniform(0, 6))
    if rng.random() < 0.5:
        waves = waves * np.sin((y * cos - x * sin) * pitch)
    return np.asarray(waves, np.float32)


def _ground(rng: np.random.Generator, side: int) -> F32:
    """Return the ground: a colour, slow changes, a texture, at times plates with edges."""
    level = rng.choice([rng.uniform(0.02, 0.2), rng.uniform(0.2, 0.6), rng.uniform(0.7, 0.95)])
    ground = np.full((side, side, 3), level, np.float32)
    ground += rng.uniform(-0.15, 0.15, 3).astype(np.float32) * int(rng.integers(2))
    if rng.random() < 0.15:
        ground += rng.uniform(0.03, 0.12) * _plates(rng, side)[..., None]
    kind = rng.integers(4)
    if kind >= 1:
        ground += rng.uniform(0.02, 0.15) * _clouds(rng, side, rng.uniform(20, 90))[..., None]
    if kind >= 2:
        ground += rng.uniform(0.01, 0.08) * _clouds(rng, side, rng.uniform(1, 8))[..., None]
    if kind == 3:
        turn, pitch = rng.uniform(0, math.pi), rng.uniform(6, 40)
        y, x = np.mgrid[0:side, 0:side]
        wave = np.sin((x * math.cos(turn) + y * math.sin(turn)) * 2 * math.pi / pitch)
        ground += np.float32(rng.uniform(0.01, 0.06)) * wave[..., None].astype(np.float32)
    return ground


def _plates(rng: np.random.Generator, side: int) -> F32:
    """Return plates of even brightness with straight edges, of deviation 1, (side, side)."""
    count = int(rng.integers(4, 24))
    x, y = rng.uniform(0, side, (2, count, 1, 1))
    rows, columns = np.mgrid[0:side, 0:side]
    nearest = ((columns - x) ** 2 + (rows - y) ** 2).argmin(axis=0)
    return np.asarray(rng.standard_normal(count)[nearest], np.float32)


def _clouds(rng: np.random.Generator, side: int, size_px: float) -> F32:
    """Return smooth noise of deviation 1 whose spots are about this large, (side, side)."""
    cells = max(2, round(side / size_px))
    noise = rng.standard_normal((cells + 1, cells + 1), np.float32)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def _litter(image: F32, rng: np.random.Generator, domain: _Domain) -> None:
    """Draw what is no object: specks, threads, and things far out of focus."""
    side = image.shape[0]
    layer = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 25))):
        x, y = (int(v) for v in rng.integers(0, side, 2))
        if rng.random() < 0.7:
            cv2.circle(layer, (x, y), int(rng.integers(1, 3)), rng.uniform(0.3, 1), -1)
        else:
            end = (x + int(rng.integers(-60, 60)), y + int(rng.integers(-60, 60)))
            cv2.line(layer, (x, y), end, rng.uniform(0.3, 1), int(rng.integers(1, 3)))
    if rng.random() < 0.5:
        x, y = (int(v) for v in rng.integers(0, side, 2))
        far = np.zeros_like(layer)
        cv2.circle(far, (x, y), int(domain.size * rng.uniform(1, 3)), 0.4, -1)
        layer += cv2.GaussianBlur(far, (0, 0), domain.size)
    colour = domain.colours[0] - image.mean(axis=(0, 1))
    image += layer[..., None] * colour * np.float32(rng.uniform(0.3, 1))


def _photograph(image: F32, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light, blur, noise and compression of a camera."""
    side = image.shape[0]
    if rng.random() < 0.5:
        image = image * (1 + rng.uniform(0.05, 0.3) * _clouds(rng, side, 150)[..., None])
    if rng.random() < 0.8:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8)), np.float32)
    if rng.random() < 0.3:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    image = np.clip(image, 0, 1) * rng.uniform(80, 255)
    noise = rng.standard_normal((side, side, 3 if rng.random() < 0.5 else 1), np.float32)
    image = np.clip(image + noise * rng.choice([0.5, 2.0, 6.0, 12.0]), 0, 255)
    pixels: NDArray[np.uint8] = np.rint(image).astype(np.uint8)
    if rng.random() < 0.25:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        coded = cv2.imencode(".jpg", pixels, quality)[1]
        pixels = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return pixels

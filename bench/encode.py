"""Masks to CVAT's points and back, ours beside cvat_sdk and pycocotools."""

from __future__ import annotations

import importlib.util

import cv2
import numpy as np
from measure import cost, table
from numpy.typing import NDArray

from lsl_core.cvat.annotations.mask_points import from_points, to_points
from lsl_core.types import CropMasks, SoftMasks

Pixels = NDArray[np.uint8]


def masks_of(count: int, across: int) -> tuple[list[Pixels], list[tuple[int, int]]]:
    """Return wobbly discs with holes, and where they lie."""
    rng = np.random.default_rng(across)
    result, places = [], []
    for _ in range(count):
        side = int(across * rng.uniform(0.8, 1.2))
        noise = cv2.resize(rng.random((8, 8)).astype(np.float32), (side, side))
        ys, xs = np.mgrid[:side, :side] - side / 2
        mask = (np.hypot(xs, ys) < side / 2 * (0.7 + 0.4 * noise)).astype(np.uint8)
        mask[noise < 0.15] = 0
        x, y, w, h = cv2.boundingRect(mask)
        result.append(np.ascontiguousarray(mask[y : y + h, x : x + w]))
        places.append(tuple(rng.integers(0, 3000, 2).tolist()))
    return result, places


def _sdk_points(pixels: list[Pixels], places: list[tuple[int, int]]) -> list[list[int]]:
    """cvat_sdk on the crop, its best case."""
    from cvat_sdk.masks import encode_mask

    rows = []
    for mask, (x, y) in zip(pixels, places, strict=True):
        h, w = mask.shape
        points = encode_mask(mask.view(bool), [0, 0, w, h])
        rows.append([*points[:-4], x, y, x + w - 1, y + h - 1])
    return rows


def _sdk_crops(points: list[list[int]]) -> list[NDArray[np.bool_]]:
    from cvat_sdk.masks import decode_mask

    rows = []
    for one in points:
        x, y, x1, y1 = one[-4:]
        w, h = x1 - x + 1, y1 - y + 1
        rows.append(decode_mask([*one[:-4], 0, 0, w - 1, h - 1], image_width=w, image_height=h))
    return rows


def run(*, repeat: int, small: int, large: int) -> None:
    """Print microseconds a mask, and whether the points are those of cvat_sdk."""
    for count, across in ((small, 60), (large, 2000)):
        pixels, places = masks_of(count, across)
        print(f"\n{count:,} masks of about {across} px")
        table(_rows(pixels, places, repeat))


def _rows(
    pixels: list[Pixels], places: list[tuple[int, int]], repeat: int
) -> list[dict[str, object]]:
    n = len(pixels)
    masks = CropMasks.from_crops(pixels, places)
    points = to_points(masks)
    soft = SoftMasks.from_crops([p * np.uint8(255) for p in pixels], places)

    works = {
        "ours: pixels to points": lambda: to_points(CropMasks.from_crops(pixels, places)),
        "ours: a prediction's masks to points": lambda: to_points(masks),
        "ours: soft masks to points": lambda: to_points(soft.binary(0.5)),
        "ours: points to masks": lambda: from_points(points)[0],
        "ours: points to pixels": lambda: from_points(points)[0].decoded(),
    }
    if importlib.util.find_spec("cvat_sdk"):
        works["cvat_sdk: pixels to points"] = lambda: _sdk_points(pixels, places)
        works["cvat_sdk: points to pixels"] = lambda: _sdk_crops(points)
    if importlib.util.find_spec("pycocotools"):
        from pycocotools import mask as coco

        works["pycocotools: pixels to COCO"] = lambda: [
            coco.encode(np.asfortranarray(p)) for p in pixels
        ]
    rows = []
    for name, work in works.items():
        result, spent = cost(work, repeat=repeat)
        same = points if name.endswith(" to points") else None
        rows.append(
            {
                "name": name,
                "cpu us/mask": spent.cpu_s / n * 1e6,
                "MB": round(spent.peak_mb),
                "same points": "" if same is None else str(result == same),
            }
        )
    return rows

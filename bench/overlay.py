"""Two thousand masks of a large image on a screen: ours, supervision's, PIL's."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import scenes
from free import photo
from measure import cost, table

from lsl_core.geometry.overlay import render_overlay
from lsl_core.types import CropMasks, Instances


def run(*, side: int, count: int, screen: int, repeat: int) -> None:
    """Print what a picture, and the layer of masks that the browser draws, cost."""
    from lsl_core.ui.viewer.message import MAX_SIDE_PX, _columns  # loads Streamlit

    plan = scenes.Plan(objects=count, side=side, across=0.03, faults=scenes.Faults(jitter=0))
    truth = scenes.make(plan).truth
    masks = CropMasks.from_crops(truth.masks, [(x, y) for x, y in truth.box[:, :2].tolist()])
    found = Instances(truth.box.astype(np.float32), truth.score, truth.label, masks, (side, side))
    image = photo(side)
    names = [f"label {i}" for i in range(3)]
    works: dict[str, Callable[[], Any]] = {
        "shrink the image alone": lambda: cv2.resize(
            image, (screen, screen), interpolation=cv2.INTER_AREA
        ),
        "ours: layer of masks that the viewer gets": lambda: _columns(
            found, min(1.0, MAX_SIDE_PX / side), None
        ),
        f"ours: the same reduced to {screen} px": lambda: _columns(found, screen / side, None),
        "ours: picture with outlines and names": lambda: render_overlay(
            image, found, names, max_side_px=screen
        ),
        "PIL: paste masks, shrink": lambda: _pil(image, truth, screen),
    }
    if importlib.util.find_spec("supervision"):
        works.update(_supervision(image, truth, screen))
    print(f"\n{len(truth):,} masks on {side}², shown at {screen}")
    rows = []
    for name, work in works.items():
        spent = cost(work, repeat=repeat)[1]
        rows.append(
            {
                "name": name,
                "cpu ms": spent.cpu_s * 1e3,
                "wall ms": spent.wall_s * 1e3,
                "MB": round(spent.peak_mb),
            }
        )
    table(rows)


def _pil(image: np.ndarray, truth: scenes.Objects, screen: int) -> Any:
    from PIL import Image

    picture = Image.fromarray(image)
    colours = [(230, 159, 0), (86, 180, 233), (0, 158, 115)]
    for mask, box, label in zip(truth.masks, truth.box.tolist(), truth.label.tolist(), strict=True):
        picture.paste(colours[label], tuple(box[:2]), Image.fromarray(mask * np.uint8(128)))
    return picture.resize((screen, screen), Image.Resampling.BILINEAR)


def _supervision(
    image: np.ndarray, truth: scenes.Objects, screen: int
) -> dict[str, Callable[[], Any]]:
    import supervision as sv
    from supervision.detection.compact_mask import CompactMask

    parts = []
    for mask, (x, y, _, _) in zip(truth.masks, truth.box.tolist(), strict=True):
        h, w = mask.shape
        around = np.array([[0.0, 0.0, w - 1, h - 1]])
        compact = CompactMask.from_dense(mask[None].astype(bool), around, (h, w))
        parts.append(compact.with_offset(x, y, image.shape[:2]))
    boxes = truth.box.astype(np.float32) - (0, 0, 1, 1)
    labels = truth.label.astype(int)
    masks = CompactMask.merge(parts)
    full = sv.Detections(xyxy=boxes, mask=masks, class_id=labels)
    painter = sv.MaskAnnotator(color_lookup=sv.ColorLookup.CLASS)

    def shrunk(pixels: np.ndarray) -> np.ndarray:
        return cv2.resize(pixels, (screen, screen), interpolation=cv2.INTER_AREA)

    def small() -> Any:
        scaled = (boxes * (screen / len(image))).astype(np.float32)
        reduced = sv.Detections(xyxy=scaled, mask=masks.resize((screen, screen)), class_id=labels)
        return painter.annotate(shrunk(image), reduced)

    return {
        "supervision: paint, shrink": lambda: shrunk(painter.annotate(image.copy(), full)),
        "supervision: shrink, paint": small,
    }

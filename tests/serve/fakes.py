"""A model that finds bright pixels, can be held up, and fails where it is told to."""

import threading

import cv2
import numpy as np

from lsl_core.serve.looking import Looks
from lsl_core.types import Instances, Mode, ModelCard, SoftMasks

#: A window with a pixel of this value makes the model fail.
POISON = 13


def card(**changed):
    values = {
        "id": "cells-v1",
        "name": "cells",
        "family": "compact",
        "mode": Mode.FSIS,
        "labels": ("cell", "dim cell"),
        "parent": None,
        "support": "first",
        "support_images": 1,
        "metrics": None,
        "thresholds": {"cell": 0.5, "dim cell": 0.5},
        "window": 64,
        "scale": 1.0,
        "settings": {},
        "weights_sha256": "ab" * 32,
        "licence": "",
        "created": "2026-01-01T00:00:00Z",
    }
    return ModelCard(**(values | changed))


class BrightModel:
    """Finds connected pixels: bright ones as "cell" of 0.9, grey ones as "dim cell" of 0.4."""

    transform_version = "bright-1"
    device = "cpu"

    def __init__(self, **changed):
        self.card = card(**changed)
        self.batches = []
        self.thread = None
        self.may_go = threading.Event()
        self.may_go.set()
        self.has_begun = threading.Event()

    def predict(self, windows, *, floor_score):
        self.thread = self.thread or threading.get_ident()
        assert self.thread == threading.get_ident(), "one thread at a time"
        self.batches.append([window.shape[:2] for window in windows])
        self.has_begun.set()
        assert self.may_go.wait(60)
        if any((window == POISON).any() for window in windows):
            raise RuntimeError("poisoned")
        return [found_in(window).above(floor_score) for window in windows]


def looks(model, **changed):
    """Return what is around a model: limits, a cache."""
    return Looks(model.card, model.transform_version, **changed)


def found_in(window):
    grey = window[:, :, 0]
    parts = [_parts(grey > 180, 0.9, 0), _parts((grey > 80) & (grey <= 180), 0.4, 1)]
    rows = sorted((row for part in parts for row in part), key=lambda row: -row[2])
    return Instances(
        np.array([row[1] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[2] for row in rows], np.float32),
        np.array([row[3] for row in rows], np.int32),
        SoftMasks.from_crops([row[0] for row in rows], [row[1][:2] for row in rows]),
        window.shape[:2],
    )


def _parts(pixels, score, class_id):
    count, ids, stats, _ = cv2.connectedComponentsWithStats(pixels.astype(np.uint8))
    for i in range(1, count):
        x, y, w, h = stats[i, :4].tolist()
        crop = (ids[y : y + h, x : x + w] == i).astype(np.uint8) * 255
        yield crop, (x, y, x + w, y + h), score, class_id


def image_with(*rects, hw=(100, 120), value=255):
    """Return a dark image with rectangles (x, y, width, height) of one brightness."""
    pixels = np.zeros((*hw, 3), np.uint8)
    for x, y, w, h in rects:
        pixels[y : y + h, x : x + w] = value
    return pixels


def png(pixels):
    done, data = cv2.imencode(".png", pixels)
    assert done
    return data.tobytes()


def ring(hw=(100, 120)):
    """Return an image with one bright square from (20, 30) to (60, 70) and a hole in it."""
    pixels = image_with((20, 30, 40, 40), hw=hw)
    pixels[45:55, 35:45] = 0
    return pixels

"""A model that costs nothing, and images for it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.types import Instances, Mode, ModelCard, SoftMasks

Pixels = NDArray[np.uint8]


def canned(count: int, side: int, *, seed: int = 0) -> Instances:
    """Return discs of 20 to 150 px on a window, with soft masks."""
    rng = np.random.default_rng(seed)
    pixels, places = [], []
    for _ in range(count):
        across = int(rng.integers(20, 150))
        disc = np.zeros((across, across), np.uint8)
        cv2.circle(disc, (across // 2, across // 2), across // 2 - 2, 255, -1)
        pixels.append(cv2.blur(disc, (3, 3)))
        places.append(tuple(rng.integers(0, side - across, 2).tolist()))
    masks = SoftMasks.from_crops(pixels, places)
    crops = masks.crops.astype(np.float32)
    boxes = np.concatenate([crops[:, :2], crops[:, :2] + crops[:, 2:]], axis=1)
    scores = rng.uniform(0.3, 1, count).astype(np.float32)
    labels = rng.integers(0, 3, count).astype(np.int32)
    return Instances(boxes, scores, labels, masks if count else SoftMasks.empty(), (side, side))


class FreeModel:
    """Answers every window with the same objects; `device_s` is how long a window takes."""

    transform_version = "free-1"
    device = "cpu"

    def __init__(self, answer: Instances, *, device_s: float = 0.0) -> None:
        self.answer = answer
        self.device_s = device_s
        self.calls = 0
        self.card = ModelCard(
            id="free",
            name="free",
            family="free",
            mode=Mode.FSIS,
            labels=("a", "b", "c"),
            parent=None,
            support="none",
            support_images=0,
            metrics=None,
            thresholds={},
            window=1024,
            scale=1.0,
            settings={},
            weights_sha256="0" * 64,
            licence="",
            created="2026-01-01T00:00:00Z",
        )

    def predict(self, windows: Sequence[Pixels], *, floor_score: float) -> list[Instances]:
        """Return the same for each."""
        self.calls += 1
        if self.device_s:
            time.sleep(self.device_s * len(windows))
        return [self.answer for _ in windows]


def photo(side: int, *, seed: int = 0) -> Pixels:
    """Return an image (side, side, 3) with the detail of a photograph."""
    rng = np.random.default_rng(seed)
    tile = min(side, 2048)
    layers = np.full((tile, tile, 3), 110, np.float32)
    for coarse in (8, 40, 200):
        noise = rng.normal(0, 28, (coarse, coarse, 3)).astype(np.float32)
        layers += cv2.resize(noise, (tile, tile), interpolation=cv2.INTER_CUBIC)
    layers += rng.normal(0, 3, layers.shape).astype(np.float32)
    small = np.clip(layers, 0, 255).astype(np.uint8)
    times = -(-side // tile)
    return np.ascontiguousarray(np.tile(small, (times, times, 1))[:side, :side])

"""A model that finds bright pixels, images for it, and a listener."""

import threading

import cv2
import numpy as np

from lsl_core.errors import RunCancelled
from lsl_core.types import ImageRef, Instances, Mode, ModelCard, SoftMasks


def card(**changed):
    values = {
        "id": "cells-1",
        "name": "cells",
        "family": "fake",
        "mode": Mode.FSIS,
        "labels": ("cell",),
        "parent": None,
        "support": "first",
        "support_images": 1,
        "metrics": None,
        "thresholds": {"cell": 0.5},
        "window": 64,
        "scale": 1.0,
        "settings": {},
        "weights_sha256": "ab" * 32,
        "licence": "",
        "created": "2026-01-01T00:00:00Z",
    }
    return ModelCard(**(values | changed))


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


class BrightModel:
    """Finds connected bright pixels exactly; remembers the batches; has memory for `capacity`."""

    transform_version = "bright-1"
    device = "cpu"

    def __init__(self, capacity=1000, error=OutOfMemoryError):
        self.card = card()
        self.capacity = capacity
        self.error = error
        self.batches = []
        self.thread = None

    def predict(self, windows, *, floor_score):
        self.thread = self.thread or threading.get_ident()
        assert self.thread == threading.get_ident(), "one thread at a time"
        if len(windows) > self.capacity:
            raise self.error("tried to allocate")
        self.batches.append([window.shape[:2] for window in windows])
        return [bright(window, floor_score) for window in windows]


def bright(window, floor_score):
    count, ids, stats, _ = cv2.connectedComponentsWithStats(
        (window[:, :, 0] > 127).astype(np.uint8)
    )
    scores = np.full(count - 1, 0.9, np.float32)
    crops, xy, boxes = [], [], []
    for i in range(1, count):
        x, y, w, h = stats[i, :4].tolist()
        crops.append((ids[y : y + h, x : x + w] == i).astype(np.uint8) * 255)
        xy.append((x, y))
        boxes.append((x, y, x + w, y + h))
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    masks = SoftMasks.from_crops(crops, xy)
    ids = np.zeros(count - 1, np.int32)
    return Instances(boxes, scores, ids, masks, window.shape[:2]).above(floor_score)


def image_with(*rects, hw=(100, 120)):
    """Return a dark image with bright rectangles (x, y, width, height)."""
    pixels = np.zeros((*hw, 3), np.uint8)
    for x, y, w, h in rects:
        pixels[y : y + h, x : x + w] = 255
    return pixels


class Images:
    """Named images; counts how often each is read."""

    def __init__(self, *images, task_id=1):
        self.images = images
        self.task_id = task_id
        self.reads = []

    def __len__(self):
        return len(self.images)

    def __iter__(self):
        for frame, image in enumerate(self.images):
            yield self.ref(frame), lambda frame=frame, image=image: self._read(frame, image)

    def ref(self, frame):
        image = self.images[frame]
        hw = image.shape[:2] if isinstance(image, np.ndarray) else (10, 10)
        content = image.tobytes() if isinstance(image, np.ndarray) else str(image).encode()
        digest = f"{hash(content) & (2**64 - 1):064x}"
        return ImageRef(self.task_id, frame, f"{frame}.png", hw, digest)

    def _read(self, frame, image):
        self.reads.append(frame)
        if isinstance(image, Exception):
            raise image
        return image


class Listener:
    """Remembers what it was told; asks to stop once `stop_after` images are done."""

    def __init__(self, stop_after=10**9):
        self.steps, self.done, self.notes, self.stop_after = [], 0, [], stop_after

    def start(self, step, *, total, unit):
        self.steps.append((step, total, unit))

    def advance(self, count=1):
        self.done += count

    def metric(self, name, value, *, at):
        raise AssertionError("no metric is expected")

    def note(self, text):
        self.notes.append(text)

    def check(self):
        if self.done >= self.stop_after:
            raise RunCancelled("stopped")

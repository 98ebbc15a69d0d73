"""The honest floor: no network at all."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
from peer_training import Look, Task, choose, flooded, objects
from scipy import ndimage
from scipy.spatial import cKDTree

from lsl_core.types import Instances


class Otsu:
    """Otsu's threshold, distance transform, watershed; labels by the nearest labelled objects.

    Knobs: a factor on the threshold, and how far apart two objects are at least.
    """

    def fit(self, task: Task) -> None:
        self.task, self.look = task, Look.of(task, invert=True)
        tiles = self.look.tiles(task.train)
        known = np.concatenate([self._features(t.image, t.boxes) for t in tiles])
        self.class_ids = np.concatenate([t.class_ids for t in tiles])
        self.unit = known.std(axis=0) + 1e-3
        self.known = cKDTree(known / self.unit)
        self.size = float(np.exp(np.median(known[:, 3])))
        self.smallest = float(np.exp(known[:, 3].min())) ** 2 / 2
        options = itertools.product((0.5, 0.7, 0.85, 1.0, 1.15), (0.15, 0.25, 0.4, 0.6))
        pixels = [s.pixels() for s in task.train]
        self.knobs = choose(
            options, lambda i, knobs: self._find(pixels[i], knobs), task.train, task.labels
        )

    def predict(self, pixels: np.ndarray) -> Instances:
        return self._find(pixels, self.knobs)

    def _find(self, pixels: np.ndarray, knobs: tuple[float, ...]) -> Instances:
        factor, apart = knobs
        image = self.look.image(pixels)
        grey = np.clip((cv2.GaussianBlur(image, (0, 0), 1).mean(axis=2) + 1) * 127.5, 0, 255)
        level, _ = cv2.threshold(grey.astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
        foreground = ndimage.binary_fill_holes(grey > factor * level)
        distance = cv2.distanceTransform(foreground.astype(np.uint8), cv2.DIST_L2, 5)
        distance = cv2.GaussianBlur(distance, (0, 0), 1)
        reach = 2 * max(1, round(apart * self.size)) + 1
        around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        seeds, _ = ndimage.label((distance >= cv2.dilate(distance, around)) & foreground)
        owners = flooded(distance, seeds, foreground)
        owners[np.bincount(owners.ravel())[owners] < self.smallest] = 0
        boxes = [
            (0, 0, 1, 1) if at is None else (at[1].start, at[0].start, at[1].stop, at[0].stop)
            for at in ndimage.find_objects(owners)
        ]
        features = self._features(image, np.array(boxes, np.float32).reshape(-1, 4)) / self.unit
        return objects(
            owners,
            pixels.shape[:2],
            lambda numbers: self._judge(features[numbers - 1]),
            with_masks=self.task.with_masks,
        )

    def _judge(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score by how near the three nearest labelled objects are, and how many agree."""
        away, nearest = self.known.query(features, k=min(3, len(self.class_ids)))
        away, nearest = away.reshape(len(features), -1), nearest.reshape(len(features), -1)
        votes = np.eye(len(self.task.labels))[self.class_ids[nearest]].mean(axis=1)  # (N, K)
        return votes.max(axis=1) / (1 + away.mean(axis=1)), votes.argmax(axis=1)

    def _features(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return the colour in the middle of each box and the logarithm of its side, (N, 4)."""
        rows = []
        for x1, y1, x2, y2 in boxes.tolist():
            x, y, w, h = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 4, (y2 - y1) / 4
            middle = image[int(max(y - h, 0)) : int(y + h) + 1, int(max(x - w, 0)) : int(x + w) + 1]
            colour = middle.reshape(-1, 3).mean(axis=0) if middle.size else np.zeros(3)
            rows.append([*colour, math.log(4 * max(math.sqrt(w * h), 0.25))])
        return np.array(rows, np.float32).reshape(-1, 4)

"""How images look, in a few dozen numbers, to tell which are unlike each other; no model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.types import Instances
from lsl_core.workspace import Database

Look = NDArray[np.float32]

#: Goes up when `look_of` gives other numbers: older ones are not read any more.
LOOK_VERSION = 1
_MIGRATIONS = (
    """
    CREATE TABLE looks (
        sha256 TEXT NOT NULL, version INT NOT NULL, look BLOB NOT NULL,
        PRIMARY KEY (sha256, version))
    """,
)

#: Longer side at which an image is looked at: finer detail is noise here.
_SIDE_PX = 256
_LEVELS = 8
#: Grey levels that a gradient may have before it counts as strong: edges of the histogram.
_EDGES = np.array([0, 2, 4, 8, 16, 32, 64, 128, 1e9])
#: Sides of objects as shares of the image's, doubling: edges of the histogram.
_SIDES = np.array([0, *(2.0 ** np.arange(-7, 0)), np.inf])


def look_of(pixels: NDArray[np.uint8]) -> Look:
    """Return how an image looks: levels of each colour, and strength of its edges.

    Args:
        pixels: (h, w, 3) uint8 RGB.

    Returns:
        (32,) float32; `distances` compares two.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, _SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 4
    levels = [np.bincount(small[..., c].ravel() >> 5, minlength=_LEVELS) for c in range(3)]
    return _joined([*levels, np.histogram(edges, _EDGES)[0]])


def contents_of(found: Instances, num_labels: int) -> Look:
    """Return what is on an image: how often each label, and how large.

    Args:
        found: what a model found, each object counting as much as its score, or what was drawn.
        num_labels: of the model.

    Returns:
        (num_labels + 1 + 9,) float32; `distances` compares two.
    """
    sides = np.sqrt(np.prod(found.boxes[:, 2:] - found.boxes[:, :2], axis=1))
    sides /= np.sqrt(found.image_hw[0] * found.image_hw[1])
    labels = np.bincount(found.class_ids, found.scores, minlength=num_labels)
    sizes, _ = np.histogram(sides, _SIDES, weights=found.scores)
    nothing = [0.0 if found.scores.sum() else 1.0]
    return _joined([np.append(labels, nothing), np.append(sizes, nothing)])


def distances(ours: Sequence[Look], theirs: Sequence[Look]) -> NDArray[np.float32]:
    """Return how unlike each of ours is each of theirs, (N, M), 0 alike to 1 nothing in common.

    Source: the Hellinger distance of histograms.
    """
    a, b = np.stack(ours), np.stack(theirs)
    squared = np.maximum(2 - 2 * (a @ b.T), 0)  # both have length 1
    return np.asarray(np.sqrt(squared / 2), np.float32)


class LookStore:
    """Looks of the images of a workspace, by the hash of the image. Any thread, any process.

    Args:
        database: the workspace's SQLite file.
    """

    def __init__(self, database: Path) -> None:
        self._db = Database(database, room="looks", migrations=_MIGRATIONS)

    def get(self, hashes: Iterable[str]) -> dict[str, Look]:
        """Return those that are known, by hash."""
        wanted = set(hashes)
        with self._db.read() as db:
            rows = db.execute(
                "SELECT sha256, look FROM looks WHERE version = ?", (LOOK_VERSION,)
            ).fetchall()
        return {
            row["sha256"]: np.frombuffer(row["look"], "<f4").astype(np.float32)
            for row in rows
            if row["sha256"] in wanted
        }

    def put(self, looks: Mapping[str, Look]) -> None:
        """Keep looks by hash."""
        with self._db.write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO looks VALUES (?, ?, ?)",
                [
                    (name, LOOK_VERSION, look.astype("<f4").tobytes())
                    for name, look in looks.items()
                ],
            )


def _joined(histograms: Sequence[NDArray[np.generic]]) -> Look:
    """Return the roots of histograms that each weigh the same: a vector of length 1."""
    shares = [np.asarray(h, np.float64) / max(np.sum(np.asarray(h, np.float64)), 1e-12)
              for h in histograms]  # fmt: skip
    return np.asarray(np.sqrt(np.concatenate(shares) / len(shares)), np.float32)

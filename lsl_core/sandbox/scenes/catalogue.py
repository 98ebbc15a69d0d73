"""Which scenes there are, and the tasks that the sandbox is filled with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lsl_core.sandbox.scenes import cells, parts
from lsl_core.types import Hw, Instances


class SceneKind(StrEnum):
    """What is drawn."""

    PARTS = "parts"
    CELLS = "cells"


_PAINTERS = {SceneKind.PARTS: parts.draw, SceneKind.CELLS: cells.draw}

#: Names of the labels of each scene, in the order of class ids.
SCENE_LABELS = {SceneKind.PARTS: parts.LABELS, SceneKind.CELLS: cells.LABELS}

#: (height, width) of the labelled images, taken in turn: as from cameras of different make.
_SMALL_HW: tuple[Hw, ...] = ((480, 640), (540, 720), (600, 800))
_LARGE_HW: tuple[Hw, ...] = ((3000, 4000), (2400, 3200), (3000, 3600))


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A drawn image and what is on it.

    pixels: (h, w, 3) uint8 RGB.
    instances: visible parts of the objects as `CropMasks`, scores 1, boxes tight.
    labels: names in the order of class ids.
    """

    pixels: NDArray[np.uint8]
    instances: Instances
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SceneFrame:
    """One image of a task, drawn when asked for.

    name: file name. image_hw: (height, width) in pixels.
    """

    name: str
    kind: SceneKind
    seed: int
    image_hw: Hw

    def draw(self) -> Scene:
        """Draw it; the same frame gives the same pixels."""
        return draw_scene(self.kind, seed=self.seed, image_hw=self.image_hw)


def draw_scene(kind: SceneKind, *, seed: int, image_hw: Hw) -> Scene:
    """Draw one scene.

    Args:
        kind: what to draw.
        seed: the same seed and size give the same pixels and objects.
        image_hw: (height, width) in pixels; objects keep their size, so a larger image holds more.
    """
    pixels, instances = _PAINTERS[kind](np.random.default_rng(seed), image_hw)
    return Scene(pixels, instances, SCENE_LABELS[kind])


def labelled_frames(kind: SceneKind, *, count: int = 12, seed: int = 7) -> tuple[SceneFrame, ...]:
    """Return the frames of a task to learn from: small images."""
    return tuple(
        SceneFrame(f"{kind}_{i:03d}.jpg", kind, seed * 1000 + i, _SMALL_HW[i % len(_SMALL_HW)])
        for i in range(count)
    )


def large_frames(kind: SceneKind, *, count: int = 3, seed: int = 7) -> tuple[SceneFrame, ...]:
    """Return the frames of a task to be labelled: 3200 to 4000 px wide, hundreds of objects."""
    return tuple(
        SceneFrame(
            f"{kind}_line_{i:03d}.jpg", kind, seed * 1000 + 500 + i, _LARGE_HW[i % len(_LARGE_HW)]
        )
        for i in range(count)
    )

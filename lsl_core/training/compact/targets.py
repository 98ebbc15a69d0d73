"""What the network should have answered for a crop, at its output resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lsl_core.models.compact.network import STRIDE, UNIT
from lsl_core.training.compact.crops import CROP_PX, Crop

F32 = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]

#: Output pixels a side.
GRID = CROP_PX // STRIDE
#: Width of the bump around a centre, as a share of the object's sides (recipe: .13).
BUMP = 0.13
LEAST_BUMP = 0.7
#: Where the bump is higher, the sides of the box are learnt (recipe: .3).
BOX_FROM = 0.3


@dataclass(frozen=True, slots=True)
class Targets:
    """Of a batch B at g × g output pixels, K labels, all float32.

    heat: (B, 1, g, g), bumps of height 1. heat_weight: (B, 1, g, g), 0 where nothing is known.
    label: (B, g, g) int64; label_weight: (B, 1, g, g), 1 in sum over each object.
    ltrb: (B, 4, g, g) in units of `UNIT` pixels; ltrb_weight: (B, 1, g, g).
    foreground: (B, 1, g, g) share of the pixel that is object; inside: (B, 1, g, g), 0 outside
    the image. offset: (B, 2, g, g) x, y in units; offset_weight: (B, 1, g, g).
    semantic: (B, g, g) int64, K for none.
    """

    heat: Tensor
    heat_weight: Tensor
    label: Tensor
    label_weight: Tensor
    ltrb: Tensor
    ltrb_weight: Tensor
    foreground: Tensor
    inside: Tensor
    offset: Tensor
    offset_weight: Tensor
    semantic: Tensor

    def to(self, device: torch.device) -> Targets:
        """Return them on a device."""
        names = self.__slots__
        return Targets(**{name: getattr(self, name).to(device) for name in names})


def make_targets(crops: Sequence[Crop], num_labels: int) -> Targets:
    """Draw the targets of a batch of crops."""
    rows = [{**_centres(crop), **_pixels(crop, num_labels)} for crop in crops]
    return Targets(
        **{name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    )


def _centres(crop: Crop) -> dict[str, NDArray[np.generic]]:
    """Heat, boxes, and the label near the centre."""
    heat = np.zeros((1, GRID, GRID), np.float32)
    label = np.zeros((GRID, GRID), np.int64)
    ltrb = np.zeros((4, GRID, GRID), np.float32)
    ltrb_weight = np.zeros((1, GRID, GRID), np.float32)
    inside = crop.inside[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    heat_weight = inside.astype(np.float32)[None].copy()
    boxes = crop.boxes / STRIDE  # (N, 4) output pixels
    for x1, y1, x2, y2 in boxes[crop.doubtful].tolist():
        heat_weight[:, int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = 0
    sure = ~crop.doubtful
    boxes, class_ids = boxes[sure], crop.class_ids[sure]
    if len(boxes):
        bumps = _bumps(boxes, crop.centres[sure] / STRIDE)  # (N, g, g)
        owner, height = bumps.argmax(axis=0), bumps.max(axis=0)
        heat, label = height[None], class_ids[owner].astype(np.int64)
        place = np.arange(GRID, dtype=np.float32) + 0.5
        own = boxes[owner]  # (g, g, 4)
        x, y = np.broadcast_to(place, (GRID, GRID)), np.broadcast_to(place[:, None], (GRID, GRID))
        ltrb = np.stack([x - own[..., 0], y - own[..., 1], own[..., 2] - x, own[..., 3] - y])
        learnt = np.where((height > BOX_FROM) & (ltrb.min(axis=0) > 0), height, 0)
        # Every object counts the same, however many pixels it is learnt from.
        sums = np.bincount(owner.ravel(), learnt.ravel(), minlength=len(boxes))
        ltrb_weight = (learnt / np.maximum(sums, 1e-6)[owner])[None]
        heat_weight = np.maximum(heat_weight, (height >= 1)[None])
    return {
        "heat": heat,
        "heat_weight": heat_weight.astype(np.float32),
        "label": label,
        "label_weight": ltrb_weight.astype(np.float32),
        "ltrb": (ltrb / UNIT).astype(np.float32),
        "ltrb_weight": ltrb_weight.astype(np.float32),
    }


def _bumps(boxes: Floats, centres: Floats) -> F32:
    """Return a bump of height 1 around the pixel of each centre, (N, g, g)."""
    pixel = np.clip(np.floor(centres), 0, GRID - 1)
    width = np.maximum((boxes[:, 2:] - boxes[:, :2]) * BUMP, LEAST_BUMP)
    away = (np.arange(GRID)[None, None] - pixel[..., None]) / width[..., None]  # (N, 2, g)
    bump = np.exp(-(away**2) / 2)
    both: F32 = (bump[:, 1, :, None] * bump[:, 0, None, :]).astype(np.float32)
    return both


def _pixels(crop: Crop, num_labels: int) -> dict[str, NDArray[np.generic]]:
    """Foreground, offsets and labels of single pixels."""
    blocks = (crop.ids > 0).reshape(GRID, STRIDE, GRID, STRIDE)
    ids = crop.ids[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    inside = crop.inside[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].astype(np.float32)
    centres = np.concatenate([np.zeros((1, 2), np.float32), crop.centres / STRIDE])
    known = np.concatenate([[False], ~crop.doubtful])
    place = np.arange(GRID, dtype=np.float32)
    own = centres[ids] - 0.5  # a pixel's place is its centre, as in decoding
    offset = np.stack([own[..., 0] - place[None, :], own[..., 1] - place[:, None]])
    semantic = np.concatenate([[num_labels], crop.class_ids]).astype(np.int64)[ids]
    targets: dict[str, NDArray[np.generic]] = {
        "foreground": blocks.mean(axis=(1, 3), dtype=np.float32)[None],
        "inside": inside[None],
        "offset": (offset / UNIT).astype(np.float32),
        "offset_weight": (known[ids] * inside).astype(np.float32)[None],
        "semantic": semantic,
    }
    if ids.any():  # masks: the label is learnt from all of the object, not from its centre alone
        sizes = np.maximum(np.bincount(ids.ravel(), minlength=len(known)), 1)
        targets["label"] = np.where(ids > 0, semantic, 0)
        targets["label_weight"] = ((known / sizes)[ids] * inside).astype(np.float32)[None]
    return targets

"""Scored objects on one image, stored by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lsl_core.types.arrays import Index, read_only
from lsl_core.types.masks import CropMasks, SoftMasks

#: (height, width) in pixels.
Hw = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """N scored objects on one image.

    boxes: (N, 4) float32, xyxy in image pixels; x2, y2 exclusive.
    scores: (N,) float32 in [0, 1].
    class_ids: (N,) int32, an index into `LabelMap` (never a CVAT label id).
    masks: `SoftMasks` as a model gives them, `CropMasks` once a mask threshold was chosen or
        when a person drew them, None when there are only boxes. Length N.
    image_hw: (height, width) of the image these coordinates belong to, in pixels.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    masks: CropMasks | SoftMasks | None
    image_hw: Hw

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4):
            raise ValueError(f"boxes must be (N, 4), got {self.boxes.shape}")
        if self.scores.shape != (n,) or self.class_ids.shape != (n,):
            raise ValueError(f"{n} boxes, scores {self.scores.shape}, ids {self.class_ids.shape}")
        if self.masks is not None and len(self.masks) != n:
            raise ValueError(f"{n} boxes but {len(self.masks)} masks")
        read_only(self)

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls, image_hw: Hw, *, masks: CropMasks | SoftMasks | None = None) -> Self:
        """Return no objects; pass an empty mask column to say that masks were looked for."""
        none = np.zeros(0, np.float32)
        return cls(np.zeros((0, 4), np.float32), none, np.zeros(0, np.int32), masks, image_hw)

    def take(self, index: Index) -> Self:
        """Return the chosen objects: a boolean column, positions, or a slice."""
        return replace(
            self,
            boxes=self.boxes[index],
            scores=self.scores[index],
            class_ids=self.class_ids[index],
            masks=None if self.masks is None else self.masks.take(index),
        )

    def above(self, threshold: float | NDArray[np.float32]) -> Self:
        """Return the objects that score at least `threshold`: one number, or one per class id."""
        limit = np.asarray(threshold, np.float32)
        return self.take(self.scores >= (limit if limit.ndim == 0 else limit[self.class_ids]))

    def relabelled(self, names: Sequence[str], wanted: Sequence[str]) -> Self:
        """Return the objects of the wanted labels, with class ids in the order of these.

        Args:
            names: labels in the order of the class ids as they are.
            wanted: labels in the order of the new class ids; objects of other labels are left out.
        """
        place = np.array([wanted.index(n) if n in wanted else -1 for n in names], np.int32)
        class_ids = place[self.class_ids]
        return replace(self, class_ids=class_ids).take(class_ids >= 0)

    def moved(self, dx: int, dy: int, image_hw: Hw) -> Self:
        """Return the same objects shifted into an image of size `image_hw`."""
        return replace(
            self,
            boxes=self.boxes + np.array([dx, dy, dx, dy], np.float32),
            masks=None if self.masks is None else self.masks.moved(dx, dy),
            image_hw=image_hw,
        )

    def binary(self, mask_threshold: float = 0.5) -> Self:
        """Return the view at a mask threshold: `CropMasks`, objects without a pixel left out.

        Boxes stay what the model said. Objects with boxes only, or with binary masks, return
        unchanged.
        """
        if not isinstance(self.masks, SoftMasks):
            return self
        masks = self.masks.binary(mask_threshold)
        kept = masks.areas() > 0
        whole = replace(self, masks=masks)
        return whole if kept.all() else whole.take(kept)

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join the objects of one image; all parts have masks of one kind, or none has."""
        first = parts[0]
        if any(p.image_hw != first.image_hw for p in parts):
            raise ValueError("parts belong to images of different size")
        kinds = {type(p.masks) for p in parts}
        if len(kinds) > 1:
            raise ValueError(f"parts mix kinds of masks: {kinds}")
        masks = first.masks
        if masks is not None:
            masks = type(masks).concat([p.masks for p in parts])  # type: ignore[misc]
        return cls(
            np.concatenate([p.boxes for p in parts]),
            np.concatenate([p.scores for p in parts]),
            np.concatenate([p.class_ids for p in parts]),
            masks,
            first.image_hw,
        )

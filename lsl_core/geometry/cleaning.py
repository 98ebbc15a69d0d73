"""Masks made tidy on request: no strays, no pinholes, a calmer outline."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.masks import pixel_boxes
from lsl_core.geometry.runs import trim
from lsl_core.types import CropMasks, Instances

#: Neighbours of a pixel: parts hang together at corners, so the ground around them must not.
_PARTS, _HOLES = 8, 4


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What is tidied in every mask; nothing by default.

    strays_px: parts with fewer pixels go; the largest part always stays. holes_px: holes with
    fewer pixels are filled. smooth_px: radius of a median filter, which rounds off what is
    narrower; a mask that it would wipe out stays as it is.
    """

    strays_px: int = 0
    holes_px: int = 0
    smooth_px: int = 0

    @property
    def does_nothing(self) -> bool:
        """Whether every mask stays as it is."""
        return not (self.strays_px or self.holes_px or self.smooth_px)


#: Every mask as the model gave it.
AS_THEY_ARE = Cleaning()


def cleaned(instances: Instances, how: Cleaning) -> Instances:
    """Return the objects with tidy masks and the boxes around them; none is lost.

    Args:
        instances: with binary masks; objects without masks come back as they are.
        how: what is tidied: first the outline, then strays, then holes.
    """
    masks = instances.masks
    if how.does_nothing or not isinstance(masks, CropMasks) or not len(masks):
        return instances
    places = [(int(x), int(y)) for x, y, _, _ in masks.crops]
    crops = [_clean(masks.crop(i), how) for i in range(len(masks))]
    tidy = trim(CropMasks.from_crops(crops, places))
    return replace(instances, masks=tidy, boxes=pixel_boxes(tidy))


def _clean(pixels: NDArray[np.bool_], how: Cleaning) -> NDArray[np.bool_]:
    image = pixels.astype(np.uint8)
    if how.smooth_px:
        image = _smooth(image, how.smooth_px)
    if how.strays_px:
        image = _without_small(image, how.strays_px, connectivity=_PARTS, keep_largest=True)
    if how.holes_px:
        # ground beyond the crop hangs together, so that a bay at its border is no hole
        ground = cv2.copyMakeBorder(1 - image, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
        left = _without_small(
            np.asarray(ground, np.uint8), how.holes_px, connectivity=_HOLES, keep_first=True
        )
        image = 1 - left[1:-1, 1:-1]
    return image.astype(bool)


def _smooth(image: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    padded = cv2.copyMakeBorder(image, radius, radius, radius, radius, cv2.BORDER_CONSTANT, value=0)
    smooth = cv2.medianBlur(padded, 2 * radius + 1)[radius:-radius, radius:-radius]
    return np.asarray(smooth, np.uint8) if smooth.any() else image


def _without_small(
    image: NDArray[np.uint8],
    least_px: int,
    *,
    connectivity: int,
    keep_largest: bool = False,
    keep_first: bool = False,
) -> NDArray[np.uint8]:
    """Return the image without its parts of fewer than `least_px` pixels."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(image, connectivity=connectivity)
    sizes = stats[:, cv2.CC_STAT_AREA].copy()
    stays = sizes >= least_px
    stays[0] = False  # the ground
    if keep_largest and len(sizes) > 1:
        stays[1 + int(np.argmax(sizes[1:]))] = True
    if keep_first and len(sizes) > 1:
        stays[parts[0, 0]] = True
    return np.asarray(stays[parts], np.uint8)

"""Views of images put together: more scenes than there are images.

Copy-paste as in Ghiasi et al. 2021 (arXiv:2012.07177), mosaic as in Bochkovskiy et al. 2020
(arXiv:2004.10934).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

#: Share of another view's objects that are pasted.
PASTED = 0.5
#: Softness of a pasted outline, pixels: a hard edge is something no camera draws.
SOFT_PX = 0.7
#: Where the parts of a mosaic may meet, shares of the side.
MEET = (0.3, 0.7)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Part of an image as a training sees it, s × s pixels, with the objects it shows.

    image: (s, s, 3) float32. inside: (s, s) bool, whether an image reaches here. ids: (s, s)
    int32, 1 + row of the object, 0 for none; all 0 for boxes. class_ids: (N,). boxes: (N, 4) the
    visible parts of objects drawn as boxes, without area where nothing is seen. sizes: (N,) area
    that an object would have if all of it were seen, pixels.
    """

    image: F32
    inside: NDArray[np.bool_]
    ids: NDArray[np.int32]
    class_ids: NDArray[np.int32]
    boxes: F32
    sizes: F32


def paste(onto: View, other: View, rng: np.random.Generator) -> View:
    """Put some of the objects that another view shows in front of a view; masks are needed."""
    chosen = np.concatenate([[False], rng.random(len(other.class_ids)) < PASTED])
    shown = chosen[other.ids] & onto.inside
    if not shown.any():
        return onto
    soft = cv2.GaussianBlur(shown.astype(np.float32), (0, 0), SOFT_PX)[..., None]
    moved = np.where(shown, other.ids + np.int32(len(onto.class_ids)), onto.ids)
    return replace(
        onto,
        image=np.asarray(onto.image * (1 - soft) + other.image * soft, np.float32),
        ids=moved,
        **_joined([onto, other]),
    )


def mosaic(views: Sequence[View], rng: np.random.Generator) -> View:
    """Put the corners of four views together, each where it lies in its own."""
    first = views[0]
    side = len(first.ids)
    x, y = (int(side * rng.uniform(*MEET)) for _ in range(2))
    image, inside, ids = first.image.copy(), first.inside.copy(), first.ids.copy()
    parts, before = [], 0
    for i, view in enumerate(views):
        left, top = (0, x)[i % 2], (0, y)[i // 2]
        right, bottom = (x, side)[i % 2], (y, side)[i // 2]
        here = np.s_[top:bottom, left:right]
        image[here], inside[here] = view.image[here], view.inside[here]
        ids[here] = np.where(view.ids[here] > 0, view.ids[here] + np.int32(before), 0)
        low, high = np.array([left, top] * 2), np.array([right, bottom] * 2)
        parts.append(replace(view, boxes=np.clip(view.boxes, low, high).astype(np.float32)))
        before += len(view.class_ids)
    return View(image, inside, ids, **_joined(parts))


def _joined(views: Sequence[View]) -> dict[str, Any]:
    """Return what is known about the objects of all views, one after the other."""
    return {
        name: np.concatenate([getattr(view, name) for view in views])
        for name in ("class_ids", "boxes", "sizes")
    }

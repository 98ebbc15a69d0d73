"""The pass over the whole image at reduced size, which finds what is larger than a window."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.boxes import area, meeting_pairs, shared
from lsl_core.geometry.masks import shared_areas
from lsl_core.types import Hw, Instances, SlideWindows, SoftMasks, Window
from lsl_core.windows.fragments import Floats, Ints, depths, fragments_of

#: IoU at which an object of the whole-image pass is one that the windows found.
SAME = 0.5
#: Share of an object from a window that lies on a larger one, for it to be a piece of it.
PIECE = 0.7


def reduced_hw(window: Window, slide: SlideWindows | None) -> Hw | None:
    """Return the (height, width) a window is shown to the model at, None for its own.

    The window of the whole image is shrunk, in proportion, to the size of the others.
    """
    if slide is None or (window.width <= slide.width and window.height <= slide.height):
        return None
    factor = min(slide.width / window.width, slide.height / window.height)
    return max(1, round(window.height * factor)), max(1, round(window.width * factor))


def shrink(pixels: NDArray[np.uint8], image_hw: Hw) -> NDArray[np.uint8]:
    """Return the image (h, w, 3) at a smaller (height, width)."""
    small = cv2.resize(pixels, image_hw[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def enlarge(found: Instances, image_hw: Hw) -> Instances:
    """Return what was found on a shrunk image in the pixels of the full one.

    Raises:
        ValueError: if the masks are binary: models give soft masks or boxes.
    """
    factor = np.array([image_hw[1] / found.image_hw[1], image_hw[0] / found.image_hw[0]])
    boxes = (found.boxes * np.tile(factor, 2)).astype(np.float32)
    masks = found.masks
    if masks is not None:
        if not isinstance(masks, SoftMasks):
            raise ValueError("only soft masks can be enlarged")
        low = np.floor(masks.crops[:, :2] * factor).astype(int)
        high = np.ceil((masks.crops[:, :2] + masks.crops[:, 2:]) * factor).astype(int)
        high = np.minimum(high, image_hw[::-1])
        masks = SoftMasks.from_crops(
            [
                np.asarray(cv2.resize(masks.crop(i), size, interpolation=cv2.INTER_LINEAR))
                for i, size in enumerate((high - low).tolist())
            ],
            [(x, y) for x, y in low.tolist()],
        )
    return Instances(boxes, found.scores, found.class_ids, masks, image_hw)


def add_whole_image(
    joined: Instances, is_whole: NDArray[np.bool_], whole: Instances, views: Ints
) -> Instances:
    """Add what no window shows whole and the windows together did not find.

    Windows see finer, so they have the last word on whatever one of them shows whole. A larger
    object comes from the whole-image pass, and the pieces of it that windows cut go.

    Args:
        joined: what the windows found.
        is_whole: (N,) which of these nothing cuts.
        whole: what the whole-image pass found, in image pixels.
        views: (K, 4) x1, y1, x2, y2 of the windows.
    """
    whole = whole.take(~_shown_whole(whole, views))
    if not len(whole):
        return joined
    if not len(joined):
        return whole
    n = len(joined)
    both = Instances.concat([joined, whole])
    large, small, inter, sizes = _overlaps(both, n, views)
    same = both.class_ids[large] == both.class_ids[small]
    agree = inter / (sizes[large] + sizes[small] - inter)
    is_piece = same & (inter >= PIECE * sizes[small])
    explained = np.bincount(
        large,
        np.where(is_piece & np.append(is_whole, True)[np.minimum(small, n)], inter, 0),
        len(both),
    )
    added = np.arange(len(both)) >= n
    added[large[same & (agree >= SAME)]] = False
    added &= explained < SAME * np.maximum(sizes, 1)
    keep = added.copy()
    keep[:n] = True
    cut = is_piece & added[large]
    keep[small[cut & ~np.append(is_whole, True)[np.minimum(small, n)]]] = False
    return both.take(keep)


def _shown_whole(whole: Instances, views: Ints) -> NDArray[np.bool_]:
    shown = np.zeros(len(whole), bool)
    boxes = whole.boxes.astype(np.float64)
    for view in views:
        inside = depths(boxes, np.broadcast_to(view, boxes.shape), whole.image_hw).min(1) > 0
        meets = (boxes[:, :2] < view[2:]) & (boxes[:, 2:] > view[:2])
        shown |= inside & meets.all(1)
    return shown


def _overlaps(both: Instances, n: int, views: Ints) -> tuple[Ints, Ints, Floats, Floats]:
    """Return pairs (of the whole-image pass, of the windows), shared area, and all areas."""
    nowhere = np.zeros(len(both), np.int64)
    fragments = fragments_of(both, np.arange(len(both)), nowhere, views)
    left, right = meeting_pairs(fragments.boxes)
    crossing = (left < n) & (right >= n)
    small, large = left[crossing], right[crossing]
    if fragments.solid is None:
        inter = area(shared(fragments.boxes[small], fragments.boxes[large]))
    else:
        whole = fragments.boxes.astype(np.int64)
        inter = shared_areas(fragments.solid, whole, small, large).astype(np.float64)
    return large, small, inter, fragments.areas()

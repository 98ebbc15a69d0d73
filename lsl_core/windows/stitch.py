"""Window results become image results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lsl_core.types import CropMasks, Hw, Instances, SoftMasks, Window
from lsl_core.windows.compose import Composed
from lsl_core.windows.doubles import without_doubles
from lsl_core.windows.fragments import Ints, fragments_of, meets_another_view, places_of
from lsl_core.windows.join import join
from lsl_core.windows.rims import without_rims
from lsl_core.windows.semantic import join_layers
from lsl_core.windows.whole import add_whole_image

#: Part of the identity of a stored prediction: goes up when the same parts give another result.
STITCH_VERSION = 12


def stitch(
    parts: Sequence[tuple[Window, Instances]], *, image_hw: Hw, semantic: bool = False
) -> Instances:
    """Join what windows found into what the image holds: each object once, and whole.

    An object that windows cut comes back as one, with its holes, over any number of windows. Two
    windows are compared inside the strip they share only, pixel by pixel, or by boxes where
    there are no masks. Objects that touch stay apart; what one window found twice is one.
    Different labels are only one object when both windows see the very same pixels, and then
    vote. Exact window results give the exact result. A window of the whole image, beside others,
    adds what no window shows whole.

    The cost is linear in the number of objects, the memory in the area of their crops.

    Args:
        parts: windows with what they show, in window pixels; windows lie inside the image.
        image_hw: (height, width) of the image, pixels.
        semantic: whether objects are the connected parts of each label's layer of probability:
            these are blended over all windows that see a pixel, and parts that touch are one. A
            window of the whole image then adds nothing, parts being of any size already.

    Returns:
        Instances in image pixels, highest score first; soft masks stay soft.

    Raises:
        ValueError: if a window leaves the image (a bug in the plan, not in the data).
    """
    height, width = image_hw
    for window, _ in parts:
        right, bottom = window.x + window.width, window.y + window.height
        if window.x < 0 or window.y < 0 or right > width or bottom > height:
            raise ValueError(f"{window} leaves an image of {width}×{height} pixels")
    everything = Window(0, 0, width, height)
    whole = [found for window, found in parts if window == everything]
    slid = [(window, found) for window, found in parts if window != everything]
    if not slid:
        return _sorted(_concat(whole, image_hw))
    views = np.array([(w.x, w.y, w.x + w.width, w.y + w.height) for w, _ in slid], np.int64)
    seen_in = np.repeat(np.arange(len(slid)), [len(part) for _, part in slid])
    found = _in_image([part for _, part in slid], views[seen_in, :2], image_hw)
    if semantic and found.masks is not None:
        return _sorted(join_layers(found, seen_in, views))
    joined, is_whole = _join(*without_doubles(found, seen_in, views), views)
    if whole:
        joined = add_whole_image(joined, is_whole, _concat(whole, image_hw), views)
    return _sorted(without_rims(joined))


def _concat(parts: Sequence[Instances], image_hw: Hw) -> Instances:
    """Join parts of one kind; an empty part may be of any kind."""
    filled = [part for part in parts if len(part)]
    if filled:
        return Instances.concat(filled)
    masks = next((part.masks for part in parts if part.masks is not None), None)
    return Instances.empty(image_hw, masks=masks)


def _in_image(parts: Sequence[Instances], xy: Ints, image_hw: Hw) -> Instances:
    """Join parts in pixels of their windows; (N, 2) where the window of each object begins."""
    found = _concat([replace(part, image_hw=image_hw) for part in parts], image_hw)
    masks = found.masks
    if masks is not None:
        shift = np.pad(xy, ((0, 0), (0, 2))).astype(np.int32)
        masks = replace(masks, crops=masks.crops + shift)
    return replace(found, boxes=found.boxes + np.tile(xy, 2).astype(np.float32), masks=masks)


def _sorted(found: Instances) -> Instances:
    order = np.argsort(-found.scores, kind="stable")
    return found if (np.diff(order) > 0).all() else found.take(order)


def _join(found: Instances, seen_in: Ints, views: Ints) -> tuple[Instances, NDArray[np.bool_]]:
    """Return the objects of overlapping windows, and which of them nothing cuts."""
    near = meets_another_view(places_of(found), seen_in, views)
    if not near.any():
        return found, np.ones(len(found), bool)
    alone, close = np.flatnonzero(~near), np.flatnonzero(near)
    joined = join(fragments_of(found, close, seen_in, views))
    as_seen = np.concatenate([alone, close[joined.kept]])
    scores = np.concatenate([found.scores[alone], joined.scores])
    # highest score first here, so that pixels are copied once
    order = np.argsort(-scores, kind="stable")
    stitched = Instances(
        np.concatenate([found.boxes[as_seen], joined.boxes.astype(np.float32)])[order],
        scores[order],
        np.concatenate([found.class_ids[alone], joined.class_ids])[order],
        _masks(found.masks, as_seen, joined.composed, order),
        found.image_hw,
    )
    return stitched, np.concatenate([np.ones(len(alone), bool), joined.is_whole])[order]


def _masks(
    masks: CropMasks | SoftMasks | None, as_seen: Ints, composed: list[Composed], order: Ints
) -> CropMasks | SoftMasks | None:
    """Return masks as some window saw them, then the composed ones, in this order."""
    if masks is None:
        return None
    pixels, places = [one.pixels for one in composed], [one.xy for one in composed]
    if isinstance(masks, SoftMasks):
        begins, ends = masks.starts[:-1][as_seen].tolist(), masks.starts[1:][as_seen].tolist()
        flat = [masks.values[begin:end] for begin, end in zip(begins, ends, strict=True)]
        flat += [crop.ravel() for crop in pixels]
        made = [(*xy, *crop.shape[::-1]) for xy, crop in zip(places, pixels, strict=True)]
        crops = np.concatenate([masks.crops[as_seen], np.array(made, np.int32).reshape(-1, 4)])
        starts = np.append(0, np.cumsum(crops[order, 2:].astype(np.int64).prod(1)))
        values = np.concatenate([flat[i] for i in order.tolist()])
        return SoftMasks(values, starts, crops[order])
    begin = len(masks)
    index = np.concatenate([as_seen, begin + np.arange(len(composed))])
    return CropMasks.concat([masks, CropMasks.from_crops(pixels, places)]).take(index[order])

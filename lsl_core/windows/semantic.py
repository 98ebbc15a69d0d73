"""Window results of a semantic model: one layer of probability per label, joined without a seam.

An object is a connected part of its label's layer. So nothing has to be matched: all windows that
see a pixel have a say in it, also those that found nothing there, and what hangs together
afterwards is one object. Layers are only built where something was found.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.boxes import meeting_pairs
from lsl_core.geometry.masks import shared_areas
from lsl_core.types import CropMasks, Instances, SoftMasks
from lsl_core.windows.compose import Composer
from lsl_core.windows.fragments import (
    SOLID,
    Fragments,
    Ints,
    Pixels,
    depths,
    fragments_of,
    meets_another_view,
    places_of,
)
from lsl_core.windows.match import groups

Place = tuple[int, int]


def join_layers(found: Instances, seen_in: Ints, views: Ints) -> Instances:
    """Return the connected parts of every label's layer.

    Where several windows see a pixel its probability is their mean, each the weightier the
    deeper the pixel lies in it; parts that are nowhere more likely than not are left out.

    Args:
        found: N parts as windows saw them, in image pixels, with masks.
        seen_in: (N,) the window of each.
        views: (K, 4) x1, y1, x2, y2 of the windows.
    """
    places = places_of(found)
    is_cut = depths(places, views[seen_in], found.image_hw).min(1) <= 0
    near = meets_another_view(places, seen_in, views) | is_cut
    if not near.any():
        return found
    joined = _joined(fragments_of(found, np.flatnonzero(near), seen_in, views))
    return Instances.concat([found.take(~near), joined])


def _joined(fragments: Fragments) -> Instances:
    number = groups(len(fragments), _links(fragments))
    areas = fragments.areas()
    composer = Composer.of(fragments)
    order = np.argsort(number, kind="stable")
    pixels, xys, scores, class_ids = [], [], [], []
    for members in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
        weights = np.maximum(areas[members], 1)
        score = float((fragments.scores[members] * weights).sum() / weights.sum())
        places = fragments.places[members]
        around = [*places[:, :2].min(0).tolist(), *places[:, 2:].max(0).tolist()]
        layer = composer.compose(members.tolist(), around, witnesses=True)
        if layer is None:
            continue
        for part, place in _parts(layer.pixels, layer.xy, is_soft=composer.is_soft):
            pixels.append(part)
            xys.append(place)
            scores.append(score)
            class_ids.append(int(fragments.class_ids[members[0]]))
    kind = SoftMasks if composer.is_soft else CropMasks
    return Instances(
        _boxes(pixels, xys, SOLID if composer.is_soft else 1),
        np.array(scores, np.float32),
        np.array(class_ids, np.int32),
        kind.from_crops(pixels, xys),
        fragments.image_hw,
    )


def _links(fragments: Fragments) -> Ints:
    """Return pairs (L, 2) of one label from different windows that overlap or touch."""
    assert fragments.pixels is not None
    grown = fragments.places.astype(np.int64)
    grown[:, :2] -= 1
    grown[:, 2:] += 1
    left, right = meeting_pairs(grown)
    same = fragments.class_ids[left] == fragments.class_ids[right]
    same &= fragments.seen_in[left] != fragments.seen_in[right]
    left, right = left[same], right[same]
    # a grown fragment is laid beside the plain ones, to be compared with them
    rims = {i: _grown(fragments.pixels[i]) for i in np.unique(left).tolist()}
    plain = [(crop > 0).view(np.uint8) for crop in fragments.pixels]
    at = {i: len(plain) + k for k, i in enumerate(rims)}
    boxes = np.concatenate([fragments.places, grown[list(rims)]]).astype(np.int64)
    begins = np.array([at[i] for i in left.tolist()], np.int64)
    low = np.maximum(boxes[begins, :2], boxes[right, :2])
    meets = (low < np.minimum(boxes[begins, 2:], boxes[right, 2:])).all(1)
    left, right, begins = left[meets], right[meets], begins[meets]
    inter = shared_areas([*plain, *rims.values()], boxes, begins, right)
    return np.stack([left, right], axis=1)[inter > 0]


def _grown(crop: Pixels) -> Pixels:
    """Return the crop with a rim of 1 px around it, and what is set up to 4-connected there."""
    wide = cv2.copyMakeBorder((crop > 0).view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(cv2.dilate(wide, cross), np.uint8)


def _parts(layer: Pixels, xy: Place, *, is_soft: bool) -> Iterator[tuple[Pixels, Place]]:
    """Split a layer into connected parts; what is faint goes to the nearest one."""
    solid = (layer >= (SOLID if is_soft else 1)).view(np.uint8)
    count, ids, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    if count < 2:
        return
    if count == 2:
        yield layer, xy
        return
    if is_soft:
        stats, ids = _claimed(layer, solid, np.asarray(ids, np.int32), count)
    for i in range(1, count):
        x, y, w, h = stats[i, :4].tolist()
        place = (slice(y, y + h), slice(x, x + w))
        yield np.where(ids[place] == i, layer[place], 0), (xy[0] + x, xy[1] + y)


def _claimed(
    layer: Pixels, solid: Pixels, ids: NDArray[np.int32], count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Give every faint pixel to the nearest part; return boxes (count, 4) and numbers."""
    _, nearest = cv2.distanceTransformWithLabels(
        1 - solid, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number = np.zeros(int(nearest.max()) + 1, np.int32)
    number[nearest[solid > 0]] = ids[solid > 0]
    owned = np.where(layer > 0, number[nearest], 0)
    boxes = np.zeros((count, 4), np.int32)
    rows, columns = np.nonzero(owned)
    owner = owned[rows, columns]
    low, high = np.full((count, 2), 1 << 30), np.zeros((count, 2), np.int64)
    for axis, values in enumerate((columns, rows)):
        np.minimum.at(low[:, axis], owner, values)
        np.maximum.at(high[:, axis], owner, values + 1)
    boxes[:, :2], boxes[:, 2:] = low, high - low
    return boxes, owned


def _boxes(pixels: list[Pixels], places: list[Place], least: int) -> NDArray[np.float32]:
    rows = []
    for crop, (x, y) in zip(pixels, places, strict=True):
        left, top, w, h = cv2.boundingRect((crop >= least).view(np.uint8))
        rows.append((x + left, y + top, x + left + w, y + top + h))
    return np.array(rows, np.float32).reshape(-1, 4)

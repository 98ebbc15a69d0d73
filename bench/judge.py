"""How far a result is from the truth, by masks or by boxes, whoever made it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scenes import Objects, Pixels, Scene

from lsl_core.geometry.boxes import area, meeting_pairs, shared
from lsl_core.geometry.masks import areas, shared_areas

Ints = NDArray[np.int64]
#: Least IoU of a result that found its object.
FOUND = 0.5


def errors(scene: Scene, result: Objects, *, by_boxes: bool = False) -> dict[str, float]:
    """Count what is wrong with a result.

    missed: objects without a result of IoU 0.5. unfindable: the same, of objects that no window
    drew so well, nor all of them together: nobody can know better, so they are no errors.
    doubles: further results that lie on the best one of their object. fragments: further results
    beside it. over: objects half covered by the result of another one (what that other one itself
    covers aside). strange: results on nothing. iou, iou_cut: mean IoU of found objects, and of
    those that no window shows whole.

    Args:
        scene: the truth, and what windows drew of it.
        result: what somebody made of the windows.
        by_boxes: whether boxes alone are compared.
    """
    truth, n = scene.truth, len(scene.truth)
    boxes = np.concatenate([truth.box, result.box]).astype(np.int64).reshape(-1, 4)
    pixels = None if by_boxes else [*truth.masks, *result.masks]
    sizes = _sizes(pixels, boxes)
    left, right = meeting_pairs(boxes)
    common = _common(pixels, boxes, left, right)
    pair = left * len(boxes) + right
    crossing = (left < n) & (right >= n) & (common > 0)
    t, r, inter = left[crossing], right[crossing], common[crossing]
    iou = inter / (sizes[t] + sizes[r] - inter)
    # a result belongs to the object it found, or else to the one it shares most with
    order = np.lexsort((inter, np.where(iou >= FOUND, iou, 0), r))
    last = np.append(r[order][1:] != r[order][:-1], True)[: len(order)]
    owner = np.full(len(boxes), -1)
    owner[r[order][last]] = t[order][last]
    between = _lookup(pair, common, t, owner[r], len(boxes))
    own = t == owner[r]
    over = int((~own & (inter - between >= 0.5 * sizes[t])).sum())
    best = np.zeros(n)
    np.maximum.at(best, t[own], iou[own])
    rows = np.flatnonzero(own)
    rows = rows[np.lexsort((-iou[rows], t[rows]))]
    first = np.append(True, t[rows][1:] != t[rows][:-1])[: len(rows)]
    champion = np.full(n, -1)
    champion[t[rows][first]] = r[rows][first]
    others = r[rows][~first]
    with_best = _lookup(pair, common, others, champion[owner[others]], len(boxes))
    doubles = int((with_best >= 0.5 * sizes[others]).sum())
    found = best >= FOUND
    can_be_found = findable(scene, by_boxes=by_boxes)
    label = np.mean(result.label[champion[found] - n] == truth.label[found]) if found.any() else 0
    cut = scene.cut
    return {
        "results": len(result),
        "missed": int((~found & can_be_found).sum()),
        "unfindable": int((~found & ~can_be_found).sum()),
        "doubles": doubles,
        "fragments": len(others) - doubles,
        "over": over,
        "strange": int((owner[n:] < 0).sum()),
        "iou": round(float(best[found].mean()) if found.any() else 0.0, 4),
        "iou_cut": round(float(best[cut].mean()) if cut.any() else 1.0, 4),
        "label": round(float(label), 4),
    }


def findable(scene: Scene, *, by_boxes: bool = False) -> NDArray[np.bool_]:
    """Return which objects some window drew with IoU 0.5, or all windows together did, (N,)."""
    truth, found, n = scene.truth, scene.found, len(scene.truth)
    boxes = np.concatenate([truth.box, found.box]).astype(np.int64).reshape(-1, 4)
    pixels = None if by_boxes else [*truth.masks, *found.masks]
    sizes = _sizes(pixels, boxes)
    drawn = n + np.arange(len(found))
    meets = (np.maximum(boxes[scene.shows, :2], found.box[:, :2]) < np.minimum(
        boxes[scene.shows, 2:], found.box[:, 2:])).all(1)  # fmt: skip
    drawn, shows = drawn[meets], scene.shows[meets]
    inter = _common(pixels, boxes, shows, drawn)
    best = np.zeros(n)
    np.maximum.at(best, shows, inter / (sizes[shows] + sizes[drawn] - inter))
    order = np.argsort(shows, kind="stable")
    begins = np.searchsorted(shows[order], np.arange(n + 1))
    for i in np.flatnonzero(best < FOUND).tolist():
        parts = drawn[order[begins[i] : begins[i + 1]]]
        best[i] = max(best[i], _iou_together(pixels, boxes, i, parts.tolist()))
    return best >= FOUND


def _iou_together(pixels: Sequence[Pixels] | None, boxes: Ints, i: int, parts: list[int]) -> float:
    """Return the IoU of an object with all parts united."""
    if not parts:
        return 0.0
    around = np.append(boxes[[i, *parts], :2].min(0), boxes[[i, *parts], 2:].max(0))
    both = np.zeros((2, *(around[2:] - around[:2])[::-1].tolist()), np.uint8)
    for layer, members in ((0, [i]), (1, parts)):
        places = boxes[members]
        if pixels is None:
            places = np.concatenate([places[:, :2].min(0), places[:, 2:].max(0)])[None]
        for k, place in zip(members, places, strict=False):
            x0, y0, x1, y1 = (place - np.tile(around[:2], 2)).tolist()
            both[layer, y0:y1, x0:x1] |= 1 if pixels is None else pixels[k]
    return float((both[0] & both[1]).sum() / (both[0] | both[1]).sum())


def _sizes(pixels: Sequence[Pixels] | None, boxes: Ints) -> NDArray[np.float64]:
    return area(boxes) if pixels is None else areas(pixels).astype(np.float64)


def _common(
    pixels: Sequence[Pixels] | None, boxes: Ints, left: Ints, right: Ints
) -> NDArray[np.float64]:
    if pixels is None:
        return area(shared(boxes[left], boxes[right]))
    return shared_areas(pixels, boxes, left, right).astype(np.float64)


def _lookup(
    pair: Ints, common: NDArray[np.float64], a: Ints, b: Ints, n: int
) -> NDArray[np.float64]:
    """Return the shared area of a[k] and b[k], given sorted pair numbers."""
    if not len(pair):
        return np.zeros(len(a))
    key = np.minimum(a, b) * n + np.maximum(a, b)
    at = np.minimum(np.searchsorted(pair, key), len(pair) - 1)
    return np.where(pair[at] == key, common[at], 0)

"""Boxes: (N, 4), x1, y1, x2, y2 in pixels; x2 and y2 exclusive."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating[Any]] | NDArray[np.integer[Any]] | NDArray[np.number[Any]]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: How many pairs of boxes are looked at together: bounds the memory of a crowded image.
_CHUNK = 1 << 22


def area(boxes: Boxes) -> Floats:
    """Return the area of each box, (N,); a box that is inside out has none."""
    sides = np.maximum(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0)
    areas: Floats = sides[:, 0] * sides[:, 1]
    return areas


def shared(first: Boxes, second: Boxes) -> Boxes:
    """Return what row i of both has in common, (N, 4); inside out where they do not meet."""
    low = np.maximum(first[:, :2], second[:, :2])
    return np.concatenate([low, np.minimum(first[:, 2:], second[:, 2:])], axis=1)


def iou(first: Boxes, second: Boxes) -> Floats:
    """Return intersection over union of row i of both, (N,); 0 where both are empty."""
    inter = area(shared(first, second))
    union = area(first) + area(second) - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def iou_matrix(first: Boxes, second: Boxes) -> Floats:
    """Return intersection over union of every row with every row, (N, M)."""
    n, m = len(first), len(second)
    rows = iou(np.repeat(first, m, axis=0), np.tile(second, (n, 1)))
    return rows.reshape(n, m)


def meeting_pairs(boxes: Boxes) -> tuple[Ints, Ints]:
    """Return the pairs of boxes that share area, as two columns of positions, left < right.

    A sweep along x in bands of y: the cost is linear in the number of boxes and of pairs. Pairs
    come in order.
    """
    corners = boxes.astype(np.float64)
    present = np.flatnonzero((corners[:, 2:] > corners[:, :2]).all(1))
    corners = corners[present]
    if len(present) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    corners -= np.tile(corners[:, :2].min(0), 2)
    band = max(1.0, 3 * float((corners[:, 3] - corners[:, 1]).mean()))
    first_band = np.floor(corners[:, 1] / band).astype(np.int64)
    last_band = np.maximum(np.ceil(corners[:, 3] / band).astype(np.int64) - 1, first_band)
    counts = last_band - first_band + 1
    box = np.repeat(np.arange(len(corners)), counts)
    in_band = first_band[box] + _within(counts)
    # one number sorts by band, then by left edge
    span = float(corners[:, 2].max()) + 1
    key = in_band * span + corners[box, 0]
    order = np.argsort(key)
    box, in_band = box[order], in_band[order]
    until = np.searchsorted(key[order], in_band * span + corners[box, 2], side="left")
    found = _sweep(corners, first_band, box, in_band, until)
    left, right = present[found].T
    pair = np.minimum(left, right) * len(boxes) + np.maximum(left, right)
    pair.sort()
    return pair // len(boxes), pair % len(boxes)


def _sweep(corners: Floats, first_band: Ints, box: Ints, in_band: Ints, until: Ints) -> Ints:
    """Return the pairs (P, 2) among boxes sorted by band and left edge."""
    following = np.maximum(until - np.arange(len(box)) - 1, 0)
    total = np.cumsum(following)
    cuts = np.searchsorted(total, np.arange(_CHUNK, total[-1], _CHUNK)) + 1
    found = [np.zeros((0, 2), np.int64)]
    for part in np.split(np.arange(len(box)), np.unique(cuts)):
        here = np.repeat(part, following[part])
        there = here + 1 + _within(following[part])
        a, b = box[here], box[there]
        # a pair that shares several bands counts in the first of them
        hit = in_band[here] == np.maximum(first_band[a], first_band[b])
        hit &= (corners[a, 1] < corners[b, 3]) & (corners[b, 1] < corners[a, 3])
        found.append(np.stack([a[hit], b[hit]], axis=1))
    return np.concatenate(found)


def _within(counts: Ints) -> Ints:
    """Return 0 … count - 1 for each count, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def nms(
    boxes: Boxes, scores: NDArray[np.float32], class_ids: NDArray[np.int32], *, iou_limit: float
) -> Ints:
    """Return the positions that greedy suppression keeps, highest score first.

    A box goes when a better one of the same class, which stays, has IoU above `iou_limit` with
    it. Equal scores: the earlier one stays.
    """
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    left, right = meeting_pairs(boxes)
    same = class_ids[left] == class_ids[right]
    left, right = left[same], right[same]
    near = iou(boxes[left], boxes[right]) > iou_limit
    ranks = np.sort(np.stack([rank[left[near]], rank[right[near]]], axis=1), axis=1)
    stays = [True] * len(order)
    for better, worse in ranks[np.lexsort((ranks[:, 1], ranks[:, 0]))].tolist():
        if stays[better]:
            stays[worse] = False
    kept: Ints = order[np.array(stays, bool)]
    return kept

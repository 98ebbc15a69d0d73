"""How fragments of two windows agree in the strip that both windows see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.boxes import area, meeting_pairs, shared
from lsl_core.geometry.masks import areas_inside, shared_areas
from lsl_core.windows.fragments import Floats, Fragments, Ints

#: Least IoU inside the strip of two views of one object that are each other's best. Measured
#: with outlines 1 px off: same object 0.13 and up (0.1 % quantile), neighbours up to 0.073.
SAME = 0.10
#: Two windows may call one object by different labels: then nearly all of it must agree.
SAME_OTHER_LABEL = 0.50
#: Less of a fragment than this on others says nothing about it.
COVERED = 0.50


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How P pairs of fragments from different windows agree in the strip they share.

    left, right: (P,) positions of the fragments, left in the earlier window. inter: shared
    area. in_left, in_right: area of each inside the strip. iou: how much of the object's part in
    the strip they agree on, in [0, 1]. strips: (P, 4) x1, y1, x2, y2.

    Where bounds leave no doubt about a pair, they stand for its areas.
    """

    left: Ints
    right: Ints
    inter: Floats
    in_left: Floats
    in_right: Floats
    iou: Floats
    strips: Ints

    def keys(self, fragments: Fragments) -> tuple[Ints, Ints]:
        """Return for either side the number of (fragment, window of the other one), (P,)."""
        num_views, seen_in = len(fragments.views), fragments.seen_in
        left_key = self.left * num_views + seen_in[self.right]
        return left_key, self.right * num_views + seen_in[self.left]

    def take(self, index: Ints | NDArray[np.bool_]) -> Agreement:
        """Return the chosen pairs."""
        return Agreement(
            self.left[index],
            self.right[index],
            self.inter[index],
            self.in_left[index],
            self.in_right[index],
            self.iou[index],
            self.strips[index],
        )


def agreement(fragments: Fragments, areas: Floats) -> Agreement:
    """Compare every two fragments from different windows that share area.

    Pixels are only counted where boxes and areas leave the outcome open: first of pairs that
    are each other's likeliest partner, then of those that this did not settle.

    Args:
        fragments: N of them.
        areas: (N,) solid pixels of each, or area of its box.
    """
    left, right = meeting_pairs(fragments.boxes)
    apart = fragments.seen_in[left] != fragments.seen_in[right]
    # the earlier window on the left, so that what can be taken once is in one column
    swapped = fragments.seen_in[left] > fragments.seen_in[right]
    left, right = np.where(swapped, (right, left), (left, right))[:, apart]
    views, seen_in = fragments.views, fragments.seen_in
    strips = shared(views[seen_in[left]], views[seen_in[right]]).astype(np.int64)
    boxes = fragments.boxes
    inter = area(shared(boxes[left], boxes[right]))
    in_left, in_right = (area(shared(boxes[side], strips)) for side in (left, right))
    if fragments.solid is None or not len(left):
        ious = _box_ious(boxes[left], boxes[right], strips)
        return Agreement(left, right, inter, in_left, in_right, ious, strips)
    ious = _ious(inter, in_left, in_right)
    boxed = Agreement(left, right, inter, in_left, in_right, ious, strips)
    bounds = _Bounds.of(fragments, areas, boxed)
    is_sure, matters, is_likeliest = bounds.judged()
    bounds.count_shared(fragments, matters & is_likeliest & ~is_sure)
    is_sure, matters, _ = bounds.judged()
    bounds.count_shared(fragments, matters & ~is_sure)
    bounds.count_inside(fragments, matters & ~is_sure)
    is_sure, matters, _ = bounds.judged()
    inter, (in_left, in_right) = bounds.least[:, 0], bounds.most[:, 1:].T
    ious = _ious(inter, in_left, in_right)
    found = Agreement(left, right, inter, in_left, in_right, ious, strips)
    return found.take(is_sure | (matters & (found.inter > 0)))


def _ious(inter: Floats, in_left: Floats, in_right: Floats) -> Floats:
    return inter / np.maximum(in_left + in_right - inter, 1e-9)


def _box_ious(first: Floats, second: Floats, strips: Ints) -> Floats:
    """Return IoU of what two boxes say of an object inside their strip, (P,).

    A box that leaves the strip sideways is that of a larger part, so along the strip it may be
    too long. Where the other box stays inside, that one tells how long the object is there.
    """
    parts = [shared(box, strips).astype(np.float64) for box in (first, second)]
    lengths = [part[:, 2:] - part[:, :2] for part in parts]  # (P, 2), by axis
    stays = [
        (box[:, :2] >= strips[:, :2]) & (box[:, 2:] <= strips[:, 2:]) for box in (first, second)
    ]
    common = shared(*parts)
    both = common[:, 2:] - common[:, :2]
    union = lengths[0] + lengths[1] - both
    for along, aside in ((0, 1), (1, 0)):
        for one, other in ((0, 1), (1, 0)):
            is_exact = stays[one].all(1) & stays[other][:, along] & ~stays[other][:, aside]
            union[is_exact, along] = lengths[one][is_exact, along]
    ious: Floats = (both / np.maximum(union, 1e-9)).prod(1)
    return ious


@dataclass(frozen=True, slots=True, eq=False)
class _Bounds:
    """What is known of P pairs without or with counting.

    pairs: what boxes say of them. least, most: (P, 3) bounds of the shared area and of the area of
    either side in the strip; equal once counted. sides: rivals of each pair: others with the same
    (fragment, window of the other one), by either side. wanted: (P,) IoU that makes a pair one
    object.
    """

    pairs: Agreement
    least: Floats
    most: Floats
    sides: tuple[_Rivals, _Rivals]
    wanted: Floats

    @classmethod
    def of(cls, fragments: Fragments, areas: Floats, boxed: Agreement) -> _Bounds:
        """Return what boxes and areas say.

        What a fragment does not fill of its box may lie in the shared part of two boxes, or
        outside of it.
        """
        empty = area(fragments.boxes) - areas
        left, right = boxed.left, boxed.right
        inside = np.stack([boxed.in_left, boxed.in_right], axis=1)
        gaps = np.stack([empty[left], empty[right]], axis=1)
        most_in = np.minimum(inside, np.stack([areas[left], areas[right]], axis=1))
        most = np.minimum(boxed.inter, most_in.min(1))
        labels = fragments.class_ids
        first, second = boxed.keys(fragments)
        return cls(
            boxed,
            np.maximum(np.column_stack([boxed.inter - gaps.sum(1), inside - gaps]), 0),
            np.column_stack([most, most_in]),
            (_Rivals.of(first), _Rivals.of(second)),
            np.where(labels[left] == labels[right], SAME, np.inf),
        )

    def count_shared(self, fragments: Fragments, chosen: NDArray[np.bool_]) -> None:
        """Count the shared area of chosen pairs, where it is open."""
        assert fragments.solid is not None
        rows = np.flatnonzero(chosen & (self.least[:, 0] < self.most[:, 0]))
        left, right = self.pairs.left[rows], self.pairs.right[rows]
        whole = fragments.boxes.astype(np.int64)
        self.least[rows, 0] = shared_areas(fragments.solid, whole, left, right)
        self.most[rows, 0] = self.least[rows, 0]

    def count_inside(self, fragments: Fragments, chosen: NDArray[np.bool_]) -> None:
        """Count what chosen pairs that share area have in the strip, where it is open."""
        assert fragments.solid is not None
        whole = fragments.boxes.astype(np.int64)
        ends = (self.pairs.left, self.pairs.right)
        for column, (index, side) in enumerate(zip(ends, self.sides, strict=True), 1):
            is_open = self.least[:, column] < self.most[:, column]
            rows = np.flatnonzero(chosen & is_open & (self.least[:, 0] > 0))
            # the same fragment and other window, the same strip
            _, first, row = np.unique(side.row[rows], return_index=True, return_inverse=True)
            once = rows[first]
            inside = areas_inside(fragments.solid, whole, index[once], self.pairs.strips[once])
            self.least[rows, column] = self.most[rows, column] = inside[row]

    def judged(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which pairs are surely one object, can change anything, are likely one object.

        Surely: both sides agree more, at the least, than either can agree with anything else.
        Nothing is changed by a pair whose sides both have their partner, or that shares too
        little to mean anything.
        """
        inter = self.least[:, 0], self.most[:, 0]
        least = inter[0] / np.maximum(self.most[:, 1:].sum(1) - inter[0], 1e-9)
        most = inter[1] / np.maximum(self.least[:, 1:].sum(1) - inter[1], 1e-9)
        rivals = np.maximum(*(side.best(most) for side in self.sides))
        is_sure = (least >= self.wanted) & (least > rivals)
        matters, is_settled = most >= SAME, np.ones(len(most), bool)
        for side, inside in zip(self.sides, self.least[:, 1:].T, strict=True):
            has_partner = side.total(is_sure) > 0
            matters |= ~has_partner & (side.total(inter[1]) >= COVERED * inside)
            is_settled &= has_partner
        return is_sure, matters & ~is_settled, most > rivals


@dataclass(frozen=True, slots=True, eq=False)
class _Rivals:
    """P pairs, by what only one of them can have.

    row: (P,) number of it. order: (P,) pairs, row after row. first: where each row begins.
    """

    row: Ints
    order: Ints
    first: Ints

    @classmethod
    def of(cls, key: Ints) -> _Rivals:
        """Return the pairs by a key of any numbers."""
        order = np.argsort(key, kind="stable")
        begins = np.append(True, np.diff(key[order]) > 0)[: len(key)]
        row = np.empty(len(key), np.int64)
        row[order] = np.cumsum(begins) - 1
        return cls(row, order, np.flatnonzero(begins))

    def total(self, value: NDArray[Any]) -> Floats:
        """Return the sum over the row of each pair."""
        total: Floats = np.bincount(self.row, value)[self.row].astype(np.float64)
        return total

    def best(self, value: Floats) -> Floats:
        """Return the largest value among the other pairs of the row, -inf where there are none."""
        best = np.maximum.reduceat(value[self.order], self.first)[self.row]
        is_best = value == best
        others = np.where(is_best, -np.inf, value)
        second = np.maximum.reduceat(others[self.order], self.first)[self.row]
        return np.where(is_best & (self.total(is_best) < 2), second, best)

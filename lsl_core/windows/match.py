"""Which fragments are one object.

Two windows that overlap both see all of the strip they share. So two fragments are compared
there and nowhere else, and within one strip an object has one fragment on either side: fragments
are matched one to one, the best agreement first. What touches an object without being it agrees
with it in a few pixels of a jittered outline, and is left over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.boxes import area, meeting_pairs, shared
from lsl_core.geometry.masks import areas_inside, shared_areas
from lsl_core.windows.fragments import Floats, Fragments, Ints

#: Least IoU inside the strip of two views of one object that are each other's best. Measured
#: with outlines 1 px off: same object 0.13 and up (0.1 % quantile), neighbours up to 0.073.
SAME = 0.10
#: The same, when one of them had a better partner that somebody else got.
SECOND_CHOICE = 0.35
#: Two windows may call one object by different labels: then nearly all of it must agree.
SAME_OTHER_LABEL = 0.50
#: Boxes overlap where their objects only touch, so they must agree better than pixels.
SAME_BOX = 0.30
#: Share of a left-over fragment in the strip that lies on an object, for it to be a piece of it.
PIECE = 0.70
#: Fewer pixels inside the strip may be an outline that was drawn a little too far out.
SMALL_PIECE_PX = 64
#: The same for a fragment that lies in the strip as a whole, however small: that is no rim.
WHOLE_PIECE = 0.50
#: Share of a left-over fragment inside the strip that makes it part of something else there.
COVERED = 0.50


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How P pairs of fragments from different windows agree in the strip they share.

    left, right: (P,) positions of the fragments. inter: shared area. in_left, in_right: area
    of each inside the strip. strips: (P, 4) x1, y1, x2, y2.
    """

    left: Ints
    right: Ints
    inter: Floats
    in_left: Floats
    in_right: Floats
    strips: Ints

    @property
    def iou(self) -> Floats:
        """Intersection over union inside the strip, (P,)."""
        return self.inter / (self.in_left + self.in_right - self.inter)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Which fragments belong together.

    links: (L, 2) pairs. rims: fragments whose place another window saw as well and gave to
    something else.
    """

    links: Ints
    rims: Ints


def agreement(fragments: Fragments, areas: Floats) -> Agreement:
    """Compare every two fragments from different windows that share area.

    Args:
        fragments: N of them.
        areas: (N,) solid pixels of each, or area of its box.
    """
    left, right = meeting_pairs(fragments.boxes)
    apart = fragments.seen_in[left] != fragments.seen_in[right]
    left, right = left[apart], right[apart]
    boxes, solid = fragments.boxes, fragments.solid
    if solid is None:
        inter = area(shared(boxes[left], boxes[right]))
    else:
        whole = boxes.astype(np.int64)
        inter = shared_areas(solid, whole, left, right).astype(np.float64)
        left, right, inter = left[inter > 0], right[inter > 0], inter[inter > 0]
    views, seen_in = fragments.views, fragments.seen_in
    strips = shared(views[seen_in[left]], views[seen_in[right]]).astype(np.int64)
    in_left = _inside(fragments, areas, left, strips)
    in_right = _inside(fragments, areas, right, strips)
    return Agreement(left, right, inter, in_left, in_right, strips)


def _inside(fragments: Fragments, areas: Floats, index: Ints, strips: Ints) -> Floats:
    boxes = fragments.boxes[index]
    if fragments.solid is None:
        return area(shared(boxes, strips))
    result = areas[index]
    out = np.flatnonzero(((boxes[:, :2] < strips[:, :2]) | (boxes[:, 2:] > strips[:, 2:])).any(1))
    whole = fragments.boxes.astype(np.int64)
    result[out] = areas_inside(fragments.solid, whole, index[out], strips[out])
    return result


def match(fragments: Fragments, found: Agreement) -> Matches:
    """Decide which fragments are one object, and which are the rim of another."""
    iou = found.iou
    same_label = fragments.class_ids[found.left] == fragments.class_ids[found.right]
    least = SAME if fragments.solid is not None else SAME_BOX
    possible = iou >= np.where(same_label, least, SAME_OTHER_LABEL)
    # an object seen under two labels is rarer than two objects on one place
    worth = np.where(same_label, iou, iou - SAME_OTHER_LABEL)
    unlike = np.abs(fragments.scores[found.left] - fragments.scores[found.right])
    order = np.lexsort((unlike, -worth))
    order = order[possible[order]]
    num_views = len(fragments.views)
    left_key = found.left * num_views + fragments.seen_in[found.right]
    right_key = found.right * num_views + fragments.seen_in[found.left]
    accepted, taken = _one_to_one(order, left_key, right_key, iou >= SECOND_CHOICE)
    keys = (left_key, right_key)
    pieces = _pieces(fragments, found, keys, taken, same_label)
    rims = _rims(fragments, found, keys, taken)
    links = np.stack([found.left, found.right], axis=1)[np.concatenate([accepted, pieces])]
    return Matches(links, rims)


def _one_to_one(
    order: Ints, left_key: Ints, right_key: Ints, is_sure: NDArray[np.bool_]
) -> tuple[Ints, set[int]]:
    """Return the accepted pairs, best first, and the keys (fragment, other window) they use."""
    accepted: list[int] = []
    taken: set[int] = set()
    offered: set[int] = set()
    rows = zip(
        order.tolist(),
        left_key[order].tolist(),
        right_key[order].tolist(),
        is_sure[order].tolist(),
        strict=True,
    )
    for pair, a, b, sure in rows:
        if a not in taken and b not in taken and (sure or not (a in offered or b in offered)):
            accepted.append(pair)
            taken.update((a, b))
        offered.update((a, b))
    return np.array(accepted, np.int64), taken


def _pieces(
    fragments: Fragments,
    found: Agreement,
    keys: tuple[Ints, Ints],
    taken: set[int],
    same_label: NDArray[np.bool_],
) -> Ints:
    """Return pairs in which one fragment, left over, is a piece of the other.

    A window may split an object that its neighbour sees as one, or show a bent one as several
    parts. A piece joins one object per strip, the one it lies on most.
    """
    pieces = [np.zeros(0, np.int64)]
    for index, key, inside in (
        (found.left, keys[0], found.in_left),
        (found.right, keys[1], found.in_right),
    ):
        share, boxes = found.inter / inside, fragments.boxes[index]
        is_all = (boxes[:, :2] > found.strips[:, :2]) & (boxes[:, 2:] < found.strips[:, 2:])
        lies_on = (share >= PIECE) & (inside >= SMALL_PIECE_PX)
        lies_on |= (share >= WHOLE_PIECE) & is_all.all(1) & (fragments.solid is not None)
        lies_on &= same_label
        rows = np.flatnonzero(lies_on)
        rows = rows[_is_free(key[rows], taken)]
        best = rows[np.lexsort((-share[rows], key[rows]))]
        pieces.append(best[np.unique(key[best], return_index=True)[1]])
    return np.unique(np.concatenate(pieces))


def _rims(fragments: Fragments, found: Agreement, keys: tuple[Ints, Ints], taken: set[int]) -> Ints:
    """Return left-over fragments inside a strip that the other window gave to something else.

    `join` drops those that their own window cuts: the other one saw the place deeper.
    """
    rims = [np.zeros(0, np.int64)]
    for index, key, inside in (
        (found.left, keys[0], found.in_left),
        (found.right, keys[1], found.in_right),
    ):
        names, first, row = np.unique(key, return_index=True, return_inverse=True)
        covered = np.bincount(row, found.inter) >= COVERED * inside[first]
        covered |= np.bincount(row, found.iou >= SAME) > 0  # the same object, by another label
        boxes, strips = fragments.boxes[index[first]], found.strips[first]
        lies_in = (boxes[:, :2] >= strips[:, :2]) & (boxes[:, 2:] <= strips[:, 2:])
        is_rim = covered & lies_in.all(1) & _is_free(names, taken)
        rims.append(index[first[is_rim]])
    return np.unique(np.concatenate(rims))


def _is_free(keys: Ints, taken: set[int]) -> NDArray[np.bool_]:
    return np.fromiter((key not in taken for key in keys.tolist()), bool, len(keys))


def groups(n: int, links: Ints) -> Ints:
    """Return a group number for each of `n` fragments, (n,): the least member of its group."""
    root = list(range(n))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for a, b in links.tolist():
        low, high = sorted((find(a), find(b)))
        root[high] = low
    return np.fromiter((find(i) for i in range(n)), np.int64, n)

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

from lsl_core.geometry.boxes import area, shared
from lsl_core.windows.agree import COVERED, SAME, SAME_OTHER_LABEL, Agreement
from lsl_core.windows.fragments import EDGE_PX, Floats, Fragments, Ints

#: The same, when one of them had a better partner that somebody else got.
SECOND_CHOICE = 0.35
#: Boxes overlap where their objects only touch, so they must agree better than pixels.
SAME_BOX = 0.30
#: Share of a left-over fragment in the strip that lies on an object, for it to be a piece of it.
PIECE = 0.70
#: Fewer pixels inside the strip may be an outline that was drawn a little too far out.
SMALL_PIECE_PX = 64
#: The same for a fragment that lies in the strip as a whole, however small: that is no rim.
WHOLE_PIECE = 0.50

#: A box on one that its window shows of an object, and smaller than this share of it, is another
#: object in front of it, no piece of it.
NESTED = 0.30


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Which fragments belong together.

    links: (L, 2) pairs. rims: fragments whose place another window saw as well and gave to
    something else.
    """

    links: Ints
    rims: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One side of P pairs.

    index: (P,) fragments. key: (P,) number of (fragment, window of the other one). inside: (P,)
    its area in the strip. left_over: rows whose key no accepted pair uses.
    """

    index: Ints
    key: Ints
    inside: Floats
    left_over: Ints


def match(fragments: Fragments, found: Agreement) -> Matches:
    """Decide which fragments are one object, and which are the rim of another."""
    iou = found.iou
    same_label = fragments.class_ids[found.left] == fragments.class_ids[found.right]
    least = SAME if fragments.solid is not None else SAME_BOX
    rows = np.flatnonzero(iou >= np.where(same_label, least, SAME_OTHER_LABEL))
    # an object seen under two labels is rarer than two objects on one place
    worth = np.where(same_label, iou, iou - SAME_OTHER_LABEL)[rows]
    scores = fragments.scores
    unlike = np.abs(scores[found.left[rows]] - scores[found.right[rows]])
    order = rows[np.lexsort((unlike, -worth))]
    keys = found.keys(fragments)
    accepted = _one_to_one(order, *keys, iou >= SECOND_CHOICE)
    # boxes overlap where objects do not: a box with any partner is no piece of another one
    sides_used = keys if fragments.solid is not None else (found.left, found.right)
    taken = np.concatenate([used[accepted] for used in sides_used])
    left_over = [np.flatnonzero(~np.isin(used, taken, kind="table")) for used in sides_used]
    sides = (
        _Side(found.left, keys[0], found.in_left, left_over[0]),
        _Side(found.right, keys[1], found.in_right, left_over[1]),
    )
    pieces = [_pieces(fragments, found, side, same_label) for side in sides]
    if fragments.solid is None and len(accepted):
        for k, (side, key) in enumerate(zip(sides, reversed(keys), strict=True)):
            pieces[k] = pieces[k][~_are_nested(fragments, found, side, key, accepted, pieces[k])]
    rims = np.concatenate([_rims(fragments, found, side) for side in sides])
    joined = np.concatenate([accepted, np.unique(np.concatenate(pieces))])
    return Matches(np.stack([found.left, found.right], axis=1)[joined], np.unique(rims))


def _one_to_one(order: Ints, left_key: Ints, right_key: Ints, is_sure: NDArray[np.bool_]) -> Ints:
    """Return the accepted pairs: best first, each (fragment, other window) once."""
    alone = np.ones(len(order), bool)
    for key in (left_key[order], right_key[order]):
        _, row, count = np.unique(key, return_inverse=True, return_counts=True)
        alone &= count[row] == 1
    accepted = order[alone].tolist()
    order = order[~alone]
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
    return np.array(accepted, np.int64)


def _pieces(
    fragments: Fragments, found: Agreement, side: _Side, same_label: NDArray[np.bool_]
) -> Ints:
    """Return pairs in which the fragment of this side, left over, is a piece of the other.

    A window may split an object that its neighbour sees as one, or show a bent one as several
    parts. A piece joins one object per strip, the one it lies on most.
    """
    rows = side.left_over[same_label[side.left_over]]
    boxes, strips, inside = fragments.boxes[side.index[rows]], found.strips[rows], side.inside[rows]
    share = found.inter[rows] / inside
    is_all = (boxes[:, :2] > strips[:, :2]) & (boxes[:, 2:] < strips[:, 2:])
    parts = shared(boxes, strips)
    sides, strip_sides = parts[:, 2:] - parts[:, :2], strips[:, 2:] - strips[:, :2]
    is_edge = ((sides <= EDGE_PX) & (sides < strip_sides)).any(1)
    lies_on = (share >= PIECE) & (inside >= SMALL_PIECE_PX) & ~is_edge
    lies_on |= (share >= WHOLE_PIECE) & is_all.all(1) & (fragments.solid is not None)
    rows, share = rows[lies_on], share[lies_on]
    best = rows[np.lexsort((-share, side.key[rows]))]
    pieces: Ints = best[np.unique(side.key[best], return_index=True)[1]]
    return pieces


def _are_nested(
    fragments: Fragments, found: Agreement, side: _Side, key: Ints, accepted: Ints, rows: Ints
) -> NDArray[np.bool_]:
    """Return in which of these rows the box of this side is another object than the other one.

    It lies on what its own window shows of that one, and is much smaller. `key` is the (P,) number
    of (the other one, window of this side): each is once among accepted pairs.
    """
    order = accepted[np.argsort(key[accepted])]
    at = order[np.minimum(np.searchsorted(key[order], key[rows]), len(order) - 1)]
    one, two = (
        shared(fragments.boxes[side.index[which]], found.strips[rows]) for which in (rows, at)
    )
    lies_on = area(shared(one, two)) >= COVERED * area(one)
    return np.asarray((key[at] == key[rows]) & lies_on & (area(one) < NESTED * area(two)))


def _rims(fragments: Fragments, found: Agreement, side: _Side) -> Ints:
    """Return left-over fragments inside a strip that the other window gave to something else.

    `join` drops those that their own window cuts: the other one saw the place deeper.
    """
    rows = side.left_over
    _, first, row = np.unique(side.key[rows], return_index=True, return_inverse=True)
    covered = np.bincount(row, found.inter[rows]) >= COVERED * side.inside[rows[first]]
    # the same object, by another label
    covered |= np.bincount(row, found.iou[rows] >= SAME) > 0
    index, strips = side.index[rows[first]], found.strips[rows[first]]
    boxes = fragments.boxes[index]
    lies_in = (boxes[:, :2] >= strips[:, :2]) & (boxes[:, 2:] <= strips[:, 2:])
    return index[covered & lies_in.all(1)]


def groups(n: int, links: Ints) -> Ints:
    """Return a group number for each of `n` fragments, (n,): the least member of its group."""
    number = np.arange(n)
    first, second = links.reshape(-1, 2).T
    while (number[first] != number[second]).any():
        least = np.minimum(number[first], number[second])
        np.minimum.at(number, number[first], least)
        np.minimum.at(number, number[second], least)
        number = number[number]
    return number

"""Fragments in, objects out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsl_core.windows.agree import agreement
from lsl_core.windows.compose import Composed, Composer
from lsl_core.windows.fragments import Floats, Fragments, Ints, depths
from lsl_core.windows.match import groups, match

#: An object reaches out of a view when another window saw it this much farther.
REACH_PX = 6

#: A lone fragment this thin at a cut, where a neighbour saw more and found nothing, is no object.
SLIVER_PX = 4


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """The objects of an image: K kept as one window saw them, then C composed ones.

    kept: (K,) positions of fragments. boxes: (C, 4) float64 of the composed ones.
    scores: (K + C,). class_ids: (K + C,). is_whole: (K + C,) whether one window shows it whole.
    composed: the C with their pixels; empty when there are only boxes.
    """

    kept: Ints
    boxes: Floats
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    is_whole: NDArray[np.bool_]
    composed: list[Composed]


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Members of all groups, group after group, the deepest of each first.

    members: (N,) fragments. first: (G,) where each group begins. counts: (G,).
    """

    members: Ints
    first: Ints
    counts: Ints

    @property
    def tops(self) -> Ints:
        """The deepest member of each group."""
        return self.members[self.first]


def join(fragments: Fragments) -> Joined:
    """Return each object once, whole where the windows together saw all of it."""
    areas = fragments.areas()
    found = match(fragments, agreement(fragments, areas))
    margin = fragments.depths().min(1)
    number = groups(len(fragments), found.links)
    grouped = _grouped(number, margin)
    tops = grouped.tops
    as_seen = (grouped.counts == 1) | _shows_all(fragments, grouped, margin)
    dropped = (grouped.counts == 1) & (margin[tops] <= 0)
    lone = tops[dropped]
    dropped[dropped] = np.isin(lone, found.rims) | _is_sliver(fragments, lone)
    class_ids, scores = _votes(fragments, areas, grouped)
    keep = np.flatnonzero(as_seen & ~dropped)
    parts = np.flatnonzero(~as_seen)
    composed: list[Composed] = []
    if fragments.pixels is not None:
        composed, parts = _composed(fragments, grouped, parts)
    kept = tops[keep]
    boxes = np.array([one.box for one in composed], np.float64).reshape(-1, 4)
    return Joined(
        kept,
        _around(fragments, grouped)[parts] if fragments.pixels is None else boxes,
        np.concatenate([fragments.scores[kept], scores[parts]]).astype(np.float32),
        np.concatenate([class_ids[keep], class_ids[parts]]),
        np.concatenate([margin[kept] > 0, np.zeros(len(parts), bool)]),
        composed,
    )


def _grouped(number: Ints, margin: Floats) -> _Groups:
    members = np.lexsort((-margin, number))
    begins = np.append(True, number[members[1:]] != number[members[:-1]])
    first = np.flatnonzero(begins[: len(members)])
    return _Groups(members, first, np.diff(np.append(first, len(members))))


def _shows_all(fragments: Fragments, grouped: _Groups, margin: Floats) -> NDArray[np.bool_]:
    """Return in which groups the deepest member is uncut and nobody saw the object reach out."""
    tops, around = grouped.tops, _around(fragments, grouped)
    box = fragments.boxes[tops]
    # next to a cut an outline may be a little short: then little more is believed
    allowed = np.minimum(margin[tops], REACH_PX)[:, None]
    fits = (box[:, :2] - around[:, :2] <= allowed) & (around[:, 2:] - box[:, 2:] <= allowed)
    return np.asarray(fits.all(1) & (margin[tops] > 0))


def _around(fragments: Fragments, grouped: _Groups) -> Floats:
    """Return the box around all members of each group, (G, 4)."""
    boxes = fragments.boxes[grouped.members]
    low = np.minimum.reduceat(boxes[:, :2], grouped.first)
    return np.concatenate([low, np.maximum.reduceat(boxes[:, 2:], grouped.first)], axis=1)


def _is_sliver(fragments: Fragments, lone: Ints) -> NDArray[np.bool_]:
    """Return which fragments are thin and seen deeper by another window."""
    boxes = fragments.boxes[lone]
    slivers: NDArray[np.bool_] = (boxes[:, 2:] - boxes[:, :2]).min(1) <= SLIVER_PX
    for k in np.flatnonzero(slivers).tolist():
        box = np.broadcast_to(boxes[k], (len(fragments.views), 4))
        slivers[k] = (depths(box, fragments.views, fragments.image_hw).min(1) > 0).any()
    return slivers


def _votes(
    fragments: Fragments, areas: Floats, grouped: _Groups
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return label and score of each group: labels vote by area × score, its voters' mean wins."""
    members = grouped.members
    group = np.repeat(np.arange(len(grouped.first)), grouped.counts)
    num_labels = int(fragments.class_ids.max(initial=0)) + 1
    ballot = group * num_labels + fragments.class_ids[members]
    papers, paper = np.unique(ballot, return_inverse=True)
    weight = np.bincount(paper, np.maximum(areas[members], 1))
    votes = np.bincount(paper, np.maximum(areas[members], 1) * fragments.scores[members])
    order = np.lexsort((-votes, papers // num_labels))
    winners = order[np.unique(papers[order] // num_labels, return_index=True)[1]]
    label = (papers[winners] % num_labels).astype(np.int32)
    return label, (votes[winners] / weight[winners]).astype(np.float32)


def _composed(fragments: Fragments, grouped: _Groups, parts: Ints) -> tuple[list[Composed], Ints]:
    """Return the groups that no window shows whole, and their numbers, without empty ones."""
    begins, counts = grouped.first[parts].tolist(), grouped.counts[parts].tolist()
    members, composer = grouped.members.tolist(), Composer.of(fragments)
    made = [
        composer.compose(members[begin : begin + count])
        for begin, count in zip(begins, counts, strict=True)
    ]
    there = np.array([one is not None for one in made], bool)
    return [one for one in made if one is not None], parts[there]

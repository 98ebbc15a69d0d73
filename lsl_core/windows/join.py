"""Fragments in, objects out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.boxes import area, shared
from lsl_core.geometry.masks import areas_inside, shared_areas
from lsl_core.windows.agree import agreement
from lsl_core.windows.compose import Composed, Composer
from lsl_core.windows.fragments import EDGE_PX, Floats, Fragments, Ints, depths
from lsl_core.windows.match import groups, match

#: An object reaches out of a view when another window saw it this much farther.
REACH_PX = 6

#: What is cut and this thin, where a neighbour saw more and found nothing, is no object.
SLIVER_PX = 4
#: Two windows that show a thin object with less IoU than this are both doubted. What lies between
#: their outlines is nearer to the truth at any IoU; from here on hardly, and it takes time.
DOUBTED = 0.8
#: Area over longer side of a thin object. Outlines a pixel or two off change no other one much.
THIN_PX = 16


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

    members: (N,) fragments. first: (G,) where each group begins. counts: (G,). uncut: (G,) how
    many of them their windows show uncut; they come first.
    """

    members: Ints
    first: Ints
    counts: Ints
    uncut: Ints

    @property
    def tops(self) -> Ints:
        """The deepest member of each group."""
        return self.members[self.first]

    def around(self, boxes: NDArray[Any]) -> NDArray[Any]:
        """Return the box around those of all members of each group, (G, 4)."""
        own = boxes[self.members]
        low = np.minimum.reduceat(own[:, :2], self.first)
        return np.concatenate([low, np.maximum.reduceat(own[:, 2:], self.first)], axis=1)


def join(fragments: Fragments) -> Joined:
    """Return each object once, whole where the windows together saw all of it."""
    areas = fragments.areas()
    found = match(fragments, agreement(fragments, areas))
    margin = fragments.depths().min(1)
    number = groups(len(fragments), found.links)
    grouped = _grouped(number, margin)
    tops, around = grouped.tops, grouped.around(fragments.boxes)
    as_seen = (grouped.counts == 1) | _shows_all(fragments, grouped, around, margin)
    if fragments.solid is not None:
        doubted = _doubted(fragments, areas, grouped, as_seen)
    else:
        doubted, means = _between(fragments, number, grouped, margin)
        around[doubted] = means[doubted]
    as_seen &= ~doubted
    dropped = grouped.uncut == 0
    is_rim = (grouped.counts == 1) & np.isin(tops, found.rims)
    dropped[dropped] = is_rim[dropped] | _are_slivers(fragments, grouped, dropped)
    class_ids, scores = _votes(fragments, areas, grouped)
    keep = np.flatnonzero(as_seen & ~dropped)
    parts = np.flatnonzero(~as_seen & ~dropped)
    composed: list[Composed] = []
    if fragments.pixels is not None:
        composed, parts = _composed(fragments, grouped, parts, doubted)
    kept = tops[keep]
    boxes = np.array([one.box for one in composed], np.float64).reshape(-1, 4)
    return Joined(
        kept,
        around[parts] if fragments.pixels is None else boxes,
        np.concatenate([fragments.scores[kept], scores[parts]]).astype(np.float32),
        np.concatenate([class_ids[keep], class_ids[parts]]),
        np.concatenate([margin[kept] > 0, doubted[parts]]),
        composed,
    )


def _grouped(number: Ints, margin: Floats) -> _Groups:
    members = np.lexsort((-margin, number))
    begins = np.append(True, number[members[1:]] != number[members[:-1]])
    first = np.flatnonzero(begins[: len(members)])
    uncut = np.add.reduceat(margin[members] > 0, first, dtype=np.int64)
    return _Groups(members, first, np.diff(np.append(first, len(members))), uncut)


def _shows_all(
    fragments: Fragments, grouped: _Groups, around: Floats, margin: Floats
) -> NDArray[np.bool_]:
    """Return in which groups the deepest member is uncut and nobody saw the object reach out."""
    tops = grouped.tops
    box = fragments.boxes[tops]
    # next to a cut an outline may be a little short: then little more is believed
    allowed = np.minimum(margin[tops], REACH_PX)[:, None]
    fits = (box[:, :2] - around[:, :2] <= allowed) & (around[:, 2:] - box[:, 2:] <= allowed)
    return np.asarray(fits.all(1) & (margin[tops] > 0))


def _doubted(
    fragments: Fragments, areas: Floats, grouped: _Groups, as_seen: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which groups the deepest member shows whole, but another window differently.

    There is no telling which window is right.
    """
    assert fragments.solid is not None
    doubted = np.zeros(len(as_seen), bool)
    group = np.repeat(np.arange(len(as_seen)), grouped.counts)
    rank = np.arange(len(group)) - grouped.first[group]
    one, two, boxes = grouped.tops[group], grouped.members, fragments.boxes.astype(np.int64)
    thickness = areas[one] / (boxes[one, 2:] - boxes[one, :2]).max(1)
    asked = as_seen[group] & (rank > 0) & (thickness < THIN_PX)
    asked &= area(shared(boxes[one], boxes[two])) > 0
    group, one, two = group[asked], one[asked], two[asked]
    inter = shared_areas(fragments.solid, boxes, one, two)
    views = fragments.views[fragments.seen_in[two]]
    visible = areas[one]
    out = ((boxes[one, :2] < views[:, :2]) | (boxes[one, 2:] > views[:, 2:])).any(1)
    visible[out] = areas_inside(fragments.solid, boxes, one[out], views[out])
    doubted[group[inter < DOUBTED * (visible + areas[two] - inter)]] = True
    return doubted


def _between(
    fragments: Fragments, number: Ints, grouped: _Groups, margin: Floats
) -> tuple[NDArray[np.bool_], Floats]:
    """Return which groups several windows show uncut, and the mean of their boxes, (G, 4).

    Parts that one window shows count as the box around them. Where a window that cuts the object
    saw it reach out of the mean, there is none.
    """
    views = _grouped(number * len(fragments.views) + fragments.seen_in, margin)
    boxes, is_uncut = views.around(fragments.boxes), views.uncut == views.counts
    group = np.searchsorted(number[grouped.tops], number[views.tops])
    first = np.searchsorted(group, np.arange(len(grouped.first)))
    uncut = np.add.reduceat(is_uncut, first, dtype=np.int64)
    means = np.add.reduceat(boxes * is_uncut[:, None], first) / np.maximum(uncut, 1)[:, None]
    own = means[group]
    out = np.concatenate([own[:, :2] - boxes[:, :2], boxes[:, 2:] - own[:, 2:]], axis=1).max(1)
    reaches = np.logical_or.reduceat(~is_uncut & (out > REACH_PX), first)
    return (uncut > 1) & ~reaches, means


def _are_slivers(
    fragments: Fragments, grouped: _Groups, chosen: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which of the chosen groups are slivers throughout, (number of chosen,)."""
    members = grouped.members[np.repeat(chosen, grouped.counts)]
    boxes = fragments.boxes[members]
    slivers: NDArray[np.bool_] = (boxes[:, 2:] - boxes[:, :2]).min(1) <= EDGE_PX
    for k in np.flatnonzero(slivers).tolist():
        slivers[k] = _is_sliver(fragments, members[k])
    counts = grouped.counts[chosen]
    sums = np.add.reduceat(np.append(slivers, False), np.cumsum(counts) - counts, dtype=np.int64)
    return np.asarray(sums == counts)


def _is_sliver(fragments: Fragments, i: int) -> bool:
    """Return whether a thin cut fragment is no object to another window that saw it deeper.

    What its window cuts lengthwise need not go on at its ends: a window that also ends there sees
    as much of it.
    """
    box, own = fragments.boxes[i], fragments.seen_in[i]
    sides = box[2:] - box[:2]
    thin = int(sides.argmin())
    inside = depths(np.broadcast_to(box, (len(fragments.views), 4)), fragments.views,
                    fragments.image_hw)  # fmt: skip
    across, along = inside[:, thin::2].min(1), inside[:, 1 - thin :: 2].min(1)
    deeper = (across > 0) & ((along >= 0) if across[own] <= 0 else (along > 0))
    if sides[thin] <= SLIVER_PX:
        return bool(deeper.any())
    alike = fragments.class_ids == fragments.class_ids[i]
    common = shared(fragments.boxes[deeper[fragments.seen_in] & alike], box[None])
    return bool((common[:, :2] <= common[:, 2:]).all(1).any())


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


def _composed(
    fragments: Fragments, grouped: _Groups, parts: Ints, doubted: NDArray[np.bool_]
) -> tuple[list[Composed], Ints]:
    """Return the groups that no window shows as it is, and their numbers, without empty ones."""
    composer, members = Composer.of(fragments), grouped.members.tolist()
    rows = zip(
        grouped.first[parts].tolist(),
        grouped.counts[parts].tolist(),
        grouped.around(fragments.places)[parts].tolist(),
        doubted[parts].tolist(),
        strict=True,
    )
    made = [
        (composer.average if is_doubted else composer.compose)(
            members[begin : begin + count], around
        )
        for begin, count, around, is_doubted in rows
    ]
    there = np.array([one is not None for one in made], bool)
    return [one for one in made if one is not None], parts[there]

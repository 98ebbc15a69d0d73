"""Which unlabelled images to label next: those that teach a model most, and not the same twice.

A stored prediction and the pixels are enough: no model is asked. See decision 0045 and the
figures in docs/quality.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lsl_core.inference.looks import Look, contents_of, distances
from lsl_core.types import Instances

#: A score in between is called unsure.
UNSURE = (0.25, 0.75)
#: What an image without any doubt still counts: a model that sees nothing has no doubts, either.
_LEAST = 0.25


class Way(StrEnum):
    """How images are ranked; measured beside each other by `bench/next.py`."""

    UNSURE = "unsure"
    UNLIKE = "unlike"
    BOTH = "both"
    RARE = "rare"


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """An image and what is on it: found by a model, or drawn by people (scores 1)."""

    look: Look
    objects: Instances


@dataclass(frozen=True, slots=True)
class Ranked:
    """An image worth a label.

    index: its place among the candidates. score: what a label is worth beside the best, in
    [0, 1]; what stands before it in the list is taken as labelled. num_unsure: objects found with
    a score in between. label: class id with most doubt, None where nothing was found. is_unlike:
    whether it is in the quarter that is least like the labelled images.
    """

    index: int
    score: float
    num_unsure: int
    label: int | None
    is_unlike: bool


#: Share of the candidates that is not called unlike the labelled images.
_ALIKE = 0.75


def rank(
    candidates: Sequence[Seen],
    labelled: Sequence[Seen],
    *,
    num_labels: int,
    num: int | None = None,
    way: Way = Way.BOTH,
) -> list[Ranked]:
    """Rank images by what a label there would teach, best first.

    One after the other is chosen; what looks like one that was chosen is worth less from then on.

    Args:
        candidates: unlabelled images, with everything a model found above its floor score.
        labelled: images that the model learnt from.
        num_labels: of the model.
        num: how many to rank; None ranks all.
        way: what counts.
    """
    doubts = np.array([_doubts(seen.objects, num_labels) for seen in candidates])  # (N, labels)
    doubts = doubts.reshape(len(candidates), num_labels)
    weights = _rarity(labelled, num_labels) if way is Way.RARE else np.ones(num_labels)
    doubt = doubts @ weights
    doubt /= max(doubt.max(initial=0), 1e-9)
    ours, theirs = _vectors(candidates, num_labels), _vectors(labelled, num_labels)
    novelty = distances(ours, theirs).min(1) if ours and theirs else np.ones(len(ours))
    widest = max(float(novelty.max(initial=0)), 1e-9)
    is_unlike = novelty > np.quantile(novelty, _ALIKE) if ours else np.zeros(0, bool)
    left = np.ones(len(candidates), bool)
    chosen: list[Ranked] = []
    while left.any() and len(chosen) != num:
        worth = np.where(left, _worth(doubt, novelty / widest, way), -1.0)
        best = int(worth.argmax())
        left[best] = False
        unsure = _num_unsure(candidates[best].objects)
        label = int(doubts[best].argmax()) if doubts[best].any() else None
        chosen.append(Ranked(best, float(worth[best]), unsure, label, bool(is_unlike[best])))
        novelty = np.minimum(novelty, distances(ours, [ours[best]])[:, 0])
    return chosen


def _worth(
    doubt: NDArray[np.float64], novelty: NDArray[np.floating], way: Way
) -> NDArray[np.floating]:
    if way is Way.UNSURE:
        return doubt
    if way is Way.UNLIKE:
        return novelty
    return (_LEAST + (1 - _LEAST) * doubt) * novelty


def _doubts(found: Instances, num_labels: int) -> NDArray[np.float64]:
    """Return the doubt about each label's objects: 1 for a score of a half, 0 for 0 and 1."""
    doubt = 4 * found.scores * (1 - found.scores)
    return np.asarray(np.bincount(found.class_ids, doubt, minlength=num_labels), np.float64)


def _rarity(labelled: Sequence[Seen], num_labels: int) -> NDArray[np.float64]:
    """Return how much the doubt about each label weighs: 1 for the commonest, more for the rest."""
    ids = [np.zeros(0, np.int32), *(seen.objects.class_ids for seen in labelled)]
    shots = np.bincount(np.concatenate(ids), minlength=num_labels) + 1.0
    return np.asarray(np.sqrt(shots.max() / shots))


def _vectors(images: Sequence[Seen], num_labels: int) -> list[Look]:
    """Return looks and contents in one vector of length 1."""
    return [
        np.concatenate([seen.look, contents_of(seen.objects, num_labels)], dtype=np.float32)
        / np.float32(2**0.5)
        for seen in images
    ]


def _num_unsure(found: Instances) -> int:
    return int(((found.scores >= UNSURE[0]) & (found.scores <= UNSURE[1])).sum())

"""What people made of a push: pairs to look at, and what another threshold would have spared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lsl_core import cvat
from lsl_core.cvat import CvatSession, Fate, FrameAnnotations, Journal, Judged, Review, ReviewRow
from lsl_core.errors import UserInput
from lsl_core.types import Hw, Instances
from lsl_core.types.effort import DELETE_S, DRAW_BOX_S, DRAW_MASK_S, LOOK_S, MEND
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import Pixels, read_rgb

__all__ = ["Advice", "Fate", "Pair", "Review", "ReviewRow", "advice", "pair", "review"]

#: With fewer pushed objects of a label nothing is advised: a few deletions may be chance.
LEAST_PUSHED = 20
#: A moved object under this IoU cost its mender time; above it nobody would have bothered.
_ROUGH_IOU = 0.75


@dataclass(frozen=True, slots=True)
class Advice:
    """A threshold that would have left people less to do with the objects of a label.

    pushed: objects of the label. fewer_deleted, more_drawn: what would have been otherwise.
    saved_s: seconds of a person, as `types.effort` counts them.
    """

    label: str
    threshold: float
    pushed: int
    fewer_deleted: int
    more_drawn: int
    saved_s: float

    def __str__(self) -> str:
        drawn = f", and drawn {self.more_drawn} more" if self.more_drawn else ""
        return f"at {self.threshold:.2f} you would have deleted {self.fewer_deleted} fewer{drawn}"


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One frame as it was pushed and as people left it; class ids of both index `labels`."""

    frame: int
    name: str
    pixels: Pixels
    labels: tuple[str, ...]
    pushed: Instances
    now: Instances


def review(session: CvatSession, workspace: Workspace, push_id: str) -> Review:
    """Compare what a push added with the task as people left it. Writes nothing."""
    return cvat.review_push(session, Journal(workspace.journal), push_id)


def pair(
    session: CvatSession,
    workspace: Workspace,
    push_id: str,
    frame: int,
    *,
    only_changed: bool = True,
) -> Pair:
    """Return a frame of a push with both sets of objects.

    Args:
        session: where the task is.
        workspace: keeps the image.
        push_id: of which push.
        frame: number in its task.
        only_changed: without the objects that nobody touched.

    Raises:
        UserInput: when the push and people left the frame alone.
    """
    found = cvat.compare_push(session, Journal(workspace.journal), push_id)
    shown = [one for one in found.review.objects if one.frame == frame]
    if not shown:
        raise UserInput(f"Push {push_id} has nothing on frame {frame}.", hint="Choose another.")
    if only_changed:
        shown = [one for one in shown if one.fate is not Fate.KEPT]
    task_id = found.review.task_id
    pulled = cvat.pull_frames(session, task_id, workspace.frames, frames=[frame])
    if pulled.failed:
        raise UserInput(f"Frame {frame} cannot be shown: {pulled.failed[0].reason}")
    image_hw = pulled.refs[0].image_hw
    pushed = _side(found.pushed.get(frame), [one.before for one in shown], image_hw)
    now = _side(found.now.get(frame), [one.after for one in shown], image_hw)
    return Pair(frame, pulled.refs[0].name, read_rgb(pulled.paths[0]), found.labels, pushed, now)


def _side(objects: FrameAnnotations | None, places: Sequence[int], image_hw: Hw) -> Instances:
    """Return the objects at some places, of which -1 is none."""
    if objects is None:
        return Instances.empty(image_hw)
    return objects.instances.take(np.array(sorted(i for i in places if i >= 0), np.int64))


def advice(found: Review) -> list[Advice]:
    """Return for which labels a higher threshold would have spared work, most first.

    A lower one is never advised: what lay below the threshold was not pushed, so nobody judged it.
    """
    labels = sorted({one.label for one in found.objects if one.fate is not Fate.ADDED})
    every = [_advice(label, found) for label in labels]
    return sorted((one for one in every if one is not None), key=lambda one: -one.saved_s)


def _advice(label: str, found: Review) -> Advice | None:
    mine = [o for o in found.objects if o.label == label and o.fate is not Fate.ADDED]
    if len(mine) < LEAST_PUSHED:
        return None
    draw_s = DRAW_MASK_S if found.has_masks else DRAW_BOX_S
    best: tuple[float, float] = (0.0, 0.0)
    saved_s = 0.0
    by_score = sorted(mine, key=lambda one: one.score)
    for i, one in enumerate(by_score):
        saved_s += _saved_s(one, draw_s)
        threshold = math.floor(one.score * 100 + 1e-6) / 100 + 0.01  # the next whole percent
        is_last = i + 1 == len(by_score) or by_score[i + 1].score >= threshold
        if is_last and saved_s > best[0]:
            best = (saved_s, round(threshold, 2))
    if not best[1]:
        return None
    gone = [one for one in mine if one.score < best[1]]
    deleted = _count(gone, Fate.DELETED)
    return Advice(label, best[1], len(mine), deleted, len(gone) - deleted, best[0])


def _saved_s(one: Judged, draw_s: float) -> float:
    """Return the seconds saved when an object is not pushed, below zero when it was right."""
    if one.fate is Fate.DELETED:
        return LOOK_S + DELETE_S
    mended = one.fate is Fate.MOVED and one.iou < _ROUGH_IOU
    return LOOK_S + mended * MEND * draw_s - draw_s


def _count(found: Sequence[Judged], fate: Fate) -> int:
    return sum(one.fate is fate for one in found)

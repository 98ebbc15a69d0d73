"""What became of a push after people worked on it: kept, moved, relabelled, deleted, added."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np

from lsl_core.cvat.annotations.changing import Action
from lsl_core.cvat.annotations.content import content_key, key_of
from lsl_core.cvat.annotations.reading import read_task
from lsl_core.cvat.annotations.shapes import FrameAnnotations, to_instances
from lsl_core.cvat.annotations.spool import Spool
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.push.applying import open_record
from lsl_core.cvat.push.journal import Journal, Part, PushPhase
from lsl_core.cvat.push.matching import CONFLICT_IOU, mask_iou
from lsl_core.cvat.push.snapshot import read_snapshot
from lsl_core.errors import UserInput
from lsl_core.geometry import boxes as box_math
from lsl_core.types import CropMasks

Json = dict[str, Any]


class Fate(StrEnum):
    """What became of an object. ADDED: people drew it after the push."""

    KEPT = "kept"
    MOVED = "moved"
    RELABELLED = "relabelled"
    DELETED = "deleted"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Judged:
    """One object of a push, or one that people added.

    label: that was pushed, or drawn for `added`. now: the label that it has now, "" when deleted.
    score: of the model, 1 for `added`. iou: of what was pushed with what is there; 0 for `deleted`,
    1 for `added`. before, after: its position among the pushed and the live objects of the frame,
    -1 where it is not.
    """

    frame: int
    label: str
    fate: Fate
    now: str
    score: float
    iou: float
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """What people did with the pushed objects of one label on one frame.

    label: that was pushed, or drawn for `added`. kept: the same pixels and label. ious: of each
    object that was moved or redrawn, with what was pushed. relabelled: the label was changed,
    whatever became of the pixels.
    """

    frame: int
    label: str
    kept: int = 0
    ious: tuple[float, ...] = ()
    relabelled: int = 0
    deleted: int = 0
    added: int = 0

    @classmethod
    def of(cls, judged: Iterable[Judged], *, frame: int = -1, label: str = "") -> Self:
        """Count objects."""
        found = [*judged]
        counts = Counter(one.fate for one in found)
        return cls(
            frame,
            label,
            counts[Fate.KEPT],
            tuple(one.iou for one in found if one.fate is Fate.MOVED),
            counts[Fate.RELABELLED],
            counts[Fate.DELETED],
            counts[Fate.ADDED],
        )

    @property
    def moved(self) -> int:
        """Objects whose pixels were changed."""
        return len(self.ious)

    @property
    def pushed(self) -> int:
        """Objects that the push had added."""
        return self.kept + self.moved + self.relabelled + self.deleted

    @property
    def corrections(self) -> int:
        """Objects that somebody worked on, or drew."""
        return self.moved + self.relabelled + self.deleted + self.added


@dataclass(frozen=True, slots=True)
class Review:
    """A push compared with the task as it is now, object by object.

    has_masks: whether people would have to draw outlines, not boxes, to do without it.
    """

    push_id: str
    task_id: int
    objects: tuple[Judged, ...]
    has_masks: bool

    @property
    def rows(self) -> tuple[ReviewRow, ...]:
        """The counts of each frame and label that has an object, in that order."""
        groups: dict[tuple[int, str], list[Judged]] = defaultdict(list)
        for one in self.objects:
            groups[one.frame, one.label].append(one)
        return tuple(
            ReviewRow.of(found, frame=frame, label=label)
            for (frame, label), found in sorted(groups.items())
        )

    def by_label(self) -> dict[str, ReviewRow]:
        """Return the sums of each label over all frames; their frame is -1."""
        return {
            label: ReviewRow.of((o for o in self.objects if o.label == label), label=label)
            for label in sorted({one.label for one in self.objects})
        }

    def worst_frames(self) -> list[ReviewRow]:
        """Return the sums of each frame that was corrected over all labels, the worst first."""
        by_frame: dict[int, list[Judged]] = defaultdict(list)
        for one in self.objects:
            by_frame[one.frame].append(one)
        sums = [ReviewRow.of(found, frame=frame) for frame, found in by_frame.items()]
        corrected = [row for row in sums if row.corrections]
        return sorted(corrected, key=lambda row: (-row.corrections, row.frame))

    def confusion(self) -> Counter[tuple[str, str]]:
        """Count objects by the label that was pushed and the one that people want.

        "" stands for no object: nothing was pushed there, or nothing is wanted there.
        """
        return Counter(
            ("" if one.fate is Fate.ADDED else one.label, one.now) for one in self.objects
        )

    @property
    def total(self) -> ReviewRow:
        """The sum of everything."""
        return ReviewRow.of(self.objects)


def compare_frames(
    pushed: Mapping[int, FrameAnnotations],
    now: Mapping[int, FrameAnnotations],
    labels: Sequence[str],
    *,
    known_ids: Collection[int],
) -> tuple[Judged, ...]:
    """Compare what was pushed with what is there. Tracks count for nothing.

    An object is found again by its id, or else, since ids of redrawn objects are new, by an IoU
    of 0.5 or more with an object that nothing else accounts for.

    Args:
        pushed: objects by frame, with the ids that CVAT gave their shapes.
        now: objects by frame.
        labels: names that the class ids of both index.
        known_ids: shapes that were there before the push; they are no part of it.
    """
    judged: list[Judged] = []
    for frame in sorted(set(pushed) | set(now)):
        before, after = pushed.get(frame), now.get(frame)
        left = _unknown(after, known_ids) if after is not None else []
        pairs: dict[int, tuple[int, float]] = {}
        if before is not None and after is not None and len(before):
            pairs = _pairs(before, after, left)
        if before is not None:
            judged += [
                _judged(frame, before, i, after, pairs.get(i), labels) for i in range(len(before))
            ]
        if after is not None:
            taken = {j for j, _ in pairs.values()}
            names = [labels[class_id] for class_id in after.instances.class_ids.tolist()]
            judged += [
                Judged(frame, names[j], Fate.ADDED, names[j], 1.0, 1.0, -1, j)
                for j in left
                if j not in taken
            ]
    return tuple(judged)


def _unknown(after: FrameAnnotations, known_ids: Collection[int]) -> list[int]:
    """Return the objects that were not there before the push."""
    return [i for i, ids in enumerate(after.shape_ids) if ids and not set(ids) & set(known_ids)]


def _judged(
    frame: int,
    before: FrameAnnotations,
    i: int,
    after: FrameAnnotations | None,
    pair: tuple[int, float] | None,
    labels: Sequence[str],
) -> Judged:
    """Return what became of a pushed object."""
    label, score = labels[before.instances.class_ids[i]], float(before.instances.scores[i])
    if pair is None or after is None:
        return Judged(frame, label, Fate.DELETED, "", score, 0.0, i, -1)
    j, iou = pair
    now = labels[after.instances.class_ids[j]]
    fate = Fate.RELABELLED if now != label else Fate.KEPT if iou == 1.0 else Fate.MOVED
    return Judged(frame, label, fate, now, score, iou, i, j)


def _pairs(
    before: FrameAnnotations, after: FrameAnnotations, left: Sequence[int]
) -> dict[int, tuple[int, float]]:
    """Return for pushed objects the live one that each became, and their IoU."""
    first, second = before.instances.masks, after.instances.masks
    if not isinstance(first, CropMasks) or not isinstance(second, CropMasks):
        raise TypeError("objects of CVAT have masks")
    wanted = set(left)
    owner = {shape_id: j for j in left for shape_id in after.shape_ids[j]}
    same = {
        (i, owner[shape_id])
        for i, ids in enumerate(before.shape_ids)
        for shape_id in ids
        if shape_id in owner
    }
    boxes = np.concatenate([before.instances.boxes, after.instances.boxes])
    low, high = box_math.meeting_pairs(boxes)
    across = (low < len(before)) & (high >= len(before))
    meeting = zip(low[across].tolist(), (high[across] - len(before)).tolist(), strict=True)
    both = sorted(same | {(i, j) for i, j in meeting if j in wanted})
    all_left, all_right = np.array(both, np.int64).reshape(-1, 2).T
    iou = mask_iou(first, second, all_left, all_right)
    same_id = [pair in same for pair in both]
    order = np.lexsort((-iou, ~np.array(same_id, bool)))
    pairs: dict[int, tuple[int, float]] = {}
    taken: set[int] = set()
    for k in order.tolist():
        i, j = int(all_left[k]), int(all_right[k])
        if i in pairs or j in taken or not (same_id[k] or iou[k] >= CONFLICT_IOU):
            continue
        pairs[i] = (j, float(iou[k]))
        taken.add(j)
    return pairs


def review_push(session: CvatSession, journal: Journal, push_id: str) -> Review:
    """Compare what a push added with the task as it is now. Writes nothing.

    Raises:
        UserInput: no such push, one of another server, or one that is not finished.
        SnapshotMissing: when what was there before is not known any more.
    """
    return compare_push(session, journal, push_id).review


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A review with the objects that it speaks of. labels: what their class ids index."""

    review: Review
    labels: tuple[str, ...]
    pushed: dict[int, FrameAnnotations]
    now: dict[int, FrameAnnotations]


def compare_push(session: CvatSession, journal: Journal, push_id: str) -> Compared:
    """Do as `review_push`, and keep what was compared."""
    record = open_record(session, journal, push_id)
    if record.phase is not PushPhase.DONE:
        raise UserInput(
            f"Push {push_id} is {record.phase}: there is nothing to compare.",
            hint="Finish it first, or choose another.",
        )
    state = read_task(session, record.task_id)
    pushed = to_instances(
        {"shapes": _pushed_shapes(journal, push_id)},
        state.frames,
        state.labels,
        left_out_frames=state.validation,
    )
    before = map(key_of, read_snapshot(Path(record.snapshot)))
    known = {number for kind, number in before if kind == "shapes"}
    names, now = tuple(label.name for label in state.labels), state.objects().frames
    judged = compare_frames(pushed.frames, now, names, known_ids=known)
    has_masks = any(found.has_mask.any() for found in pushed.frames.values())
    return Compared(
        Review(push_id, record.task_id, judged, bool(has_masks)), names, pushed.frames, now
    )


def _pushed_shapes(journal: Journal, push_id: str) -> Spool:
    """Return the shapes of a push as they were sent, with the ids that they got."""
    ids: dict[str, list[int]] = defaultdict(list)
    for (kind, shape_id), content in journal.created(push_id):
        if kind == "shapes":
            ids[content].append(shape_id)
    pushed = Spool()
    for batch in journal.batches(push_id, Part.PUSH):
        for shape in batch.entries if batch.action is Action.CREATE else ():
            pushed.add({**shape, "id": number} for number in ids.pop(content_key(shape), ()))
    return pushed

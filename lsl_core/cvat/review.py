"""What became of a push after people worked on it: kept, moved, relabelled, deleted, added."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsl_core.cvat.annotations import Action, read_task
from lsl_core.cvat.content import content_key
from lsl_core.cvat.journal import Journal, Part, PushPhase
from lsl_core.cvat.matching import CONFLICT_IOU, mask_iou
from lsl_core.cvat.push import open_record
from lsl_core.cvat.session import CvatSession
from lsl_core.cvat.shapes import FrameAnnotations, to_instances
from lsl_core.cvat.snapshot import read_snapshot
from lsl_core.errors import UserInput
from lsl_core.geometry import boxes as box_math
from lsl_core.types import CropMasks

Json = dict[str, Any]


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
    """A push compared with the task as it is now. rows: by frame and label, none empty."""

    push_id: str
    task_id: int
    rows: tuple[ReviewRow, ...]

    def by_label(self) -> dict[str, ReviewRow]:
        """Return the sums of each label over all frames; their frame is -1."""
        labels = sorted({row.label for row in self.rows})
        return {
            label: _sum([row for row in self.rows if row.label == label], label=label)
            for label in labels
        }

    def worst_frames(self) -> list[ReviewRow]:
        """Return the sums of each frame that was corrected over all labels, the worst first."""
        by_frame: dict[int, list[ReviewRow]] = defaultdict(list)
        for row in self.rows:
            by_frame[row.frame].append(row)
        sums = [_sum(found, frame=frame) for frame, found in by_frame.items()]
        corrected = [row for row in sums if row.corrections]
        return sorted(corrected, key=lambda row: (-row.corrections, row.frame))

    @property
    def total(self) -> ReviewRow:
        """The sum of everything."""
        return _sum(self.rows)


def _sum(rows: Sequence[ReviewRow], *, frame: int = -1, label: str = "") -> ReviewRow:
    return ReviewRow(
        frame,
        label,
        sum(row.kept for row in rows),
        tuple(iou for row in rows for iou in row.ious),
        sum(row.relabelled for row in rows),
        sum(row.deleted for row in rows),
        sum(row.added for row in rows),
    )


class _Row:
    """A row in the making."""

    def __init__(self) -> None:
        self.kept = self.relabelled = self.deleted = self.added = 0
        self.ious: list[float] = []


def compare_frames(
    pushed: Mapping[int, FrameAnnotations],
    now: Mapping[int, FrameAnnotations],
    labels: Sequence[str],
    *,
    known_ids: Collection[int],
) -> tuple[ReviewRow, ...]:
    """Compare what was pushed with what is there. Tracks count for nothing.

    An object is found again by its id, or else, since ids of redrawn objects are new, by an IoU
    of 0.5 or more with an object that nothing else accounts for.

    Args:
        pushed: objects by frame, with the ids that CVAT gave their shapes.
        now: objects by frame.
        labels: names that the class ids of both index.
        known_ids: shapes that were there before the push; they are no part of it.
    """
    rows: list[ReviewRow] = []
    for frame in sorted(set(pushed) | set(now)):
        found: dict[str, _Row] = defaultdict(_Row)
        before, after = pushed.get(frame), now.get(frame)
        left = _unknown(after, known_ids) if after is not None else []
        if before is not None and len(before):
            left = _account(before, after, left, labels, found)
        if after is not None:
            for j in left:
                found[labels[after.instances.class_ids[j]]].added += 1
        rows += [
            ReviewRow(frame, name, r.kept, tuple(r.ious), r.relabelled, r.deleted, r.added)
            for name, r in sorted(found.items())
        ]
    return tuple(rows)


def _unknown(after: FrameAnnotations, known_ids: Collection[int]) -> list[int]:
    """Return the objects that were not there before the push."""
    return [i for i, ids in enumerate(after.shape_ids) if ids and not set(ids) & set(known_ids)]


def _account(
    before: FrameAnnotations,
    after: FrameAnnotations | None,
    left: list[int],
    labels: Sequence[str],
    found: dict[str, _Row],
) -> list[int]:
    """Note what became of each pushed object; return the live ones that none accounts for."""
    pairs = _pairs(before, after, left) if after is not None else {}
    for i, class_id in enumerate(before.instances.class_ids.tolist()):
        row = found[labels[class_id]]
        if i not in pairs or after is None:
            row.deleted += 1
            continue
        j, iou = pairs[i]
        if int(after.instances.class_ids[j]) != class_id:
            row.relabelled += 1
        elif iou == 1.0:
            row.kept += 1
        else:
            row.ious.append(iou)
    taken = {j for j, _ in pairs.values()}
    return [j for j in left if j not in taken]


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
    known = {int(shape["id"]) for shape in read_snapshot(Path(record.snapshot))["shapes"]}
    names = [label.name for label in state.labels]
    rows = compare_frames(pushed.frames, state.objects().frames, names, known_ids=known)
    return Review(push_id, record.task_id, rows)


def _pushed_shapes(journal: Journal, push_id: str) -> list[Json]:
    """Return the shapes of a push as they were sent, with the ids that they got."""
    sent = {
        content_key(shape): shape
        for batch in journal.batches(push_id, Part.PUSH)
        if batch.action is Action.CREATE
        for shape in batch.shapes
    }
    return [
        {**sent[content], "id": shape_id}
        for shape_id, content in journal.created_shapes(push_id).items()
    ]

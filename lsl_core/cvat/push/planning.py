"""Working out a push from the live task: what is new, what is there, what a person drew."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.cvat.annotations.content import content_key, each, state_key
from lsl_core.cvat.annotations.drawing import from_instances, lost_pixels
from lsl_core.cvat.annotations.packing import dumps, whole
from lsl_core.cvat.annotations.reading import TaskState, read_task
from lsl_core.cvat.annotations.shapes import FrameAnnotations
from lsl_core.cvat.annotations.spool import Spool
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.push.budget import over_budget
from lsl_core.cvat.push.checking import require_sound
from lsl_core.cvat.push.journal import Journal
from lsl_core.cvat.push.matching import match
from lsl_core.cvat.push.plan import (
    AS_USUAL,
    Conflicts,
    FrameRow,
    LabelRow,
    PushChoices,
    PushMode,
    PushPlan,
    SkippedFrame,
)
from lsl_core.cvat.tasks.entities import JobKind
from lsl_core.cvat.tasks.label_matching import (
    LabelMatch,
    match_labels,
    require_settled,
    with_values,
)
from lsl_core.errors import UserInput
from lsl_core.geometry.cleaning import cleaned
from lsl_core.geometry.drawable import Drawing, within_image
from lsl_core.progress import NULL, Progress
from lsl_core.types import CropMasks, Instances

Json = dict[str, Any]
Flags = NDArray[np.bool_]


def plan_push(
    session: CvatSession,
    task_id: int,
    predictions: Mapping[int, Instances],
    labels: Sequence[str],
    *,
    choices: PushChoices = AS_USUAL,
    present: Collection[int] | None = None,
    run_id: str = "",
    journal: Journal | None = None,
    progress: Progress = NULL,
) -> PushPlan:
    """Work out what pushing these objects would do to the live task. Writes nothing.

    Args:
        session: who asks.
        task_id: where the objects go.
        predictions: objects by frame number, binary masks or boxes only; a frame without objects
            still counts as one whose automatic shapes may be replaced. Each is asked for when it
            is its turn, so they may lie on disk.
        labels: the model's labels in the order of class ids.
        choices: where labels go, what happens to shapes that are there, how ours are drawn.
        present: class ids that have objects, where that is known without asking for any.
        run_id: of the prediction, for the journal.
        journal: of earlier pushes; tells ours from other automatic shapes, and edited ones.
        progress: counts frames.

    Raises:
        CvatNotFound: no such task.
        UserInput: a task without images; objects for an image of another size; a mode that
            needs a journal without one.
        LabelMismatch: a label with objects has no place in the task; names all of them.
    """
    if choices.mode is PushMode.REPLACE_OWN and journal is None:
        raise UserInput(
            "Which shapes came from an earlier push is known to its workspace only.",
            hint="Open the workspace that pushed them.",
        )
    if present is None:
        present = {c for found in predictions.values() for c in found.class_ids.tolist()}
    state = read_task(session, task_id)
    matches = match_labels(
        labels,
        with_values(state.labels, choices.attributes),
        has_masks=any(p.masks is not None for p in predictions.values()),
        mapping=choices.mapping,
        polygons=choices.polygons,
        create={labels[c] for c in present} & set(choices.create),
    )
    require_settled([m for i, m in enumerate(matches) if i in present], task_id=task_id)
    work = _Work(session, state, matches, choices, journal)
    progress.start("Planning", total=len(predictions), unit="frames")
    waiting = set(predictions)
    for live in state.each_frame():
        work.count(live)
        if live.frame in waiting:
            progress.check()
            work.add_frame(predictions[live.frame], live)
            progress.advance()
            waiting.remove(live.frame)
    for frame in sorted(waiting):  # deleted, of the ground truth, or of no image
        work.leave_out(frame, predictions[frame])
        progress.advance()
    return work.plan(run_id)


class _Work:
    """A plan in the making."""

    def __init__(
        self,
        session: CvatSession,
        state: TaskState,
        matches: tuple[LabelMatch, ...],
        choices: PushChoices,
        journal: Journal | None,
    ) -> None:
        self._session, self._state = session, state
        self._choices, self._mode, self._matches = choices, choices.mode, matches
        self._targets = {i: m.target for i, m in enumerate(matches) if m.target and m.drawing}
        self._labels = [*state.labels, *(m.target for m in matches if m.target and m.is_new)]
        self._names = {label.id: label.name for label in self._labels}
        self._drawings = {i: m.drawing for i, m in enumerate(matches) if m.drawing is not None}
        self._own: dict[int, str] = {}
        if journal is not None:
            self._own = journal.own_shapes(
                url=session.url, task_id=state.task.id, task_created=state.task.created
            )
        self._stored = state.stored
        stored = self._stored["shapes"]
        self._live = stored.groups
        self._next_group = max((int(s.get("group") or 0) for s in stored), default=0) + 1
        self._jobs: dict[int, int] = {}
        self._holder = state.holder()
        self._create, self._remove = Spool(), Spool()
        self._content = hashlib.sha256()
        self._sizes = [frame.image_hw for frame in state.frames]
        self._rows: list[FrameRow] = []
        self._skipped: list[SkippedFrame] = []
        self._now: Counter[str] = Counter()
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._beside_auto = 0
        self._edited = 0
        self._lost = np.zeros(2, np.int64)

    def count(self, live: FrameAnnotations) -> None:
        """Take note of what is on a frame of the task."""
        for class_id, ids in zip(live.instances.class_ids.tolist(), live.shape_ids, strict=True):
            self._now[self._state.labels[class_id].name] += bool(ids)

    def leave_out(self, frame: int, found: Instances) -> bool:
        """Note a frame that nothing goes to, and why; return whether it is one."""
        reason = self._refusal(frame, found)
        if reason and len(found):
            self._skipped.append(SkippedFrame(frame, len(found), reason))
        return bool(reason)

    def add_frame(self, found: Instances, on_it: FrameAnnotations) -> None:
        """Work out one frame from what was found and what is on it."""
        frame = on_it.frame
        if self.leave_out(frame, found):
            return
        with_objects = np.unique(found.class_ids).tolist()
        require_settled([self._matches[c] for c in with_objects], task_id=self._state.task.id)
        placed = np.isin(found.class_ids, list(self._targets))
        doomed = self._replaceable(frame)
        if not placed.any() and not doomed:
            return
        new = cleaned(within_image(found.take(placed)), self._choices.cleaning)
        shapes = from_instances(
            new,
            frame=frame,
            labels=self._targets,
            drawings=self._drawings,
            first_group=self._next_group,
            tolerance=self._choices.tolerance,
        )
        kept = self._already_there(shapes, doomed)
        live = _without(on_it, doomed)
        as_box = np.array(
            [self._drawings[c] is Drawing.RECTANGLE for c in new.class_ids.tolist()], bool
        )
        met = match(
            new,
            live,
            labels=np.array([self._targets[c].id for c in new.class_ids.tolist()], np.int64),
            live_labels=self._label_ids(live),
            as_box=as_box,
        )
        duplicate = met.duplicate | kept
        conflict = met.conflict & ~kept
        add = ~duplicate
        if self._choices.conflicts is Conflicts.SKIP:
            add &= ~conflict
        self._beside_auto += int((met.beside_auto & add).sum())
        self._take(frame, new, shapes, add, duplicate, conflict, doomed)

    def plan(self, run_id: str) -> PushPlan:
        """Put the plan together."""
        state = state_key(each(self._stored))
        removed = [int(s["id"]) for s in self._remove]
        text = repr((self._session.url, self._state.task.id, self._mode.value, state, removed))
        self._content.update(text.encode())
        return PushPlan(
            token=self._content.hexdigest(),
            task=self._state.task,
            url=self._session.url,
            mode=self._mode,
            run_id=run_id,
            state=state,
            num_shapes=len(self._stored["shapes"]),
            matches=self._matches,
            labels=self._label_rows(),
            frames=tuple(self._rows),
            skipped=tuple(sorted(self._skipped, key=attrgetter("frame"))),
            warnings=tuple(self._warnings()),
            create=self._create,
            remove=self._remove,
        )

    def _refusal(self, frame: int, found: Instances) -> str:
        """Return why nothing goes to a frame, or ""; notes the job that covers it."""
        frames = self._state.frames
        if not 0 <= frame < len(frames):
            return "the task has no such frame"
        if frames[frame].deleted:
            return "the frame was deleted in CVAT"
        if frame in self._state.validation:
            return "it lies " + self._state.validation[frame]
        if found.image_hw != frames[frame].image_hw:
            height, width = frames[frame].image_hw
            raise UserInput(
                f"Frame {frame} of task {self._state.task.id} is {width}×{height} pixels, the "
                f"prediction is for {found.image_hw[1]}×{found.image_hw[0]}.",
                hint="The task's images changed: predict again.",
            )
        ordinary = [job for job in self._state.jobs if job.kind is JobKind.ANNOTATION]
        covering = next((job.id for job in ordinary if job.covers(frame)), None)
        if covering is None:
            return "no job covers it"
        self._jobs[frame] = covering
        return ""

    def _replaceable(self, frame: int) -> list[Json]:
        """Return the shapes of a frame that a mode takes away; people's in the last one only."""
        if self._mode is PushMode.ADD:
            return []
        if self._mode is PushMode.REPLACE_EVERYTHING:
            return list(self._live.get(frame, ()))
        doomed = []
        for shape in self._live.get(frame, ()):
            ours = self._own.get(int(shape["id"]))
            if ours is not None and ours != content_key(shape):
                self._edited += 1  # a person worked on it: it is theirs now
            elif ours is not None or (
                self._mode is PushMode.REPLACE_AUTOMATIC and shape.get("source") == "auto"
            ):
                doomed.append(shape)
        return doomed

    def _already_there(self, shapes: list[list[Json]], doomed: list[Json]) -> Flags:
        """Return which objects lie there as they are, (N,) bool, and spare those from removal."""
        there: dict[str, list[Json]] = defaultdict(list)
        for shape in doomed:
            there[content_key(shape, group=False)].append(shape)
        kept = np.zeros(len(shapes), bool)
        seen: set[tuple[object, ...]] = set()
        spared: set[int] = set()
        for i, parts in enumerate(shapes):
            drawn = tuple(
                sorted((part["type"], part["label_id"], *part["points"]) for part in parts)
            )
            if drawn in seen:
                kept[i] = True  # the model gave the same object twice
                continue
            seen.add(drawn)
            if not there:
                continue
            keys = [content_key(part, group=False) for part in parts]
            needed = Counter(keys)
            if all(len(there[key]) >= count for key, count in needed.items()):
                kept[i] = True
                spared.update(int(there[key].pop()["id"]) for key in keys)
        doomed[:] = [shape for shape in doomed if int(shape["id"]) not in spared]
        return kept

    def _of_people(self) -> list[str]:
        """Return what replacing everything takes from people, and what it leaves."""
        theirs = sum(
            shape.get("source") != "auto"
            or (int(shape["id"]) in self._own and self._own[int(shape["id"])] != content_key(shape))
            for shape in self._remove
        )
        rest = self._state.annotations
        left = len(rest.get("tracks") or ()) + len(rest.get("tags") or ())
        said = [f"{theirs} of the shapes that go were drawn or edited by people."] if theirs else []
        return said + ([f"{left} tracks and tags stay: only shapes are replaced."] if left else [])

    def _label_ids(self, live: FrameAnnotations) -> NDArray[np.int64]:
        ids = np.array([label.id for label in self._state.labels], np.int64)
        return ids[live.instances.class_ids]

    def _take(
        self,
        frame: int,
        new: Instances,
        shapes: list[list[Json]],
        add: Flags,
        duplicate: Flags,
        conflict: Flags,
        doomed: list[Json],
    ) -> None:
        """Note what one frame adds and loses."""
        names = [self._targets[c].name for c in new.class_ids.tolist()]
        for i, name in enumerate(names):
            for what, column in (("add", add), ("duplicates", duplicate), ("conflicts", conflict)):
                self._counts[name][what] += bool(column[i])
        for i in np.flatnonzero(add).tolist():
            self._next_group = max(self._next_group, int(shapes[i][0]["group"]) + 1)
        self._add([whole(s) for i in np.flatnonzero(add).tolist() for s in shapes[i]])
        drawn = np.array(
            [self._drawings[c] is Drawing.POLYGON for c in new.class_ids.tolist()], bool
        )
        if isinstance(new.masks, CropMasks) and (drawn & add).any():
            index = np.flatnonzero(drawn & add).tolist()
            self._lost += lost_pixels(
                new.masks.take(drawn & add), [shapes[i] for i in index], new.image_hw
            )
        for shape in doomed:
            self._remove.append(shape, self._holder(shape))
        removed = self._count_removed(frame, doomed)
        row = (int(add.sum()), int(duplicate.sum()), int(conflict.sum()), removed)
        if any(row):
            self._rows.append(FrameRow(frame, self._state.frames[frame].name, *row))

    def _add(self, shapes: list[Json]) -> None:
        """Keep what one frame adds: sound, and part of what the token names."""
        require_sound(shapes, self._sizes)
        for shape in shapes:
            # by name, so that a label which has to be made first changes nothing
            named = {**shape, "label_id": self._names[shape["label_id"]]}
            self._content.update(dumps(named))
            self._create.append(shape, self._jobs[int(shape["frame"])])

    def _count_removed(self, frame: int, doomed: Sequence[Json]) -> int:
        objects: set[object] = set()
        for shape in doomed:
            group = int(shape.get("group") or 0) if shape["type"] == "polygon" else 0
            key = (shape["label_id"], group) if group else int(shape["id"])
            if key not in objects:
                objects.add(key)
                self._counts[self._names.get(shape["label_id"], "?")]["remove"] += 1
        return len(objects)

    def _label_rows(self) -> tuple[LabelRow, ...]:
        rows = []
        for label in self._labels:
            count = self._counts[label.name]
            if self._now[label.name] or any(count.values()):
                add, there = count["add"], count["duplicates"]
                conflicts, gone = count["conflicts"], count["remove"]
                rows.append(
                    LabelRow(label.name, self._now[label.name], add, there, conflicts, gone)
                )
        return tuple(rows)

    def _warnings(self) -> list[str]:
        said = []
        if self._session.server.warning:
            said.append(self._session.server.warning)
        if self._beside_auto:
            said.append(
                f"{self._beside_auto} of the objects lie on automatic shapes that are there. "
                "Replace those instead, if they are from an earlier model."
            )
        if self._edited:
            said.append(f"{self._edited} shapes of earlier pushes were edited by people and stay.")
        if self._lost[0]:
            said.append(
                "Polygons have no holes, and simple ones leave the outline: "
                f"{self._lost[0]} objects differ by {self._lost[1]} pixels."
            )
        if self._mode is PushMode.REPLACE_EVERYTHING:
            said += self._of_people()
        said += over_budget(self._live, self._create, self._remove)
        touched = {self._jobs[row.frame] for row in self._rows if row.add or row.remove}
        done = sum(j.id in touched and j.state == "completed" for j in self._state.jobs)
        if done:
            said.append(f"{done} of the jobs that change are marked as completed in CVAT.")
        if self._create and not self._session.server.keeps_score:
            said.append("This version of CVAT keeps no scores; the workspace does.")
        return said


def _without(live: FrameAnnotations, doomed: Sequence[Json]) -> FrameAnnotations:
    """Return the live objects of a frame that will stay."""
    gone = {int(s["id"]) for s in doomed}
    stays = np.array([not (ids and gone.issuperset(ids)) for ids in live.shape_ids], bool)
    return live if stays.all() else live.take(stays)

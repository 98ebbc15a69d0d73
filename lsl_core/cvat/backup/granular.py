"""Bringing single jobs or frames of a backup back into the live task, as a push with a way back."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from lsl_core.cvat.annotations.content import (
    KINDS,
    Key,
    Kind,
    content_key,
    each,
    key_of,
    kind_of,
    state_key,
)
from lsl_core.cvat.annotations.reading import TaskState, read_task
from lsl_core.cvat.annotations.spool import Spool
from lsl_core.cvat.annotations.tracks import expand
from lsl_core.cvat.backup.saved import Relabel, SavedTask
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.push.plan import FrameRow, LabelRow, PushPlan, RestoreMode, SkippedFrame
from lsl_core.cvat.tasks.entities import CvatLabel, JobInfo, JobKind
from lsl_core.cvat.tasks.reading import label_entries
from lsl_core.errors import RestoreRefused, UserInput

Json = dict[str, Any]


def plan_restore(
    session: CvatSession,
    saved: SavedTask,
    *,
    frames: Collection[int] | None = None,
    job: int | None = None,
    task_id: int | None = None,
    keep_newer: bool = False,
) -> PushPlan:
    """Work out what makes jobs of the live task what they were in a backup. Writes nothing.

    Tags, shapes and tracks that are there as they were stay, with their ids; what is missing is
    added, what came later is taken away, what a person edited since (the same id, another content)
    becomes what it was. A track is of its job: it comes back when all frames of the job are
    chosen, and is listed as left out otherwise. `apply_push` does it, `undo_push` takes it back.

    Args:
        session: who asks.
        saved: the task as the backup holds it.
        frames: which ones; all when None.
        job: only what this job holds, by its id in the backup.
        task_id: the live task; the one that was backed up when None.
        keep_newer: whether what people added or edited later stays, so that nothing is taken away.

    Raises:
        CvatNotFound: the task is gone; restore it as a new one.
        RestoreRefused: the live task has other frames or other jobs than the backup's.
        UserInput: no such job or frame in the backup.
    """
    state = read_task(session, saved.id if task_id is None else task_id)
    _require_same_frames(saved, state)
    pairs = _pairs(saved, state, job)
    chosen = _frames(pairs, frames)
    relabel = Relabel(saved.labels, label_entries(session, state.task))
    held = state.by_job()
    changes = _Changes(saved.id == state.task.id, keep_newer)
    for entry, live in pairs:
        if not saved.has_annotations(int(entry["id"])):
            raise RestoreRefused(
                f"The backup lacks the annotations of job {entry['id']}.",
                hint="Choose another snapshot: lsl backup list",
            )
        before = saved.annotations(int(entry["id"]))
        changes.add_job(live, before, held[live.id], relabel, chosen)
    return _plan(session, state, changes, _warnings(state, relabel, changes))


def _require_same_frames(saved: SavedTask, state: TaskState) -> None:
    """See that frame numbers mean the same images in the backup and in the live task.

    Raises:
        RestoreRefused: when they do not.
    """
    frames = list((saved.document("data") or {}).get("frames") or ())
    before = [(frame["name"], frame["width"], frame["height"]) for frame in frames]
    now = [(frame.name, frame.width, frame.height) for frame in state.frames]
    is_video = len(before) == 1 and len(now) > 1
    if not is_video and before != now:
        raise RestoreRefused(
            f'Task {state.task.id} "{state.task.name}" has other images than the backup.',
            hint="Restore the backup as a new task instead.",
        )


def _pairs(saved: SavedTask, state: TaskState, job: int | None) -> list[tuple[Json, JobInfo]]:
    """Return the ordinary jobs of a backup, or one of them, each with the live one."""
    ordinary = [j for j in saved.jobs if (j.get("type") or "annotation") == JobKind.ANNOTATION]
    wanted = [entry for entry in ordinary if job is None or int(entry["id"]) == job]
    if job is not None and not wanted:
        ids = ", ".join(str(entry["id"]) for entry in ordinary)
        raise UserInput(f"The backup has no job {job}.", hint=f"It has: {ids}")
    live = {(j.start_frame, j.stop_frame): j for j in state.jobs if j.kind is JobKind.ANNOTATION}
    places = [(int(entry["start_frame"]), int(entry["stop_frame"])) for entry in wanted]
    if not live.keys() >= set(places):
        raise RestoreRefused(
            f'Task {state.task.id} "{state.task.name}" is cut into other jobs than the backup.',
            hint="Restore the backup as a new task instead.",
        )
    return [(entry, live[place]) for entry, place in zip(wanted, places, strict=True)]


def _frames(
    pairs: Sequence[tuple[Json, JobInfo]], frames: Collection[int] | None
) -> frozenset[int]:
    everything = {f for _, live in pairs for f in range(live.start_frame, live.stop_frame + 1)}
    if frames is None:
        return frozenset(everything)
    unknown = sorted(set(frames) - everything)
    if unknown:
        raise UserInput(
            f"There is no frame {unknown[0]} to bring back.",
            hint=f"Frames go from {min(everything)} to {max(everything)}.",
        )
    return frozenset(frames)


@dataclass(slots=True)
class _Changes:
    """What has to change in the live task, in the making.

    is_same_task: whether ids in the backup mean the same annotations. counts: of each kind, label
    id and one of "add", "there", "edited" and "remove". left_out: tracks by frame and reason.
    """

    is_same_task: bool
    keep_newer: bool
    create: list[tuple[Json, int]] = field(default_factory=list)
    remove: list[tuple[Json, int]] = field(default_factory=list)
    counts: Counter[tuple[Kind, int, str]] = field(default_factory=Counter)
    left_out: Counter[tuple[int, str]] = field(default_factory=Counter)

    def add_job(
        self,
        job: JobInfo,
        before: Iterable[tuple[Kind, Json]],
        now: Json,
        relabel: Relabel,
        chosen: frozenset[int],
    ) -> None:
        """Compare what a job held, read once, with what it holds."""
        is_whole = chosen.issuperset(range(job.start_frame, job.stop_frame + 1))
        live = {kind: _by_content(kind, now[kind], chosen) for kind in KINDS}
        missing: dict[Kind, list[tuple[Key, Json]]] = {kind: [] for kind in KINDS}
        for kind, old in before:
            for entry in relabel([old]) if _is_chosen(kind, old, chosen) else ():
                same = live[kind][content_key(entry)]
                if same:
                    same.pop()
                    self._count(entry, "there")
                else:
                    missing[kind].append((key_of(old), entry))
        for kind in KINDS:
            newer = [entry for left in live[kind].values() for entry in left]
            if kind == "tracks" and not is_whole:
                self._leave_out(job, [*(entry for _, entry in missing[kind]), *newer], chosen)
            else:
                self._take(job, missing[kind], newer)

    def _take(self, job: JobInfo, missing: list[tuple[Key, Json]], newer: list[Json]) -> None:
        there = set(map(key_of, newer)) if self.is_same_task else set()
        for key, entry in missing:
            if key in there:
                self._count(entry, "edited")
            if key not in there or not self.keep_newer:
                self._count(entry, "add")
                self.create.append((entry, job.id))
        for entry in () if self.keep_newer else newer:
            self._count(entry, "remove")
            self.remove.append((entry, job.id))

    def _leave_out(self, job: JobInfo, tracks: list[Json], chosen: frozenset[int]) -> None:
        """Note the tracks of a job that are to be seen on the chosen frames and differ."""
        reason = f"a track comes back whole, with all frames of job {job.id}"
        for track in tracks:
            seen = chosen.intersection(int(shape["frame"]) for shape in expand(track, [job]))
            if seen:
                self.left_out[min(seen), reason] += 1

    def _count(self, entry: Json, what: str) -> None:
        self.counts[kind_of(entry), int(entry["label_id"]), what] += 1

    def without(self, frames: Collection[int], reason: str) -> None:
        """Leave out tags and shapes that would go to these frames."""
        kept = []
        for entry, job_id in self.create:
            if kind_of(entry) != "tracks" and int(entry["frame"]) in frames:
                self.left_out[int(entry["frame"]), reason] += 1
                self.counts[kind_of(entry), int(entry["label_id"]), "add"] -= 1
            else:
                kept.append((entry, job_id))
        self.create = kept


def _is_chosen(kind: Kind, entry: Json, chosen: frozenset[int]) -> bool:
    """Tell whether an entry is on a chosen frame; tracks are of their job and looked at later."""
    return kind == "tracks" or int(entry["frame"]) in chosen


def _by_content(
    kind: Kind, entries: Iterable[Json], chosen: frozenset[int]
) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = defaultdict(list)
    for entry in entries:
        if _is_chosen(kind, entry, chosen):
            found[content_key(entry)].append(entry)
    return found


def _warnings(state: TaskState, relabel: Relabel, changes: _Changes) -> list[str]:
    said = [
        f'Objects of the label "{name}" stay away: the task has no such label any more.'
        for name in sorted(relabel.missing)
    ]
    if edited := sum(n for (_, _, what), n in changes.counts.items() if what == "edited"):
        fate = "stay as they are now" if changes.keep_newer else "become what they were"
        said.append(f"{edited} of the objects were edited by people since, and {fate}.")
    touched = {job_id for _, job_id in (*changes.create, *changes.remove)}
    if done := sum(job.id in touched and job.state == "completed" for job in state.jobs):
        said.append(f"{done} of the jobs that change are marked as completed in CVAT.")
    return said


def _plan(
    session: CvatSession, state: TaskState, changes: _Changes, warnings: list[str]
) -> PushPlan:
    deleted = {frame.frame for frame in state.frames if frame.deleted}
    changes.without(deleted, "was deleted in CVAT")
    changes.create.sort(key=itemgetter(1))
    changes.remove.sort(key=itemgetter(1))
    create, remove = [e for e, _ in changes.create], [e for e, _ in changes.remove]
    stored = state.stored
    state_of_task = state_key(each(stored))
    ingredients = [state_of_task, sorted(map(content_key, create)), sorted(map(key_of, remove))]
    plus, minus = (Counter(int(entry["frame"]) for entry in part) for part in (create, remove))
    return PushPlan(
        token=hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:16],
        task=state.task,
        url=session.url,
        mode=RestoreMode.RESTORE,
        run_id="",
        state=state_of_task,
        num_shapes=len(stored["shapes"]),
        matches=(),
        labels=_label_rows(state.labels, stored, changes.counts),
        frames=tuple(
            FrameRow(frame, state.frames[frame].name, plus[frame], 0, 0, minus[frame])
            for frame in sorted(plus.keys() | minus.keys())
        ),
        skipped=tuple(
            SkippedFrame(frame, count, reason)
            for (frame, reason), count in sorted(changes.left_out.items())
        ),
        warnings=tuple(warnings),
        create=_spooled(changes.create),
        remove=_spooled(changes.remove),
    )


def _spooled(entries: Iterable[tuple[Json, int]]) -> Spool:
    spool = Spool()
    for entry, job_id in entries:
        spool.append(entry, job_id)
    return spool


def _label_rows(
    labels: Sequence[CvatLabel], stored: Json, counts: Counter[tuple[Kind, int, str]]
) -> tuple[LabelRow, ...]:
    now = Counter((kind_of(entry), int(entry["label_id"])) for entry in each(stored))
    rows = [
        LabelRow(
            label.name,
            now[kind, label.id],
            counts[kind, label.id, "add"],
            counts[kind, label.id, "there"],
            counts[kind, label.id, "edited"],
            counts[kind, label.id, "remove"],
            kind,
        )
        for kind in ("shapes", "tags", "tracks")
        for label in labels
    ]
    return tuple(row for row in rows if row.now or row.add or row.conflicts)

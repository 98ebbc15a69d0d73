"""Annotations of a task and its jobs, read as plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from lsl_core.cvat.annotations.content import KINDS, content_key, each, key_of, kind_of
from lsl_core.cvat.annotations.packing import packed
from lsl_core.cvat.annotations.shapes import Converted, FrameAnnotations, each_frame, to_instances
from lsl_core.cvat.annotations.spool import Spool
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.tasks.entities import CvatLabel, FrameInfo, JobInfo, JobKind, TaskInfo, frames_of
from lsl_core.cvat.tasks.reading import data_meta, get_task, jobs_of, labels_of, require_images
from lsl_core.errors import CvatNotFound, CvatUnreachable

Json = dict[str, Any]
T = TypeVar("T")

#: How often annotations are asked for whose answer was cut in its middle.
_READS = 3

_IN_POOL = "on a frame of the ground truth"


@dataclass(frozen=True, slots=True, eq=False)
class TaskState:
    """A task with all that a push or an import has to know, read at one time.

    annotations: as CVAT sends them, without ground truth and replicas, and of equal shapes that
    several jobs hold of one frame one; shapes lie in a `Spool`, on disk. separate: what each job
    holds, where jobs overlap, likewise; empty where they do not, since `annotations` tells it then.
    validation: frames whose shapes are not ordinary work, with the reason.
    """

    task: TaskInfo
    labels: tuple[CvatLabel, ...]
    frames: tuple[FrameInfo, ...]
    jobs: tuple[JobInfo, ...]
    annotations: Json
    separate: dict[int, Json]
    validation: dict[int, str]

    @property
    def stored(self) -> Json:
        """The annotations as they are written and taken away; see `stored_entries`."""
        return joined(self.separate.values()) if self.separate else self.annotations

    def by_job(self) -> dict[int, Json]:
        """Return what each ordinary job holds."""
        if self.separate:
            return self.separate
        at, together = self._ordinary(), Spool()
        held: dict[int, Json] = {job: {"tags": [], "tracks": []} for job in set(at.values())}
        for entry in each(self.annotations):
            job = at.get(int(entry["frame"]))
            if job is None:  # CVAT takes frames that no job has
                continue
            if kind_of(entry) == "shapes":
                together.append(entry, job)
            else:
                held[job][kind_of(entry)].append(entry)
        return {job: {**part, "shapes": together.groups.get(job, ())} for job, part in held.items()}

    def holder(self) -> Callable[[Json], int]:
        """Return what tells the job of an annotation that was read here."""
        if not self.separate:
            at = self._ordinary()
            return lambda entry: at[int(entry["frame"])]
        held = {key_of(entry): job for job, part in self.separate.items() for entry in each(part)}
        return lambda entry: held[key_of(entry)]

    def _ordinary(self) -> dict[int, int]:
        """Return the ordinary job of each frame that has one, where jobs do not overlap."""
        jobs = [job for job in self.jobs if job.kind is JobKind.ANNOTATION]
        return {
            frame: job.id for job in jobs for frame in range(job.start_frame, job.stop_frame + 1)
        }

    def objects(self) -> Converted:
        """Return the annotations as instances; class ids index `labels`."""
        return self._read_by(to_instances)

    def each_frame(self) -> Iterator[FrameAnnotations]:
        """Yield the `objects` of one frame after the other; those of all are never held."""
        return self._read_by(each_frame)

    def _read_by(self, read: Callable[..., T]) -> T:
        return read(
            self.annotations,
            self.frames,
            self.labels,
            jobs=self.jobs,
            left_out_frames=self.validation,
        )


def read_task(
    session: CvatSession, task_id: int, *, frames: Collection[int] | None = None
) -> TaskState:
    """Read a task whole: labels, frames, jobs and the annotations of all ordinary jobs.

    Args:
        session: who asks.
        task_id: which task.
        frames: only their objects are wanted: what lies on others is not held, but for tracks.

    Raises:
        CvatNotFound: no such task.
        UserInput: a task without images.
    """
    task = require_images(get_task(session, task_id, labels=False))
    return read_state(session, task, partial(data_meta, session, task), frames=frames)


def read_state(
    session: CvatSession,
    task: TaskInfo,
    ask_meta: Callable[[], Json],
    *,
    frames: Collection[int] | None = None,
) -> TaskState:
    """Read what belongs to a task that was read already; see `read_task`.

    Args:
        session: who asks.
        task: which; it holds images.
        ask_meta: gives what CVAT knows of them; may be asked beside other questions.
        frames: see `read_task`.
    """
    with ThreadPoolExecutor(3, thread_name_prefix="cvat-read") as pool:
        asked_meta = pool.submit(ask_meta)
        asked_jobs = pool.submit(jobs_of, session, task)
        asked_labels = pool.submit(labels_of, session, task)
    meta, task_jobs, labels = asked_meta.result(), asked_jobs.result(), asked_labels.result()
    task = replace(task, labels=tuple(label.name for label in labels))
    annotations = _whole(session, "task", task.id, frames, shapes=Spool, shared=_shared(task_jobs))
    if not task.overlap:
        annotations["tracks"] = [*map(as_stored, annotations["tracks"])]
    return TaskState(
        task,
        tuple(labels),
        tuple(frames_of(task, meta)),
        tuple(task_jobs),
        annotations,
        _by_job(session, task_jobs) if task.overlap and frames is None else {},
        validation_frames(session, task, task_jobs),
    )


def _shared(task_jobs: Sequence[JobInfo]) -> set[int]:
    """Return the frames that several ordinary jobs cover."""
    jobs = [job for job in task_jobs if job.kind is JobKind.ANNOTATION]
    covers = Counter(frame for job in jobs for frame in range(job.start_frame, job.stop_frame + 1))
    return {frame for frame, count in covers.items() if count > 1}


def _by_job(session: CvatSession, task_jobs: Sequence[JobInfo]) -> dict[int, Json]:
    """Return what each ordinary job holds; the shapes of all of them lie in one `Spool`."""
    held, together = {}, Spool()
    for job in task_jobs:
        if job.kind is JobKind.ANNOTATION:
            found = _whole(session, "job", job.id, shapes=Spool)
            together.add(found["shapes"], job.id)
            held[job.id] = {**found, "shapes": together.groups.get(job.id, ())}
    return held


def joined(parts: Collection[Json]) -> Json:
    """Return the annotations of several jobs as those of one task; shapes stay on disk."""
    lists = {kind: [entry for part in parts for entry in part[kind]] for kind in ("tags", "tracks")}
    return {**lists, "shapes": Spool(shape for part in parts for shape in part["shapes"])}


def task_annotations(session: CvatSession, task_id: int) -> Json:
    """Return tags, shapes and tracks of a task as CVAT sends them, points in arrays."""
    return _whole(session, "task", task_id)


def job_annotations(session: CvatSession, job_id: int) -> Json:
    """Return tags, shapes and tracks of one job as CVAT sends them, points in arrays."""
    return _whole(session, "job", job_id)


def stored_entries(session: CvatSession, task: TaskInfo) -> Iterator[Json]:
    """Yield the annotations of a task as its jobs hold them, while they come; none is held.

    CVAT's answer for a task is another one: it ends tracks that are open at the end of their job,
    and where jobs overlap, it joins tracks that go on in the next job and leaves out one of two
    equal rectangles or polygons.

    Raises:
        CvatError: also in the middle, when an answer is cut; see `unless_cut`.
    """
    if not task.overlap:
        for kind, entry in _entries(session, "task", task.id):
            yield as_stored(entry) if kind == "tracks" else entry
        return
    for job in jobs_of(session, task):
        if job.kind is JobKind.ANNOTATION:
            yield from job_entries(session, job.id)


def as_stored(track: Json) -> Json:
    """Return a track, or a part of one, without the end that CVAT gives it for a task's answer.

    Where a track is open at the end of its job, a copy of the last keyframe, its id and all, says
    "outside" on the first frame of the next job.
    """
    found = dict(track)
    keys = track["shapes"]
    if len(keys) > 1 and keys[-1].get("id") == keys[-2].get("id") is not None:
        found["shapes"] = keys[:-1]
    if track.get("elements"):
        found["elements"] = [*map(as_stored, track["elements"])]
    return found


def job_entries(session: CvatSession, job_id: int) -> Iterator[Json]:
    """Yield what one job holds, as `stored_entries` does."""
    return (entry for _, entry in _entries(session, "job", job_id))


def unless_cut(read: Callable[[], T]) -> T:
    """Return what a reading gives; it is begun anew when an answer was cut in its middle.

    Raises:
        CvatUnreachable: when that happened three times.
    """
    for left in reversed(range(_READS)):
        try:
            return read()
        except CvatUnreachable:
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def _whole(
    session: CvatSession,
    owner: str,
    number: int,
    frames: Collection[int] | None = None,
    *,
    shapes: Callable[[], list[Json] | Spool] = list,
    shared: Collection[int] = (),
) -> Json:
    """Read what a task or a job holds.

    Args:
        session: who asks.
        owner: "task" or "job".
        number: of it.
        frames: see `read_task`.
        shapes: makes the collection that shapes go into.
        shared: frames of which several jobs hold shapes: of equal ones the first is taken. CVAT
            itself leaves such rectangles and polygons out of a task's answer, but no masks, points,
            lines and ellipses (seen of 2.42.0): its AI tools put each into every such job.
    """

    def read() -> Json:
        found: Json = {"tags": [], "shapes": shapes(), "tracks": []}
        seen: set[str] = set()
        for kind, entry in _entries(session, owner, number):
            if frames is not None and kind != "tracks" and entry["frame"] not in frames:
                continue
            if kind == "shapes" and entry["frame"] in shared:
                key = content_key(entry)
                if key in seen:
                    continue
                seen.add(key)
            found[kind].append(entry)
        return found

    return unless_cut(read)


def _entries(session: CvatSession, owner: str, number: int) -> Iterator[tuple[str, Json]]:
    found = session.transport.entries(
        f"/api/{owner}s/{number}/annotations/",
        doing=f"reading the annotations of {owner} {number}",
        hook=packed,
    )
    return ((kind, entry) for kind, entry in found if kind in KINDS)


def validation_frames(
    session: CvatSession, task: TaskInfo, task_jobs: Sequence[JobInfo]
) -> dict[int, str]:
    """Return the frames of a task whose shapes are no ordinary work, with the reason.

    In a task with a pool of ground truth, the pool lies behind the ordinary frames, and hidden
    copies of it (honeypots) lie among them. The range of a ground truth job says nothing: it is
    the whole task. Where ground truth was made for ordinary frames, CVAT keeps the two apart.
    """
    if task.validation != "gt_pool":
        return {}
    ordinary = [job for job in task_jobs if job.kind is JobKind.ANNOTATION]
    reasons = {
        frame: _IN_POOL
        for frame in range(task.frames)
        if not any(job.covers(frame) for job in ordinary)
    }
    try:
        layout = session.transport.json(
            "GET",
            f"/api/tasks/{task.id}/validation_layout",
            doing=f"reading the validation frames of task {task.id}",
        )
    except CvatNotFound:  # a server older than this question
        return reasons
    for frame in layout.get("validation_frames") or ():
        reasons[int(frame)] = _IN_POOL
    for frame in layout.get("honeypot_frames") or ():
        reasons[int(frame)] = "on a hidden copy of a ground truth frame"
    return reasons

"""Annotations of a task and its jobs, read and changed as plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lsl_core.cvat.content import KINDS, Key, by_key, content_key, key_of, kind_of
from lsl_core.cvat.entities import CvatLabel, FrameInfo, JobInfo, JobKind, TaskInfo, frames_of
from lsl_core.cvat.packing import packed, unpacked
from lsl_core.cvat.session import CvatSession
from lsl_core.cvat.shapes import Converted, to_instances
from lsl_core.cvat.spool import Spool
from lsl_core.cvat.tasks import data_meta, get_task, jobs_of, labels_of, require_images
from lsl_core.errors import CvatNotFound, CvatRequestFailed, CvatUnreachable

Json = dict[str, Any]

#: How often annotations are asked for whose answer was cut in its middle.
READS = 3

_IN_POOL = "on a frame of the ground truth"


class Action(StrEnum):
    """What a PATCH does with the annotations that it carries."""

    CREATE = "create"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, eq=False)
class TaskState:
    """A task with all that a push or an import has to know, read at one time.

    annotations: as CVAT sends them, without ground truth and replicas; shapes lie in a `Spool`,
    on disk. separate: what each job
    holds, where jobs overlap; empty where they do not, since `annotations` tells it then.
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
        """The annotations as they are written and taken away; see `stored_annotations`."""
        return joined(self.separate.values()) if self.separate else self.annotations

    def by_job(self) -> dict[int, Json]:
        """Return what each ordinary job holds."""
        if self.separate:
            return self.separate
        at = self._ordinary()
        held: dict[int, Json] = {job: {kind: [] for kind in KINDS} for job in set(at.values())}
        for kind in KINDS:
            for entry in self.annotations[kind]:
                if int(entry["frame"]) in at:  # CVAT takes frames that no job has
                    held[at[int(entry["frame"])]][kind].append(entry)
        return held

    def holders(self, entries: Sequence[Json]) -> tuple[int, ...]:
        """Return the job that holds each of these, which were read here."""
        if not self.separate:
            at = self._ordinary()
            return tuple(at[int(entry["frame"])] for entry in entries)
        held = {key: job_id for job_id, part in self.separate.items() for key in by_key(part)}
        return tuple(held[key_of(entry)] for entry in entries)

    def _ordinary(self) -> dict[int, int]:
        """Return the ordinary job of each frame that has one, where jobs do not overlap."""
        jobs = [job for job in self.jobs if job.kind is JobKind.ANNOTATION]
        return {
            frame: job.id for job in jobs for frame in range(job.start_frame, job.stop_frame + 1)
        }

    def objects(self) -> Converted:
        """Return the annotations as instances; class ids index `labels`."""
        return to_instances(
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
    task = require_images(get_task(session, task_id))
    known = frames_of(task, data_meta(session, task))
    task_jobs = jobs_of(session, task)
    return TaskState(
        task,
        tuple(labels_of(session, task)),
        tuple(known),
        tuple(task_jobs),
        _whole(session, "task", task_id, frames, shapes=Spool),
        _by_job(session, task_jobs) if task.overlap and frames is None else {},
        validation_frames(session, task, task_jobs),
    )


def stored_annotations(session: CvatSession, task: TaskInfo) -> Json:
    """Return the annotations of a task as its jobs hold them.

    Where jobs overlap, CVAT's answer for a task is another one: it joins tracks that go on in the
    next job, and leaves out one of two equal shapes.
    """
    if not task.overlap:
        return task_annotations(session, task.id)
    return joined(_by_job(session, jobs_of(session, task)).values())


def _by_job(session: CvatSession, task_jobs: Sequence[JobInfo]) -> dict[int, Json]:
    ordinary = [job.id for job in task_jobs if job.kind is JobKind.ANNOTATION]
    return {job_id: job_annotations(session, job_id) for job_id in ordinary}


def joined(parts: Collection[Json]) -> Json:
    """Return the annotations of several jobs as those of one task."""
    return {kind: [entry for part in parts for entry in part[kind]] for kind in KINDS}


def task_annotations(session: CvatSession, task_id: int) -> Json:
    """Return tags, shapes and tracks of a task as CVAT sends them, points in arrays."""
    return _whole(session, "task", task_id)


def job_annotations(session: CvatSession, job_id: int) -> Json:
    """Return tags, shapes and tracks of one job as CVAT sends them, points in arrays."""
    return _whole(session, "job", job_id)


def stored_contents(session: CvatSession, task: TaskInfo) -> Iterator[tuple[Key, str]]:
    """Yield the content of each of `stored_annotations` while they come; none is held.

    Raises:
        CvatError: also in the middle, when an answer is cut.
    """
    sources = [("task", task.id)]
    if task.overlap:
        ordinary = [job for job in jobs_of(session, task) if job.kind is JobKind.ANNOTATION]
        sources = [("job", job.id) for job in ordinary]
    for owner, number in sources:
        for _, entry in _entries(session, owner, number):
            yield key_of(entry), content_key(entry)


def _whole(
    session: CvatSession,
    owner: str,
    number: int,
    frames: Collection[int] | None = None,
    *,
    shapes: Callable[[], list[Json] | Spool] = list,
) -> Json:
    for left in reversed(range(READS)):
        found: Json = {"tags": [], "shapes": shapes(), "tracks": []}
        try:
            for kind, entry in _entries(session, owner, number):
                if frames is None or kind == "tracks" or entry["frame"] in frames:
                    found[kind].append(entry)
        except CvatUnreachable:
            if not left:
                raise
        else:
            return found
    raise AssertionError("the last try returns or raises")


def _entries(session: CvatSession, owner: str, number: int) -> Iterator[tuple[str, Json]]:
    found = session.transport.entries(
        f"/api/{owner}s/{number}/annotations/",
        doing=f"reading the annotations of {owner} {number}",
        hook=packed,
    )
    return ((kind, entry) for kind, entry in found if kind in KINDS)


def change_job(
    session: CvatSession, job_id: int, action: Action, entries: Sequence[Json]
) -> list[Json]:
    """Create or delete annotations of a job in one step that CVAT does whole or not at all.

    Never repeated here: an answer that got lost may mean that it is done.

    Args:
        session: who does it.
        job_id: the job that covers the frames of all of them.
        action: create adds them, delete takes those with these ids away.
        entries: tags, shapes and tracks as they were read, or as `from_instances` makes them.

    Returns:
        The created annotations as CVAT answered, with their ids, in the order sent.

    Raises:
        CvatRequestFailed: the answer holds others than were sent.
    """
    kinds = [kind_of(entry) for entry in entries]
    body: Json = {"version": 0, **{kind: [] for kind in KINDS}}
    for kind, entry in zip(kinds, unpacked(entries), strict=True):
        body[kind].append(entry)
    doing = "writing to" if action is Action.CREATE else "deleting in"
    answer = session.transport.json(
        "PATCH",
        f"/api/jobs/{job_id}/annotations/",
        doing=f"{doing} job {job_id}",
        query={"action": action.value},
        body=body,
        hook=packed,
    )
    if action is Action.DELETE:
        return []
    if any(len(answer[kind]) != len(body[kind]) for kind in KINDS):
        raise CvatRequestFailed(
            f"CVAT's answer to {len(entries)} new annotations does not name them all.",
            hint="Try again.",
        ) from ValueError("as many as were sent are needed")
    answers = {kind: iter(answer[kind]) for kind in KINDS}
    return [next(answers[kind]) for kind in kinds]


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

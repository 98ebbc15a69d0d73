"""Tasks, labels, frames and jobs as values, and how the API's JSON becomes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lsl_core.errors import CvatRequestFailed
from lsl_core.types import Hw

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task of CVAT.

    project: name of its project, or "". labels: names, empty when they were not asked for.
    frames: number of images. jobs, jobs_done: number of jobs, and of completed ones. assignee: a
    user name, or "". status: annotation, validation or completed. created, updated: ISO 8601.
    url: its page in CVAT. chunk_size: images in a chunk. has_image_chunks: whether chunks hold
    image files, not video. validation: "", "gt" or "gt_pool". overlap: images that a job shares
    with the one before it.
    """

    id: int
    name: str
    project_id: int | None
    project: str
    labels: tuple[str, ...]
    frames: int
    jobs: int
    jobs_done: int
    assignee: str
    status: str
    created: str
    updated: str
    url: str
    organisation_id: int | None
    chunk_size: int
    has_image_chunks: bool
    validation: str
    overlap: int

    @property
    def is_completed(self) -> bool:
        """Whether all of its jobs are."""
        return 0 < self.jobs == self.jobs_done


@dataclass(frozen=True, slots=True)
class LabelAttribute:
    """Something people note about an object, with the value it has when nobody says."""

    id: int
    name: str
    input_type: str
    default: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CvatLabel:
    """A label of a task. type: any, rectangle, polygon, mask, ellipse, skeleton, and so on."""

    id: int
    name: str
    type: str
    color: str
    attributes: tuple[LabelAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """One image of a task. deleted: taken out of the task by somebody; its number stays."""

    frame: int
    name: str
    width: int
    height: int
    deleted: bool = False

    @property
    def image_hw(self) -> Hw:
        """(height, width) in pixels, upright."""
        return self.height, self.width


class JobKind(StrEnum):
    """What a job is for: ordinary work, the checked answer, or one of several opinions."""

    ANNOTATION = "annotation"
    GROUND_TRUTH = "ground_truth"
    CONSENSUS_REPLICA = "consensus_replica"
    OTHER = "other"  # of a CVAT newer than this code: never read, never written


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job of a task; start_frame to stop_frame, both inclusive."""

    id: int
    task_id: int
    kind: JobKind
    stage: str
    state: str
    assignee: str
    start_frame: int
    stop_frame: int
    updated: str
    url: str

    def covers(self, frame: int) -> bool:
        """Whether the frame lies in the job's range."""
        return self.start_frame <= frame <= self.stop_frame


def job_of(task_jobs: Sequence[JobInfo], frame: int) -> JobInfo:
    """Return the first ordinary job that covers a frame.

    Raises:
        ValueError: when none does.
    """
    for job in task_jobs:
        if job.kind is JobKind.ANNOTATION and job.covers(frame):
            return job
    raise ValueError(f"no job covers frame {frame}")


def frames_of(task: TaskInfo, meta: Json) -> list[FrameInfo]:
    """Read the frames of a task from its data meta; a video has one entry for all of them."""
    entries = meta["frames"]
    count = int(meta.get("size") or len(entries))
    deleted = frozenset(meta.get("deleted_frames") or ())
    if len(entries) == 1 and count > 1:
        stem, dot, _ = entries[0]["name"].rpartition(".")
        name = stem if dot else entries[0]["name"]
        entries = [{**entries[0], "name": f"{name}_{i:06d}.png"} for i in range(count)]
    if len(entries) != count:
        raise CvatRequestFailed(f"CVAT lists {len(entries)} of the {count} frames of {task.id}.")
    return [
        FrameInfo(i, entry["name"], int(entry["width"]), int(entry["height"]), i in deleted)
        for i, entry in enumerate(entries)
    ]


def read_label(entry: Json) -> CvatLabel:
    """Read a label as the API lists it."""
    attributes = tuple(
        LabelAttribute(
            a["id"],
            a["name"],
            a["input_type"],
            str(a.get("default_value") or ""),
            tuple(a.get("values") or ()),
        )
        for a in entry.get("attributes") or ()
    )
    kind = entry.get("type") or "any"
    return CvatLabel(entry["id"], entry["name"], kind, entry.get("color") or "#888888", attributes)


def read_job(entry: Json, url: str) -> JobInfo:
    """Read a job as the API lists it; `url` is the server's."""
    return JobInfo(
        id=entry["id"],
        task_id=entry["task_id"],
        kind=_job_kind(entry.get("type") or "annotation"),
        stage=entry.get("stage") or "",
        state=entry.get("state") or "",
        assignee=_user_name(entry.get("assignee")),
        start_frame=int(entry["start_frame"]),
        stop_frame=int(entry["stop_frame"]),
        updated=entry.get("updated_date") or "",
        url=f"{url}/tasks/{entry['task_id']}/jobs/{entry['id']}",
    )


def _job_kind(text: str) -> JobKind:
    try:
        return JobKind(text)
    except ValueError:
        return JobKind.OTHER


def read_task_info(entry: Json, url: str, *, project: str, labels: tuple[str, ...]) -> TaskInfo:
    """Read a task as the API lists it; `url` is the server's."""
    count = entry.get("jobs") or {}
    return TaskInfo(
        id=entry["id"],
        name=entry["name"],
        project_id=entry.get("project_id"),
        project=project,
        labels=labels,
        frames=int(entry.get("size") or 0),
        jobs=int(count.get("count") or 0),
        jobs_done=int(count.get("completed") or 0),
        assignee=_user_name(entry.get("assignee")),
        status=entry.get("status") or "",
        created=entry.get("created_date") or "",
        updated=entry.get("updated_date") or "",
        url=f"{url}/tasks/{entry['id']}",
        organisation_id=organisation_id(entry),
        chunk_size=int(entry.get("data_chunk_size") or 0),
        has_image_chunks=entry.get("data_original_chunk_type") == "imageset",
        validation=entry.get("validation_mode") or "",
        overlap=int(entry.get("overlap") or 0),
    )


def organisation_id(entry: Json) -> int | None:
    """Read a task's organisation; 2.80 calls the field organization_id."""
    values = (entry.get("organization"), entry.get("organization_id"))
    return next((int(value) for value in values if value is not None), None)


def _user_name(entry: Json | None) -> str:
    return str(entry.get("username") or "") if entry else ""

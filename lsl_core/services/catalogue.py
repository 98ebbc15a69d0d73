"""What is on the CVAT server, seen from this workspace."""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np

from lsl_core import cvat
from lsl_core.cvat import (
    CvatLabel,
    CvatSession,
    FrameInfo,
    JobInfo,
    LabelAttribute,
    PushPhase,
    TaskInfo,
)
from lsl_core.inference.previews import PreviewStore
from lsl_core.words import plural
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import decode_rgb, encode_rgb

__all__ = [
    "CvatLabel",
    "FrameInfo",
    "JobInfo",
    "LabelAttribute",
    "TaskDetails",
    "TaskInfo",
    "frame_link",
    "list_tasks",
    "task_details",
    "task_states",
    "thumbnail",
]


@dataclass(frozen=True, slots=True)
class TaskDetails:
    """A task with its labels, jobs and frames."""

    task: TaskInfo
    labels: tuple[CvatLabel, ...]
    jobs: tuple[JobInfo, ...]
    frames: tuple[FrameInfo, ...]


def list_tasks(session: CvatSession, *, search: str = "") -> list[TaskInfo]:
    """Return the tasks of the session's organisation, the last changed first."""
    return cvat.list_tasks(session, search=search)


def task_details(session: CvatSession, task_id: int) -> TaskDetails:
    """Return a task with its labels, jobs and frames; a task without images has no frames.

    Raises:
        CvatNotFound: when it does not exist, or the user may not see it.
    """
    task = cvat.get_task(session, task_id)
    return TaskDetails(
        task,
        tuple(cvat.task_labels(session, task_id)),
        tuple(cvat.task_jobs(session, task_id)),
        tuple(cvat.task_frames(session, task_id)) if task.frames else (),
    )


def thumbnail(session: CvatSession, task_id: int, frame: int, *, max_px: int = 320) -> bytes:
    """Return a small JPEG of a frame, its longer side at most `max_px`."""
    data = cvat.frame_bytes(session, task_id, frame, quality="compressed")
    pixels = decode_rgb(data, name=f"frame {frame}")
    height, width = pixels.shape[:2]
    scale = min(1.0, max_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_rgb(small, suffix=".jpg", quality=80)


def frame_link(session: CvatSession, task_id: int, frame: int) -> str:
    """Return where CVAT shows a frame."""
    return cvat.frame_url(session, cvat.task_jobs(session, task_id), frame)


def task_states(workspace: Workspace, session: CvatSession) -> dict[int, str]:
    """Return what this workspace did with each task, in words, by task id."""
    states: dict[int, str] = {}
    for info in reversed(PreviewStore(workspace.database).recent(limit=1000)):
        if info.url == session.url and info.task_id is not None:
            states[info.task_id] = f"previewed {_ago(info.created)}"
    for push in reversed(cvat.Journal(workspace.journal).pushes(url=session.url)):
        if push.phase is PushPhase.DONE:
            added = push.summary["result"]["added"]
            states[push.task_id] = f"pushed {plural(added, 'shape')} {_ago(push.created)}"
    return states


def _ago(moment: float) -> str:
    minutes = (time.time() - moment) / 60
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes:.0f} min ago"
    if minutes < 48 * 60:
        return f"{minutes / 60:.0f} h ago"
    return f"{minutes / 60 / 24:.0f} d ago"

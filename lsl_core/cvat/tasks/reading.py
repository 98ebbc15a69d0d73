"""Asking CVAT for tasks, their labels, frames and jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.tasks.entities import (
    CvatLabel,
    FrameInfo,
    JobInfo,
    TaskInfo,
    frames_of,
    job_of,
    read_job,
    read_label,
    read_task_info,
)
from lsl_core.errors import CvatDenied, CvatError, CvatNotFound, UserInput

Json = dict[str, Any]


def list_tasks(
    session: CvatSession, *, search: str = "", project_id: int | None = None, labels: bool = True
) -> list[TaskInfo]:
    """Return the tasks of the session's organisation, the last changed first.

    Args:
        session: who asks.
        search: words in the name, as in CVAT's own search box.
        project_id: only tasks of this project.
        labels: False leaves the label names out, which spares a call.
    """
    query = {"search": search or None, "project_id": project_id, "sort": "-updated_date"}
    tasks = list(session.transport.pages("/api/tasks", doing="listing tasks", query=query))
    projects = _project_names(session) if any(t.get("project_id") for t in tasks) else {}
    of_task, of_project = _label_names(session) if labels and tasks else ({}, {})
    return [
        read_task_info(
            task,
            session.url,
            project=projects.get(task.get("project_id") or 0, ""),
            labels=of_project.get(task.get("project_id") or 0) or of_task.get(task["id"], ()),
        )
        for task in tasks
    ]


def get_task(session: CvatSession, task_id: int, *, labels: bool = True) -> TaskInfo:
    """Return one task.

    Args:
        session: who asks.
        task_id: which.
        labels: False leaves the label names out, which spares a call.

    Raises:
        CvatNotFound: when it does not exist, or the user may not see it.
    """
    entry = _read(session, task_id)
    project = ""
    if entry.get("project_id"):
        try:
            project = session.transport.json(
                "GET", f"/api/projects/{entry['project_id']}", doing="reading the project"
            )["name"]
        except CvatError:  # a task may be shared without its project
            project = f"project {entry['project_id']}"
    task = read_task_info(entry, session.url, project=project, labels=())
    names = tuple(label.name for label in labels_of(session, task)) if labels else ()
    return replace(task, labels=names)


def bare_task(session: CvatSession, task_id: int) -> TaskInfo:
    """Return one task without the names of its project and labels: a single call.

    Raises:
        CvatNotFound: when it does not exist, or the user may not see it.
    """
    return read_task_info(_read(session, task_id), session.url, project="", labels=())


def require_images(task: TaskInfo) -> TaskInfo:
    """Return the task when it holds images.

    Raises:
        UserInput: when it holds none.
    """
    if not task.frames:
        raise UserInput(
            f'Task {task.id} "{task.name}" holds no images.',
            hint="Upload images to it in CVAT, or choose another task.",
        )
    return task


def task_labels(session: CvatSession, task_id: int) -> list[CvatLabel]:
    """Return the labels of a task, of its project when it has one, in CVAT's order."""
    return labels_of(session, bare_task(session, task_id))


def task_frames(session: CvatSession, task_id: int) -> list[FrameInfo]:
    """Return every frame of a task, in order; deleted ones are marked.

    Raises:
        CvatNotFound: no such task.
        UserInput: a task without images.
    """
    task = bare_task(session, task_id)
    return frames_of(task, data_meta(session, task))


def task_jobs(session: CvatSession, task_id: int) -> list[JobInfo]:
    """Return all jobs of a task by first frame, ground truth and consensus replicas among them."""
    return jobs_of(session, bare_task(session, task_id))


def frame_url(session: CvatSession, task_jobs: Sequence[JobInfo], frame: int) -> str:
    """Return where CVAT shows a frame, in the job that covers it.

    Args:
        session: of which server.
        task_jobs: the jobs of the task, of any kind.
        frame: its number in the task.

    Raises:
        ValueError: when no job covers it.
    """
    job = job_of(task_jobs, frame)
    return f"{session.url}/tasks/{job.task_id}/jobs/{job.id}?frame={frame}"


def data_meta(session: CvatSession, task: TaskInfo) -> Json:
    """Return what CVAT knows of a task's images, as it sends it.

    Raises:
        UserInput: a task without images.
    """
    require_images(task)  # CVAT itself answers 500 for a task without any
    meta: Json = session.transport.json(
        "GET", f"/api/tasks/{task.id}/data/meta", doing=f"reading the frames of task {task.id}"
    )
    return meta


def labels_of(session: CvatSession, task: TaskInfo) -> list[CvatLabel]:
    """Return the labels of a task that was read already."""
    entries = label_entries(session, task)
    return [read_label(entry) for entry in entries if not entry.get("has_parent")]


def label_entries(session: CvatSession, task: TaskInfo) -> list[Json]:
    """Return the labels of a task as the API lists them: parts of skeletons, attributes and all."""
    doing = f"reading the labels of task {task.id}"
    return list(session.transport.pages("/api/labels", doing=doing, **_of_organisation(task)))


def jobs_of(session: CvatSession, task: TaskInfo) -> list[JobInfo]:
    """Return the jobs of a task that was read already, by first frame."""
    doing = f"reading the jobs of task {task.id}"
    found = session.transport.pages("/api/jobs", doing=doing, **_of_organisation(task))
    read = [read_job(entry, session.url) for entry in found]
    return sorted(read, key=lambda job: (job.start_frame, job.id))


def _read(session: CvatSession, task_id: int) -> Json:
    try:
        entry: Json = session.transport.json(
            "GET", f"/api/tasks/{task_id}", doing=f"reading task {task_id}"
        )
    except (CvatNotFound, CvatDenied) as error:
        raise _unknown_task(session, task_id, error) from error
    return entry


def _unknown_task(session: CvatSession, task_id: int, error: CvatError) -> CvatError:
    message = f"Task {task_id} does not exist, or {session.user} may not see it."
    hint = "Check the number on the Tasks page."
    if session.organisation is not None:
        hint += " It may lie in another organisation."
    return type(error)(message, hint=hint, detail=error.detail)


def _of_organisation(task: TaskInfo) -> dict[str, Any]:
    """Ask a list in the task's own organisation, whatever the session has chosen.

    CVAT filters lists by organisation, and leaves by-id calls alone.
    """
    where: dict[str, object] = (
        {"org_id": task.organisation_id} if task.organisation_id is not None else {"org": ""}
    )
    return {"query": {"task_id": task.id, **where}, "headers": {"X-Organization": None}}


def _project_names(session: CvatSession) -> dict[int, str]:
    found = session.transport.pages("/api/projects", doing="listing projects")
    return {entry["id"]: entry["name"] for entry in found}


def _label_names(
    session: CvatSession,
) -> tuple[dict[int, tuple[str, ...]], dict[int, tuple[str, ...]]]:
    """Return the label names of every visible task and project: one list, not a call a task."""
    of_task: dict[int, tuple[str, ...]] = {}
    of_project: dict[int, tuple[str, ...]] = {}
    for entry in session.transport.pages("/api/labels", doing="listing labels"):
        if entry.get("has_parent"):
            continue
        if entry.get("project_id") is not None:
            of, key = of_project, entry["project_id"]
        elif entry.get("task_id") is not None:
            of, key = of_task, entry["task_id"]
        else:
            continue
        of[key] = (*of.get(key, ()), entry["name"])
    return of_task, of_project

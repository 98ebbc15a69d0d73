"""Jobs: the ranges of a task, ground-truth jobs and consensus replicas."""

from __future__ import annotations

import json
import random
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, no_content, reply
from lsl_core.sandbox.base.store import Database, Row, now
from lsl_core.sandbox.calls import access, listing
from lsl_core.sandbox.calls.web import Call, person
from lsl_core.sandbox.files import video
from lsl_core.sandbox.tasks.projects import check_person
from lsl_core.sandbox.tasks.tasks import touch_project

_STAGES = ("annotation", "validation", "acceptance")
_STATES = ("new", "in progress", "completed", "rejected")
_STATUS_OF = {"annotation": "annotation", "validation": "validation", "acceptance": "completed"}
_SELECTIONS = ("manual", "random_uniform", "random_per_job")


def cut(size: int, segment_size: int, overlap: int) -> list[tuple[int, int]]:
    """Cut a task's frames into jobs.

    Returns:
        First and last frame of each job, both inside.
    """
    if segment_size <= 0 or segment_size >= size:
        return [(0, size - 1)]
    step = segment_size - overlap
    ranges: list[tuple[int, int]] = []
    start = 0
    while True:
        stop = min(start + segment_size, size) - 1
        ranges.append((start, stop))
        if stop == size - 1:
            return ranges
        start += step


def insert_ranges(db: Database, task: Row, ranges: list[tuple[int, int]]) -> None:
    """Add the annotation jobs of a task, each followed by its consensus replicas."""
    for start, stop in ranges:
        job_id = insert(db, task["id"], "annotation", start=start, stop=stop)
        for _ in range(task["replicas"]):
            insert(db, task["id"], "consensus_replica", start=start, stop=stop, parent_id=job_id)


def insert(
    db: Database,
    task_id: int,
    kind: str,
    *,
    start: int,
    stop: int,
    parent_id: int | None = None,
    frames: list[int] | None = None,
) -> int:
    """Add one job.

    Returns:
        Its id.
    """
    return db.run(
        "INSERT INTO jobs (task_id, type, start, stop, frames, parent_id, created, updated)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            task_id, kind, start, stop, None if frames is None else json.dumps(frames),
            parent_id, now(), now(),
        ),
    )  # fmt: skip


def frames_of(row: Row) -> list[int]:
    """List the task frames that a job holds."""
    if row["frames"] is not None:
        found: list[int] = json.loads(row["frames"])
        return found
    return list(range(row["start"], row["stop"] + 1))


def as_json(call: Call, row: Row, task: Row) -> dict[str, Any]:
    """Describe a job as the API does."""
    db = call.db
    at = f"{call.base_url}/api"
    issues = db.value("SELECT count(*) FROM issues WHERE job_id = ?", (row["id"],))
    replicas = db.value("SELECT count(*) FROM jobs WHERE parent_id = ?", (row["id"],))
    project = db.value("SELECT name FROM projects WHERE id = ?", (task["project_id"],))
    return {
        "url": f"{at}/jobs/{row['id']}",
        "id": row["id"],
        "task_id": task["id"],
        "project_id": task["project_id"],
        "assignee": person(call, row["assignee_id"]),
        "guide_id": None,
        "dimension": "2d",
        "bug_tracker": task["bug_tracker"],
        "status": _STATUS_OF[row["stage"]],
        "stage": row["stage"],
        "state": row["state"],
        "frame_count": len(frames_of(row)),
        "start_frame": row["start"],
        "stop_frame": row["stop"],
        "data_chunk_size": task["chunk_size"],
        **video.data_kind(db, task),
        "created_date": row["created"],
        "updated_date": row["updated"],
        "issues": {"url": f"{at}/issues?job_id={row['id']}", "count": issues},
        "labels": {"url": f"{at}/labels?job_id={row['id']}"},
        "type": row["type"],
        "organization": task["org_id"],
        "target_storage": None,
        "source_storage": None,
        "assignee_updated_date": row["assigned"],
        "parent_job_id": row["parent_id"],
        **call.context.flavour.job_extras(replicas, task_name=task["name"], project_name=project),
    }


def list_jobs(call: Call) -> Response:
    """GET /api/jobs."""
    wanted = call.query("task_id")
    sql = "SELECT * FROM tasks" if wanted is None else "SELECT * FROM tasks WHERE id = ?"
    seen: list[dict[str, Any]] = []
    for task in call.db.rows(sql, () if wanted is None else (wanted,)):
        if not access.in_scope(call, task["org_id"]):
            continue
        is_all = access.may_see_task(call, task)
        for row in call.db.rows("SELECT * FROM jobs WHERE task_id = ?", (task["id"],)):
            if is_all or row["assignee_id"] == call.user.id:
                seen.append(as_json(call, row, task))
    return reply(
        listing.page(
            call,
            seen,
            search=("task_name", "project_name", "assignee", "state", "stage"),
            equal=("task_id", "project_id", "assignee", "stage", "state", "type", "parent_job_id"),
        )
    )


def get_job(call: Call) -> Response:
    """GET /api/jobs/<id>."""
    row, task = access.job(call, call.id())
    return reply(as_json(call, row, task))


def patch_job(call: Call) -> Response:
    """PATCH /api/jobs/<id>: assignee, stage and state."""
    row, task = access.job(call, call.id())
    given = call.json_object()
    for key, choices in (("stage", _STAGES), ("state", _STATES)):
        if key in given and given[key] not in choices:
            raise ApiError(400, {key: [f'"{given[key]}" is not a valid choice.']})
    stage = given.get("stage", row["stage"])
    # CVAT starts a stage anew when a job is moved to it without a state.
    state = given.get("state", row["state"] if stage == row["stage"] else "new")
    assignee, assigned = row["assignee_id"], row["assigned"]
    if "assignee" in given:
        assignee = check_person(call, given, "assignee")
        assigned = now() if assignee != row["assignee_id"] else assigned
    call.db.run(
        "UPDATE jobs SET stage = ?, state = ?, assignee_id = ?, assigned = ?, updated = ?"
        " WHERE id = ?",
        (stage, state, assignee, assigned, now(), row["id"]),
    )
    touch(call.db, task)
    return get_job(call)


def touch(db: Database, task: Row) -> None:
    """Note that something in a task changed, and so in its project."""
    with db.write() as conn:
        conn.execute("UPDATE tasks SET updated = ? WHERE id = ?", (now(), task["id"]))
        conn.execute("UPDATE projects SET updated = ? WHERE id = ?", (now(), task["project_id"]))


def create_job(call: Call) -> Response:
    """POST /api/jobs: a ground-truth job, the one kind that may be made by hand."""
    given = call.json_object()
    if given.get("type") != "ground_truth":
        raise ApiError(400, {"type": [f"Unexpected job type '{given.get('type')}'"]})
    if not isinstance(given.get("task_id"), int):
        raise ApiError(400, {"task_id": ["This field is required."]})
    task = access.task(call, given["task_id"])
    if task["size"] is None:
        raise ApiError(400, ["This task has no data attached yet. Please set up task data first"])
    has_one = "SELECT 1 FROM jobs WHERE task_id = ? AND type = 'ground_truth'"
    if call.db.row(has_one, (task["id"],)) is not None:
        raise ApiError(400, [f"A task can have only 1 ground truth job. Task {task['id']} has one"])
    job_id = insert_ground_truth(call.db, task, pick_frames(given, task["size"]))
    touch_project(call, task["project_id"])
    row, task = access.job(call, job_id)
    found = as_json(call, row, task)
    return reply(found, 201, headers={"Location": found["url"]})


def insert_ground_truth(db: Database, task: Row, frames: list[int]) -> int:
    """Add a task's ground-truth job.

    Returns:
        Its id.
    """
    with db.write() as conn:
        conn.execute("UPDATE tasks SET validation_mode = 'gt' WHERE id = ?", (task["id"],))
        return insert(db, task["id"], "ground_truth", start=0, stop=task["size"] - 1, frames=frames)


def pick_frames(given: dict[str, Any], size: int) -> list[int]:
    """Choose the frames of a ground-truth job as the body asks.

    Raises:
        ApiError: 400.
    """
    method = given.get("frame_selection_method")
    if method not in _SELECTIONS:
        raise ApiError(400, {"frame_selection_method": [f'"{method}" is not a valid choice.']})
    if method == "manual":
        frames = given.get("frames")
        if not frames:
            raise ApiError(400, {"frames": ["This field is required."]})
        outside = [frame for frame in frames if not isinstance(frame, int) or not 0 <= frame < size]
        if outside:
            raise ApiError(400, [f"The task has no frames {outside}"])
        return sorted(set(frames))
    count = given.get("frame_count") or given.get("frames_per_job_count")
    if count is None:
        count = round(float(given.get("frame_share") or 0) * size)
    if not 0 < count <= size:
        raise ApiError(400, ["The number of frames should be between 1 and the task's size"])
    seed = given.get("random_seed")
    chosen = random.Random(seed).sample(range(size), count)  # noqa: S311 - a choice, no secret
    return sorted(chosen)


def task_layout(call: Call) -> Response:
    """GET /api/tasks/<id>/validation_layout: which frames the ground truth covers."""
    task = access.task(call, call.id())
    sql = "SELECT * FROM jobs WHERE task_id = ? AND type = 'ground_truth'"
    row = call.db.row(sql, (task["id"],))
    if row is None:
        return reply({"mode": None})
    found = {"mode": "gt", "validation_frames": frames_of(row), "disabled_frames": []}
    return reply(found)


def delete_job(call: Call) -> Response:
    """DELETE /api/jobs/<id>: only a ground-truth job can go alone."""
    row, task = access.job(call, call.id())
    if row["type"] != "ground_truth":
        raise ApiError(400, ["Only ground truth jobs can be removed"])
    with call.db.write() as conn:
        conn.execute("DELETE FROM jobs WHERE id = ?", (row["id"],))
        conn.execute("UPDATE tasks SET validation_mode = NULL WHERE id = ?", (task["id"],))
    touch(call.db, task)
    return no_content()

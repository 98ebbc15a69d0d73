"""Tasks."""

from __future__ import annotations

import shutil
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, no_content, reply
from lsl_core.sandbox.base.store import Row, now
from lsl_core.sandbox.calls import access, listing
from lsl_core.sandbox.calls.web import Call, person
from lsl_core.sandbox.files import video
from lsl_core.sandbox.tasks import labels
from lsl_core.sandbox.tasks.projects import check_name, check_person, patch_common

#: CVAT's limit of a subset's name.
_MAX_SUBSET = 64


def status_of(stages: list[str]) -> str:
    """Say a task's status: that of its least advanced job."""
    if not stages or "annotation" in stages:
        return "annotation"
    return "validation" if "validation" in stages else "completed"


def _jobs_summary(call: Call, jobs: list[Row], task_id: int) -> dict[str, Any]:
    done = [job for job in jobs if job["stage"] == "acceptance" and job["state"] == "completed"]
    return {
        "count": len(jobs),
        "completed": len(done),
        "validation": sum(job["stage"] == "validation" for job in jobs),
        "url": f"{call.base_url}/api/jobs?task_id={task_id}",
    }


def _data_fields(call: Call, row: Row) -> dict[str, Any]:
    if row["size"] is None:
        return {"mode": ""}
    return {
        **video.data_kind(call.db, row),
        "data_chunk_size": row["chunk_size"],
        "size": row["size"],
        "image_quality": row["image_quality"],
        "data": row["id"],
    }


def as_json(call: Call, row: Row) -> dict[str, Any]:
    """Describe a task as the API does."""
    jobs = call.db.rows("SELECT type, stage, state FROM jobs WHERE task_id = ?", (row["id"],))
    name = call.db.value("SELECT name FROM projects WHERE id = ?", (row["project_id"],))
    flavour = call.context.flavour
    return {
        "url": f"{call.base_url}/api/tasks/{row['id']}",
        "id": row["id"],
        "name": row["name"],
        "project_id": row["project_id"],
        **_data_fields(call, row),
        "owner": person(call, row["owner_id"]),
        "assignee": person(call, row["assignee_id"]),
        "bug_tracker": row["bug_tracker"],
        "created_date": row["created"],
        "updated_date": row["updated"],
        "overlap": row["overlap"],
        "segment_size": row["segment_size"],
        "status": status_of([job["stage"] for job in jobs if job["type"] == "annotation"]),
        "guide_id": None,
        "dimension": "2d",
        "subset": row["subset"],
        "organization": row["org_id"],
        "target_storage": None,
        "source_storage": None,
        "jobs": _jobs_summary(call, jobs, row["id"]),
        "labels": {"url": f"{call.base_url}/api/labels?task_id={row['id']}"},
        "assignee_updated_date": row["assigned"],
        "validation_mode": row["validation_mode"],
        **flavour.task_extras(row["replicas"], name),
        **({"organization_id": row["org_id"]} if flavour.has_scores else {}),
    }


def _number(given: dict[str, Any], key: str, default: int | None) -> int | None:
    value = given.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise ApiError(400, {key: ["A valid integer is required."]})
    if value < 0:
        raise ApiError(400, {key: ["Ensure this value is greater than or equal to 0."]})
    return value


def _checked_project(call: Call, given: dict[str, Any]) -> Row | None:
    project_id = given.get("project_id")
    if project_id is None:
        if not given.get("labels"):
            raise ApiError(400, ["Label set or project_id must be present"])
        return None
    row = call.db.row("SELECT * FROM projects WHERE id = ?", (project_id,))
    if row is None:
        raise ApiError(400, ["Project matching query does not exist."])
    if given.get("labels"):
        raise ApiError(400, ["Project must have only one of Label set or project_id"])
    return access.project(call, row["id"])


def insert(call: Call, given: dict[str, Any]) -> int:
    """Add a task without data, owned by the caller.

    Returns:
        Its id.
    """
    check_name(given, is_new=True)
    specs = labels.check(given.get("labels") or [])
    project = _checked_project(call, given)
    subset = given.get("subset") or ""
    if len(subset) > _MAX_SUBSET:
        text = f"Ensure this field has no more than {_MAX_SUBSET} characters."
        raise ApiError(400, {"subset": [text]})
    replicas = _number(given, "initial_replicas", _number(given, "consensus_replicas", 0))
    assignee = check_person(call, given, "assignee_id")
    with call.db.write():
        task_id = call.db.run(
            "INSERT INTO tasks (name, project_id, owner_id, assignee_id, org_id, bug_tracker,"
            " subset, created, updated, assigned, segment_size, overlap, replicas)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                given["name"], project and project["id"], call.user.id, assignee,
                project["org_id"] if project else call.org.id, given.get("bug_tracker") or "",
                subset, now(), now(), now() if assignee else None,
                _number(given, "segment_size", 0), _number(given, "overlap", None), replicas,
            ),
        )  # fmt: skip
        labels.insert(call.db, specs, project_id=None, task_id=task_id)
        touch_project(call, given.get("project_id"))
    return task_id


def touch_project(call: Call, project_id: int | None) -> None:
    """Note that something in a project changed."""
    if project_id is not None:
        call.db.run("UPDATE projects SET updated = ? WHERE id = ?", (now(), project_id))


def list_tasks(call: Call) -> Response:
    """GET /api/tasks."""
    seen = [
        as_json(call, row)
        for row in call.db.rows("SELECT * FROM tasks")
        if access.in_scope(call, row["org_id"]) and access.may_see_task(call, row)
    ]
    found = listing.page(
        call,
        seen,
        search=("name", "owner", "assignee", "subset", "status"),
        equal=("name", "owner", "assignee", "subset", "status", "project_id", "mode"),
    )
    return reply(found)


def create_task(call: Call) -> Response:
    """POST /api/tasks."""
    access.may_create(call)
    found = as_json(call, access.task(call, insert(call, call.json_object())))
    return reply(found, 201, headers={"Location": found["url"]})


def get_task(call: Call) -> Response:
    """GET /api/tasks/<id>."""
    return reply(as_json(call, access.task(call, call.id())))


def patch_task(call: Call) -> Response:
    """PATCH /api/tasks/<id>."""
    row = access.task(call, call.id())
    given = call.json_object()
    check_name(given, is_new=False)
    if given.get("project_id", row["project_id"]) != row["project_id"]:
        raise ApiError(400, ["The sandbox does not move tasks between projects"])
    with call.db.write():
        if "labels" in given:
            if row["project_id"] is not None:
                raise ApiError(400, ["The labels of a task in a project are the project's"])
            labels.change(call.db, given["labels"], project_id=None, task_id=row["id"])
        patch_common(call, "tasks", row, given)
        subset = given.get("subset", row["subset"])
        call.db.run("UPDATE tasks SET subset = ? WHERE id = ?", (subset, row["id"]))
    return get_task(call)


def delete_task(call: Call) -> Response:
    """DELETE /api/tasks/<id> with its images and annotations."""
    row = access.task(call, call.id(), to_delete=True)
    call.db.run("DELETE FROM tasks WHERE id = ?", (row["id"],))
    touch_project(call, row["project_id"])
    shutil.rmtree(call.context.task_folder(row["id"]), ignore_errors=True)
    return no_content()

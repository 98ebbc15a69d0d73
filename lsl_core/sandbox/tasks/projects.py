"""Projects."""

from __future__ import annotations

import shutil
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, denied, no_content, reply
from lsl_core.sandbox.base.store import Row, now
from lsl_core.sandbox.calls import access, listing
from lsl_core.sandbox.calls.web import Call, person
from lsl_core.sandbox.tasks import labels

#: CVAT's limit of a project's and a task's name.
MAX_NAME = 256


def check_name(given: dict[str, Any], *, is_new: bool) -> None:
    """Check the name of a project or task.

    Raises:
        ApiError: 400.
    """
    if "name" not in given:
        if is_new:
            raise ApiError(400, {"name": ["This field is required."]})
        return
    name = given["name"]
    if not isinstance(name, str) or not name.strip():
        raise ApiError(400, {"name": ["This field may not be blank."]})
    if len(name) > MAX_NAME:
        text = f"Ensure this field has no more than {MAX_NAME} characters."
        raise ApiError(400, {"name": [text]})


def check_person(call: Call, given: dict[str, Any], key: str) -> int | None:
    """Check a user id that a body names under `key`.

    Raises:
        ApiError: 400 if there is no such user.
    """
    wanted = given.get(key)
    if wanted is None:
        return None
    if call.db.row("SELECT 1 FROM users WHERE id = ?", (wanted,)) is None:
        raise ApiError(400, {key: [f'Invalid pk "{wanted}" - object does not exist.']})
    return int(wanted)


def as_json(call: Call, row: Row) -> dict[str, Any]:
    """Describe a project as the API does."""
    tasks = call.db.rows("SELECT subset, size FROM tasks WHERE project_id = ?", (row["id"],))
    at = f"{call.base_url}/api"
    return {
        "url": f"{at}/projects/{row['id']}",
        "id": row["id"],
        "name": row["name"],
        "owner": person(call, row["owner_id"]),
        "assignee": person(call, row["assignee_id"]),
        "guide_id": None,
        "bug_tracker": row["bug_tracker"],
        "created_date": row["created"],
        "updated_date": row["updated"],
        "status": "annotation",
        "dimension": "2d" if tasks else None,
        "organization": row["org_id"],
        "target_storage": None,
        "source_storage": None,
        "tasks": {"count": len(tasks), "url": f"{at}/tasks?project_id={row['id']}"},
        "labels": {"url": f"{at}/labels?project_id={row['id']}"},
        "assignee_updated_date": row["assigned"],
        "task_subsets": sorted({task["subset"] for task in tasks} - {""}),
    } | ({"organization_id": row["org_id"]} if call.context.flavour.has_scores else {})


def insert(call: Call, given: dict[str, Any]) -> int:
    """Add a project with its labels, owned by the caller.

    Returns:
        Its id.
    """
    check_name(given, is_new=True)
    specs = labels.check(given.get("labels") or [])
    assignee = check_person(call, given, "assignee_id")
    with call.db.write():
        project_id = call.db.run(
            "INSERT INTO projects (name, owner_id, assignee_id, org_id, bug_tracker, created,"
            " updated, assigned) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                given["name"], call.user.id, assignee, call.org.id,
                given.get("bug_tracker") or "", now(), now(), now() if assignee else None,
            ),
        )  # fmt: skip
        labels.insert(call.db, specs, project_id=project_id, task_id=None)
    return project_id


def list_projects(call: Call) -> Response:
    """GET /api/projects."""
    rows = call.db.rows("SELECT * FROM projects")
    seen = [
        as_json(call, row)
        for row in rows
        if access.in_scope(call, row["org_id"]) and access.may_see_project(call, row)
    ]
    found = listing.page(
        call, seen, search=("name", "owner", "assignee"), equal=("name", "owner", "assignee")
    )
    return reply(found)


def create_project(call: Call) -> Response:
    """POST /api/projects."""
    access.may_create(call)
    project_id = insert(call, call.json_object())
    row = access.project(call, project_id)
    found = as_json(call, row)
    return reply(found, 201, headers={"Location": found["url"]})


def get_project(call: Call) -> Response:
    """GET /api/projects/<id>."""
    return reply(as_json(call, access.project(call, call.id())))


def patch_project(call: Call) -> Response:
    """PATCH /api/projects/<id>."""
    row = access.project(call, call.id())
    given = call.json_object()
    check_name(given, is_new=False)
    with call.db.write():
        if "labels" in given:
            labels.change(call.db, given["labels"], project_id=row["id"], task_id=None)
        patch_common(call, "projects", row, given)
    return get_project(call)


_PATCHES = {
    "projects": "UPDATE projects SET name = ?, bug_tracker = ?, owner_id = ?, assignee_id = ?,"
    " assigned = ?, updated = ? WHERE id = ?",
    "tasks": "UPDATE tasks SET name = ?, bug_tracker = ?, owner_id = ?, assignee_id = ?,"
    " assigned = ?, updated = ? WHERE id = ?",
}


def patch_common(call: Call, table: str, row: Row, given: dict[str, Any]) -> None:
    """Change what projects and tasks have in common: name, tracker, owner, assignee."""
    assignee, assigned = row["assignee_id"], row["assigned"]
    if "assignee_id" in given:
        assignee = check_person(call, given, "assignee_id")
        assigned = now() if assignee != row["assignee_id"] else assigned
    owner = check_person(call, given, "owner_id") or row["owner_id"]
    if owner != row["owner_id"] and not (call.user.is_admin or call.user.id == row["owner_id"]):
        raise denied()
    call.db.run(
        _PATCHES[table],
        (
            given.get("name", row["name"]), given.get("bug_tracker", row["bug_tracker"]),
            owner, assignee, assigned, now(), row["id"],
        ),
    )  # fmt: skip


def delete_project(call: Call) -> Response:
    """DELETE /api/projects/<id> with all its tasks."""
    row = access.project(call, call.id(), to_delete=True)
    tasks = call.db.rows("SELECT id FROM tasks WHERE project_id = ?", (row["id"],))
    call.db.run("DELETE FROM projects WHERE id = ?", (row["id"],))
    for task in tasks:
        shutil.rmtree(call.context.task_folder(task["id"]), ignore_errors=True)
    return no_content()

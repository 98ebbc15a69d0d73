"""Labels of projects and tasks, with their attributes."""

from __future__ import annotations

import colorsys
import hashlib
import json
import sqlite3
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, denied, no_content, not_found, reply
from lsl_core.sandbox.base.store import Database, Row, now
from lsl_core.sandbox.calls import access, listing
from lsl_core.sandbox.calls.web import Call

#: CVAT's limit of a label's name.
_MAX_NAME = 64
TYPES = (
    "any", "cuboid", "ellipse", "mask", "points", "polygon", "polyline", "rectangle",
    "skeleton", "tag",
)  # fmt: skip
_INPUTS = ("checkbox", "radio", "number", "text", "select")


def colour_for(name: str) -> str:
    """Pick a label's colour by its name, when none was given: bright, and always the same."""
    digest = hashlib.sha256(name.encode()).digest()
    channels = colorsys.hsv_to_rgb(digest[0] / 256, 0.75, 0.95)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)


def _label_errors(spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    if not isinstance(spec, dict):
        return {"non_field_errors": ["Invalid data. Expected a dictionary."]}
    name = spec.get("name")
    errors: dict[str, Any] = {}
    if name is None:
        if "id" not in spec:
            errors["name"] = ["This field is required."]
    elif not isinstance(name, str) or not name.strip():
        errors["name"] = ["This field may not be blank."]
    elif len(name) > _MAX_NAME:
        errors["name"] = [f"Ensure this field has no more than {_MAX_NAME} characters."]
    if spec.get("type", "any") not in TYPES:
        errors["type"] = [f'"{spec["type"]}" is not a valid choice.']
    elif spec.get("type") == "skeleton" or spec.get("sublabels"):
        errors["type"] = ["The sandbox does not know skeletons."]
    attributes = [_attribute_errors(item) for item in spec.get("attributes") or []]
    if any(attributes):
        errors["attributes"] = attributes
    return errors


def _attribute_errors(spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    errors: dict[str, Any] = {}
    for key in ("name", "mutable", "input_type", "values"):
        if key not in spec and "id" not in spec:
            errors[key] = ["This field is required."]
    if spec.get("input_type", "text") not in _INPUTS:
        errors["input_type"] = [f'"{spec["input_type"]}" is not a valid choice.']
    return errors


def check(specs: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON
    """Check the labels of a new project or task.

    Raises:
        ApiError: 400 for a bad label or a name given twice.
    """
    if not isinstance(specs, list):
        raise ApiError(400, {"labels": ["Expected a list of items but got another type."]})
    errors = [_label_errors(spec) for spec in specs]
    if any(errors):
        raise ApiError(400, {"labels": errors})
    names = [spec["name"] for spec in specs if "name" in spec]
    if len(set(names)) != len(names):
        raise ApiError(400, ["All label names must be unique"])
    return specs


def insert(
    db: Database, specs: list[dict[str, Any]], *, project_id: int | None, task_id: int | None
) -> None:
    """Add checked labels to a project or to a task that is in none."""
    with db.write() as conn:
        for spec in specs:
            label_id = conn.execute(
                "INSERT INTO labels (project_id, task_id, name, color, type)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    project_id, task_id, spec["name"],
                    spec.get("color") or colour_for(spec["name"]), spec.get("type") or "any",
                ),
            ).lastrowid  # fmt: skip
            for attribute in spec.get("attributes") or []:
                _insert_attribute(conn, label_id or 0, attribute)


def _insert_attribute(conn: sqlite3.Connection, label_id: int, spec: dict[str, Any]) -> None:
    values = spec.get("values") or []
    values = values if isinstance(values, list) else str(values).split("\n")
    default = spec.get("default_value")
    if default is None:
        default = values[0] if values else ""
    conn.execute(
        "INSERT INTO specs (label_id, name, mutable, input_type, default_value, choices)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            label_id, spec["name"], bool(spec.get("mutable")), spec.get("input_type") or "text",
            str(default), json.dumps([str(value) for value in values]),
        ),
    )  # fmt: skip


def change(
    db: Database, specs: list[dict[str, Any]], *, project_id: int | None, task_id: int | None
) -> None:
    """Apply a PATCH's label list: new ones have no id, `deleted` removes, the rest is renamed.

    Raises:
        ApiError: 404 for an id that is not a label of this owner, 400 for a name taken.
    """
    mine = {row["id"]: row for row in of_owner(db, project_id=project_id, task_id=task_id)}
    fresh = [spec for spec in specs if "id" not in spec]
    with db.write() as conn:
        for spec in specs:
            if "id" not in spec:
                continue
            if spec["id"] not in mine:
                raise ApiError(404, {"detail": f"Not found label with id #{spec['id']} to change"})
            if spec.get("deleted"):
                conn.execute("DELETE FROM labels WHERE id = ?", (spec["id"],))
                continue
            _update(conn, mine[spec["id"]], spec)
        insert(db, check(fresh), project_id=project_id, task_id=task_id)
        names = [row["name"] for row in of_owner(db, project_id=project_id, task_id=task_id)]
        if len(set(names)) != len(names):
            raise ApiError(400, ["All label names must be unique"])


def _update(conn: sqlite3.Connection, row: Row, spec: dict[str, Any]) -> None:
    conn.execute(
        "UPDATE labels SET name = ?, color = ?, type = ? WHERE id = ?",
        (
            spec.get("name", row["name"]), spec.get("color") or row["color"],
            spec.get("type", row["type"]), row["id"],
        ),
    )  # fmt: skip
    for attribute in spec.get("attributes") or []:
        if "id" not in attribute:
            _insert_attribute(conn, row["id"], attribute)


def of_owner(db: Database, *, project_id: int | None, task_id: int | None) -> list[Row]:
    """List the label rows of a project, or of a task that is in none, oldest first."""
    if project_id is not None:
        return db.rows("SELECT * FROM labels WHERE project_id = ? ORDER BY id", (project_id,))
    return db.rows("SELECT * FROM labels WHERE task_id = ? ORDER BY id", (task_id,))


def of_task(db: Database, task: Row) -> list[Row]:
    """List the label rows that a task uses: its own, or its project's."""
    return of_owner(db, project_id=task["project_id"], task_id=task["id"])


def specs_of(db: Database, label_id: int) -> list[Row]:
    """List the attribute rows of a label."""
    return db.rows("SELECT * FROM specs WHERE label_id = ? ORDER BY id", (label_id,))


def as_json(db: Database, row: Row) -> dict[str, Any]:
    """Describe a label as the API does."""
    owner = "project_id" if row["project_id"] is not None else "task_id"
    return {
        "id": row["id"],
        "name": row["name"],
        "color": row["color"],
        "attributes": [
            {
                "id": spec["id"],
                "name": spec["name"],
                "mutable": bool(spec["mutable"]),
                "input_type": spec["input_type"],
                "default_value": spec["default_value"],
                "values": json.loads(spec["choices"]),
            }
            for spec in specs_of(db, row["id"])
        ],
        "type": row["type"],
        "sublabels": [],
        owner: row[owner],
        "parent_id": None,
        "has_parent": False,
    }


def list_labels(call: Call) -> Response:
    """GET /api/labels: of a project, a task or a job, or of all that one may see."""
    if (job_id := call.query("job_id")) is not None:
        rows = of_task(call.db, access.job(call, int(job_id))[1])
    elif (task_id := call.query("task_id")) is not None:
        rows = of_task(call.db, access.task(call, int(task_id)))
    elif (project_id := call.query("project_id")) is not None:
        access.project(call, int(project_id))
        rows = of_owner(call.db, project_id=int(project_id), task_id=None)
    else:
        rows = [row for row in call.db.rows("SELECT * FROM labels") if _may_see(call, row)]
    found = [as_json(call.db, row) for row in rows]
    return reply(listing.page(call, found, sort="id", equal=("name", "type")))


def _may_see(call: Call, row: Row) -> bool:
    if row["project_id"] is not None:
        owner = call.db.row("SELECT * FROM projects WHERE id = ?", (row["project_id"],))
        is_seen = owner is not None and access.may_see_project(call, owner)
    else:
        owner = call.db.row("SELECT * FROM tasks WHERE id = ?", (row["task_id"],))
        is_seen = owner is not None and access.may_see_task(call, owner)
    return is_seen and owner is not None and access.in_scope(call, owner["org_id"])


def _load(call: Call) -> Row:
    row = call.db.row("SELECT * FROM labels WHERE id = ?", (call.id(),))
    if row is None:
        raise not_found("Label")
    if not _may_see(call, row):
        raise denied()
    return row


def get_label(call: Call) -> Response:
    """GET /api/labels/<id>."""
    return reply(as_json(call.db, _load(call)))


def patch_label(call: Call) -> Response:
    """PATCH /api/labels/<id>."""
    row = _load(call)
    spec = {**call.json_object(), "id": row["id"]}
    if errors := _label_errors(spec):
        raise ApiError(400, errors)
    change(call.db, [spec], project_id=row["project_id"], task_id=row["task_id"])
    _touch_owner(call, row)
    return get_label(call)


def delete_label(call: Call) -> Response:
    """DELETE /api/labels/<id>, and every annotation that carries it."""
    row = _load(call)
    call.db.run("DELETE FROM labels WHERE id = ?", (row["id"],))
    _touch_owner(call, row)
    return no_content()


def _touch_owner(call: Call, row: Row) -> None:
    call.db.run("UPDATE projects SET updated = ? WHERE id = ?", (now(), row["project_id"]))
    call.db.run("UPDATE tasks SET updated = ? WHERE id = ?", (now(), row["task_id"]))

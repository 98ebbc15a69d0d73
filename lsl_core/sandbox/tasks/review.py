"""Settings of the quality check, and webhooks: kept and given back, never acted upon."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, no_content, not_found, reply
from lsl_core.sandbox.base.store import Row, now
from lsl_core.sandbox.calls import access, listing
from lsl_core.sandbox.calls.web import Call, person

Json = dict[str, Any]

#: What CVAT sets for a new task; only what people change is kept in the table.
_DEFAULTS: Json = {
    "job_filter": "",
    "inherit": True,
    "target_metric": "accuracy",
    "target_metric_threshold": 0.7,
    "max_validations_per_job": 0,
    "iou_threshold": 0.4,
    "oks_sigma": 0.09,
    "line_thickness": 0.01,
    "low_overlap_threshold": 0.8,
    "compare_groups": True,
    "group_match_threshold": 0.5,
    "check_covered_annotations": True,
    "object_visibility_threshold": 0.05,
    "panoptic_comparison": True,
    "compare_attributes": True,
    "empty_is_annotated": False,
}
_WEBHOOK = (
    "target_url",
    "description",
    "type",
    "content_type",
    "is_active",
    "enable_ssl",
    "events",
)


def _settings_json(row: Row) -> Json:
    known = {**_DEFAULTS, **json.loads(row["changed"])}
    return {"id": row["id"], "task_id": row["task_id"], "project_id": None, **known}


def list_settings(call: Call) -> Response:
    """GET /api/quality/settings: one for every task that the caller may see."""
    found = []
    for task in call.db.rows("SELECT * FROM tasks"):
        if not access.in_scope(call, task["org_id"]) or not access.may_see_task(call, task):
            continue
        call.db.run(
            "INSERT OR IGNORE INTO quality_settings (task_id, changed) VALUES (?, '{}')",
            (task["id"],),
        )
        row = call.db.row("SELECT * FROM quality_settings WHERE task_id = ?", (task["id"],))
        if row is not None:
            found.append(_settings_json(row))
    return reply(listing.page(call, found, sort="id", equal=("task_id", "project_id")))


def patch_settings(call: Call) -> Response:
    """PATCH /api/quality/settings/<id>."""
    row = call.db.row("SELECT * FROM quality_settings WHERE id = ?", (call.id(),))
    if row is None:
        raise not_found("QualitySettings")
    access.task(call, row["task_id"])
    given = {key: value for key, value in call.json_object().items() if key in _DEFAULTS}
    changed = json.dumps({**json.loads(row["changed"]), **given})
    call.db.run("UPDATE quality_settings SET changed = ? WHERE id = ?", (changed, row["id"]))
    return reply({**_settings_json(row), **given})


def _webhook_json(call: Call, row: Row) -> Json:
    """Describe a webhook; its secret is never told again."""
    body = json.loads(row["body"])
    return {
        "id": row["id"],
        "url": f"{call.base_url}/api/webhooks/{row['id']}",
        **{key: body.get(key) for key in _WEBHOOK},
        "project_id": row["project_id"],
        "organization": row["org_id"],
        "owner": person(call, row["owner_id"]),
        "created_date": row["created"],
        "updated_date": row["created"],
    }


def list_webhooks(call: Call) -> Response:
    """GET /api/webhooks: one's own, or all for an administrator."""
    found = [
        _webhook_json(call, row)
        for row in call.db.rows("SELECT * FROM webhooks")
        if access.in_scope(call, row["org_id"])
        and (call.user.is_admin or row["owner_id"] == call.user.id)
    ]
    return reply(listing.page(call, found, search=("target_url",), equal=("project_id",)))


def create_webhook(call: Call) -> Response:
    """POST /api/webhooks."""
    given = call.json_object()
    if not given.get("target_url"):
        raise ApiError(400, {"target_url": ["This field is required."]})
    webhook_id = call.db.run(
        "INSERT INTO webhooks (org_id, project_id, owner_id, body, created) VALUES (?, ?, ?, ?, ?)",
        (call.org.id, given.get("project_id"), call.user.id, json.dumps(given), now()),
    )
    row = call.db.row("SELECT * FROM webhooks WHERE id = ?", (webhook_id,))
    if row is None:
        raise not_found("Webhook")
    return reply(_webhook_json(call, row), 201)


def delete_webhook(call: Call) -> Response:
    """DELETE /api/webhooks/<id>."""
    row = call.db.row("SELECT * FROM webhooks WHERE id = ?", (call.id(),))
    if row is None or (row["owner_id"] != call.user.id and not call.user.is_admin):
        raise not_found("Webhook")
    call.db.run("DELETE FROM webhooks WHERE id = ?", (row["id"],))
    return no_content()

"""Issues and their comments: what reviewers write on a job."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, no_content, not_found, reply
from lsl_core.sandbox.base.store import Row, now
from lsl_core.sandbox.calls import access, listing
from lsl_core.sandbox.calls.web import Call, person
from lsl_core.sandbox.tasks.projects import check_person


def _issue_json(call: Call, row: Row) -> dict[str, Any]:
    count = call.db.value("SELECT count(*) FROM comments WHERE issue_id = ?", (row["id"],))
    return {
        "id": row["id"],
        "frame": row["frame"],
        "position": json.loads(row["position"]),
        "job": row["job_id"],
        "owner": person(call, row["owner_id"]),
        "assignee": person(call, row["assignee_id"]),
        "created_date": row["created"],
        "updated_date": row["updated"],
        "resolved": bool(row["resolved"]),
        "comments": {
            "url": f"{call.base_url}/api/comments?issue_id={row['id']}",
            "count": count,
        },
    }


def _comment_json(call: Call, row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "issue": row["issue_id"],
        "owner": person(call, row["owner_id"]),
        "message": row["message"],
        "created_date": row["created"],
        "updated_date": row["updated"],
    }


def _seen(call: Call) -> list[Row]:
    """List the issues of jobs that the caller may see."""
    found: list[Row] = []
    for job_id in {row[0] for row in call.db.rows("SELECT job_id FROM issues")}:
        try:
            _, task = access.job(call, job_id)
        except ApiError:
            continue
        if access.in_scope(call, task["org_id"]):
            found += call.db.rows("SELECT * FROM issues WHERE job_id = ?", (job_id,))
    return found


def list_issues(call: Call) -> Response:
    """GET /api/issues."""
    found = [{**_issue_json(call, row), "job_id": row["job_id"]} for row in _seen(call)]
    body = listing.page(call, found, search=("owner",), equal=("job_id", "frame", "resolved"))
    for item in body["results"]:
        del item["job_id"]
    return reply(body)


def _issue(call: Call, issue_id: int) -> Row:
    row = call.db.row("SELECT * FROM issues WHERE id = ?", (issue_id,))
    if row is None:
        raise not_found("Issue")
    access.job(call, row["job_id"])
    return row


def create_issue(call: Call) -> Response:
    """POST /api/issues: an issue with its first comment."""
    given = call.json_object()
    for key in ("job", "frame", "position", "message"):
        if key not in given:
            raise ApiError(400, {key: ["This field is required."]})
    job, _ = access.job(call, int(given["job"]))
    assignee = check_person(call, given, "assignee")
    with call.db.write():
        issue_id = call.db.run(
            "INSERT INTO issues (job_id, frame, position, owner_id, assignee_id, created, updated)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                job["id"], int(given["frame"]), json.dumps(given["position"]), call.user.id,
                assignee, now(), now(),
            ),
        )  # fmt: skip
        _insert_comment(call, issue_id, str(given["message"]))
    return reply(_issue_json(call, _issue(call, issue_id)), 201)


def _insert_comment(call: Call, issue_id: int, message: str) -> int:
    return call.db.run(
        "INSERT INTO comments (issue_id, owner_id, message, created, updated)"
        " VALUES (?, ?, ?, ?, ?)",
        (issue_id, call.user.id, message, now(), now()),
    )


def get_issue(call: Call) -> Response:
    """GET /api/issues/<id>."""
    return reply(_issue_json(call, _issue(call, call.id())))


def patch_issue(call: Call) -> Response:
    """PATCH /api/issues/<id>: resolved, position, assignee."""
    row = _issue(call, call.id())
    given = call.json_object()
    position = json.dumps(given["position"]) if "position" in given else row["position"]
    assignee = row["assignee_id"]
    if "assignee" in given:
        assignee = check_person(call, given, "assignee")
    call.db.run(
        "UPDATE issues SET resolved = ?, position = ?, assignee_id = ?, updated = ? WHERE id = ?",
        (bool(given.get("resolved", row["resolved"])), position, assignee, now(), row["id"]),
    )
    return get_issue(call)


def delete_issue(call: Call) -> Response:
    """DELETE /api/issues/<id>."""
    call.db.run("DELETE FROM issues WHERE id = ?", (_issue(call, call.id())["id"],))
    return no_content()


def list_comments(call: Call) -> Response:
    """GET /api/comments."""
    found: list[dict[str, Any]] = []
    for issue in _seen(call):
        rows = call.db.rows("SELECT * FROM comments WHERE issue_id = ?", (issue["id"],))
        found += [{**_comment_json(call, row), "issue_id": issue["id"]} for row in rows]
    body = listing.page(call, found, search=("owner",), sort="id", equal=("issue_id",))
    for item in body["results"]:
        del item["issue_id"]
    return reply(body)


def create_comment(call: Call) -> Response:
    """POST /api/comments."""
    given = call.json_object()
    for key in ("issue", "message"):
        if key not in given:
            raise ApiError(400, {key: ["This field is required."]})
    issue = _issue(call, int(given["issue"]))
    comment_id = _insert_comment(call, issue["id"], str(given["message"]))
    row = call.db.row("SELECT * FROM comments WHERE id = ?", (comment_id,))
    if row is None:
        raise not_found("Comment")
    return reply(_comment_json(call, row), 201)

"""Background requests: task creation, imports, exports, backups, in a few threads.

A request's row says how it stands; clients poll it. What was under way when the sandbox stopped
is marked failed at the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response

from lsl_core.sandbox.base.answers import HTML_TYPE, ApiError, denied, no_content, not_found, reply
from lsl_core.sandbox.base.context import Context
from lsl_core.sandbox.base.store import Row, now
from lsl_core.sandbox.calls import listing
from lsl_core.sandbox.calls.web import Call

_log = logging.getLogger(__name__)

_NO_CACHE = {"Cache-Control": "max-age=0, no-cache, no-store, must-revalidate, private"}
#: How long CVAT says that it keeps a request, by kind and outcome.
_KEPT = timedelta(days=1)


class WorkFailed(Exception):
    """Background work that could not be done, in words for the client."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What background work leaves behind.

    Args:
        result_id: the task or project that it made.
        file: the file that it wrote, to be downloaded.
        filename: what the file is to be called.
    """

    result_id: int | None = None
    file: Path | None = None
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """Background work to be done: what its request says, and the work."""

    id: str
    type: str
    target: str
    do: Callable[[], Outcome]
    project_id: int | None = None
    task_id: int | None = None
    job_id: int | None = None
    format: str | None = None
    result_url: str | None = None


_INSERT = (
    "INSERT INTO requests (id, type, target, project_id, task_id, job_id, format, owner_id, org_id,"
    " status, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?)"
)


def submit(call: Call, order: Order) -> Response:
    """Queue work and answer with its request id.

    An export that is under way is joined; an import or a creation that is under way is refused.

    Raises:
        ApiError: 409.
    """
    with call.db.write() as conn:
        status = call.db.value("SELECT status FROM requests WHERE id = ?", (order.id,))
        if status in ("queued", "started"):
            if order.type.startswith("export"):
                return reply({"rq_id": order.id}, 202)
            text = "Request is already being processed"
            raise ApiError(409, text, media_type=HTML_TYPE)
        conn.execute("DELETE FROM requests WHERE id = ?", (order.id,))
        conn.execute(
            _INSERT,
            (
                order.id, order.type, order.target, order.project_id, order.task_id, order.job_id,
                order.format, call.user.id, call.org.id, now(),
            ),
        )  # fmt: skip
    call.context.working.submit(_run, call.context, order)
    return reply({"rq_id": order.id}, 202)


def _run(context: Context, order: Order) -> None:
    db = context.db
    db.run("UPDATE requests SET status = 'started', started = ? WHERE id = ?", (now(), order.id))
    expiry = (datetime.now(UTC) + _KEPT).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    try:
        outcome = order.do()
    except (WorkFailed, ApiError) as exc:
        _fail(context, order.id, str(exc), expiry)
    except Exception as exc:
        _log.exception("sandbox request %s failed", order.id)
        _fail(context, order.id, f"{type(exc).__name__}: {exc}", expiry)
    else:
        db.run(
            "UPDATE requests SET status = 'finished', finished = ?, expiry = ?, result_id = ?,"
            " result_url = ?, file = ?, filename = ? WHERE id = ?",
            (
                now(), expiry, outcome.result_id, order.result_url,
                None if outcome.file is None else str(outcome.file), outcome.filename, order.id,
            ),
        )  # fmt: skip


def _fail(context: Context, rq_id: str, message: str, expiry: str) -> None:
    context.db.run(
        "UPDATE requests SET status = 'failed', finished = ?, expiry = ?, message = ? WHERE id = ?",
        (now(), expiry, message.rstrip("\n") + "\n", rq_id),
    )


def as_json(call: Call, row: Row) -> dict[str, Any]:
    """Describe a request as the API does."""
    owner = call.db.value("SELECT username FROM users WHERE id = ?", (row["owner_id"],))
    url = row["result_url"]
    return {
        "status": row["status"],
        "message": row["message"],
        "id": row["id"],
        "operation": {
            "type": row["type"],
            "target": row["target"],
            "project_id": row["project_id"],
            "task_id": row["task_id"],
            "job_id": row["job_id"],
            "format": row["format"],
            **call.context.flavour.operation_extras(),
        },
        "progress": 1.0 if row["status"] == "finished" else 0.0,
        "created_date": row["created"],
        "started_date": row["started"],
        "finished_date": row["finished"],
        "expiry_date": row["expiry"],
        "owner": {"id": row["owner_id"], "username": owner},
        "result_url": None if url is None else f"{call.base_url}{url}",
        "result_id": row["result_id"],
    }


def list_requests(call: Call) -> Response:
    """GET /api/requests: one's own, newest first."""
    rows = call.db.rows(
        "SELECT * FROM requests WHERE owner_id = ? ORDER BY seq DESC", (call.user.id,)
    )
    found = [as_json(call, row) for row in rows if access_ok(call, row)]
    fields = ("status", "target", "action", "subresource", "format")
    body = listing.page(call, found, search=("id",), sort="-created_date", equal=fields)
    return reply(body, headers=_NO_CACHE)


def access_ok(call: Call, row: Row) -> bool:
    """Whether a request belongs to the organisation that the call names."""
    return not call.org.is_given or call.org.id == row["org_id"]


def _load(call: Call, rq_id: str) -> Row:
    row = call.db.row("SELECT * FROM requests WHERE id = ?", (rq_id,))
    if row is None:
        text = "There is no request with specified id"
        raise ApiError(404, text, media_type=HTML_TYPE, headers=_NO_CACHE)
    if row["owner_id"] != call.user.id and not call.user.is_admin:
        raise denied()
    return row


def get_request(call: Call) -> Response:
    """GET /api/requests/<id>."""
    return reply(as_json(call, _load(call, call.path["rq_id"])), headers=_NO_CACHE)


def cancel_request(call: Call) -> Response:
    """POST /api/requests/<id>/cancel: only what has not begun can be cancelled."""
    row = _load(call, call.path["rq_id"].removesuffix("/cancel"))
    if row["status"] != "queued":
        raise ApiError(400, "Only requests that have not yet been started can be cancelled")
    call.db.run("DELETE FROM requests WHERE id = ?", (row["id"],))
    return no_content(200)


def download(call: Call, rq_id: str) -> Response:
    """Send the file that a finished export wrote.

    Raises:
        ApiError: 404 if there is no such file.
    """
    row = _load(call, rq_id)
    if row["status"] != "finished" or row["file"] is None or not Path(row["file"]).is_file():
        raise not_found()
    return FileResponse(row["file"], media_type="application/zip", filename=row["filename"])

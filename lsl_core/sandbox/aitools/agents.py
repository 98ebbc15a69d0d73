"""Native functions: run by `cvat-cli function run-agent` on somebody's machine, not by a Nuclio.

`/api/functions` belongs to CVAT's paid servers, of which there is no recording: this is what
cvat-cli 2.80 sends and reads. A request waits until an agent takes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from starlette.responses import Response, StreamingResponse

from lsl_core.sandbox.aitools.functions import Function
from lsl_core.sandbox.annotations import annotating, checking
from lsl_core.sandbox.base.answers import ApiError, no_content, not_found, reply
from lsl_core.sandbox.base.context import Context
from lsl_core.sandbox.base.store import Row, now
from lsl_core.sandbox.base.tool_queue import Request, Requests
from lsl_core.sandbox.calls.web import Call

Json = dict[str, Any]

_WAITS_S = 120.0
_KEEP_ALIVE_S = 1.0
_CLICKS = {
    "min_pos_points": 1,
    "min_neg_points": -1,
    "startswith_box": False,
    "startswith_box_optional": False,
}


def create(call: Call) -> Response:
    """POST /api/functions."""
    given = call.json_object()
    missing = [key for key in ("name", "provider", "kind") if not given.get(key)]
    if missing or given["provider"] != "native" or given["kind"] not in ("detector", "interactor"):
        raise ApiError(400, {(missing or ["provider"])[0]: ["This value is not taken here."]})
    body = {key: given.get(key) for key in ("provider", "name", "kind", "visibility")}
    if given["kind"] == "interactor":
        body |= {key: given.get(key, default) for key, default in _CLICKS.items()}
    body["labels_v2"] = [
        {"type": "any", "attributes": [], **label} for label in given.get("labels_v2") or []
    ]
    new_id = call.db.run(
        "INSERT INTO native_functions (owner_id, body, created) VALUES (?, ?, ?)",
        (call.user.id, json.dumps(body), now()),
    )
    return reply({"id": new_id, **body}, 201)


def find(call: Call, text: str) -> Row | None:
    """Return the row of a native function of the caller's, None for what is no id of one."""
    if not text.isascii() or not text.isdigit():
        return None
    row = call.db.row("SELECT * FROM native_functions WHERE id = ?", (int(text),))
    is_own = row is not None and (row["owner_id"] == call.user.id or call.user.is_admin)
    return row if is_own else None


def _load(call: Call, text: str) -> Row:
    row = find(call, text)
    if row is None:
        raise not_found("Function")
    return row


def list_all(call: Call) -> list[Json]:
    """Describe the caller's native functions as `/api/lambda/functions` lists tools."""
    rows = call.db.rows("SELECT * FROM native_functions ORDER BY id")
    return [tool_of(row).as_json() for row in rows if find(call, str(row["id"]))]


def tool_of(row: Row) -> Function:
    """Return a native function as an AI tool."""
    body = json.loads(row["body"])
    labels = tuple((label["name"], label["type"]) for label in body["labels_v2"])
    about = {key: str(value) for key, value in body.items() if key in ("name", *_CLICKS) and value}
    return Function(str(row["id"]), body["kind"], labels, None, "", about)


def get(call: Call) -> Response:
    """GET /api/functions/<id>."""
    row = _load(call, call.path["id"])
    return reply({"id": row["id"], **json.loads(row["body"])})


def delete(call: Call) -> Response:
    """DELETE /api/functions/<id>."""
    row = _load(call, call.path["id"])
    call.db.run("DELETE FROM native_functions WHERE id = ?", (row["id"],))
    return no_content()


def _queue(call: Call) -> int:
    """Return the id of the function whose queue the address names."""
    kind, _, text = call.path["queue"].partition(":")
    if kind != "function":
        raise not_found("Queue")
    return int(_load(call, text)["id"])


def watch(call: Call) -> Response:
    """GET /api/functions/queues/<queue>/watch: an event for every new request."""
    function_id, requests = _queue(call), call.context.requests
    return StreamingResponse(_events(requests, function_id), media_type="text/event-stream")


def _events(requests: Requests, function_id: int) -> Iterator[str]:
    told: set[str] = set()
    yield "retry: 1000\n"
    while not requests.is_closed:
        with requests.changed:
            fresh = [
                one
                for one in requests.rows
                if one.function_id == function_id and one.id not in told and one.agent is None
            ]
            if not fresh:
                requests.changed.wait(_KEEP_ALIVE_S)
        told |= {one.id for one in fresh}
        for category in {one.category for one in fresh}:
            data = json.dumps({"request_category": category})
            yield f"event: newrequest\ndata: {data}\n\n"
        if not fresh:
            yield ":\n"


def acquire(call: Call) -> Response:
    """POST /api/functions/queues/<queue>/requests/acquire: give an agent its next request."""
    function_id, given = _queue(call), call.json_object()
    requests = call.context.requests
    with requests.changed:
        for one in requests.rows:
            wanted = (function_id, given.get("request_category"), None)
            if (one.function_id, one.category, one.agent) == wanted:
                one.agent = str(given.get("agent_id"))
                if one.run is not None:
                    one.run.status, one.run.started = "started", now()
                return reply({"ar_assignment": {"ar_id": one.id, "ar_params": one.params}})
    return reply({"ar_assignment": None})


def _held(call: Call) -> Request:
    """Return the request that an agent speaks of.

    Raises:
        ApiError: 404 when it is not this agent's, or was cancelled.
    """
    function_id, agent = _queue(call), call.json_object().get("agent_id")
    for one in list(call.context.requests.rows):
        if (one.function_id, one.id, one.agent) == (function_id, call.path["request"], agent):
            return one
    raise not_found("Request")


def update(call: Call) -> Response:
    """POST …/requests/<id>/update: how far an agent is."""
    one = _held(call)
    if one.run is not None:
        one.run.progress = int(100 * call.json_object().get("progress", 0))
    return reply({})


def complete(call: Call) -> Response:
    """POST …/requests/<id>/complete: what an agent found; a batch is stored in the task."""
    one, given = _held(call), call.json_object()
    if one.run is None:
        one.result = {key: value for key, value in given.items() if key != "agent_id"}
    else:
        batch = checking.check(given.get("annotations"), call.context.flavour, "create")
        rows = annotating.annotation_jobs(call.db, one.task["id"])
        annotating.replace_all(
            call.db, one.task, rows, batch, is_append=not one.run.asked.get("cleanup")
        )
        one.run.progress = 100
        one.run.end()
    call.context.requests.end(one)
    return reply({})


def fail(call: Call) -> Response:
    """POST …/requests/<id>/fail: why an agent could not."""
    one = _held(call)
    one.error = str(call.json_object().get("exc_info"))
    if one.run is not None:
        one.run.end(one.error)
    call.context.requests.end(one)
    return reply({})


def answered(context: Context, request: Request) -> Json:
    """Queue an interactive request and wait for the agent's answer.

    Raises:
        ApiError: 504 when no agent answers in time, 500 with the agent's reason.
    """
    requests = context.requests
    requests.add(request)

    def is_over() -> bool:
        return requests.is_closed or request not in requests.rows

    with requests.changed:
        requests.changed.wait_for(is_over, _WAITS_S)
    requests.end(request)
    if request.error is not None:
        raise ApiError(500, request.error)
    if request.result is None:
        raise ApiError(504, "No agent answered in time")
    return request.result

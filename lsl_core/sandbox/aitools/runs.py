"""`/api/lambda/requests`: runs of AI tools over tasks, one at a time for a task."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, no_content, not_found, reply
from lsl_core.sandbox.base.context import Context
from lsl_core.sandbox.base.store import now
from lsl_core.sandbox.base.tool_queue import Run
from lsl_core.sandbox.calls.web import Call

Json = dict[str, Any]


def begun(call: Call, task_id: int, asked: Json) -> Run:
    """Note a new run of a task.

    Raises:
        ApiError: 409 when the task has a run.
    """
    context = call.context
    run_id = context.flavour.lambda_id(task_id)
    progress = None if context.flavour.has_new_requests else 0
    with context.runs_lock:
        before = context.runs.get(run_id)
        if before is not None and not before.is_over:
            text = f"Only one running request is allowed for the same task #{task_id}"
            raise ApiError(409, text)
        run = Run(run_id, call.user.id, asked, "queued", progress, now())
        # the error of the run before is shown until this one ends, as CVAT does
        run.exc_info = before.exc_info if before else None
        context.runs[run_id] = run
    return run


def list_runs(call: Call) -> Response:
    """GET /api/lambda/requests."""
    shown = [run.as_json() for run in list(call.context.runs.values()) if _is_own(call, run)]
    return reply(shown)


def _is_own(call: Call, run: Run) -> bool:
    return call.user.is_admin or run.owner_id == call.user.id


def _run(call: Call) -> Run:
    run = call.context.runs.get(call.path["rq_id"])
    if run is None or not _is_own(call, run):
        raise not_found()
    return run


def get_run(call: Call) -> Response:
    """GET /api/lambda/requests/<id>."""
    return reply(_run(call).as_json())


def cancel_run(call: Call) -> Response:
    """DELETE /api/lambda/requests/<id>: forget it; it ends after the frame it is at."""
    run = _run(call)
    cancel(call.context, run)
    call.context.runs.pop(run.id, None)
    return no_content()


def cancel(context: Context, run: Run) -> None:
    """Let a run end soon, and take back what waits for an agent."""
    run.is_cancelled = True
    for request in list(context.requests.rows):
        if request.run is run:
            context.requests.end(request)

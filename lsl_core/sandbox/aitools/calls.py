"""`/api/lambda`: functions, one call on a frame, and runs over a task or a job.

A run stores what it found every 100 frames and at its end, so one that fails in between leaves
partial results; a task has one run at a time. Runs are forgotten when the sandbox stops.
"""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox import access, annotating, data, jobs, keeping, labels
from lsl_core.sandbox.aitools.functions import BadMapping, Function
from lsl_core.sandbox.aitools.nuclio import NoAnswer, Nuclio
from lsl_core.sandbox.aitools.shapes import shapes_of, with_labels
from lsl_core.sandbox.context import Context
from lsl_core.sandbox.store import Row, now
from lsl_core.sandbox.web import ApiError, Call, no_content, not_found, reply

Json = dict[str, Any]

_log = logging.getLogger(__name__)

#: CVAT stores what was found after so many frames.
_STORED_EVERY = 100


@dataclass(slots=True)
class Run:
    """A function on its way over a task, and how it stands."""

    id: str
    owner_id: int
    asked: Json
    status: str
    progress: int | None
    enqueued: str
    started: str | None = None
    ended: str | None = None
    exc_info: str | None = None
    is_cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it ended."""
        return self.status in ("finished", "failed")

    def as_json(self) -> Json:
        """Describe it as the API does."""
        asked = self.asked
        function = {"id": asked["function"], "task": asked["task"]}
        if asked.get("job") is not None:
            function["job"] = asked["job"]
        return {
            "id": self.id,
            "function": {**function, "threshold": asked.get("threshold")},
            "status": self.status,
            "progress": self.progress,
            "enqueued": self.enqueued,
            "started": self.started,
            "ended": self.ended,
            "exc_info": self.exc_info,
        }


def _nuclio(call: Call) -> Nuclio:
    if call.context.nuclio is None:
        raise ApiError(503, "Connection refused: the sandbox has no serverless gateway behind it")
    return call.context.nuclio


def list_functions(call: Call) -> Response:
    """GET /api/lambda/functions: those of the Nuclio that CVAT understands."""
    found = []
    for name, row in _nuclio(call).functions().items():
        try:
            function = Function.of(row)
        except (KeyError, TypeError, ValueError):
            _log.exception("sandbox: function %s is not described as CVAT needs it", name)
            continue
        if function is not None:
            found.append(function.as_json())
    return reply(found)


def get_function(call: Call) -> Response:
    """GET /api/lambda/functions/<id>."""
    return reply(_function(_nuclio(call), call.path["id"]).as_json())


def _function(nuclio: Nuclio, name: str) -> Function:
    try:
        found = Function.of(nuclio.function(name))
    except (KeyError, TypeError, ValueError) as exc:
        raise ApiError(500, f"{name} lambda function has invalid metadata: {exc!r}") from exc
    if found is None:
        raise ApiError(500, f"{name} lambda function has unknown type")
    return found


def call_function(call: Call) -> Response:
    """POST /api/lambda/functions/<id>: call it for one frame, and store nothing."""
    given = call.json_object()
    task, job = _target(call, given)
    nuclio = _nuclio(call)
    function = _function(nuclio, call.path["id"])
    frame = given.get("frame")
    allowed = range(task["size"] or 0) if job is None else jobs.frames_of(job)
    if not isinstance(frame, int) or frame not in allowed:
        raise ApiError(400, f"The frame is outside the {'task' if job is None else 'job'} range")
    payload = _payload(call.context, task, frame, given.get("threshold"))
    if function.kind == "interactor":
        return reply(nuclio.invoke(function.id, function.port, payload | _pointed_at(given)))
    if function.kind != "detector":
        raise ApiError(400, f"The sandbox calls detectors and interactors, no {function.kind}")
    mapping = function.mapped(labels.of_task(call.db, task), given.get("mapping"))
    answer = nuclio.invoke(function.id, function.port, payload)
    if not call.context.flavour.has_new_requests:
        return reply(with_labels(answer, mapping))
    shapes = shapes_of(answer, mapping, frame, as_polygons=_as_polygons(given))
    return reply({"version": 0, "tags": [], "shapes": shapes, "tracks": []})


def _target(call: Call, given: Json) -> tuple[Row, Row | None]:
    """Load the job or the task that a call names."""
    if given.get("job") is not None:
        job, task = access.job(call, given["job"])
        if given.get("task") not in (None, task["id"]):
            raise ApiError(400, "Job task id does not match task id")
        return task, job
    if given.get("task") is None:
        raise ApiError(400, "Either 'job' or 'task' must be given")
    return access.task(call, given["task"]), None


def _pointed_at(given: Json) -> Json:
    missing = [key for key in ("pos_points", "neg_points") if key not in given]
    if missing:
        text = f"lambda function was called without mandatory argument: {missing[0]}"
        raise ApiError(400, text)
    return {key: given.get(key) for key in ("pos_points", "neg_points", "obj_bbox")}


def _as_polygons(given: Json) -> bool:
    return bool(given.get("conv_mask_to_poly", given.get("convMaskToPoly", False)))


def _payload(context: Context, task: Row, frame: int, threshold: float | None) -> Json:
    path, _ = data.frame_file(context, task, frame, is_original=True)
    image = base64.b64encode(path.read_bytes()).decode()
    return {**({"threshold": threshold} if threshold else {}), "image": image}


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
    run.is_cancelled = True
    call.context.runs.pop(run.id, None)
    return no_content()


def start_run(call: Call) -> Response:
    """POST /api/lambda/requests: call a detector for every frame of a task or a job.

    Raises:
        ApiError: 409 when the task has a run.
    """
    given = call.json_object()
    missing = {
        key: ["This field is required."] for key in ("function", "task") if given.get(key) is None
    }
    if missing:
        raise ApiError(400, missing)
    task, job = _target(call, given)
    nuclio = _nuclio(call)
    function = _function(nuclio, given["function"])
    if function.kind != "detector":
        raise ApiError(400, f"The sandbox runs detectors, no {function.kind}")
    context = call.context
    run_id = context.flavour.lambda_id(task["id"])
    with context.runs_lock:
        before = context.runs.get(run_id)
        if before is not None and not before.is_over:
            text = f"Only one running request is allowed for the same task #{task['id']}"
            raise ApiError(409, text)
        progress = None if context.flavour.has_new_requests else 0
        run = Run(run_id, call.user.id, given, "queued", progress, now())
        # the error of the run before is shown until this one ends, as CVAT does
        run.exc_info = before.exc_info if before else None
        context.runs[run_id] = run
    shown = run.as_json()
    context.working.submit(_work, context, run, function, task, job)
    return reply(shown)


def _work(context: Context, run: Run, function: Function, task: Row, job: Row | None) -> None:
    run.status, run.started = "started", now()
    try:
        _detect(context, run, function, task, job)
    except Exception as exc:
        if not isinstance(exc, ApiError):
            _log.exception("sandbox run %s failed", run.id)
        run.exc_info = f"Traceback (most recent call last):\n  [frames left out]\n{_last_line(exc)}"
        run.status, run.ended = "failed", now()
    else:
        run.exc_info = None
        run.status, run.ended = "finished", now()


def _last_line(exc: Exception) -> str:
    if isinstance(exc, NoAnswer):
        return f"requests.exceptions.{exc.kind}: {exc.body}"
    if isinstance(exc, BadMapping):
        return f"django.core.exceptions.ValidationError: [{exc.body!r}]"
    return f"{type(exc).__name__}: {exc}"


def _detect(context: Context, run: Run, function: Function, task: Row, job: Row | None) -> None:
    rows = annotating.annotation_jobs(context.db, task["id"]) if job is None else [job]
    asked = run.asked
    nuclio = context.nuclio
    if nuclio is None:
        raise RuntimeError("A run without a Nuclio")
    if asked.get("cleanup"):
        with context.db.write():
            keeping.clear(context.db, [row["id"] for row in rows])
            annotating.mark_changed(context.db, task, rows)
    found: list[Json] = []
    mapping = function.mapped(labels.of_task(context.db, task), asked.get("mapping"))
    deleted = set(json.loads(task["deleted_frames"]))
    for frame in sorted({frame for row in rows for frame in jobs.frames_of(row)} - deleted):
        if run.is_cancelled:
            break
        payload = _payload(context, task, frame, asked.get("threshold"))
        answer = nuclio.invoke(function.id, function.port, payload)
        found += shapes_of(answer, mapping, frame, as_polygons=_as_polygons(asked))
        run.progress = int(100 * (frame + 1) / task["size"])
        if frame and frame % _STORED_EVERY == 0:
            _store(context, task, rows, found)
            found = []
    _store(context, task, rows, found)


def _store(context: Context, task: Row, rows: list[Row], shapes: list[Json]) -> None:
    batch = {"tags": [], "shapes": shapes, "tracks": []}
    annotating.replace_all(context.db, task, rows, batch, is_append=True)

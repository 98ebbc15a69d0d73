"""`/api/lambda`: functions, one call on a frame, and runs over a task or a job.

A run stores what it found every 100 frames and at its end, so one that fails in between leaves
partial results; a task has one run at a time. Runs are forgotten when the sandbox stops.
"""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.aitools import agents
from lsl_core.sandbox.aitools.functions import BadMapping, Function
from lsl_core.sandbox.aitools.runs import begun
from lsl_core.sandbox.aitools.shapes import shapes_of, with_labels
from lsl_core.sandbox.annotations import annotating, keeping
from lsl_core.sandbox.base.answers import ApiError, reply
from lsl_core.sandbox.base.context import Context
from lsl_core.sandbox.base.nuclio import NoAnswer, Nuclio
from lsl_core.sandbox.base.store import Row, now
from lsl_core.sandbox.base.tool_queue import Request, Run
from lsl_core.sandbox.calls import access
from lsl_core.sandbox.calls.web import Call
from lsl_core.sandbox.tasks import data, jobs, labels

Json = dict[str, Any]

_log = logging.getLogger(__name__)

#: CVAT stores what was found after so many frames.
_STORED_EVERY = 100


def _nuclio(call: Call) -> Nuclio:
    if call.context.nuclio is None:
        raise ApiError(503, "Connection refused: the sandbox has no serverless gateway behind it")
    return call.context.nuclio


def list_functions(call: Call) -> Response:
    """GET /api/lambda/functions: those of the Nuclio that CVAT understands, and native ones."""
    found = agents.list_all(call)
    if found and call.context.nuclio is None:
        return reply(found)
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
    return reply(_any_function(call, call.path["id"]).as_json())


def _any_function(call: Call, name: str) -> Function:
    """Return a native function of the caller's, or one of the Nuclio."""
    native = agents.find(call, name)
    return _function(_nuclio(call), name) if native is None else agents.tool_of(native)


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
    native = agents.find(call, call.path["id"])
    function = _any_function(call, call.path["id"])
    frame = given.get("frame")
    size = task["size"] or 0
    if job is not None and frame not in jobs.frames_of(job):
        raise ApiError(400, "The frame is outside the job range")
    if not isinstance(frame, int) or frame not in range(size):
        where = f"The frame number should be in the [0, {size}] range"
        raise ApiError(400, [f"Invalid frame '{frame}'. {where}"])
    if native is not None:
        return _ask_agent(call, native, task, given)
    return _ask_nuclio(call, function, task, given)


def _ask_nuclio(call: Call, function: Function, task: Row, given: Json) -> Response:
    """Call a function of the Nuclio for one frame."""
    nuclio, frame = _nuclio(call), given["frame"]
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
    native = agents.find(call, str(given["function"]))
    function = _any_function(call, str(given["function"]))
    if function.kind != "detector":
        raise ApiError(400, f"The sandbox runs detectors, no {function.kind}")
    if native is not None:
        return _start_agent(call, function, native, task, given)
    run = begun(call, task["id"], given)
    shown = run.as_json()
    call.context.working.submit(_work, call.context, run, function, task, job)
    return reply(shown)


def _start_agent(call: Call, function: Function, native: Row, task: Row, given: Json) -> Response:
    if given.get("job") is not None:
        raise ApiError(400, "The sandbox's agents annotate whole tasks only")
    params = {"type": "annotate_task", **_of_detection(call, function, task, given)}
    run = begun(call, task["id"], given)
    shown = run.as_json()
    call.context.requests.add(Request(native["id"], "batch", params, task, run))
    return reply(shown)


def _of_detection(call: Call, function: Function, task: Row, given: Json) -> Json:
    mapping = function.mapped(labels.of_task(call.db, task), given.get("mapping"))
    return {
        "task": task["id"],
        "mapping": {name: {"name": row["name"]} for name, row in mapping.items()},
        "threshold": given.get("threshold"),
        "conv_mask_to_poly": _as_polygons(given),
    }


def _ask_agent(call: Call, native: Row, task: Row, given: Json) -> Response:
    """Let an agent answer for one frame."""
    function = agents.tool_of(native)
    if function.kind == "interactor":
        params = {"type": "interact", "task": task["id"], **_pointed_at(given)}
        params["obj_bbox"] = params["obj_bbox"] or []
    else:
        params = {"type": "annotate_frame", **_of_detection(call, function, task, given)}
    params["frame"] = given["frame"]
    request = Request(native["id"], "interactive", params, task)
    found = agents.answered(call.context, request)
    return reply(found.get("annotations", found))


def _work(context: Context, run: Run, function: Function, task: Row, job: Row | None) -> None:
    run.status, run.started = "started", now()
    try:
        _detect(context, run, function, task, job)
    except Exception as exc:
        if not isinstance(exc, ApiError):
            _log.exception("sandbox run %s failed", run.id)
        run.end(f"Traceback (most recent call last):\n  [frames left out]\n{_last_line(exc)}")
    else:
        run.end()


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

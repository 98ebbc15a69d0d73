"""A task's data: frames, chunks, previews and their description."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from lsl_core.sandbox.base.answers import HTML_TYPE, ApiError, not_found, reply, server_error
from lsl_core.sandbox.base.context import Context
from lsl_core.sandbox.base.store import Row
from lsl_core.sandbox.calls import access
from lsl_core.sandbox.calls.web import Call
from lsl_core.sandbox.files import media, video
from lsl_core.sandbox.tasks import jobs


def _with_data(task: Row) -> Row:
    if task["size"] is None:
        raise server_error()
    return task


def _meta(call: Call, task: Row, frames: list[Row], job: Row | None) -> dict[str, Any]:
    video_name = video.name_of(call.db, task)
    included = None
    if job is not None and job["frames"] is not None:
        included = jobs.frames_of(job)
    deleted = set(json.loads(task["deleted_frames"]))
    if job is not None:
        deleted &= set(jobs.frames_of(job))
    return {
        "chunks_updated_date": task["chunks_updated"],
        "chunk_size": task["chunk_size"],
        "size": len(frames) if included is None else len(included),
        "image_quality": task["image_quality"],
        "start_frame": task["start_frame"] if job is None else _source(task, job["start"]),
        "stop_frame": task["stop_frame"] if job is None else _source(task, job["stop"]),
        "frame_filter": task["frame_filter"],
        "frames": [
            {
                "width": frame["width"],
                "height": frame["height"],
                "name": video_name or frame["name"],
                "related_files": 0,
                "has_related_context": False,
            }
            for frame in (frames if video_name is None else frames[:1])
        ],
        "deleted_frames": sorted(deleted),
        "included_frames": included,
        **call.context.flavour.meta_extras(),
    }


def _source(task: Row, frame: int) -> int:
    """Say where a task's frame lies in the uploaded sequence."""
    _, _, step = task["frame_filter"].partition("=")
    return int(task["start_frame"] + frame * int(step or 1))


def _frame_rows(call: Call, task: Row, job: Row | None = None) -> list[Row]:
    sql = "SELECT * FROM frames WHERE task_id = ? ORDER BY number"
    rows = call.db.rows(sql, (task["id"],))
    return rows if job is None else [rows[number] for number in jobs.frames_of(job)]


def task_meta(call: Call) -> Response:
    """GET /api/tasks/<id>/data/meta."""
    task = _with_data(access.task(call, call.id()))
    return reply(_meta(call, task, _frame_rows(call, task), None))


def job_meta(call: Call) -> Response:
    """GET /api/jobs/<id>/data/meta."""
    job, task = access.job(call, call.id())
    return reply(_meta(call, task, _frame_rows(call, task, job), job))


def _checked_frames(given: dict[str, Any], allowed: set[int]) -> set[int]:
    frames = given.get("deleted_frames", [])
    if not isinstance(frames, list) or not all(frame in allowed for frame in frames):
        raise ApiError(400, {"deleted_frames": ["Frames outside of the task or job"]})
    return set(frames)


def patch_task_meta(call: Call) -> Response:
    """PATCH /api/tasks/<id>/data/meta: which frames are deleted."""
    task = _with_data(access.task(call, call.id()))
    given = call.json_object()
    if "deleted_frames" in given:
        _set_deleted(call, task, _checked_frames(given, set(range(task["size"]))))
    return task_meta(call)


def patch_job_meta(call: Call) -> Response:
    """PATCH /api/jobs/<id>/data/meta: which of the job's frames are deleted."""
    job, task = access.job(call, call.id())
    given = call.json_object()
    if "deleted_frames" in given:
        mine = set(jobs.frames_of(job))
        others = set(json.loads(task["deleted_frames"])) - mine
        _set_deleted(call, task, others | _checked_frames(given, mine))
    return job_meta(call)


def _set_deleted(call: Call, task: Row, frames: set[int]) -> None:
    call.db.run(
        "UPDATE tasks SET deleted_frames = ? WHERE id = ?",
        (json.dumps(sorted(frames)), task["id"]),
    )
    jobs.touch(call.db, task)


def task_data(call: Call) -> Response:
    """GET /api/tasks/<id>/data: a frame, a chunk or the preview."""
    task = _with_data(access.task(call, call.id()))
    return _send(call, task, None)


def job_data(call: Call) -> Response:
    """GET /api/jobs/<id>/data."""
    job, task = access.job(call, call.id())
    return _send(call, task, job)


def _send(call: Call, task: Row, job: Row | None) -> Response:
    kind = call.query("type")
    quality = call.query("quality") or "compressed"
    if quality not in ("compressed", "original"):
        raise ApiError(400, f"Wrong quality value {quality!r}")
    if kind == "preview":
        return _send_preview(call, task, 0 if job is None else jobs.frames_of(job)[0])
    if kind == "frame":
        return _send_frame(call, task, job, is_original=quality == "original")
    if kind == "chunk":
        return _send_chunk(call, task, job, is_original=quality == "original")
    raise ApiError(400, f"Data type {kind!r} is not supported by the server.")


def _asked_number(call: Call, name: str) -> int | None:
    text = call.query(name)
    if text is None:
        return None
    if not text.isdigit():
        raise ApiError(400, f"{name} must be an integer, not {text!r}")
    return int(text)


def _send_frame(call: Call, task: Row, job: Row | None, *, is_original: bool) -> Response:
    number = _asked_number(call, "number")
    if number is None:
        raise ApiError(400, "Number must be specified for a frame")
    allowed = range(task["size"]) if job is None else jobs.frames_of(job)
    if number not in allowed:
        low, high = (0, task["size"]) if job is None else (job["start"], job["stop"])
        text = f"Invalid frame '{number}'. The frame number should be in the [{low}, {high}] range"
        raise ApiError(400, text)
    path, kind = frame_file(call.context, task, number, is_original=is_original)
    return FileResponse(path, media_type=kind)


def frame_file(context: Context, task: Row, number: int, *, is_original: bool) -> tuple[Path, str]:
    """Find the file of one frame.

    Returns:
        Its path and media type.

    Raises:
        ApiError: 404 if the task has no such frame.
    """
    sql = "SELECT * FROM frames WHERE task_id = ? AND number = ?"
    frame = context.db.row(sql, (task["id"], number))
    if frame is None:
        raise not_found()
    folder = context.task_folder(task["id"])
    if is_original:
        return folder / frame["file"], media.media_type(frame["name"])
    return media.compressed(folder, number, frame["file"], task["image_quality"]), "image/jpeg"


def _chunk_frames(call: Call, task: Row, job: Row | None) -> list[int]:
    size = task["chunk_size"]
    index = _asked_number(call, "index") if job is not None else None
    number = _asked_number(call, "number") if index is None else index
    if number is None:
        raise ApiError(400, "Number must be specified for a chunk")
    frames = list(range(task["size"])) if job is None else jobs.frames_of(job)
    if index is None:
        low, high = frames[0] // size, frames[-1] // size
        found = [frame for frame in frames if frame // size == number]
    else:
        low, high = 0, (len(frames) - 1) // size
        found = frames[index * size : (index + 1) * size]
    if not found:
        raise ApiError(
            400,
            f"Invalid chunk number '{number}'."
            f" The chunk number should be in the [{low}, {high}] range",
        )
    return found


def _send_chunk(call: Call, task: Row, job: Row | None, *, is_original: bool) -> Response:
    numbers = _chunk_frames(call, task, job)
    paths = [
        frame_file(call.context, task, number, is_original=is_original)[0] for number in numbers
    ]
    into = call.context.folder / "exports"
    is_video = is_original and video.name_of(call.db, task) is not None
    packed = video.make_chunk(paths, into) if is_video else media.zip_chunk(paths, into)
    headers = {"X-Checksum": str(media.checksum(packed)), "X-Updated-Date": task["chunks_updated"]}
    return FileResponse(
        packed,
        media_type="video/mp4" if is_video else "application/zip",
        headers=headers,
        background=BackgroundTask(_forget, packed),
    )


def _forget(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _send_preview(call: Call, task: Row, number: int) -> Response:
    sql = "SELECT file FROM frames WHERE task_id = ? AND number = ?"
    file = call.db.value(sql, (task["id"], number))
    if file is None:
        raise not_found()
    path = media.preview(call.context.task_folder(task["id"]), number, file)
    return FileResponse(path, media_type="image/jpeg")


def task_preview(call: Call) -> Response:
    """GET /api/tasks/<id>/preview."""
    return _send_preview(call, _with_data(access.task(call, call.id())), 0)


def job_preview(call: Call) -> Response:
    """GET /api/jobs/<id>/preview."""
    job, task = access.job(call, call.id())
    return _send_preview(call, task, jobs.frames_of(job)[0])


def project_preview(call: Call) -> Response:
    """GET /api/projects/<id>/preview: the first frame of its first task."""
    project = access.project(call, call.id())
    sql = "SELECT * FROM tasks WHERE project_id = ? AND size > 0 ORDER BY id"
    task = call.db.row(sql, (project["id"],))
    if task is None:
        raise ApiError(404, "Project image preview not found", media_type=HTML_TYPE)
    return _send_preview(call, task, 0)

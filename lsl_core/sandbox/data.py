"""A task's data: uploads that become frames, frames, chunks, previews and their description."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from lsl_core.sandbox import access, jobs, media, uploads, video, work
from lsl_core.sandbox.answers import HTML_TYPE, ApiError, no_content, not_found, reply, server_error
from lsl_core.sandbox.context import Context
from lsl_core.sandbox.store import Row, now
from lsl_core.sandbox.web import Call

_DEFAULT_QUALITY = 70


def post_data(call: Call) -> Response:
    """POST /api/tasks/<id>/data: every step of an upload."""
    task = access.task(call, call.id())
    place = f"task-{task['id']}-data"
    if task["size"] is not None:
        raise ApiError(400, ["Adding more data is not allowed"])
    if call.has_header("upload-start"):
        return uploads.start(call, place)
    if call.has_header("upload-length"):
        return uploads.create(call, place)
    if call.has_header("upload-multiple"):
        uploads.keep_files(call, place)
        return no_content(200)
    uploads.keep_files(call, place)
    return _finish(call, task, place)


def resume_upload(call: Call) -> Response:
    """HEAD and PATCH /api/tasks/<id>/data/<upload>."""
    task = access.task(call, call.id())
    return uploads.resume(call, f"task-{task['id']}-data")


def _integer(given: dict[str, Any], key: str, default: int) -> int:
    value = given.get(key)
    if value in (None, ""):
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ApiError(400, {key: ["A valid integer is required."]}) from None


def _finish(call: Call, task: Row, place: str) -> Response:
    given = call.json_object()
    quality = _integer(given, "image_quality", _DEFAULT_QUALITY)
    if not 0 <= quality <= 100:
        raise ApiError(400, {"image_quality": ["Ensure this value is between 0 and 100."]})
    for key in ("server_files", "remote_files", "cloud_storage_id", "job_file_mapping"):
        if given.get(key):
            raise ApiError(400, [f"The sandbox takes files from the client only, not {key}"])
    order = work.Order(
        call.context.flavour.create_id(task["id"]),
        "create:task",
        "task",
        lambda: _build(call.context, task, uploads.inbox(call, place), given),
        project_id=task["project_id"],
        task_id=task["id"],
    )
    return work.submit(call, order)


def _build(context: Context, task: Row, inbox: Path, given: dict[str, Any]) -> work.Outcome:
    folder = context.task_folder(task["id"])
    try:
        names = media.collect(inbox, folder / "raw")
        order = given.get("upload_file_order") or []
        names = media.ordered(names, str(given.get("sorting_method") or ""), order)
        frames = _read_frames(folder, names, given)
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    store_frames(context, task["id"], frames, given)
    return work.Outcome()


def _read_frames(folder: Path, names: list[str], given: dict[str, Any]) -> list[media.Frame]:
    quality = _integer(given, "image_quality", _DEFAULT_QUALITY) or 1
    if not any(map(video.is_video, names)):
        names = names[_frame_slice(given, len(names))]
        return media.read_frames(folder, names, quality)
    if len(names) > 1:
        raise work.WorkFailed("Only one video, or images, can be used in a task")
    count = video.count_frames(folder / "raw" / names[0])
    return video.read_frames(folder, names[0], quality, range(count)[_frame_slice(given, count)])


def _frame_slice(given: dict[str, Any], size: int) -> slice:
    start = _integer(given, "start_frame", 0)
    stop = min(_integer(given, "stop_frame", size - 1), size - 1)
    step = 1
    if text := given.get("frame_filter"):
        head, _, number = str(text).partition("=")
        if head.strip() != "step" or not number.strip().isdigit() or int(number) < 1:
            raise work.WorkFailed(f"Invalid frame filter {text!r}")
        step = int(number)
    if start > stop:
        raise work.WorkFailed("No frames are left between start_frame and stop_frame")
    return slice(start, stop + 1, step)


def store_frames(
    context: Context, task_id: int, frames: list[media.Frame], given: dict[str, Any]
) -> None:
    """Give a task its frames and cut it into jobs, in one transaction."""
    db = context.db
    with db.write() as conn:
        task = db.row("SELECT * FROM tasks WHERE id = ?", (task_id,))
        if task is None:
            raise work.WorkFailed("The task was deleted while its data was read")
        overlap = min(task["overlap"] or 0, max(task["segment_size"] - 1, 0))
        conn.execute(
            "UPDATE tasks SET size = ?, image_quality = ?, chunk_size = ?, start_frame = ?,"
            " stop_frame = ?, frame_filter = ?, sorting = ?, chunks_updated = ?, overlap = ?,"
            " segment_size = ?, updated = ? WHERE id = ?",
            (
                len(frames), _integer(given, "image_quality", _DEFAULT_QUALITY),
                _integer(given, "chunk_size", 0) or media.chunk_size_for(frames),
                _integer(given, "start_frame", 0),
                _integer(given, "stop_frame", len(frames) - 1), given.get("frame_filter") or "",
                str(given.get("sorting_method") or "lexicographical"), now(), overlap,
                task["segment_size"] or len(frames), now(), task_id,
            ),
        )  # fmt: skip
        conn.executemany(
            "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?)",
            [
                (task_id, number, frame.name, frame.width, frame.height, frame.file)
                for number, frame in enumerate(frames)
            ],
        )
        jobs.insert_ranges(db, task, jobs.cut(len(frames), task["segment_size"], overlap))
        if validation := given.get("validation_params"):
            _add_ground_truth(context, task_id, frames, validation)


def _add_ground_truth(
    context: Context,
    task_id: int,
    frames: list[media.Frame],
    asked: Any,  # noqa: ANN401 - JSON
) -> None:
    asked = json.loads(asked) if isinstance(asked, str) else dict(asked)
    if asked.get("mode") != "gt":
        raise work.WorkFailed("The sandbox knows the validation mode 'gt' only")
    if asked.get("frame_selection_method") == "manual":
        numbers = {frame.name: number for number, frame in enumerate(frames)}
        asked["frames"] = [numbers.get(name, name) for name in asked.get("frames") or []]
    task = context.db.row("SELECT * FROM tasks WHERE id = ?", (task_id,))
    if task is not None:
        jobs.insert_ground_truth(context.db, task, jobs.pick_frames(asked, len(frames)))


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

"""Filling a task: uploads become frames, and frames are cut into jobs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, no_content
from lsl_core.sandbox.base.context import Context
from lsl_core.sandbox.base.store import Row, now
from lsl_core.sandbox.calls import access, work
from lsl_core.sandbox.calls.web import Call
from lsl_core.sandbox.files import media, uploads, video
from lsl_core.sandbox.tasks import jobs

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

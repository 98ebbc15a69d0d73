"""Backups of tasks and projects: an archive in CVAT's shape, and back into a new task or project.

A task is `task.json`, `annotations.json` (one entry a job), `data/` with the images and their
`manifest.jsonl`; a project is `project.json` and a folder `task_<n>/` for each task. Labels and
attributes are written by name: ids belong to the server that gave them.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.annotations import keeping
from lsl_core.sandbox.annotations.checking import Thing
from lsl_core.sandbox.base.answers import HTML_TYPE, ApiError, no_content
from lsl_core.sandbox.base.store import Row, now
from lsl_core.sandbox.calls import access, work
from lsl_core.sandbox.calls.web import Call
from lsl_core.sandbox.exchange import records
from lsl_core.sandbox.exchange.transfer import export_order, take_upload
from lsl_core.sandbox.files import uploads, video
from lsl_core.sandbox.tasks import jobs, labels, projects, tasks

Json = dict[str, Any]

_VERSION = "1.0"
_DATA_FIELDS = ("chunk_size", "image_quality", "start_frame", "stop_frame", "frame_filter")


def export_task(call: Call) -> Response:
    """POST /api/tasks/<id>/backup/export."""
    task = access.task(call, call.id())
    if task["size"] is None:
        text = "Backup of a task without data is not allowed"
        raise ApiError(400, text, media_type=HTML_TYPE)

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            _write_task(call, archive, "", task)

    order = export_order(
        call, "task", task["id"], what="backup", fmt=None, task=task,
        project_id=task["project_id"], make=make,
    )  # fmt: skip
    return work.submit(call, order)


def export_project(call: Call) -> Response:
    """POST /api/projects/<id>/backup/export."""
    project = access.project(call, call.id())

    def make(path: Path) -> None:
        rows = call.db.rows(
            "SELECT * FROM tasks WHERE project_id = ? AND size IS NOT NULL ORDER BY id",
            (project["id"],),
        )
        found = labels.of_owner(call.db, project_id=project["id"], task_id=None)
        about = {
            "name": project["name"],
            "bug_tracker": project["bug_tracker"],
            "status": "annotation",
            "labels": [_label(labels.as_json(call.db, row)) for row in found],
            "version": _VERSION,
        }
        with zipfile.ZipFile(path, "w") as archive:
            for number, task in enumerate(rows):
                _write_task(call, archive, f"task_{number}/", task)
            archive.writestr("project.json", json.dumps(about))

    order = export_order(
        call, "project", project["id"], what="backup", fmt=None, task=None,
        project_id=project["id"], make=make,
    )  # fmt: skip
    return work.submit(call, order)


def _label(label: Json) -> Json:
    kept = ("name", "color", "type", "sublabels")
    spec = ("name", "mutable", "input_type", "default_value", "values")
    return {
        **{key: label[key] for key in kept},
        "attributes": [{key: item[key] for key in spec} for item in label["attributes"]],
    }


def _write_task(call: Call, archive: zipfile.ZipFile, at: str, task: Row) -> None:
    db = call.db
    if video.name_of(db, task) is not None:
        raise work.WorkFailed(f"The sandbox makes no backup of a video: task {task['id']}")
    rows = db.rows("SELECT * FROM jobs WHERE task_id = ? ORDER BY id", (task["id"],))
    book = {label.id: label for label in records.labels_of(call.context, task)}
    named = [_named(json.loads(_job_text(call, row)), book) for row in rows]
    found = labels.of_task(db, task)
    about = {
        "name": task["name"],
        "bug_tracker": task["bug_tracker"],
        "status": "annotation",
        "subset": task["subset"],
        "overlap": task["overlap"],
        "segment_size": task["segment_size"],
        "consensus_replicas": task["replicas"],
        "validation_mode": task["validation_mode"],
        "labels": [_label(labels.as_json(db, row)) for row in found],
        "version": _VERSION,
        "data": {
            **{key: task[key] for key in _DATA_FIELDS},
            "sorting_method": task["sorting"],
            "storage_method": "cache",
            "storage": "local",
            "chunk_type": "imageset",
            "deleted_frames": json.loads(task["deleted_frames"]),
        },
        "jobs": [_job(row) for row in rows],
    }
    archive.writestr(f"{at}task.json", json.dumps(about))
    archive.writestr(f"{at}annotations.json", json.dumps(named, separators=(",", ":")))
    _write_images(call, archive, at, task)


def _job_text(call: Call, row: Row) -> str:
    return keeping.as_text(call.db, [row["id"]], has_scores=call.context.flavour.has_scores)


def _job(row: Row) -> Json:
    return {
        "start_frame": row["start"],
        "stop_frame": row["stop"],
        "frames": [] if row["frames"] is None else json.loads(row["frames"]),
        "stage": row["stage"],
        "state": row["state"],
        "status": row["stage"],
        "type": row["type"],
    }


def _write_images(call: Call, archive: zipfile.ZipFile, at: str, task: Row) -> None:
    folder = call.context.task_folder(task["id"])
    lines: list[Json] = [{"version": "1.1"}, {"type": "images"}]
    sql = "SELECT * FROM frames WHERE task_id = ? ORDER BY number"
    for frame in call.db.rows(sql, (task["id"],)):
        path = PurePosixPath(frame["name"])
        lines.append(
            {
                "name": path.with_suffix("").as_posix(),
                "extension": path.suffix,
                "width": frame["width"],
                "height": frame["height"],
            }
        )
        archive.write(folder / frame["file"], f"{at}data/{frame['name']}", zipfile.ZIP_STORED)
    archive.writestr(f"{at}data/manifest.jsonl", "\n".join(map(json.dumps, lines)) + "\n")


def _named(body: dict[str, Any], book: dict[int, records.LabelInfo]) -> Json:
    for kind in keeping.KINDS:
        for thing in body[kind]:
            label = book[thing.pop("label_id")]
            del thing["id"]
            thing["label"] = label.name
            thing["attributes"] = [
                {"name": label.attributes[item["spec_id"]]["name"], "value": item["value"]}
                for item in thing["attributes"]
            ]
    return body


def restore_task(call: Call) -> Response:
    """POST /api/tasks/backup: every step of a restore into a new task."""
    return _restore(call, "task", _restore_task)


def restore_project(call: Call) -> Response:
    """POST /api/projects/backup: every step of a restore into a new project."""
    return _restore(call, "project", _restore_project)


def resume_task(call: Call) -> Response:
    """HEAD and PATCH /api/tasks/backup/<upload>."""
    return uploads.resume(call, "tasks-backup")


def resume_project(call: Call) -> Response:
    """HEAD and PATCH /api/projects/backup/<upload>."""
    return uploads.resume(call, "projects-backup")


def _restore(call: Call, target: str, read: Any) -> Response:  # noqa: ANN401 - a function
    answer, file = take_upload(call, f"{target}s-backup")
    if file is None:
        return answer or no_content()
    access.may_create(call)

    def do() -> work.Outcome:
        try:
            with zipfile.ZipFile(file) as archive:
                return work.Outcome(result_id=read(call, archive))
        except zipfile.BadZipFile as exc:
            raise work.WorkFailed(f"zipfile.BadZipFile: {exc}") from exc
        except (KeyError, TypeError, ValueError) as exc:
            raise work.WorkFailed(f"The file is not a backup of a {target}: {exc!r}") from exc
        finally:
            file.unlink(missing_ok=True)

    order = work.Order(call.context.flavour.restore_id(target), "import:backup", target, do)
    return work.submit(call, order)


def _restore_project(call: Call, archive: zipfile.ZipFile) -> int:
    about = json.loads(archive.read("project.json"))
    names = {PurePosixPath(name).parts[0] for name in archive.namelist()}
    folders = sorted(
        (name for name in names if name.startswith("task_")), key=lambda name: int(name[5:])
    )
    project_id = projects.insert(call, about)
    try:
        for folder in folders:
            _restore_one(call, archive, f"{folder}/", project_id)
    except Exception:
        call.db.run("DELETE FROM projects WHERE id = ?", (project_id,))
        raise
    return project_id


def _restore_task(call: Call, archive: zipfile.ZipFile) -> int:
    return _restore_one(call, archive, "", None)


def _restore_one(call: Call, archive: zipfile.ZipFile, at: str, project_id: int | None) -> int:
    about = json.loads(archive.read(f"{at}task.json"))
    if about["data"]["storage"] == "share":
        # CVAT looks for the images there although it has packed them, and nothing is shared here
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "share/manifest.jsonl")
    annotations = json.loads(archive.read(f"{at}annotations.json"))
    frames = _manifest(archive, at)
    unpacked = call.context.folder / "tasks" / f"restoring-{uuid.uuid4()}"
    try:
        for frame in frames:
            target = unpacked / "raw" / uploads.safe_name(frame["name"])
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(f"{at}data/{frame['name']}") as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)
        with call.db.write():
            task_id = _restore_rows(call, about, frames, annotations, project_id)
            unpacked.rename(call.context.task_folder(task_id))
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return task_id


def _manifest(archive: zipfile.ZipFile, at: str) -> list[Json]:
    lines = archive.read(f"{at}data/manifest.jsonl").decode().splitlines()
    entries = [json.loads(line) for line in lines]
    return [
        {**entry, "name": entry["name"] + entry["extension"]}
        for entry in entries
        if "extension" in entry
    ]


def _restore_rows(
    call: Call, about: Json, frames: list[Json], annotations: list[Json], project_id: int | None
) -> int:
    db = call.db
    owner: Json = {"labels": about["labels"]} if project_id is None else {"project_id": project_id}
    kept = ("name", "bug_tracker", "subset", "segment_size", "overlap", "consensus_replicas")
    task_id = tasks.insert(call, {**{key: about[key] for key in kept}, **owner})
    given = about["data"]
    db.run(
        "UPDATE tasks SET size = ?, chunk_size = ?, image_quality = ?, start_frame = ?,"
        " stop_frame = ?, frame_filter = ?, sorting = ?, chunks_updated = ?, deleted_frames = ?,"
        " validation_mode = ?, updated = ? WHERE id = ?",
        (
            len(frames), *(given[key] for key in _DATA_FIELDS), given["sorting_method"], now(),
            json.dumps(given["deleted_frames"]), about.get("validation_mode"), now(), task_id,
        ),
    )  # fmt: skip
    with db.write() as conn:
        conn.executemany(
            "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?)",
            [
                (task_id, number, frame["name"], frame["width"], frame["height"],
                 f"raw/{uploads.safe_name(frame['name'])}")
                for number, frame in enumerate(frames)
            ],
        )  # fmt: skip
    _restore_jobs(call, task_id, about["jobs"], annotations)
    return task_id


def _restore_jobs(call: Call, task_id: int, specs: list[Json], annotations: list[Json]) -> None:
    db = call.db
    task = access.task(call, task_id)
    by_name = {label.name: label for label in records.labels_of(call.context, task)}
    book = keeping.catalogue(db, task)
    parent: int | None = None
    for spec, body in zip(specs, annotations, strict=True):
        is_replica = spec["type"] == "consensus_replica"
        job_id = jobs.insert(
            db, task_id, spec["type"], start=spec["start_frame"], stop=spec["stop_frame"],
            parent_id=parent if is_replica else None, frames=spec["frames"] or None,
        )  # fmt: skip
        parent = parent if is_replica else job_id
        db.run(
            "UPDATE jobs SET stage = ?, state = ? WHERE id = ?",
            (spec["stage"], spec["state"], job_id),
        )
        for kind in keeping.KINDS:
            things = [_with_ids(thing, by_name) for thing in body[kind]]
            keeping.insert(db, job_id, kind, things, book)


def _with_ids(thing: Thing, by_name: dict[str, records.LabelInfo]) -> Thing:
    label = by_name[thing["label"]]
    attributes = [
        {"spec_id": label.attribute_id(item["name"]), "value": item["value"]}
        for item in thing["attributes"]
    ]
    return {**thing, "label_id": label.id, "attributes": attributes}

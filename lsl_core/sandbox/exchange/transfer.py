"""Exports and imports of annotations and datasets, for tasks, jobs and projects."""

from __future__ import annotations

import re
import shutil
import uuid
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox import info
from lsl_core.sandbox.annotations import annotating
from lsl_core.sandbox.annotations.checking import Thing
from lsl_core.sandbox.base.answers import HTML_TYPE, ApiError, no_content
from lsl_core.sandbox.base.store import Row
from lsl_core.sandbox.calls import access, work
from lsl_core.sandbox.calls.web import Call
from lsl_core.sandbox.exchange import coco, cvat_xml, records
from lsl_core.sandbox.files import media, uploads
from lsl_core.sandbox.tasks import filling, tasks

_COCO = info.IMPORTERS[0][0]
_EXPORT_NAMES = {entry[0] for entry in info.EXPORTERS}
_IMPORT_NAMES = {entry[0] for entry in info.IMPORTERS}


def export_order(
    call: Call,
    target: str,
    target_id: int,
    *,
    what: str,
    fmt: str | None,
    task: Row | None,
    project_id: int | None,
    make: Callable[[Path], None],
) -> work.Order:
    """Describe an export: `make` writes the file, the request's row says where to fetch it."""
    flavour = call.context.flavour
    rq_id = flavour.export_id(target, target_id, user_id=call.user.id, what=what, fmt=fmt)
    query = dict(call.request.query_params)
    stamp = datetime.now(UTC).strftime("%Y_%m_%d_%H_%M_%S")
    name = f"{target}_{target_id}_{what}_{stamp}{'' if fmt is None else '_' + fmt.lower()}.zip"

    def do() -> work.Outcome:
        folder = call.context.folder / "exports" / re.sub(r"[^A-Za-z0-9]+", "-", rq_id)
        folder.mkdir(exist_ok=True)
        made = folder / f"{uuid.uuid4()}.zip"
        make(made)
        for old in folder.iterdir():
            if old != made:
                old.unlink(missing_ok=True)
        return work.Outcome(file=made, filename=name)

    return work.Order(
        rq_id,
        f"export:{what}",
        target,
        do,
        project_id=project_id,
        task_id=None if task is None else task["id"],
        job_id=target_id if target == "job" else None,
        format=fmt,
        result_url=flavour.result_path(target, target_id, rq_id=rq_id, what=what, query=query),
    )


def _asked_format(call: Call) -> tuple[str, bool]:
    fmt = call.query("format")
    if not fmt:
        raise ApiError(400, ["Unknown format specified for the request"])
    if fmt not in _EXPORT_NAMES:
        raise ApiError(400, ["Unknown format specified for the request"])
    return fmt, (call.query("save_images") or "false").lower() == "true"


def _write(
    fmt: str, found: list[records.TaskRecord], path: Path, *, images: bool, project: str | None
) -> None:
    if fmt == _COCO:
        coco.write(found, path, has_images=images)
    else:
        cvat_xml.write(found, path, has_images=images, project=project)


def _export(
    call: Call,
    target: str,
    target_id: int,
    *,
    task: Row | None,
    project: Row | None,
    job: Row | None,
) -> Response:
    fmt, has_images = _asked_format(call)

    def make(path: Path) -> None:
        if task is not None:
            found = [records.load(call.context, task, job=job)]
        else:
            sql = "SELECT * FROM tasks WHERE project_id = ? AND size IS NOT NULL ORDER BY id"
            rows = call.db.rows(sql, (target_id,))
            found = [records.load(call.context, row) for row in rows]
        name = None if project is None else project["name"]
        _write(fmt, found, path, images=has_images, project=name)

    what = "dataset" if has_images else "annotations"
    project_id = target_id if task is None else task["project_id"]
    return work.submit(
        call,
        export_order(
            call, target, target_id, what=what, fmt=fmt, task=task, project_id=project_id,
            make=make,
        ),
    )  # fmt: skip


def export_task(call: Call) -> Response:
    """POST /api/tasks/<id>/dataset/export."""
    task = access.task(call, call.id())
    if task["size"] is None:
        text = "Exporting annotations from a task without data is not allowed"
        raise ApiError(400, text, media_type=HTML_TYPE)
    return _export(call, "task", task["id"], task=task, project=None, job=None)


def export_job(call: Call) -> Response:
    """POST /api/jobs/<id>/dataset/export."""
    job, task = access.job(call, call.id())
    return _export(call, "job", job["id"], task=task, project=None, job=job)


def export_project(call: Call) -> Response:
    """POST /api/projects/<id>/dataset/export."""
    project = access.project(call, call.id())
    return _export(call, "project", project["id"], task=None, project=project, job=None)


def download(call: Call) -> Response:
    """GET …/download?rq_id=…: what newer servers' result_url points at."""
    return work.download(call, call.query("rq_id") or "")


def download_old(target: str, what: str) -> Callable[[Call], Response]:
    """Make the handler of the older servers' result_url: the export's own query, once more."""

    def handler(call: Call) -> Response:
        rq_id = call.context.flavour.export_id(
            target, call.id(), user_id=call.user.id, what=what, fmt=call.query("format")
        )
        return work.download(call, rq_id)

    return handler


def or_download(
    target: str, what: str, otherwise: Callable[[Call], Response]
) -> Callable[[Call], Response]:
    """Make a GET handler that downloads with `action=download` and else does its own work."""
    fetch = download_old(target, what)

    def handler(call: Call) -> Response:
        return (fetch if call.query("action") == "download" else otherwise)(call)

    return handler


def take_upload(call: Call, place: str) -> tuple[Response | None, Path | None]:
    """Go through the steps of an upload until a file is there to be read.

    Returns:
        An answer and nothing, or nothing and the file.
    """
    if call.has_header("upload-start"):
        return uploads.start(call, place), None
    if call.has_header("upload-length"):
        return uploads.create(call, place), None
    if call.has_header("upload-finish"):
        return None, uploads.take_file(call, place, call.query("filename") or "")
    names = uploads.keep_files(call, place)
    if not names:
        raise ApiError(400, ["No annotation file has been uploaded"])
    return None, uploads.take_file(call, place, names[0])


def _import_format(call: Call) -> str:
    fmt = call.query("format") or call.form.get("format", "")
    if fmt not in _IMPORT_NAMES:
        raise ApiError(400, [f"Unknown input format {fmt!r}"])
    return fmt


def _import(call: Call, target: str, target_id: int, task: Row, job: Row | None) -> Response:
    place = f"{target}-{target_id}-annotations"
    answer, file = take_upload(call, place)
    if file is None:
        return answer or no_content()
    fmt = _import_format(call)
    is_append = call.query("import_mode") == "append" and call.context.flavour.has_scores

    def do() -> work.Outcome:
        try:
            record = records.load(call.context, task, job=job)
            batch = _read(call, fmt, file, record)
            annotating.replace_all(call.db, task, record.jobs, batch, is_append=is_append)
        finally:
            file.unlink(missing_ok=True)
        return work.Outcome()

    order = work.Order(
        call.context.flavour.import_id(target, target_id, "annotations"),
        "import:annotations",
        target,
        do,
        project_id=task["project_id"],
        task_id=task["id"],
        job_id=None if job is None else target_id,
    )
    return work.submit(call, order)


def _read(call: Call, fmt: str, file: Path, record: records.TaskRecord) -> dict[str, list[Thing]]:
    if fmt != _COCO:
        return cvat_xml.read(cvat_xml.documents(file), record)
    shapes: list[Thing] = []
    source = call.context.flavour.import_source
    for document in coco.documents(file).values():
        shapes += coco.read(document, record, source=source)
    return {"tags": [], "shapes": shapes, "tracks": []}


def import_task(call: Call) -> Response:
    """POST /api/tasks/<id>/annotations: every step of a file import."""
    task = access.task(call, call.id())
    return _import(call, "task", task["id"], task, None)


def import_job(call: Call) -> Response:
    """POST /api/jobs/<id>/annotations."""
    job, task = access.job(call, call.id())
    return _import(call, "job", job["id"], task, job)


def resume(target: str, what: str) -> Callable[[Call], Response]:
    """Make the handler of HEAD and PATCH for one upload under a target."""

    def handler(call: Call) -> Response:
        return uploads.resume(call, f"{target}-{call.id()}-{what}")

    return handler


def import_project(call: Call) -> Response:
    """POST /api/projects/<id>/dataset: images and COCO annotations, a task for each subset."""
    project = access.project(call, call.id())
    answer, file = take_upload(call, f"project-{project['id']}-dataset")
    if file is None:
        return answer or no_content()
    if _import_format(call) != _COCO:
        raise ApiError(400, ["The sandbox imports a project's dataset as COCO 1.0 only"])

    def do() -> work.Outcome:
        try:
            for subset, document in coco.documents(file).items():
                _import_subset(call, project, file, subset, document)
        finally:
            file.unlink(missing_ok=True)
        return work.Outcome()

    order = work.Order(
        call.context.flavour.import_id("project", project["id"], "dataset"),
        "import:dataset",
        "project",
        do,
        project_id=project["id"],
    )
    return work.submit(call, order)


def _import_subset(
    call: Call, project: Row, file: Path, subset: str, document: dict[str, Any]
) -> None:
    names = [str(image["file_name"]) for image in document["images"]]
    task_id = tasks.insert(call, {"name": subset, "project_id": project["id"], "subset": subset})
    folder = call.context.task_folder(task_id)
    try:
        _unpack_images(file, names, folder / "raw", subset)
        frames = media.read_frames(folder, [uploads.safe_name(name) for name in names], 70)
        filling.store_frames(call.context, task_id, frames, {})
        task = access.task(call, task_id)
        record = records.load(call.context, task)
        shapes = coco.read(document, record, source=call.context.flavour.import_source)
        batch = {"tags": [], "shapes": shapes, "tracks": []}
        annotating.replace_all(call.db, task, record.jobs, batch)
    except Exception:
        call.db.run("DELETE FROM tasks WHERE id = ?", (task_id,))
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _unpack_images(file: Path, names: list[str], raw: Path, subset: str) -> None:
    if not zipfile.is_zipfile(file):
        raise work.WorkFailed("A dataset with images is an archive")
    with zipfile.ZipFile(file) as archive:
        entries = set(archive.namelist())
        for name in names:
            places = (f"images/{subset}/{name}", f"images/{name}", name)
            found = next((place for place in places if place in entries), None)
            if found is None:
                raise work.WorkFailed(f"CvatImportError: The archive has no image '{name}'")
            media.extract(archive, found, raw / uploads.safe_name(name))

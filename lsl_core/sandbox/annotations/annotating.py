"""Annotations of tasks, jobs and projects: GET, PUT, PATCH and DELETE."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.annotations import checking, keeping
from lsl_core.sandbox.annotations.checking import Catalogue, Thing
from lsl_core.sandbox.base.answers import (
    HTML_TYPE,
    JSON_TYPE,
    ApiError,
    no_content,
    reply,
    server_error,
)
from lsl_core.sandbox.base.store import Database, Row, now
from lsl_core.sandbox.calls import access
from lsl_core.sandbox.calls.web import Call
from lsl_core.sandbox.tasks import jobs

Batch = dict[str, list[Thing]]

_ACTIONS = ("create", "update", "delete")


def annotation_jobs(db: Database, task_id: int) -> list[Row]:
    """List the jobs whose annotations are the task's: no ground truth, no consensus replicas."""
    sql = "SELECT * FROM jobs WHERE task_id = ? AND type = 'annotation' ORDER BY start, id"
    return db.rows(sql, (task_id,))


def _task_with_jobs(call: Call) -> tuple[Row, list[Row]]:
    task = access.task(call, call.id())
    if task["size"] is None:
        text = "Exporting annotations from a task without data is not allowed"
        raise ApiError(400, text, media_type=HTML_TYPE)
    return task, annotation_jobs(call.db, task["id"])


def task_text(db: Database, task_id: int, *, has_scores: bool) -> str:
    """Write a task's annotations as CVAT's JSON."""
    rows = annotation_jobs(db, task_id)
    text = keeping.as_text(db, [row["id"] for row in rows], has_scores=has_scores)
    shared = {
        frame
        for one, two in itertools.pairwise(rows)
        for frame in range(two["start"], one["stop"] + 1)
    }
    if shared:
        return keeping.without_doubles(text, shared)
    return keeping.with_ends(text, [row["start"] for row in rows])


def _json(text: str) -> Response:
    return Response(text.encode(), media_type=JSON_TYPE)


def get_task(call: Call) -> Response:
    """GET /api/tasks/<id>/annotations."""
    task, _ = _task_with_jobs(call)
    return _json(task_text(call.db, task["id"], has_scores=call.context.flavour.has_scores))


def get_job(call: Call) -> Response:
    """GET /api/jobs/<id>/annotations."""
    job, _ = access.job(call, call.id())
    has_scores = call.context.flavour.has_scores
    return _json(keeping.as_text(call.db, [job["id"]], has_scores=has_scores))


def get_project(call: Call) -> Response:
    """GET /api/projects/<id>/annotations: those of its tasks, one after the other."""
    project = access.project(call, call.id())
    sql = "SELECT id FROM tasks WHERE project_id = ? AND size IS NOT NULL ORDER BY id"
    job_ids = [
        job["id"]
        for task in call.db.rows(sql, (project["id"],))
        for job in annotation_jobs(call.db, task["id"])
    ]
    return _json(keeping.as_text(call.db, job_ids, has_scores=call.context.flavour.has_scores))


def _echo(call: Call, kind: str, thing: Thing, *, is_deleted: bool) -> Thing:
    """Answer with an annotation as it was sent, defaults filled in."""
    shown: Thing = {
        "id": thing.get("id"),
        "frame": thing["frame"],
        "label_id": thing["label_id"],
        "group": thing.get("group"),
        "source": thing.get("source", "manual"),
        "attributes": thing.get("attributes") or [],
    }
    if kind == "tags":
        return shown
    if kind == "tracks":
        return {**shown, "shapes": thing["shapes"], "elements": thing.get("elements") or []}
    shown = {
        "type": thing["type"],
        "occluded": thing.get("occluded", False),
        "outside": thing.get("outside", False),
        "z_order": thing.get("z_order", 0),
        "rotation": thing.get("rotation", 0),
        **({"points": thing["points"]} if "points" in thing else {}),
        **shown,
    }
    if not is_deleted or "elements" in thing:
        shown["elements"] = thing.get("elements") or []
    if call.context.flavour.has_scores:
        shown["score"] = thing.get("score", 1.0)
    return shown


def _answer(call: Call, batch: Batch, *, is_deleted: bool = False) -> Response:
    body: dict[str, Any] = {"version": 0}
    for kind in keeping.KINDS:
        body[kind] = [
            _echo(call, kind, thing, is_deleted=is_deleted) for thing in batch.get(kind, [])
        ]
    return reply(body)


def _checked(call: Call, book: Catalogue, action: str = "create") -> Batch:
    batch = checking.check(call.json(), call.context.flavour, action)
    for things in batch.values():
        book.check(things)
    return batch


def _inside(batch: Batch, job: Row) -> Batch:
    """Keep what lies in a job's range: the task endpoint drops the rest without a word."""
    first, last = job["start"], job["stop"]
    return {
        kind: [thing for thing in things if first <= thing["frame"] <= last]
        for kind, things in batch.items()
    }


def _joined(parts: list[Batch]) -> Batch:
    return {kind: [thing for part in parts for thing in part[kind]] for kind in keeping.KINDS}


def _create(db: Database, job_id: int, batch: Batch, book: Catalogue) -> Batch:
    return {kind: keeping.insert(db, job_id, kind, batch[kind], book) for kind in keeping.KINDS}


def _delete(db: Database, job_id: int, batch: Batch, book: Catalogue) -> Batch:
    for kind in keeping.KINDS:
        if any("id" not in thing for thing in batch[kind]):
            # CVAT trips over an annotation without an id here.
            raise server_error()
        keeping.delete_ids(db, job_id, kind, (thing["id"] for thing in batch[kind]))
    return batch


def _update(db: Database, job_id: int, batch: Batch, book: Catalogue) -> Batch:
    for kind in keeping.KINDS:
        keeping.delete_ids(db, job_id, kind, (thing.get("id") for thing in batch[kind]))
    return _create(db, job_id, batch, book)


_DO: dict[str, Callable[[Database, int, Batch, Catalogue], Batch]] = {
    "create": _create,
    "update": _update,
    "delete": _delete,
}


def _action(call: Call) -> str:
    action = call.query("action")
    if action not in _ACTIONS:
        raise ApiError(400, ["Please specify a correct 'action' for the request"])
    return action


def mark_changed(db: Database, task: Row, job_rows: list[Row]) -> None:
    """Note that annotations of these jobs changed: the job, the task and the project."""
    with db.write() as conn:
        conn.executemany(
            "UPDATE jobs SET updated = ? WHERE id = ?", [(now(), row["id"]) for row in job_rows]
        )
    jobs.touch(db, task)


def patch_job(call: Call) -> Response:
    """PATCH /api/jobs/<id>/annotations: all or nothing."""
    job, task = access.job(call, call.id())
    action = _action(call)
    book = keeping.catalogue(call.db, task)
    batch = _checked(call, book, action)
    with call.db.write():
        done = _DO[action](call.db, job["id"], batch, book)
        mark_changed(call.db, task, [job])
    return _answer(call, done, is_deleted=action == "delete")


def patch_task(call: Call) -> Response:
    """PATCH /api/tasks/<id>/annotations: all or nothing, also across jobs."""
    task, rows = _task_with_jobs(call)
    action = _action(call)
    book = keeping.catalogue(call.db, task)
    batch = _checked(call, book, action)
    done: list[Batch] = []
    with call.db.write():
        for row in rows:
            mine = _inside(batch, row)
            if any(mine.values()):
                done.append(_DO[action](call.db, row["id"], mine, book))
                mark_changed(call.db, task, [row])
    return _answer(call, _joined(done), is_deleted=action == "delete")


def _replace(db: Database, job_id: int, batch: Batch, book: Catalogue) -> Batch:
    try:
        return _create(db, job_id, batch, book)
    except ApiError as exc:
        # CVAT does not catch the duplicate key of a PUT that brings another task's ids.
        raise server_error() from exc


def put_job(call: Call) -> Response:
    """PUT /api/jobs/<id>/annotations: replace all, or import an uploaded file."""
    job, task = access.job(call, call.id())
    book = keeping.catalogue(call.db, task)
    batch = _checked(call, book)
    with call.db.write():
        keeping.clear(call.db, [job["id"]])
        done = _replace(call.db, job["id"], batch, book)
        mark_changed(call.db, task, [job])
    return _answer(call, done)


def put_task(call: Call) -> Response:
    """PUT /api/tasks/<id>/annotations: replace all."""
    task, rows = _task_with_jobs(call)
    book = keeping.catalogue(call.db, task)
    batch = _checked(call, book)
    with call.db.write():
        keeping.clear(call.db, [row["id"] for row in rows])
        done = [_replace(call.db, row["id"], _inside(batch, row), book) for row in rows]
        mark_changed(call.db, task, rows)
    return _answer(call, _joined(done))


def delete_job(call: Call) -> Response:
    """DELETE /api/jobs/<id>/annotations."""
    job, task = access.job(call, call.id())
    with call.db.write():
        keeping.clear(call.db, [job["id"]])
        mark_changed(call.db, task, [job])
    return no_content()


def delete_task(call: Call) -> Response:
    """DELETE /api/tasks/<id>/annotations."""
    task, rows = _task_with_jobs(call)
    with call.db.write():
        keeping.clear(call.db, [row["id"] for row in rows])
        mark_changed(call.db, task, rows)
    return no_content()


def replace_all(
    db: Database, task: Row, rows: list[Row], batch: Batch, *, is_append: bool = False
) -> None:
    """Put annotations that a file brought into these jobs of a task.

    Args:
        db: the database.
        task: the task.
        rows: the jobs that the file is for.
        batch: checked annotations.
        is_append: keep what is there.
    """
    book = keeping.catalogue(db, task)
    for things in batch.values():
        book.check(things)
    with db.write():
        if not is_append:
            keeping.clear(db, [row["id"] for row in rows])
        for row in rows:
            _create(db, row["id"], _inside(batch, row), book)
        mark_changed(db, task, rows)

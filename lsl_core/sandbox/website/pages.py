"""The sandbox for people: what lies in it, read-only, in plain HTML.

Anybody who reaches the loopback address may look, as with a file on the disk; nothing can be
changed here. The addresses are CVAT's own, so that its deep links lead somewhere.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from html import escape
from typing import Any

from starlette.responses import FileResponse, Response

from lsl_core.sandbox import info
from lsl_core.sandbox.base.answers import HTML_TYPE, ApiError, not_found
from lsl_core.sandbox.base.store import Row
from lsl_core.sandbox.calls.web import Call
from lsl_core.sandbox.files import media
from lsl_core.sandbox.tasks import data, jobs, labels
from lsl_core.sandbox.website import drawing, style

_POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; script-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


def _document(title: str, trail: str, body: str, status: int = 200) -> Response:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · {escape(info.NAME)}</title>"
        f'<link rel="icon" href="/logo.svg"><style>{style.CSS}</style></head><body>'
        f'<div class="banner" role="note">{escape(info.NAME)} '
        "<span>· read-only view of a server on this computer, for trying things</span></div>"
        f"<header>{trail}</header><main><h1>{escape(title)}</h1>{body}</main>"
        "<footer>To annotate, use a real CVAT. LSL reads and writes this sandbox by the same REST"
        " calls.</footer></body></html>"
    )
    return Response(text, status, media_type=HTML_TYPE, headers=_POLICY)


def _page(handler: Callable[[Call], Response]) -> Callable[[Call], Response]:
    """Answer what is not there with a page, not with JSON."""

    @functools.wraps(handler)
    def wrapped(call: Call) -> Response:
        try:
            return handler(call)
        except ApiError as exc:
            body = '<p>There is nothing here. <a href="/tasks">See all tasks</a>.</p>'
            return _document("Not found", "", body, exc.status)

    return wrapped


def _task(call: Call) -> Row:
    row = call.db.row("SELECT * FROM tasks WHERE id = ?", (call.id(),))
    if row is None:
        raise not_found("Task")
    return row


def _counts(call: Call, task: Row) -> Counter[int]:
    sql = (
        "SELECT shapes.label_id, count(*) FROM shapes JOIN jobs ON jobs.id = shapes.job_id"
        " WHERE jobs.task_id = ? AND jobs.type = 'annotation' GROUP BY shapes.label_id"
    )
    return Counter({row[0]: row[1] for row in call.db.rows(sql, (task["id"],))})


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _card(href: str, image: str | None, title: str, text: str) -> str:
    picture = '<div class="none"></div>'
    if image is not None:
        picture = f'<img src="{image}" alt="" loading="lazy">'
    return (
        f'<a class="card" href="{href}">{picture}<div class="text">'
        f'<strong>{escape(title)}</strong><div class="soft">{escape(text)}</div></div></a>'
    )


def _task_card(call: Call, row: Row) -> str:
    size = row["size"]
    image = f"/view/tasks/{row['id']}/previews/0.jpg" if size else None
    shapes = sum(_counts(call, row).values())
    text = f"#{row['id']} · {_plural(size or 0, 'frame')} · {_plural(shapes, 'shape')}"
    return _card(f"/tasks/{row['id']}", image, row["name"], text)


@_page
def index(call: Call) -> Response:
    """Show all tasks, those of a project together."""
    parts: list[str] = []
    groups: list[tuple[str, list[Row]]] = [
        (
            f'<a href="/projects/{project["id"]}">{escape(project["name"])}</a>',
            call.db.rows("SELECT * FROM tasks WHERE project_id = ? ORDER BY id", (project["id"],)),
        )
        for project in call.db.rows("SELECT * FROM projects ORDER BY id")
    ]
    loose = call.db.rows("SELECT * FROM tasks WHERE project_id IS NULL ORDER BY id")
    groups.append(("Tasks without a project", loose))
    for title, rows in groups:
        if rows:
            cards = "".join(_task_card(call, row) for row in rows)
            parts.append(f'<h2>{title}</h2><div class="cards">{cards}</div>')
    return _document("Tasks", "", "".join(parts) or "<p>No tasks yet.</p>")


@_page
def show_project(call: Call) -> Response:
    """Show a project's tasks and labels."""
    row = call.db.row("SELECT * FROM projects WHERE id = ?", (call.id(),))
    if row is None:
        raise not_found("Project")
    rows = call.db.rows("SELECT * FROM tasks WHERE project_id = ? ORDER BY id", (row["id"],))
    counts: Counter[int] = sum((_counts(call, task) for task in rows), Counter())
    found = labels.of_owner(call.db, project_id=row["id"], task_id=None)
    cards = "".join(_task_card(call, task) for task in rows)
    body = f'<div class="cards">{cards}</div><h2>Labels</h2>{_label_table(found, [counts])}'
    return _document(row["name"], '<a href="/tasks">Tasks</a>', body)


def _label_table(
    found: list[Row], counts: list[Counter[int]], heads: tuple[str, ...] = ("Shapes",)
) -> str:
    head = "".join(f'<th class="n">{escape(text)}</th>' for text in heads)
    lines: list[str] = []
    for label in found:
        cells = "".join(f'<td class="n">{count[label["id"]]:,}</td>' for count in counts)
        swatch = f'<i class="swatch" style="background:{escape(label["color"], quote=True)}"></i>'
        name = escape(label["name"])
        lines.append(
            f"<tr><td>{swatch}{name}</td><td class='soft'>{escape(label['type'])}</td>{cells}</tr>"
        )
    return f"<table><tr><th>Label</th><th>Type</th>{head}</tr>{''.join(lines)}</table>"


def _trail(call: Call, task: Row) -> str:
    name = call.db.value("SELECT name FROM projects WHERE id = ?", (task["project_id"],))
    links = ['<a href="/tasks">Tasks</a>']
    if name is not None:
        links.append(f'<a href="/projects/{task["project_id"]}">{escape(name)}</a>')
    return " / ".join(links)


@_page
def show_task(call: Call) -> Response:
    """Show a task: its labels with counts, its jobs, its frames."""
    task = _task(call)
    trail = _trail(call, task)
    if task["size"] is None:
        return _document(task["name"], trail, "<p>This task has no images yet.</p>")
    rows = call.db.rows("SELECT * FROM jobs WHERE task_id = ? ORDER BY id", (task["id"],))
    table = _label_table(labels.of_task(call.db, task), [_counts(call, task)])
    parts = [f"<h2>Labels</h2>{table}"]
    names = {
        row["number"]: row["name"]
        for row in call.db.rows("SELECT * FROM frames WHERE task_id = ?", (task["id"],))
    }
    for job in rows:
        parts.append(_job_section(call, task, job, names))
    return _document(f"{task['name']} · #{task['id']}", trail, "".join(parts))


def _job_section(call: Call, task: Row, job: Row, names: dict[int, str]) -> str:
    sql = "SELECT frame, count(*) FROM shapes WHERE job_id = ? GROUP BY frame"
    counts = {row[0]: row[1] for row in call.db.rows(sql, (job["id"],))}
    at = f"/tasks/{task['id']}/jobs/{job['id']}"
    cards = "".join(
        _card(
            f"{at}?frame={frame}",
            f"/view/tasks/{task['id']}/previews/{frame}.jpg",
            names[frame],
            f"{frame} · {_plural(counts.get(frame, 0), 'shape')}",
        )
        for frame in jobs.frames_of(job)
    )
    kind = {"annotation": "", "ground_truth": " · ground truth"}.get(job["type"], " · replica")
    title = f'<a href="{at}">Job {job["id"]}</a>{kind}'
    state = f'<span class="soft"> · {escape(job["stage"])}, {escape(job["state"])}</span>'
    return f'<h2>{title}{state}</h2><div class="frames">{cards}</div>'


@_page
def show_job(call: Call) -> Response:
    """Show one frame of a job with its shapes: where CVAT's deep links lead."""
    task = _task(call)
    sql = "SELECT * FROM jobs WHERE id = ? AND task_id = ?"
    job = call.db.row(sql, (call.id("job"), task["id"]))
    if job is None or task["size"] is None:
        raise not_found("Job")
    mine = jobs.frames_of(job)
    asked = call.query("frame") or ""
    number = int(asked) if asked.isdigit() and int(asked) in mine else mine[0]
    sql = "SELECT * FROM frames WHERE task_id = ? AND number = ?"
    frame = call.db.row(sql, (task["id"], number))
    if frame is None:
        raise not_found("Frame")
    found = labels.of_task(call.db, task)
    rows = call.db.rows(
        "SELECT label_id, type, points, rotation, source FROM shapes"
        " WHERE job_id = ? AND frame = ? ORDER BY z_order, id",
        (job["id"], number),
    )
    here = Counter(row["label_id"] for row in rows)
    side = _label_table(found, [here, _counts(call, task)], ("Here", "Task"))
    at = f"/tasks/{task['id']}/jobs/{job['id']}"
    body = (
        f'{_steps(at, mine, number)}<div class="view"><div>{_picture(task, frame, found, rows)}'
        f"</div><div>{side}<p class='soft'>Dashed: drawn by a model. Rest the mouse on a shape to"
        " read its label.</p></div></div>"
    )
    trail = f'{_trail(call, task)} / <a href="/tasks/{task["id"]}">{escape(task["name"])}</a>'
    return _document(f"{frame['name']} · job {job['id']}", trail, body)


def _steps(at: str, mine: list[int], number: int) -> str:
    place = mine.index(number)

    def step(text: str, to: int) -> str:
        if 0 <= to < len(mine):
            return f'<a href="{at}?frame={mine[to]}">{text}</a>'
        return f'<span class="off">{text}</span>'

    where = f'<span class="soft">frame {number} ({place + 1} of {len(mine)})</span>'
    links = step("← Previous", place - 1) + step("Next →", place + 1)
    return f'<nav class="frames-nav" aria-label="Frames">{links}{where}</nav>'


def _picture(task: Row, frame: Row, found: list[Row], rows: list[Row]) -> str:
    height, width = frame["height"], frame["width"]
    by_id: dict[int, Any] = {label["id"]: label for label in found}
    shapes = "".join(
        drawing.shape(
            row,
            color=by_id[row["label_id"]]["color"],
            name=by_id[row["label_id"]]["name"],
            height=height,
            width=width,
        )
        for row in rows
    )
    line = drawing.stroke(height, width)
    image = f"/view/tasks/{task['id']}/frames/{frame['number']}.jpg"
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" style="--dash:{3 * line:g} {2 * line:g}"'
        f' stroke-width="{line:g}" aria-label="{escape(frame["name"], quote=True)}">'
        f'<image href="{image}" width="{width}" height="{height}"/>{shapes}</svg>'
    )


@_page
def frame_image(call: Call) -> Response:
    """Send a frame's JPEG to a page."""
    path, kind = data.frame_file(call.context, _task(call), call.id("frame"), is_original=False)
    return FileResponse(path, media_type=kind)


@_page
def preview_image(call: Call) -> Response:
    """Send a frame's small JPEG to a page."""
    task = _task(call)
    sql = "SELECT file FROM frames WHERE task_id = ? AND number = ?"
    file = call.db.value(sql, (task["id"], call.id("frame")))
    if file is None:
        raise not_found("Frame")
    path = media.preview(call.context.task_folder(task["id"]), call.id("frame"), file)
    return FileResponse(path, media_type="image/jpeg")


def logo(call: Call) -> Response:
    """Send the logo."""
    return Response(style.LOGO, media_type="image/svg+xml")

"""Annotations in the database: written in batches, read as ready JSON text.

A shape's points, attributes and elements are stored as the JSON they are answered with, so that
reading thousands of shapes parses nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from lsl_core.sandbox.annotations.checking import Catalogue, Thing
from lsl_core.sandbox.base.answers import ApiError
from lsl_core.sandbox.base.store import Database, Row
from lsl_core.sandbox.tasks import labels

KINDS = ("tags", "shapes", "tracks")


def catalogue(db: Database, task: Row) -> Catalogue:
    """Read which labels and attributes a task's annotations may name."""
    rows = {label["id"]: labels.specs_of(db, label["id"]) for label in labels.of_task(db, task)}
    specs = {id_: {row["id"]: row["default_value"] for row in of} for id_, of in rows.items()}
    return Catalogue(
        specs, frozenset(row["id"] for of in rows.values() for row in of if row["mutable"])
    )


def _dump(value: Any) -> str:  # noqa: ANN401 - any JSON
    return json.dumps(value, separators=(",", ":"))


def _with_ids(db: Database, kind: str, things: list[Thing]) -> list[int]:
    fresh = iter(db.take_ids(kind, sum(thing.get("id") is None for thing in things)))
    return [next(fresh) if thing.get("id") is None else thing["id"] for thing in things]


def _floats(points: list[float]) -> str:
    return json.dumps(list(map(float, points)), separators=(",", ":"))


def _shape_row(shape: Thing, shape_id: int, job_id: int, book: Catalogue) -> tuple[Any, ...]:
    return (
        shape_id, job_id, shape["frame"], shape["label_id"], shape["type"], shape.get("group"),
        shape.get("source", "manual"), shape.get("occluded", False), shape.get("outside", False),
        shape.get("z_order", 0), float(shape.get("rotation", 0)),
        _floats(shape.get("points") or []), _dump(book.filled(shape)),
        _dump(shape.get("elements") or []), float(shape.get("score", 1)),
    )  # fmt: skip


def _tag_row(tag: Thing, tag_id: int, job_id: int, book: Catalogue) -> tuple[Any, ...]:
    return (
        tag_id, job_id, tag["frame"], tag["label_id"], tag.get("group"),
        tag.get("source", "manual"), _dump(book.filled(tag)),
    )  # fmt: skip


def _track_row(
    db: Database, track: Thing, track_id: int, job_id: int, book: Catalogue
) -> tuple[Any, ...]:
    ids = db.take_ids("tracked_shapes", len(track["shapes"]))
    shapes = [
        {
            "type": shape["type"],
            "occluded": shape.get("occluded", False),
            "outside": shape.get("outside", False),
            "z_order": shape.get("z_order", 0),
            "rotation": float(shape.get("rotation", 0)),
            "points": list(map(float, shape.get("points") or [])),
            "id": shape_id,
            "frame": shape["frame"],
            "attributes": attributes,
        }
        for shape_id, shape, attributes in zip(ids, track["shapes"], book.along(track), strict=True)
    ]
    return (
        track_id, job_id, track["frame"], track["label_id"], track.get("group"),
        track.get("source", "manual"), _dump(book.filled(track)), _dump(shapes),
        _dump(track.get("elements") or []),
    )  # fmt: skip


_INSERT = {
    "shapes": "INSERT INTO shapes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "tags": "INSERT INTO tags VALUES (?, ?, ?, ?, ?, ?, ?)",
    "tracks": "INSERT INTO tracks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
}
_DELETE_ID = {
    "shapes": "DELETE FROM shapes WHERE id = ? AND job_id = ?",
    "tags": "DELETE FROM tags WHERE id = ? AND job_id = ?",
    "tracks": "DELETE FROM tracks WHERE id = ? AND job_id = ?",
}
_CLEAR = {
    "shapes": "DELETE FROM shapes WHERE job_id = ?",
    "tags": "DELETE FROM tags WHERE job_id = ?",
    "tracks": "DELETE FROM tracks WHERE job_id = ?",
}


def insert(
    db: Database, job_id: int, kind: str, things: list[Thing], book: Catalogue
) -> list[Thing]:
    """Add annotations of one kind to a job, honouring ids they bring.

    Returns:
        The annotations as sent, with their ids.

    Raises:
        ApiError: 400 if an id is taken.
    """
    if kind == "tracks":
        things = [track for track in things if track["shapes"]]  # CVAT keeps no empty ones
    with db.write() as conn:
        ids = _with_ids(db, kind, things)
        pairs = zip(things, ids, strict=True)
        if kind == "shapes":
            rows = [_shape_row(thing, new_id, job_id, book) for thing, new_id in pairs]
        elif kind == "tags":
            rows = [_tag_row(thing, new_id, job_id, book) for thing, new_id in pairs]
        else:
            rows = [_track_row(db, thing, new_id, job_id, book) for thing, new_id in pairs]
        try:
            conn.executemany(_INSERT[kind], rows)
        except sqlite3.IntegrityError as exc:
            text = f"duplicate key value violates unique constraint of {kind}: {exc}"
            raise ApiError(400, [text]) from exc
    return [{**thing, "id": new_id} for thing, new_id in zip(things, ids, strict=True)]


def delete_ids(db: Database, job_id: int, kind: str, ids: Iterable[int | None]) -> None:
    """Delete a job's annotations of these ids; unknown ids do no harm."""
    with db.write() as conn:
        conn.executemany(_DELETE_ID[kind], [(one, job_id) for one in ids])


def clear(db: Database, job_ids: Iterable[int]) -> None:
    """Delete all annotations of these jobs."""
    with db.write() as conn:
        for job_id in job_ids:
            for kind in KINDS:
                conn.execute(_CLEAR[kind], (job_id,))


_READ_SHAPES = (
    "SELECT id, label_id, type, frame, grp, source, occluded, outside, z_order, rotation, points,"
    " attributes, elements, score FROM shapes WHERE job_id = ? ORDER BY frame, id"
)
_READ_TAGS = (
    "SELECT id, label_id, frame, grp, source, attributes FROM tags WHERE job_id = ?"
    " ORDER BY frame, id"
)
_READ_TRACKS = (
    "SELECT id, label_id, frame, grp, source, attributes, shapes, elements FROM tracks"
    " WHERE job_id = ? ORDER BY frame, id"
)
_BOOL = ("false", "true")


def _shape_text(row: Row, *, has_scores: bool) -> str:
    (shape_id, label_id, kind, frame, group, source, occluded, outside, z_order, rotation, points,
     attributes, elements, score) = row  # fmt: skip
    scored = f',"score":{score!r}' if has_scores else ""
    return (
        f'{{"id":{shape_id},"label_id":{label_id},"type":"{kind}","frame":{frame},'
        f'"group":{"null" if group is None else group},"source":{json.dumps(source)},'
        f'"occluded":{_BOOL[occluded]},"outside":{_BOOL[outside]},"z_order":{z_order},'
        f'"rotation":{rotation!r},"points":{points},"attributes":{attributes},'
        f'"elements":{elements}{scored}}}'
    )


def _tag_text(row: Row) -> str:
    tag_id, label_id, frame, group, source, attributes = row
    return (
        f'{{"id":{tag_id},"label_id":{label_id},"frame":{frame},'
        f'"group":{"null" if group is None else group},"source":{json.dumps(source)},'
        f'"attributes":{attributes}}}'
    )


def _track_text(row: Row) -> str:
    track_id, label_id, frame, group, source, attributes, shapes, elements = row
    return (
        f'{{"id":{track_id},"label_id":{label_id},"frame":{frame},'
        f'"group":{"null" if group is None else group},"source":{json.dumps(source)},'
        f'"attributes":{attributes},"shapes":{shapes},"elements":{elements}}}'
    )


def as_text(db: Database, job_ids: Sequence[int], *, has_scores: bool) -> str:
    """Write the annotations of jobs as CVAT's JSON."""
    tags: list[str] = []
    shapes: list[str] = []
    tracks: list[str] = []
    for job_id in job_ids:
        tags += map(_tag_text, db.rows(_READ_TAGS, (job_id,)))
        shapes += [
            _shape_text(row, has_scores=has_scores) for row in db.rows(_READ_SHAPES, (job_id,))
        ]
        tracks += map(_track_text, db.rows(_READ_TRACKS, (job_id,)))
    parts = (f"[{','.join(texts)}]" for texts in (tags, shapes, tracks))
    return '{{"version":0,"tags":{},"shapes":{},"tracks":{}}}'.format(*parts)


def without_doubles(text: str, shared: set[int]) -> str:
    """Drop annotations that an overlap of jobs made double: same but for the id.

    Of shapes CVAT compares rectangles and polygons alone; all others stay double, in 2.42.0.

    Args:
        text: annotations as `as_text` wrote them.
        shared: the frames that two jobs share.
    """
    body = json.loads(text)
    for kind in KINDS:
        seen: set[str] = set()
        kept: list[Thing] = []
        for thing in body[kind]:
            bare = {key: value for key, value in thing.items() if key != "id"}
            for shape in bare.get("shapes", []):
                shape.pop("id", None)
            mark = json.dumps(bare, sort_keys=True)
            is_compared = kind != "shapes" or thing["type"] in ("rectangle", "polygon")
            if mark not in seen or thing["frame"] not in shared or not is_compared:
                seen.add(mark)
                kept.append(thing)
        body[kind] = sorted(kept, key=lambda thing: (thing["frame"], thing["id"]))
    return json.dumps(body, separators=(",", ":"))


def with_ends(text: str, starts: Sequence[int]) -> str:
    """End tracks that are open at the end of their job, on the first frame of the next one.

    CVAT does so in its answer for a task: with a copy of the last keyframe, its id and all.

    Args:
        text: annotations as `as_text` wrote them.
        starts: the first frames of the jobs, in order.
    """
    if text.endswith('"tracks":[]}'):
        return text
    body = json.loads(text)
    for track in body["tracks"]:
        following = next((start for start in starts if start > track["frame"]), None)
        if following is not None:
            _end(track, following)
    return json.dumps(body, separators=(",", ":"))


def _end(track: Thing, frame: int) -> None:
    keys = track["shapes"]
    if keys and not keys[-1].get("outside"):
        keys.append({**keys[-1], "frame": frame, "outside": True})
        for part in track.get("elements") or ():
            _end(part, frame)

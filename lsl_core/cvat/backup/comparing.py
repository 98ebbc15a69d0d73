"""Whether what came back is what was saved: frames, jobs, and every object, by content."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.cvat.annotations.content import content_key, kind_of
from lsl_core.cvat.backup.reapply import match_jobs
from lsl_core.cvat.backup.saved import Relabel, SavedTask, SavedUnit
from lsl_core.words import plural

Json = dict[str, Any]


def differences(before: SavedUnit, after: SavedUnit, tasks: Mapping[int, int]) -> list[str]:
    """Return in words where a restored unit differs from the backup; empty when nowhere.

    Ids, dates and who restored it are not compared: they are new.

    Args:
        before: the unit of the backup.
        after: the restored unit, read again.
        tasks: id in the backup to id of the restored task.
    """
    found: list[str] = []
    restored = {task.id: task for task in after.tasks()}
    for task in before.tasks():
        name = f'task "{task.entry["name"]}"'
        there = restored.get(tasks.get(task.id, 0))
        if there is not None:
            found += [f"{name}: {text}" for text in _task(task, there)]
        elif task.entry.get("size"):
            found.append(f"{name} is not there")
    return found


def _task(before: SavedTask, after: SavedTask) -> list[str]:
    found = []
    frames, frames_now = _frames(before), _frames(after)
    if frames != frames_now:
        found.append(
            f"{plural(len(frames_now), 'frame')} where {len(frames)} were, or with other names"
        )
    relabel = Relabel(before.labels, after.labels)
    for job, new in match_jobs(before.jobs, after.jobs):
        where = f"frames {job['start_frame']} to {job['stop_frame']}"
        if new is None:
            found.append(f"no job of {where}")
            continue
        found += [f"{where}: {text}" for text in _job(job, new)]
        if not before.has_annotations(int(job["id"])):
            continue  # the backup says so itself
        then = _contents(relabel(entry for _, entry in before.annotations(int(job["id"]))))
        now = _contents(entry for _, entry in after.annotations(int(new["id"])))
        lost = len(then) - _num_common(then, now)
        if lost or len(now) != len(then):
            found.append(
                f"{where}: {plural(len(now), 'object')} where {len(then)} were, "
                f"{lost} of them are gone or changed"
            )
    found += [f'label "{name}" is missing' for name in sorted(relabel.missing)]
    return found


def _frames(task: SavedTask) -> list[tuple[Any, ...]]:
    data = task.document("data") or {}
    deleted = tuple(sorted(data.get("deleted_frames") or ()))
    frames = [(f["name"], f["width"], f["height"]) for f in data.get("frames") or ()]
    return [*frames, ("deleted", *deleted)]


def _job(before: Json, after: Json) -> list[str]:
    keys = ("stage", "state")
    return [
        f"{key} is {after.get(key)}, was {before.get(key)}"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _contents(entries: Iterable[Json]) -> NDArray[np.bytes_]:
    """Return a hash of the content of each object, whatever its id; 16 bytes each."""
    hashes = (hashlib.sha256(_content(entry).encode()).digest()[:16] for entry in entries)
    return np.frombuffer(b"".join(hashes), "S16")


def _num_common(then: NDArray[np.bytes_], now: NDArray[np.bytes_]) -> int:
    """Count what is in both, as often as it is in both."""
    values, at = np.unique(np.concatenate([then, now]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(values)) for part in np.split(at, [len(then)])]
    return int(np.minimum(*counts).sum())


def _content(entry: Json) -> str:
    kind = kind_of(entry)
    return f"{kind} {_shape(entry) if kind == 'shapes' else _plain(entry)}"


def _shape(shape: Json) -> str:
    parts = sorted(_shape(part) for part in shape.get("elements") or ())
    return " ".join([content_key(shape), *parts])


def _plain(entry: Json) -> str:
    """Return a hash of a tag or track without ids, which are new, and without fine decimals."""
    return hashlib.sha256(json.dumps(_rounded(entry), sort_keys=True).encode()).hexdigest()


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items() if key not in ("id", "score")}
    if isinstance(value, list | array):
        return [_rounded(part) for part in value]
    return round(float(value), 2) if isinstance(value, int | float) else value

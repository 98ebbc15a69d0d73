"""What changed between two states of annotations: added, removed, edited. Pure.

An object is the same one when nothing that a person can see of it differs, whatever its id (CVAT
gives new ids when a job is saved anew). Of the rest, one with the same id was edited, and so was
one of the same kind on the same frame whose box overlaps the old one by half or more. What is left
was removed or added.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from lsl_core.geometry.boxes import iou_matrix

Json = dict[str, Any]

#: Boxes that overlap so much show one object that was drawn anew.
_SAME_OBJECT = 0.5

#: Fields that say nothing about what a person sees.
_SILENT = frozenset({"id", "group", "score", "created_date", "updated_date"})


@dataclass(frozen=True, slots=True)
class JobAnnotations:
    """The annotations of one job in one state.

    task: id of its task. person: who is assigned, or "". labels: label id -> name.
    annotations: tags, shapes and tracks as CVAT's API gives them.
    """

    task: int
    person: str
    labels: Mapping[int, str]
    annotations: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One object that differs.

    what: "tag", "track", or the type of the shape. person: assigned to its job, afterwards where
    both know. fields: what was edited, such as ("label", "points"). before, after: the object
    as CVAT gave it, None where it was not there.
    """

    kind: Literal["added", "removed", "edited"]
    task: int
    frame: int
    what: str
    label: str
    person: str
    fields: tuple[str, ...]
    before: Json | None
    after: Json | None


@dataclass(frozen=True, slots=True)
class DiffRow:
    """How many objects of one task, label and person changed."""

    task: int
    label: str
    person: str
    added: int
    removed: int
    edited: int


@dataclass(frozen=True, slots=True)
class _Object:
    task: int
    person: str
    what: str
    label: str
    entry: Json

    @property
    def frame(self) -> int:
        return int(self.entry["frame"])

    @property
    def seen(self) -> Json:
        """Return all that a person can see, labels by name."""
        return {"what": self.what, "label": self.label, **_visible(self.entry)}


def compare(before: Iterable[JobAnnotations], after: Iterable[JobAnnotations]) -> list[Change]:
    """Return what changed, by task and frame."""
    old, new = _by_task(before), _by_task(after)
    changes = [
        change
        for task in sorted(old.keys() | new.keys())
        for change in _compare_task(old.get(task, []), new.get(task, []))
    ]
    return sorted(changes, key=lambda change: (change.task, change.frame, change.kind))


def summary(changes: Iterable[Change]) -> list[DiffRow]:
    """Count changes by task, label and person."""
    counts: dict[tuple[int, str, str], Counter[str]] = defaultdict(Counter)
    for change in changes:
        counts[change.task, change.label, change.person][change.kind] += 1
    return [
        DiffRow(*key, count["added"], count["removed"], count["edited"])
        for key, count in sorted(counts.items())
    ]


def _by_task(jobs: Iterable[JobAnnotations]) -> dict[int, list[_Object]]:
    found: dict[int, list[_Object]] = defaultdict(list)
    for job in jobs:
        for kind in ("tags", "shapes", "tracks"):
            for entry in job.annotations.get(kind) or ():
                label = job.labels.get(int(entry["label_id"]), f"label {entry['label_id']}")
                what = entry["type"] if kind == "shapes" else kind[:-1]
                found[job.task].append(_Object(job.task, job.person, what, label, entry))
    return found


def _visible(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        kept = {key: _visible(item) for key, item in value.items() if key not in _SILENT}
        return {key: item for key, item in kept.items() if key != "label_id"}
    if isinstance(value, list):
        return [_visible(item) for item in value]
    return round(float(value), 2) if isinstance(value, int | float) else value


def _compare_task(old: Sequence[_Object], new: Sequence[_Object]) -> Iterator[Change]:
    old, new = _without_equal(old, new)
    edited = [*_same_id(old, new)]
    left_old = _without(old, (one for one, _ in edited))
    left_new = _without(new, (one for _, one in edited))
    redrawn = [*_same_place(left_old, left_new)]
    for one, other in [*edited, *redrawn]:
        fields = _differing(one, other)
        if fields:
            yield _change("edited", other, fields, one.entry, other.entry)
    for one in _without(left_old, (one for one, _ in redrawn)):
        yield _change("removed", one, (), one.entry, None)
    for one in _without(left_new, (one for _, one in redrawn)):
        yield _change("added", one, (), None, one.entry)


def _change(
    kind: Literal["added", "removed", "edited"],
    one: _Object,
    fields: tuple[str, ...],
    before: Json | None,
    after: Json | None,
) -> Change:
    return Change(kind, one.task, one.frame, one.what, one.label, one.person, fields, before, after)


def _without(objects: Iterable[_Object], taken: Iterable[_Object]) -> list[_Object]:
    gone = {id(one) for one in taken}
    return [one for one in objects if id(one) not in gone]


def _without_equal(
    old: Sequence[_Object], new: Sequence[_Object]
) -> tuple[list[_Object], list[_Object]]:
    """Leave out what is in both, as often as it is in both."""
    keys = {id(one): json.dumps(one.seen, sort_keys=True) for one in (*old, *new)}
    common = Counter(keys[id(one)] for one in old) & Counter(keys[id(one)] for one in new)

    def rest(objects: Sequence[_Object]) -> list[_Object]:
        left = Counter(common)
        kept = []
        for one in objects:
            key = keys[id(one)]
            if left[key]:
                left[key] -= 1
            else:
                kept.append(one)
        return kept

    return rest(old), rest(new)


def _same_id(old: Iterable[_Object], new: Iterable[_Object]) -> Iterator[tuple[_Object, _Object]]:
    def key(one: _Object) -> tuple[bool, bool, int]:
        return one.what == "tag", one.what == "track", int(one.entry["id"])

    known = {key(one): one for one in old if one.entry.get("id") is not None}
    for one in new:
        if one.entry.get("id") is not None and key(one) in known:
            yield known.pop(key(one)), one


def _same_place(
    old: Iterable[_Object], new: Iterable[_Object]
) -> Iterator[tuple[_Object, _Object]]:
    groups: dict[tuple[int, str], tuple[list[_Object], list[_Object]]] = defaultdict(
        lambda: ([], [])
    )
    for side, objects in enumerate((old, new)):
        for one in objects:
            groups[one.frame, one.what][side].append(one)
    for lefts, rights in groups.values():
        overlap = iou_matrix(_boxes(lefts), _boxes(rights))
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        for row, column in zip(rows, columns, strict=True):
            if overlap[row, column] >= _SAME_OBJECT:
                yield lefts[row], rights[column]


def _boxes(objects: Sequence[_Object]) -> NDArray[np.float32]:
    return np.array([_box(one) for one in objects], np.float32).reshape(-1, 4)


def _box(one: _Object) -> tuple[float, float, float, float]:
    """Return x1 y1 x2 y2; a tag fills the same unit box as any other, a track that of its start."""
    entry = one.entry
    if one.what == "track":
        entry = (entry.get("shapes") or [{}])[0]
    points = [float(value) for value in entry.get("points") or ()]
    for part in entry.get("elements") or ():
        points += [float(value) for value in part.get("points") or ()]
    if entry.get("type") == "mask":
        # the last four numbers of a mask are its box, right and lower edge inclusive
        x1, y1, x2, y2 = points[-4:]
        return x1, y1, x2 + 1, y2 + 1
    if not points:
        return 0.0, 0.0, 1.0, 1.0
    xs, ys = points[0::2], points[1::2]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def _differing(one: _Object, other: _Object) -> tuple[str, ...]:
    before, after = one.seen, other.seen
    keys = sorted(before.keys() | after.keys())
    return tuple(key for key in keys if before.get(key) != after.get(key))

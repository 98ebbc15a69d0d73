"""What changed between two states of annotations: added, removed, edited. Pure.

An object is the same one when nothing that a person can see of it differs, whatever its id (CVAT
gives new ids when a job is saved anew). Of the rest, one with the same id was edited, and so was
one of the same kind on the same frame whose box overlaps the old one by half or more. What is left
was removed or added.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

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
    entries: yields each of its annotations with "tags", "shapes" or "tracks", as CVAT's API gives
    them, points also in arrays; the same ones whenever it is called, which is twice.
    """

    task: int
    person: str
    labels: Mapping[int, str]
    entries: Callable[[], Iterable[tuple[str, Json]]]


@dataclass(frozen=True, slots=True)
class Change:
    """One object that differs.

    what: "tag", "track", or the type of the shape. person: assigned to its job, afterwards where
    both know.
    """

    kind: Literal["added", "removed", "edited"]
    task: int
    frame: int
    what: str
    label: str
    person: str


@dataclass(frozen=True, slots=True)
class DiffRow:
    """How many objects of one task, label and person changed."""

    task: int
    label: str
    person: str
    added: int
    removed: int
    edited: int


@dataclass(frozen=True, slots=True, eq=False)
class _Object:
    """What is held of an object that differs. box: x1, y1, x2, y2."""

    id: int | None
    task: int
    frame: int
    what: str
    label: str
    person: str
    box: tuple[float, float, float, float]


def compare(before: Iterable[JobAnnotations], after: Iterable[JobAnnotations]) -> list[Change]:
    """Return what changed, by task and frame.

    Of an object that did not change nothing but a hash of 16 bytes is held.
    """
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


def _by_task(jobs: Iterable[JobAnnotations]) -> dict[int, list[JobAnnotations]]:
    found: dict[int, list[JobAnnotations]] = defaultdict(list)
    for job in jobs:
        found[job.task].append(job)
    return found


def _compare_task(
    before: Sequence[JobAnnotations], after: Sequence[JobAnnotations]
) -> Iterator[Change]:
    differs = _not_in_both(_hashes(before), _hashes(after))
    old, new = (_objects(jobs, mask) for jobs, mask in zip((before, after), differs, strict=True))
    edited = [*_same_id(old, new)]
    left_old = _without(old, (one for one, _ in edited))
    left_new = _without(new, (one for _, one in edited))
    redrawn = [*_same_place(left_old, left_new)]
    for _, one in (*edited, *redrawn):
        yield _change("edited", one)
    for one in _without(left_old, (one for one, _ in redrawn)):
        yield _change("removed", one)
    for one in _without(left_new, (one for _, one in redrawn)):
        yield _change("added", one)


def _change(kind: Literal["added", "removed", "edited"], one: _Object) -> Change:
    return Change(kind, one.task, one.frame, one.what, one.label, one.person)


def _without(objects: Iterable[_Object], taken: Iterable[_Object]) -> list[_Object]:
    gone = {id(one) for one in taken}
    return [one for one in objects if id(one) not in gone]


def _entries(jobs: Iterable[JobAnnotations]) -> Iterator[tuple[JobAnnotations, str, str, Json]]:
    """Yield each annotation with its job, what it is, and its label by name."""
    for job in jobs:
        for kind, entry in job.entries():
            label = job.labels.get(int(entry["label_id"]), f"label {entry['label_id']}")
            yield job, entry["type"] if kind == "shapes" else kind[:-1], label, entry


def _hashes(jobs: Iterable[JobAnnotations]) -> NDArray[np.bytes_]:
    """Return a hash of all that a person can see of each object, labels by name; 16 bytes each."""
    found = bytearray()
    for _, what, label, entry in _entries(jobs):
        text = json.dumps({"what": what, "label": label, **_visible(entry)}, sort_keys=True)
        found += hashlib.sha256(text.encode()).digest()[:16]
    return np.frombuffer(bytes(found), "S16")


def _visible(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        kept = {key: _visible(item) for key, item in value.items() if key not in _SILENT}
        return {key: item for key, item in kept.items() if key != "label_id"}
    if isinstance(value, array):
        return np.round(value, 2).tolist()
    if isinstance(value, list):
        return [_visible(item) for item in value]
    return round(float(value), 2) if isinstance(value, int | float) else value


def _not_in_both(
    old: NDArray[np.bytes_], new: NDArray[np.bytes_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which are not in both; what is in both leaves as often as it is in both."""
    values, at = np.unique(np.concatenate([old, new]), return_inverse=True)
    sides = at[: len(old)], at[len(old) :]
    common = np.minimum(*(np.bincount(side, minlength=len(values)) for side in sides))
    left, right = (_equals_before(side) >= common[side] for side in sides)
    return left, right


def _equals_before(values: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return for each value how many equal ones come before it."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    counts = np.empty_like(values)
    counts[order] = np.arange(len(values)) - np.searchsorted(ranked, ranked)
    return counts


def _objects(jobs: Iterable[JobAnnotations], differs: NDArray[np.bool_]) -> list[_Object]:
    return [
        _Object(
            entry.get("id"), job.task, int(entry["frame"]), what, label, job.person,
            _box(what, entry),
        )
        for job, what, label, entry in compress(_entries(jobs), differs)
    ]  # fmt: skip


def _same_id(old: Iterable[_Object], new: Iterable[_Object]) -> Iterator[tuple[_Object, _Object]]:
    def key(one: _Object) -> tuple[bool, bool, int | None]:
        return one.what == "tag", one.what == "track", one.id

    known = {key(one): one for one in old if one.id is not None}
    for one in new:
        if one.id is not None and key(one) in known:
            yield known.pop(key(one)), one


def _same_place(
    old: Iterable[_Object], new: Iterable[_Object]
) -> Iterator[tuple[_Object, _Object]]:
    from scipy.optimize import linear_sum_assignment  # a fifth of a second to load

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
    return np.array([one.box for one in objects], np.float32).reshape(-1, 4)


def _box(what: str, entry: Json) -> tuple[float, float, float, float]:
    """Return x1 y1 x2 y2; a tag fills the same unit box as any other, a track that of its start."""
    if what == "track":
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

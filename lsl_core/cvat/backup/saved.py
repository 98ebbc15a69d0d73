"""The documents of a backup as they are read back: by name, only when they are needed.

Annotations come one entry at a time, so a task of any size takes no memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from lsl_core.cvat.annotations.content import KINDS, Kind
from lsl_core.cvat.annotations.packing import packed
from lsl_core.cvat.annotations.shapes import Converted, to_instances
from lsl_core.cvat.backup.inventory import UnitKind
from lsl_core.cvat.connection.entries import entries_of
from lsl_core.cvat.tasks.entities import (
    CvatLabel,
    FrameInfo,
    JobKind,
    frames_of,
    read_job,
    read_label,
    read_task_info,
)

Json = dict[str, Any]

#: Opens the document at a path, to be read once from front to end.
Open = Callable[[str], IO[bytes]]


@dataclass(frozen=True, slots=True)
class SavedTask:
    """One task of a backup. at: the folder of its documents. paths: those that are there."""

    id: int
    at: str
    paths: frozenset[str]
    open: Open

    def document(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Return a document of the task, `default` when the backup has none."""
        path = f"{self.at}/{name}.json"
        return json.load(self.open(path)) if path in self.paths else default

    @property
    def entry(self) -> Json:
        """The task as the API described it."""
        return self.document("task") or {"id": self.id, "name": f"task {self.id}"}

    @property
    def labels(self) -> list[Json]:
        """Its labels with their attributes."""
        return list(self.document("labels") or ())

    @property
    def jobs(self) -> list[Json]:
        """All its jobs, by first frame, then by id."""
        found = list(self.document("jobs") or ())
        return sorted(found, key=lambda job: (job["start_frame"], job["id"]))

    def has_annotations(self, job_id: int) -> bool:
        """Whether the backup holds the annotations of a job."""
        return f"{self.at}/annotations/{job_id}.json" in self.paths

    def annotations(self, job_id: int) -> Iterator[tuple[Kind, Json]]:
        """Yield the annotations of a job while they are read, points in arrays."""
        if self.has_annotations(job_id):
            found = entries_of(self.open(f"{self.at}/annotations/{job_id}.json"), packed)
            yield from cast(Iterator[tuple[Kind, Json]], found)


@dataclass(frozen=True, slots=True)
class SavedUnit:
    """A project or loose task of a backup."""

    key: str
    paths: frozenset[str]
    open: Open

    @property
    def kind(self) -> UnitKind:
        """Whether it was a project or a task."""
        return UnitKind(self.key.partition("-")[0])

    @property
    def id(self) -> int:
        """Its id on the server that it was read from."""
        return int(self.key.partition("-")[2])

    def document(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Return a document of the unit, `default` when the backup has none."""
        path = f"{self.key}/{name}.json"
        return json.load(self.open(path)) if path in self.paths else default

    @property
    def entry(self) -> Json:
        """The project or the loose task as the API described it."""
        found: Json = self.document("project") or self.tasks()[0].entry
        return found

    def tasks(self) -> list[SavedTask]:
        """Return its tasks by id."""
        found = re.compile(rf"{re.escape(self.key)}/tasks/(\d+)/")
        ids = {int(m[1]) for path in self.paths if (m := found.match(path))}
        return [SavedTask(i, f"{self.key}/tasks/{i}", self.paths, self.open) for i in sorted(ids)]


def saved_units(paths: Iterable[str], open_: Open) -> list[SavedUnit]:
    """Return the units that a backup with these paths holds, projects first."""
    found = frozenset(paths)
    keys = {path.partition("/")[0] for path in found} - {"instance"}
    order = sorted(keys, key=lambda key: (key.partition("-")[0], int(key.partition("-")[2])))
    return [SavedUnit(key, found, open_) for key in order]


def saved_objects(
    task: SavedTask, frame: int
) -> tuple[Converted, list[FrameInfo], list[CvatLabel]]:
    """Return the objects on a frame of a saved task as instances, with its frames and labels.

    Class ids index the labels. Ground truth and consensus replicas are left out.
    """
    info = read_task_info(task.entry, "", project="", labels=())
    frames = frames_of(info, task.document("data") or {"frames": []})
    labels = [read_label(label) for label in task.labels if not label.get("has_parent")]
    jobs = [job for entry in task.jobs if (job := read_job(entry, "")).kind is JobKind.ANNOTATION]
    found: dict[Kind, dict[int, Json]] = {kind: {} for kind in KINDS}
    for job in jobs:
        for kind, entry in task.annotations(job.id):
            if kind == "tracks" or int(entry["frame"]) == frame:
                # jobs may overlap: what lies on a shared frame is in both, under one id
                found[kind].setdefault(int(entry["id"]), entry)
    merged: Json = {kind: [*entries.values()] for kind, entries in found.items()}
    return to_instances(merged, frames, labels, jobs=jobs), frames, labels


class Relabel:
    """Turns annotations of one task into those of another with labels of the same names.

    Args:
        before: labels that the annotations name, as the API lists them.
        after: labels of the task that they go to.
    """

    def __init__(self, before: Iterable[Json], after: Iterable[Json]) -> None:
        targets = {_full_name(label, of): label for label, of in _named(after)}
        self._labels: dict[int, Json] = {}
        self._specs: dict[int, int] = {}
        self.missing: set[str] = set()
        self._names: dict[int, str] = {}
        for label, of in _named(before):
            name = _full_name(label, of)
            self._names[int(label["id"])] = str(label["name"])
            target = targets.get(name)
            if target is None:
                continue
            self._labels[int(label["id"])] = target
            specs = {spec["name"]: int(spec["id"]) for spec in target.get("attributes") or ()}
            for spec in label.get("attributes") or ():
                if spec["name"] in specs:
                    self._specs[int(spec["id"])] = specs[spec["name"]]

    def __call__(self, entries: Iterable[Json]) -> Iterator[Json]:
        """Yield the entries without ids and with the other task's labels.

        Those whose label is not there are left out; `missing` names their labels.
        """
        return (new for entry in entries if (new := self._entry(entry)) is not None)

    def _entry(self, entry: Json) -> Json | None:
        label = self._labels.get(int(entry["label_id"]))
        if label is None:
            self.missing.add(self._names.get(int(entry["label_id"]), str(entry["label_id"])))
            return None
        is_track = isinstance(entry.get("shapes"), list)
        made = {key: value for key, value in entry.items() if key != "id"}
        made["label_id"] = int(label["id"])
        made["attributes"] = self._attributes(entry, label, (False,) if is_track else (False, True))
        if entry.get("elements"):
            made["elements"] = [*self(entry["elements"])]
        # keyframes carry ids and the attributes that change on the way, but no label
        if is_track:
            made["shapes"] = [
                {k: v for k, v in shape.items() if k != "id"}
                | {"attributes": self._attributes(shape, label, (True,))}
                for shape in entry["shapes"]
            ]
        return made

    def _attributes(self, entry: Json, label: Json, mutable: tuple[bool, ...]) -> list[Json]:
        """Return the values of a label's attributes; the default of one that came later."""
        values = {
            int(spec["id"]): str(spec.get("default_value") or "")
            for spec in label.get("attributes") or ()
            if bool(spec.get("mutable")) in mutable
        }
        for item in entry.get("attributes") or ():
            spec_id = self._specs.get(int(item["spec_id"]))
            if spec_id in values:
                values[spec_id] = item["value"]
        return [{"spec_id": spec_id, "value": value} for spec_id, value in values.items()]


def _named(labels: Iterable[Json]) -> list[tuple[Json, str]]:
    """Return labels and the parts of skeletons, each with the name of what it is a part of."""
    found: list[tuple[Json, str]] = []
    for label in labels:
        if label.get("has_parent"):
            continue  # listed with its parent, too
        found.append((label, ""))
        found += [(part, str(label["name"])) for part in label.get("sublabels") or ()]
    return found


def _full_name(label: Json, of: str) -> tuple[str, str]:
    return of, str(label["name"])

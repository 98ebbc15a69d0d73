"""Looking into backups: what changed since, what a frame looked like, what is not covered."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lsl_core import cvat
from lsl_core.backups import Repository, Snapshot
from lsl_core.backups.diff import DiffRow, JobAnnotations, summary
from lsl_core.backups.diff import compare as compare_annotations
from lsl_core.backups.frames import read_frames, task_folders
from lsl_core.cvat import CvatSession
from lsl_core.cvat.backup import (
    ARCHIVE_LEAVES_OUT,
    SavedTask,
    SavedUnit,
    Unit,
    list_units,
    read_live,
    saved_objects,
)
from lsl_core.errors import RestoreRefused, SnapshotMissing
from lsl_core.services.backups.restoring import saved_task, units_of
from lsl_core.types import Instances
from lsl_core.words import plural
from lsl_core.workspace.images import decode_rgb

__all__ = [
    "Comparison",
    "CoverageRow",
    "DiffRow",
    "SavedFrame",
    "compare",
    "compare_live",
    "coverage",
    "diff_lines",
    "left_out",
    "saved_frame",
    "tasks_of",
]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one state to another. gone, new: tasks, as "41 bolts"."""

    rows: tuple[DiffRow, ...]
    gone: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether nothing changed."""
        return not (self.rows or self.gone or self.new)

    @property
    def text(self) -> str:
        """Return "+128 objects, 0 removed, 3 edited"."""
        sums = [sum(getattr(row, kind) for row in self.rows) for kind in _KINDS]
        said = f"+{plural(sums[0], 'object')}, {sums[1]:,} removed, {sums[2]:,} edited"
        if self.gone:
            said += f"; tasks gone: {', '.join(self.gone)}"
        if self.new:
            said += f"; tasks new: {', '.join(self.new)}"
        return said


_KINDS = ("added", "removed", "edited")


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """How well a project or loose task of the server is covered.

    annotations, full: when its newest usable snapshot of each tier was made; one of the whole
    server counts for both. verified: of the newest copy that was read back. changed: whether the
    server changed it since the newest one. holds_images: whether there is anything to lose.
    """

    key: str
    name: str
    organisation: str
    tasks: int
    frames: int
    annotations: datetime | None
    full: datetime | None
    verified: datetime | None
    changed: bool

    @property
    def is_covered(self) -> bool:
        """Whether a copy with images exists, or there are none to copy."""
        return self.full is not None or (self.frames == 0 and self.annotations is not None)


@dataclass(frozen=True, slots=True, eq=False)
class SavedFrame:
    """A frame as a snapshot holds it. from_server: the image is that of today, not a saved one."""

    name: str
    pixels: NDArray[np.uint8]
    instances: Instances
    labels: tuple[str, ...]
    from_server: bool


def left_out(one: Snapshot) -> list[str]:
    """Return what CVAT's archives in a snapshot leave out, and where that is kept."""
    if not any(file.kind == "archive" for file in one.files):
        return []
    *kept, lost = ARCHIVE_LEAVES_OUT
    said = [f"not in CVAT's own archive, kept as documents: {text}" for text in kept]
    return [*said, f"not told by CVAT at all: {lost}"]


def tasks_of(repository: Repository, snapshot: Snapshot) -> list[tuple[int, str]]:
    """Return id and name of every task with images in a snapshot."""
    return [
        (task.id, str(task.entry["name"]))
        for unit in units_of(repository, snapshot)
        for task in unit.tasks()
        if task.entry.get("size")
    ]


def compare(repository: Repository, before: Snapshot, after: Snapshot) -> Comparison:
    """Return what changed between two snapshots, in what both are about.

    Raises:
        RestoreRefused: when they have nothing in common.
    """
    then, now = units_of(repository, before), units_of(repository, after)
    if {unit.key for unit in then}.isdisjoint(unit.key for unit in now):
        raise RestoreRefused(
            f"Snapshots {before.short_id} and {after.short_id} are of different things: "
            f"{before.subject.name} and {after.subject.name}.",
            hint="Compare two of the same project or task: lsl backup list --search NAME",
        )
    return _compare(then, now)


def compare_live(repository: Repository, session: CvatSession, before: Snapshot) -> Comparison:
    """Return what changed on the server since a snapshot was made."""
    if before.subject.url != session.url:
        raise RestoreRefused(
            f"Snapshot {before.short_id} is of {before.subject.url}, not of {session.url}."
        )
    units = units_of(repository, before)
    inventory = list_units(session)
    live = [unit for saved in units if (unit := inventory.find(saved.key)) is not None]
    return _compare(units, [read_live(session, unit) for unit in live])


def diff_lines(found: Comparison) -> list[str]:
    """Return a comparison as lines for a terminal."""
    if found.is_same:
        return ["Nothing changed."]
    lines = [f"{'task':>6}  {'label':<24} {'person':<16} {'added':>7} {'removed':>8} {'edited':>7}"]
    lines += [
        f"{row.task:>6}  {row.label:<24} {row.person or '-':<16} {row.added:>7} {row.removed:>8} "
        f"{row.edited:>7}"
        for row in found.rows
    ]
    return [*lines, found.text]


def coverage(repository: Repository, session: CvatSession) -> list[CoverageRow]:
    """Say for everything that the account can see which copies there are; the worst first."""
    copies: dict[str, list[_Copy]] = defaultdict(list)
    for one in repository.snapshots():
        if one.is_usable and not one.is_damaged and one.subject.url == session.url:
            for copy in _copies(one):
                copies[copy.of].append(copy)
    rows = [_coverage_row(unit, copies[unit.key]) for unit in list_units(session).units]
    return sorted(rows, key=lambda row: (row.is_covered, row.full is not None, not row.changed))


def saved_frame(
    repository: Repository,
    snapshot: Snapshot,
    task_id: int,
    frame: int,
    *,
    session: CvatSession | None = None,
) -> SavedFrame:
    """Return a frame of a snapshot with its objects, to be looked at.

    A snapshot of annotations holds no images: then the image comes from the server.

    Raises:
        RestoreRefused: no such task or frame, or nowhere to take the image from.
    """
    task = saved_task(repository, snapshot, task_id)
    objects, infos, labels = saved_objects(task, frame)
    if not 0 <= frame < len(infos):
        raise RestoreRefused(f"Task {task_id} of this snapshot has no frame {frame}.")
    data, from_server = _image(repository, snapshot, task, frame), False
    if data is None and session is not None:
        data, from_server = cvat.frame_bytes(session, task_id, frame, quality="original"), True
    if data is None:
        raise RestoreRefused(f"Snapshot {snapshot.short_id} holds annotations only, no images.")
    found = objects.frames.get(frame)
    hw = infos[frame].image_hw
    return SavedFrame(
        infos[frame].name,
        decode_rgb(data, name=infos[frame].name),
        Instances.empty(hw) if found is None else found.instances,
        tuple(label.name for label in labels),
        from_server,
    )


@dataclass(frozen=True, slots=True)
class _Copy:
    """One unit in one snapshot. of: the key of the unit."""

    of: str
    at: datetime
    is_verified: bool
    has_archive: bool


def _copies(one: Snapshot) -> list[_Copy]:
    """Return what a snapshot holds a copy of: its subject, or every unit of a whole server."""
    if one.subject.kind != "instance":
        held = {f"{one.subject.kind}-{one.subject.id}"}
    else:
        held = {file.name.partition("/")[0] for file in one.files} - {"instance"}
    archives = {file.name.partition("/")[0] for file in one.files if file.kind == "archive"}
    return [_Copy(key, one.started, one.is_verified, key in archives) for key in held]


def _coverage_row(unit: Unit, own: list[_Copy]) -> CoverageRow:
    newest = max((copy.at for copy in own), default=None)
    with_images = [copy for copy in own if copy.has_archive]
    return CoverageRow(
        key=unit.key,
        name=unit.name,
        organisation=unit.organisation,
        tasks=len(unit.tasks),
        frames=unit.frames,
        annotations=newest,
        full=max((copy.at for copy in with_images), default=None),
        verified=max((copy.at for copy in with_images if copy.is_verified), default=None),
        changed=newest is None or unit.changed is None or unit.changed > newest,
    )


def _compare(before: list[SavedUnit], after: list[SavedUnit]) -> Comparison:
    then = {task.id: task for unit in before for task in unit.tasks()}
    now = {task.id: task for unit in after for task in unit.tasks()}
    both = then.keys() & now.keys()
    rows = []
    for task_id in sorted(both):
        changes = compare_annotations(_jobs(then[task_id]), _jobs(now[task_id]))
        rows += summary(changes)
    return Comparison(
        tuple(rows),
        tuple(_title(then[i]) for i in sorted(then.keys() - both)),
        tuple(_title(now[i]) for i in sorted(now.keys() - both)),
    )


def _title(task: SavedTask) -> str:
    return f'{task.id} "{task.entry["name"]}"'


def _jobs(task: SavedTask) -> Iterator[JobAnnotations]:
    labels = {int(label["id"]): str(label["name"]) for label in task.labels}
    for job in task.jobs:
        person = str((job.get("assignee") or {}).get("username") or "")
        entries = partial(task.annotations, int(job["id"]))
        yield JobAnnotations(task.id, person, labels, entries)


def _image(repository: Repository, snapshot: Snapshot, task: SavedTask, frame: int) -> bytes | None:
    """Return a frame's image from the archive beside a task's documents, None without one."""
    name = f"{task.at.partition('/')[0]}/archive.zip"
    if snapshot.file(name) is None:
        return None
    for folder in task_folders(repository, snapshot, name):
        about = json.loads(repository.read_member(snapshot, name, f"{folder}task.json"))
        if about.get("name") != task.entry["name"]:
            continue
        try:
            return read_frames(repository, snapshot, name, [frame], folder)[frame]
        except SnapshotMissing:
            continue  # another task of that name, or a video
    return None

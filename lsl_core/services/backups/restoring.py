"""Bringing back what a snapshot holds: as new projects and tasks, a whole server, or one frame."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lsl_core.backups import Repository, Snapshot
from lsl_core.backups.locking import reading
from lsl_core.cvat import CvatSession
from lsl_core.cvat.backup import (
    People,
    SavedTask,
    SavedUnit,
    UnitKind,
    make_empty_task,
    organisation_id,
    reapply,
    restore_archive,
    restore_organisations,
    restore_webhooks,
    saved_units,
)
from lsl_core.errors import (
    CvatAuth,
    CvatUnreachable,
    LslError,
    PartlyDone,
    RestoreRefused,
    RunCancelled,
)
from lsl_core.progress import NULL, Progress
from lsl_core.words import plural
from lsl_core.workspace.files import file_of

__all__ = [
    "RestoredInstance",
    "RestoredUnit",
    "chosen_units",
    "require_whole",
    "restore_instance",
    "restore_snapshot",
    "restore_unit",
    "saved_task",
    "strangers",
    "units_of",
]


@dataclass(frozen=True, slots=True)
class RestoredUnit:
    """A project or task that was made of a snapshot.

    id: on the server. url: its page there. images_from: the snapshot that its images came from,
    when that was another one. not_restored: (what, why).
    """

    key: str
    name: str
    id: int
    url: str
    tasks: dict[int, int]
    images_from: str
    not_restored: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RestoredInstance:
    """What filling a server came to. failed: units that are not there, and why."""

    units: tuple[RestoredUnit, ...]
    failed: tuple[tuple[str, str], ...]
    not_restored: tuple[tuple[str, str], ...]


def require_whole(made: RestoredInstance) -> None:
    """Return when everything came back.

    Raises:
        PartlyDone: when something could not be; names it.
        RestoreRefused: when nothing came back at all.
    """
    failed = [*made.failed, *made.not_restored]
    if made.failed and not made.units:
        raise RestoreRefused(f"Nothing was restored: {made.failed[0][0]}: {made.failed[0][1]}")
    if failed:
        raise PartlyDone(
            f"{len(made.units)} restored; {plural(len(failed), 'thing')} could not be.",
            done=[unit.key for unit in made.units],
            failed=failed,
            hint="What was restored stays; do the rest by hand in CVAT.",
        )


def units_of(repository: Repository, snapshot: Snapshot) -> list[SavedUnit]:
    """Return the projects and loose tasks that a snapshot holds; refuse when it holds none."""

    def opened(path: str) -> IO[bytes]:
        return file_of(repository.stream(snapshot, path))

    found = saved_units((file.name for file in snapshot.files), opened)
    if not found:
        raise RestoreRefused(
            f"Snapshot {snapshot.short_id} holds no project and no task.",
            hint="Choose another one: lsl backup list",
        )
    return found


def chosen_units(
    repository: Repository, snapshot: Snapshot, project: int | None
) -> list[SavedUnit]:
    """Return all units of a snapshot, or one project.

    Raises:
        RestoreRefused: when it holds no such project.
    """
    found = [
        unit
        for unit in units_of(repository, snapshot)
        if project is None or (unit.kind, unit.id) == (UnitKind.PROJECT, project)
    ]
    if not found:
        raise RestoreRefused(
            f"Snapshot {snapshot.short_id} holds no project {project}.",
            hint=f"See what it holds: lsl backup show --files {snapshot.short_id}",
        )
    return found


def saved_task(repository: Repository, snapshot: Snapshot, task_id: int) -> SavedTask:
    """Return one task of a snapshot.

    Raises:
        RestoreRefused: when there is none.
    """
    for unit in units_of(repository, snapshot):
        for task in unit.tasks():
            if task.id == task_id:
                return task
    raise RestoreRefused(
        f"Snapshot {snapshot.short_id} holds no task {task_id}.",
        hint=f"See what it holds: lsl backup show {snapshot.short_id}",
    )


def restore_unit(
    repository: Repository,
    session: CvatSession,
    snapshot: Snapshot,
    unit: SavedUnit,
    *,
    people: People | None = None,
    name: str = "",
    progress: Progress = NULL,
) -> RestoredUnit:
    """Make a new project or task of a unit of a snapshot, in the session's organisation.

    A snapshot of annotations holds no images: those come from the newest other snapshot of the
    unit that has them, and the annotations of this one are written over.

    Args:
        repository: where the snapshot lies.
        session: where it goes.
        snapshot: what to restore.
        unit: one of `units_of`.
        people: who is who there; by equal names when None.
        name: of the new project or task; as it was when "".
        progress: counts megabytes, then tasks.

    Raises:
        RestoreRefused: no snapshot holds the images.
        CvatError: CVAT could not do it; a half-made project or task is removed again.
    """
    if unit.kind is UnitKind.TASK and not any(task.entry.get("size") for task in unit.tasks()):
        return _empty_task(session, unit, name)
    source = _with_images(repository, snapshot, unit)
    with tempfile.TemporaryDirectory(prefix="lsl-restore-") as folder:
        path = Path(folder) / "archive.zip"
        repository.extract(source, f"{unit.key}/archive.zip", path)
        made = restore_archive(session, unit.kind, path, progress=progress)
    at = f"/api/{unit.kind}s/{made}"
    try:
        if name:
            session.transport.json("PATCH", at, doing="naming what came back", body={"name": name})
        done = reapply(
            session,
            unit,
            made,
            people or People(session),
            progress=progress,
            annotations=source.id != snapshot.id,
        )
    except BaseException:
        remove_unit(session, unit.kind, made)
        raise
    return RestoredUnit(
        key=unit.key,
        name=name or str(unit.entry["name"]),
        id=made,
        url=f"{session.url}/{unit.kind}s/{made}",
        tasks=done.tasks,
        images_from="" if source.id == snapshot.id else source.id,
        not_restored=tuple(done.not_restored),
    )


def _empty_task(session: CvatSession, unit: SavedUnit, name: str) -> RestoredUnit:
    """Make a task again that held no images yet: CVAT archives none of those."""
    (task,) = unit.tasks()
    title = name or str(task.entry["name"])
    made = make_empty_task(session, title, task.labels)
    url = f"{session.url}/tasks/{made}"
    return RestoredUnit(unit.key, title, made, url, {task.id: made}, "", ())


def remove_unit(session: CvatSession, kind: UnitKind, unit_id: int) -> None:
    """Delete a project or task that we have just made."""
    session.transport.send("DELETE", f"/api/{kind}s/{unit_id}", doing=f"removing {kind} {unit_id}")


def restore_snapshot(
    repository: Repository,
    session: CvatSession,
    snapshot: Snapshot,
    *,
    project: int | None = None,
    organisation: str | None = None,
    names: Mapping[str, str] | None = None,
    is_other_server: bool = False,
    progress: Progress = NULL,
) -> RestoredInstance:
    """Make new projects and tasks of a snapshot, or of one project of it.

    A whole server goes back with its organisations and people, unless one organisation was
    chosen for all of it.

    Raises:
        RestoreRefused: the snapshot has no such project.
    """
    with reading(repository.store, "restore"):
        whole = is_other_server or snapshot.subject.kind == "instance"
        if project is None and organisation is None and whole:
            with session.in_organisation(None) as everywhere:
                return restore_instance(
                    repository, everywhere, snapshot, names=names, progress=progress
                )
        return _restore_units(repository, session, snapshot, project, names, progress)


def _restore_units(
    repository: Repository,
    session: CvatSession,
    snapshot: Snapshot,
    project: int | None,
    names: Mapping[str, str] | None,
    progress: Progress,
) -> RestoredInstance:
    """Make new units, all or one project of them, in the session's organisation."""
    people = People(session, names)
    made = [
        restore_unit(repository, session, snapshot, unit, people=people, progress=progress)
        for unit in chosen_units(repository, snapshot, project)
    ]
    not_restored = [line for unit in made for line in unit.not_restored]
    return RestoredInstance(tuple(made), (), tuple(dict.fromkeys(not_restored)))


def restore_instance(
    repository: Repository,
    session: CvatSession,
    snapshot: Snapshot,
    *,
    names: Mapping[str, str] | None = None,
    progress: Progress = NULL,
) -> RestoredInstance:
    """Fill a server with everything that a snapshot holds: organisations, people's roles, units.

    Users cannot be made through CVAT's API: they must be there, under the same name or that of
    the map. A unit that fails is listed, and the others are restored.

    Args:
        repository: where the snapshot lies.
        session: on the server to fill, in no organisation.
        snapshot: of the whole instance, or of one unit.
        names: user name in the snapshot to user name there.
        progress: counts units.
    """
    people = People(session, names)
    not_restored = _restore_people(repository, session, snapshot, people)
    made: list[RestoredUnit] = []
    failed: list[tuple[str, str]] = []
    units = units_of(repository, snapshot)
    progress.start("Restoring", total=len(units), unit="projects and tasks")
    for unit in units:
        progress.check()
        try:
            with session.in_organisation(_slug_of(repository, snapshot, unit)) as there:
                one = restore_unit(repository, there, snapshot, unit, people=people)
            made.append(one)
            not_restored += one.not_restored
        except (CvatAuth, CvatUnreachable, RunCancelled):
            raise
        except LslError as error:
            failed.append((unit.key, error.message))
            progress.note(f"{unit.key}: {error.message}")
        progress.advance()
    not_restored += _restore_webhooks(repository, session, snapshot, made)
    return RestoredInstance(tuple(made), tuple(failed), tuple(dict.fromkeys(not_restored)))


def _with_images(repository: Repository, snapshot: Snapshot, unit: SavedUnit) -> Snapshot:
    """Return the snapshot that the images of a unit come from: this one, or the nearest older."""
    name = f"{unit.key}/archive.zip"
    if snapshot.file(name) is not None:
        return snapshot
    subject = snapshot.subject
    same = [
        one
        for one in repository.snapshots()
        if one.subject.url == subject.url and one.file(name) is not None and not one.is_damaged
    ]
    older = [one for one in same if one.sequence < snapshot.sequence]
    if not same:
        raise RestoreRefused(
            f"Snapshot {snapshot.short_id} holds annotations only, and no other one has the "
            f"images of {unit.key.replace('-', ' ')}.",
            hint="If it still exists in CVAT, bring back frames: lsl backup restore --task ID",
        )
    return (older or same)[0]


def _restore_people(
    repository: Repository, session: CvatSession, snapshot: Snapshot, people: People
) -> list[tuple[str, str]]:
    """Make organisations and invite members, as far as the snapshot knows them."""
    organisations, members = (
        _instance_list(repository, snapshot, name) for name in ("organisations", "members")
    )
    return restore_organisations(session, organisations, members, people)


def _restore_webhooks(
    repository: Repository, session: CvatSession, snapshot: Snapshot, made: list[RestoredUnit]
) -> list[tuple[str, str]]:
    """Make webhooks of organisations and restored projects again, as far as there are any."""
    kind = f"{UnitKind.PROJECT}-"
    projects = {int(u.key.removeprefix(kind)): u.id for u in made if u.key.startswith(kind)}
    return restore_webhooks(
        session,
        _instance_list(repository, snapshot, "webhooks"),
        _slugs(repository, snapshot),
        projects,
    )


def _instance_list(repository: Repository, snapshot: Snapshot, name: str) -> list[Any]:
    path = f"instance/{name}.json"
    return repository.read_json(snapshot, path) if snapshot.file(path) is not None else []


def _slugs(repository: Repository, snapshot: Snapshot) -> dict[int, str]:
    found = _instance_list(repository, snapshot, "organisations")
    return {int(entry["id"]): str(entry["slug"]) for entry in found}


def _slug_of(repository: Repository, snapshot: Snapshot, unit: SavedUnit) -> str:
    """Return the short name of the organisation that a unit belonged to, "" for a person's own."""
    if snapshot.subject.kind != "instance":
        return snapshot.subject.organisation or ""
    return _slugs(repository, snapshot).get(organisation_id(unit.entry) or 0, "")


def strangers(
    repository: Repository, session: CvatSession, snapshot: Snapshot
) -> tuple[list[str], list[str]]:
    """Return who a snapshot names and a server does not know, and whom it knows; by user name.

    Named are owners, assignees and members of organisations.
    """
    people = People(session)
    named = [entry.get("user") for entry in _instance_list(repository, snapshot, "members")]
    for unit in units_of(repository, snapshot):
        entries = [unit.document("project") or {}]
        for task in unit.tasks():
            entries += [task.entry, *task.jobs]
        named += [entry.get(role) for entry in entries for role in ("owner", "assignee")]
    for person in named:
        people.find(person)
    return sorted(people.missing), people.there

"""What there is to back up: every project and every loose task that the account can see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.tasks.entities import organisation_id

Json = dict[str, Any]


class UnitKind(StrEnum):
    """What is backed up as one."""

    PROJECT = "project"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Unit:
    """A project with its tasks, or a task of no project.

    organisation: short name, "" for the personal workspace. updated: ISO 8601, the newest change
    of the unit or one of its tasks. tasks: ids. frames: images in all of them. entry: as the API
    lists it. task_entries: likewise, of its tasks.
    """

    kind: UnitKind
    id: int
    name: str
    organisation: str
    updated: str
    tasks: tuple[int, ...]
    frames: int
    entry: Json
    task_entries: tuple[Json, ...]

    @property
    def key(self) -> str:
        """Name the unit for good: by id, since names change and are not unique."""
        return f"{self.kind}-{self.id}"

    @property
    def changed(self) -> datetime | None:
        """When it was last changed, None when the server does not say."""
        try:
            at = datetime.fromisoformat(self.updated)
        except ValueError:
            return None
        return at if at.tzinfo else at.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that the account can see, at one time."""

    units: tuple[Unit, ...]

    @property
    def num_tasks(self) -> int:
        """Tasks in all units."""
        return sum(len(unit.tasks) for unit in self.units)

    def find(self, key: str) -> Unit | None:
        """Return the unit of that key, or the one that holds the task of that key."""
        for unit in self.units:
            if unit.key == key:
                return unit
        return next(
            (unit for unit in self.units if key in [f"task-{task}" for task in unit.tasks]), None
        )


def list_units(session: CvatSession) -> Inventory:
    """List all projects and loose tasks, to the last page, of the session's organisation.

    Args:
        session: one without an organisation sees those of all its organisations.
    """
    transport = session.transport
    slugs = {organisation.id: organisation.slug for organisation in session.organisations()}
    tasks = list(transport.pages("/api/tasks", doing="listing tasks"))
    projects = list(transport.pages("/api/projects", doing="listing projects"))
    known = {int(project["id"]) for project in projects}
    members: dict[int, list[Json]] = {project_id: [] for project_id in known}
    loose = []
    for task in tasks:
        # a task can be visible although its project is not
        of = task.get("project_id")
        if of in known:
            members[of].append(task)
        else:
            loose.append(task)
    units = [
        _unit(UnitKind.PROJECT, project, members[int(project["id"])], slugs) for project in projects
    ]
    units += [_unit(UnitKind.TASK, task, [task], slugs) for task in loose]
    return Inventory(tuple(sorted(units, key=lambda unit: (unit.kind, unit.id))))


def _unit(kind: UnitKind, entry: Json, tasks: list[Json], slugs: dict[int, str]) -> Unit:
    tasks = sorted(tasks, key=lambda task: int(task["id"]))
    dates = [str(part.get("updated_date") or "") for part in (entry, *tasks)]
    return Unit(
        kind=kind,
        id=int(entry["id"]),
        name=str(entry["name"]),
        organisation=slugs.get(organisation_id(entry) or 0, ""),
        updated=max(dates),
        tasks=tuple(int(task["id"]) for task in tasks),
        frames=sum(int(task.get("size") or 0) for task in tasks),
        entry=entry,
        task_entries=tuple(tasks),
    )

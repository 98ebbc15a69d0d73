"""Backups as background runs: asked for on a page, or begun by the worker when they are due."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lsl_core.backups import Tier
from lsl_core.cvat import CvatSession
from lsl_core.progress import Progress
from lsl_core.runs import Order, Queue
from lsl_core.services import backups, drilling
from lsl_core.services.backing_up import BackupReport, back_up_instance, back_up_now
from lsl_core.services.connections import connection_of, open_session
from lsl_core.services.scheduling import run_due
from lsl_core.workspace import CvatSettings, Workspace

__all__ = ["submit_backup", "submit_drill", "submit_verify", "tick"]

#: The kind of the worker's own runs, and seconds between two of them.
_SCHEDULED, _EVERY_S = "scheduled backup", 600.0


def tick(workspace: Workspace) -> bool:
    """Submit a run when the schedule is on; the worker asks this every minute.

    What is due is found out by the run, which asks the server; one run at a time, and not more
    often than every ten minutes.

    Returns:
        Whether the schedule is on, and so whether the worker has to stay.
    """
    settings = workspace.settings()
    if not settings.backups.scheduled or not settings.cvat.url:
        return False
    queue = Queue(workspace)
    recent = [run for run in queue.store.recent(limit=50) if run.kind == _SCHEDULED]
    if not recent or (not recent[0].phase.is_active and _is_time(recent[0].created)):
        connection = settings.cvat.model_copy(update={"organisation": None})
        queue.submit(
            Order(f"{__name__}:run_scheduled", {"connection": connection.model_dump()}),
            kind=_SCHEDULED,
            subject="what is due",
            owner=settings.cvat.user,
        )
    return True


def _is_time(created: float) -> bool:
    return not 0.0 <= time.time() - created < _EVERY_S


def run_scheduled(
    workspace: Workspace, *, connection: Mapping[str, Any], progress: Progress
) -> dict[str, Any]:
    """Make what is due: the worker's run."""
    repository = backups.open_repository(workspace, make=True)
    with open_session(CvatSettings(**connection)) as session:
        report = run_due(workspace, repository, session, progress=progress)
    report.require_whole()
    return {"snapshots": [one.short_id for one in report.taken]}


def submit_backup(
    workspace: Workspace,
    session: CvatSession,
    *,
    tier: Tier,
    project: int | None = None,
    task: int | None = None,
    reason: str = "asked for",
) -> str:
    """Back up a project, a task with its project, or everything, in the worker; return the run."""
    subject = f"project {project}" if project is not None else f"task {task}"
    arguments = {
        "connection": connection_of(session).model_dump(),
        "tier": tier.value,
        "project": project,
        "task": task,
        "reason": reason,
    }
    return Queue(workspace).submit(
        Order(f"{__name__}:run_backup", arguments),
        kind="backup",
        subject="everything" if project is task is None else subject,
        owner=session.user,
    )


def run_backup(
    workspace: Workspace,
    *,
    connection: Mapping[str, Any],
    tier: str,
    project: int | None,
    task: int | None,
    reason: str,
    progress: Progress,
) -> dict[str, Any]:
    """Back up what was asked for: the worker's run."""
    repository = backups.open_repository(workspace, make=True)
    everywhere = CvatSettings(**connection).model_copy(update={"organisation": None})
    with open_session(everywhere) as session:
        if tier == Tier.INSTANCE:
            one = back_up_instance(repository, session, reason=reason, progress=progress)
            report = BackupReport([one])
        else:
            report = back_up_now(
                repository, session, Tier(tier), project=project, task=task, reason=reason,
                progress=progress,
            )  # fmt: skip
    report.require_whole()
    return {"snapshots": [one.short_id for one in report.taken]}


def submit_verify(workspace: Workspace, *, owner: str, ids: list[str] | None = None) -> str:
    """Verify snapshots, all when none is named, in the worker; return the run."""
    return Queue(workspace).submit(
        Order(f"{__name__}:run_verify", {"ids": ids or []}),
        kind="verify",
        subject=f"snapshot {ids[0][:10]}" if ids else "all snapshots",
        owner=owner,
    )


def run_verify(workspace: Workspace, *, ids: list[str], progress: Progress) -> dict[str, Any]:
    """Verify: the worker's run."""
    repository = backups.open_repository(workspace)
    report = backups.verify(repository, ids, progress=progress)
    backups.require_good(report)
    return {"whole": len(report.whole)}


def submit_drill(workspace: Workspace, session: CvatSession, *, snapshot: str) -> str:
    """Drill a snapshot in the worker; return the run."""
    arguments = {"connection": connection_of(session).model_dump(), "snapshot": snapshot}
    return Queue(workspace).submit(
        Order(f"{__name__}:run_drill", arguments),
        kind="drill",
        subject=f"snapshot {snapshot[:10]}",
        owner=session.user,
    )


def run_drill(
    workspace: Workspace, *, connection: Mapping[str, Any], snapshot: str, progress: Progress
) -> dict[str, Any]:
    """Drill: the worker's run."""
    repository = backups.open_repository(workspace)
    with open_session(CvatSettings(**connection)) as session:
        one = drilling.drill(repository, session, repository.snapshot(snapshot), progress=progress)
    drilling.require_good(one)
    return {"verdict": "came back as it was saved"}

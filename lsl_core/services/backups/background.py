"""Backups as background runs: asked for on a page, or begun by the worker when they are due."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lsl_core.backups import Tier
from lsl_core.cvat import CvatSession
from lsl_core.progress import Progress
from lsl_core.runs import Order, Queue, RunStore, lane_of
from lsl_core.services.backups import drilling, repositories, restoring
from lsl_core.services.backups.backing_up import BackupReport, back_up_instance, back_up_now
from lsl_core.services.backups.scheduling import run_due
from lsl_core.services.connections import connection_of, open_session
from lsl_core.workspace import CvatSettings, Workspace

__all__ = [
    "command_words",
    "submit_backup",
    "submit_drill",
    "submit_restore",
    "submit_verify",
    "tick",
]

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
    runs = RunStore(workspace.database).recent(limit=50)
    recent = [run for run in runs if run.kind == _SCHEDULED]
    if not recent or (not recent[0].phase.is_active and _is_time(recent[0].created)):
        connection = settings.cvat.model_copy(update={"organisation": None})
        _submit(
            workspace,
            run_scheduled,
            {"connection": connection.model_dump()},
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
    repository = repositories.open_repository(workspace, make=True)
    with open_session(CvatSettings(**connection)) as session:
        report = run_due(workspace, repository, session, progress=progress)
    report.require_whole()
    return {"snapshots": [one.short_id for one in report.taken]}


def _submit(
    workspace: Workspace,
    work: Callable[..., object],
    arguments: Mapping[str, object],
    *,
    kind: str,
    subject: str,
    owner: str,
) -> str:
    """Queue one of the functions below with what it is called with; return the run.

    Raises:
        UserInput: somebody asked for the same, and it has not ended.
    """
    order = Order(f"{work.__module__}:{work.__name__}", dict(arguments))
    queue = Queue(workspace, lane_of(kind))
    return queue.submit(order, kind=kind, subject=subject, owner=owner, alone=kind != _SCHEDULED)


def _submit_on_server(
    workspace: Workspace,
    work: Callable[..., object],
    session: CvatSession,
    connection: CvatSettings,
    snapshot: str,
    kind: str,
    **more: object,
) -> str:
    """Queue what is done on a server with one snapshot; return the run."""
    return _submit(
        workspace,
        work,
        {"connection": connection.model_dump(), "snapshot": snapshot, **more},
        kind=kind,
        subject=_named([snapshot]),
        owner=session.user,
    )


def _named(ids: Sequence[str]) -> str:
    return f"snapshot {ids[0][:10]}" if ids else "all snapshots"


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
    return _submit(
        workspace,
        run_backup,
        arguments,
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
    repository = repositories.open_repository(workspace, make=True)
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
    chosen = ids or []
    return _submit(
        workspace, run_verify, {"ids": chosen}, kind="verify", subject=_named(chosen), owner=owner
    )


def run_verify(workspace: Workspace, *, ids: list[str], progress: Progress) -> dict[str, Any]:
    """Verify: the worker's run."""
    repository = repositories.open_repository(workspace)
    report = repositories.verify(repository, ids, progress=progress)
    repositories.require_good(report)
    return {"whole": len(report.whole)}


def submit_drill(workspace: Workspace, session: CvatSession, *, snapshot: str) -> str:
    """Drill a snapshot in the worker; return the run."""
    connection = connection_of(session)
    return _submit_on_server(workspace, run_drill, session, connection, snapshot, "drill")


def run_drill(
    workspace: Workspace, *, connection: Mapping[str, Any], snapshot: str, progress: Progress
) -> dict[str, Any]:
    """Drill: the worker's run."""
    repository = repositories.open_repository(workspace)
    with open_session(CvatSettings(**connection)) as session:
        one = drilling.drill(repository, session, repository.snapshot(snapshot), progress=progress)
    drilling.require_good(one)
    return {"verdict": "came back as it was saved"}


def submit_restore(
    workspace: Workspace,
    session: CvatSession,
    *,
    snapshot: str,
    organisation: str | None,
    names: Mapping[str, str] | None = None,
) -> str:
    """Restore a snapshot as new projects and tasks, in the worker; return the run.

    Args:
        workspace: whose repository.
        session: on the server that it goes to.
        snapshot: its name.
        organisation: into which; None brings each back to where it was.
        names: user name in the snapshot to user name there.
    """
    connection = connection_of(session).model_copy(update={"organisation": organisation})
    return _submit_on_server(
        workspace, run_restore, session, connection, snapshot, "restore", names=dict(names or {})
    )


def run_restore(
    workspace: Workspace,
    *,
    connection: Mapping[str, Any],
    snapshot: str,
    names: Mapping[str, str],
    progress: Progress,
) -> dict[str, Any]:
    """Restore: the worker's run."""
    repository = repositories.open_repository(workspace)
    settings = CvatSettings(**connection)
    with open_session(settings) as session:
        made = restoring.restore_snapshot(
            repository, session, repository.snapshot(snapshot),
            organisation=settings.organisation, names=names, progress=progress,
        )  # fmt: skip
    restoring.require_whole(made)
    return {"restored": [[unit.name, unit.url] for unit in made.units]}


def command_words(kind: str, values: Mapping[str, Any]) -> list[str]:
    """Return what follows `lsl backup` to do the same as a run."""
    if kind == "backup" and values["tier"] == Tier.INSTANCE:
        return ["snapshot"]
    if kind == "backup":
        words = ["now", "--tier", values["tier"]]
        for name in ("project", "task"):
            words += [f"--{name}", values[name]] if values[name] is not None else []
        return words
    if kind == "restore":
        organisation = values["connection"]["organisation"]
        words = ["restore", "--snapshot", values["snapshot"][:10]]
        for pair in values["names"].items():
            words += ["--user-map", "=".join(pair)]
        return words + (["--org", organisation] if organisation is not None else [])
    if kind == "drill":
        return ["drill", values["snapshot"][:10]]
    return ["verify", *(id_[:10] for id_ in values["ids"])] if kind == "verify" else ["run"]

"""What backups cost on a server with many projects and tasks, and after many snapshots.

    python bench/backup_many.py                                   # 60 projects, 500 tasks
    python bench/backup_many.py --projects 12 --tasks 100         # a fifth of it, to compare
    python bench/backup_many.py --projects 2 --tasks 4 --copies 750     # 3,000 snapshots

The sandbox holds tasks of two small images; after the first two backups of annotations the history
is made longer by copies of it. Each line is a process of its own: wall time holds the server's
work, CPU seconds and memory are the client's. Requests are counted at the client.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import backup
import cv2
import numpy as np

from lsl_core import cvat
from lsl_core.backups import Draft, Repository, Tier
from lsl_core.cli.main import run as lsl
from lsl_core.cvat.backup import list_units
from lsl_core.cvat.connection.transport import Transport
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.services import connections, workspaces
from lsl_core.services.backups import backing_up, inspecting, repositories, retaining, scheduling
from lsl_core.workspace import Workspace

LOGIN = cvat.PasswordLogin(DEMO_USER, DEMO_PASSWORD)


def fill(session: cvat.CvatSession, folder: Path, options: argparse.Namespace) -> None:
    """Make projects, and tasks spread over them, each with a box on its first image."""
    rng = np.random.default_rng(0)
    files = [folder / f"{number}.jpg" for number in range(2)]
    for path in files:
        cv2.imwrite(str(path), rng.integers(0, 256, (64, 64, 3), np.uint8))
    projects = []
    for number in range(options.projects):
        body = {"name": f"project {number}", "labels": [{"name": "bolt", "type": "any"}]}
        made = session.transport.json("POST", "/api/projects", doing="making one", body=body)
        projects.append(made["id"])
    for number in range(options.tasks):
        at = projects[number % len(projects)]
        task = cvat.create_task(session, f"task {number}", [], files, project_id=at)
        label = cvat.task_labels(session, task.id)[0].id
        shape = {"type": "rectangle", "frame": 0, "label_id": label, "group": 0, "attributes": [],
                 "points": [1.0, 1.0, 9.0, 9.0], "occluded": False}  # fmt: skip
        session.transport.send(
            "PATCH", f"/api/tasks/{task.id}/annotations", doing="drawing",
            query={"action": "create"},
            body={"version": 0, "tags": [], "shapes": [shape], "tracks": []},
        )  # fmt: skip


def lengthen(repository: Repository, copies: int) -> None:
    """Write the snapshots that are there again and again."""
    newest = repository.snapshots()[::-1]
    last = newest[-1].started
    with repository.lock("bench"):
        for number in range(1, copies + 1):
            for one in newest:
                at = last + timedelta(milliseconds=number)
                repository.clock = lambda at=at: at  # type: ignore[misc]
                with repository.record(one.subject, one.tier, reason="bench") as draft:
                    _copy(draft, one.files, one.counts)


def _copy(draft: Draft, files: Any, counts: dict[str, int]) -> None:
    draft.files.extend(files)
    draft.counts = counts


def counted(work: Callable[[], object]) -> dict[str, Any]:
    """Run it once; return seconds, memory, and how often the server was asked."""
    asked = [0]
    send = Transport.send

    def sent(*args: Any, **named: Any) -> Any:
        asked[0] += 1
        return send(*args, **named)

    Transport.send = sent  # type: ignore[method-assign]
    return {**backup.cost(work), "asked": asked[0]}


def listed(root: str) -> dict[str, Any]:
    """List what exists on the server."""
    with _session(root) as session:
        return counted(lambda: list_units(session))


def covered(root: str) -> dict[str, Any]:
    """Say what is covered."""
    repository = repositories.open_repository(Workspace(Path(root)))
    with _session(root) as session:
        return counted(lambda: inspecting.coverage(repository, session))


def stated(root: str) -> dict[str, Any]:
    """List the snapshots with how the repository stands and its room, as the page does."""
    workspace = Workspace(Path(root))
    repository = repositories.open_repository(workspace)
    return counted(lambda: (repositories.state(repository), retaining.room(workspace, repository)))


def typed(root: str) -> dict[str, Any]:
    """Say `lsl backup list`."""

    def work() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            lsl(["--workspace", root, "backup", "list"])

    return counted(work)


def saved(root: str) -> dict[str, Any]:
    """Save the annotations of everything."""
    repository = repositories.open_repository(Workspace(Path(root)), make=True)
    with _session(root) as session:
        return counted(
            lambda: backing_up.back_up_now(repository, session, Tier.ANNOTATIONS, reason="bench")
        )


def looked(root: str) -> dict[str, Any]:
    """Make what is due when nothing is."""
    workspace = Workspace(Path(root))
    repository = repositories.open_repository(workspace)
    with _session(root) as session:
        return counted(lambda: scheduling.run_due(workspace, repository, session))


def planned(root: str) -> dict[str, Any]:
    """Say when each backup is made next, as the page does."""
    workspace = Workspace(Path(root))
    repository = repositories.open_repository(workspace)
    with _session(root) as session:
        return counted(lambda: scheduling.next_times(workspace, repository, session))


def _session(root: str) -> cvat.CvatSession:
    return connections.open_session(Workspace(Path(root)).settings().cvat)


def _line(name: str, cost: dict[str, Any]) -> None:
    print(
        f"{name:44} {cost['wall']:7.2f} s {cost['cpu']:7.2f} CPU s {cost['mb']:6.0f} MB peak"
        f" {cost['asked']:6} requests",
        flush=True,
    )


def run(folder: Path, options: argparse.Namespace) -> None:
    """Fill a server, and look at it again and again."""
    workspace = workspaces.create_workspace(folder / "w")
    root = str(workspace.root)
    with (
        Sandbox(folder / "sandbox") as sandbox,
        connections.sign_in(LOGIN, url=sandbox.url, remember_in=workspace) as session,
    ):
        fill(session, folder, options)
        repositories.change_settings(workspace, full_hours=0.0, care_days=0.0)
        _line("list projects and tasks", backup.apart(listed, root))
        _line("first backup of annotations", backup.apart(saved, root))
        _line("again, nothing changed", backup.apart(saved, root))
        for copies in (0, options.copies):
            repository = repositories.open_repository(workspace)
            lengthen(repository, copies)
            count = len(repositories.open_repository(workspace).snapshots())
            _line(f"{count} snapshots: lsl backup list", backup.apart(typed, root))
            _line(f"{count} snapshots: the page's list", backup.apart(stated, root))
            _line(f"{count} snapshots: coverage", backup.apart(covered, root))
            _line(f"{count} snapshots: what comes next", backup.apart(planned, root))
            _line(f"{count} snapshots: run, nothing due", backup.apart(looked, root))
        _line(f"{count} snapshots: annotations, no change", backup.apart(saved, root))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--projects", type=int, default=60)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--copies", type=int, default=24, help="of two rounds of snapshots")
    options = parser.parse_args()
    print(vars(options))
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options)


if __name__ == "__main__":
    main()

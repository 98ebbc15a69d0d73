"""What backups hold in memory, as a project grows: each act in a process of its own.

    python bench/backup_memory.py                                  # tasks of 50 to 3,200 images
    python bench/backup_memory.py --images 50 200 --task-images 50       # more tasks, not larger

A hundredth of the masks is drawn anew between the two snapshots. The server is our sandbox;
seconds and memory are the client's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import backup
from backup_sandbox import change, make_project

from lsl_core import cvat
from lsl_core.backups import Repository, Snapshot, Tier, verify
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.services.backups import backing_up, drilling, inspecting, restoring, restoring_live
from lsl_core.workspace import Workspace

LOGIN = cvat.PasswordLogin(DEMO_USER, DEMO_PASSWORD)
Act = Callable[[Repository, cvat.CvatSession], object]


def newest(repository: Repository, tier: Tier, back: int = 0) -> Snapshot:
    """Return the newest snapshot of a tier, or one before it."""
    return repository.snapshots(tier=tier)[back]


def save(tier: Tier) -> Act:
    """Return the act of taking snapshots of everything."""
    return lambda repository, session: backing_up.back_up_now(
        repository, session, tier, reason="bench"
    ).require_whole()


def verified(repository: Repository, _: cvat.CvatSession) -> None:
    """Read, hash and open everything."""
    with repository.lock("bench"):
        assert verify(repository).is_good


def restored(tier: Tier) -> Act:
    """Return the act of making a new project of the newest snapshot of a tier."""

    def act(repository: Repository, session: cvat.CvatSession) -> None:
        made = restoring.restore_snapshot(repository, session, newest(repository, tier))
        restoring.require_whole(made)
        restoring.remove_unit(session, cvat.backup.UnitKind.PROJECT, made.units[0].id)

    return act


def drilled(repository: Repository, session: cvat.CvatSession) -> None:
    """Bring the newest full snapshot back for real, compare, clean up."""
    drilling.require_good(drilling.drill(repository, session, newest(repository, Tier.FULL)))


def compared(repository: Repository, _: cvat.CvatSession) -> None:
    """Compare both snapshots of annotations."""
    pair = [newest(repository, Tier.ANNOTATIONS, back) for back in (1, 0)]
    assert not inspecting.compare(repository, *pair).is_same


def compared_live(repository: Repository, session: cvat.CvatSession) -> None:
    """Compare the older snapshot of annotations with what is on the server."""
    older = newest(repository, Tier.ANNOTATIONS, 1)
    assert not inspecting.compare_live(repository, session, older).is_same


def planned(repository: Repository, session: cvat.CvatSession) -> None:
    """Work out what makes the live tasks what they were in the older snapshot."""
    older = newest(repository, Tier.ANNOTATIONS, 1)
    for task, _ in inspecting.tasks_of(repository, older):
        assert restoring_live.plan_live(repository, session, older, task).num_remove


def brought_back(repository: Repository, session: cvat.CvatSession) -> None:
    """Make the live tasks what they were."""
    older = newest(repository, Tier.ANNOTATIONS, 1)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        for task, _ in inspecting.tasks_of(repository, older):
            plan = restoring_live.plan_live(repository, session, older, task)
            restoring_live.apply_live(
                session, workspace, repository, older, plan, confirm=str(task)
            )


BEFORE: dict[str, Act] = {"annotations, first": save(Tier.ANNOTATIONS), "full": save(Tier.FULL)}
AFTER: dict[str, Act] = {
    "annotations, 1 % changed": save(Tier.ANNOTATIONS),
    "verify": verified,
    "restore full": restored(Tier.FULL),
    "restore annotations": restored(Tier.ANNOTATIONS),
    "drill": drilled,
    "diff": compared,
    "diff live": compared_live,
    "plan into live": planned,
    "back into live": brought_back,
}


def act(name: str, url: str, location: str) -> dict[str, Any]:
    """Do one of them and return what it cost."""
    repository = Repository.open(location)

    def work() -> None:
        with cvat.connect(url, LOGIN) as session:
            (BEFORE | AFTER)[name](repository, session)

    return backup.cost(work)


def costs(folder: Path, images: int, options: argparse.Namespace) -> dict[str, float]:
    """Do everything with a project of so many images; return MB by act."""
    repository = folder / "repository"
    Repository.create(repository)
    one = argparse.Namespace(**{**vars(options), "images": images})
    found = {}
    with Sandbox(folder / "sandbox") as sandbox, cvat.connect(sandbox.url, LOGIN) as session:
        tasks = make_project(session, folder, 0, one)
        for acts in (BEFORE, AFTER):
            for name in acts:
                cost = backup.apart(act, name, sandbox.url, str(repository))
                found[name] = cost["mb"]
                print(f"{images:5} images  {name:26} {cost['cpu']:7.1f} CPU s {cost['mb']:6.1f} MB",
                      flush=True)  # fmt: skip
            for task in tasks if acts is BEFORE else ():
                change(session, task, options.changed, seed=task)
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[50, 200, 800, 3200])
    parser.add_argument("--task-images", type=int, help="of a task; all in one when left out")
    parser.add_argument("--job-images", type=int, help="of a job; all in one when left out")
    parser.add_argument("--masks", type=int, default=20)
    parser.add_argument("--image-kb", type=int, default=10)
    parser.add_argument("--changed", type=float, default=0.01)
    options = parser.parse_args()
    print(vars(options))
    columns = []
    for images in options.images:
        with tempfile.TemporaryDirectory() as folder:
            columns.append(costs(Path(folder), images, options))
    for name in columns[0]:
        print(f"{name:26}" + "".join(f"{column[name]:8.1f}" for column in columns), "MB")


if __name__ == "__main__":
    main()

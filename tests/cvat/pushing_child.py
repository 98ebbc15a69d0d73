"""A process that forks a child per line of its input; the child pushes or undoes until it dies."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
from random_work import random_predictions

from lsl_core.cvat import (
    Journal,
    PasswordLogin,
    apply_push,
    connect,
    plan_push,
    undo_push,
)
from lsl_core.cvat.backup import SavedTask, plan_restore, saved_units
from lsl_core.cvat.push import sending


def saved_of(path: str) -> list[SavedTask]:
    """Return the tasks of a backup whose documents lie in one JSON file."""
    found = json.loads(Path(path).read_text())
    (unit,) = saved_units(found, lambda path: io.BytesIO(json.dumps(found[path]).encode()))
    return unit.tasks()


def work(url: str, job: dict[str, object]) -> None:
    """Push the predictions of a seed, bring a backup back, or undo that."""
    sending._BATCH_SHAPES = 3
    folder, task = Path(str(job["folder"])), int(str(job["task"]))
    journal = Journal(folder / "j.sqlite")
    user = os.environ.get("LSL_LIVE_USER", "demo")
    login = PasswordLogin(user, os.environ.get("LSL_LIVE_PASSWORD", "demo-password"))
    with connect(url, login, organisation="") as session:
        if job["undo"]:
            undo_push(session, journal, str(job["undo"]))
            return
        if "restore" in job:
            (saved,) = saved_of(str(job["restore"]))
            plan = plan_restore(session, saved)
            apply_push(session, plan, journal, snapshot=folder / "child.gz")
            return
        found = random_predictions(np.random.default_rng(int(str(job["seed"]))))
        plan = plan_push(session, task, found, ("cell",), journal=journal)
        apply_push(session, plan, journal, snapshot=folder / "child.gz")


def main() -> None:
    """Serve jobs until the input ends."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            try:
                work(sys.argv[1], json.loads(line))
            except BaseException:
                os._exit(1)
            os._exit(0)
        print(pid, flush=True)
        sys.stdin.readline()
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()

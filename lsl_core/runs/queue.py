"""The queue of runs, and what happens to one run.

Runs wait in a huey queue on SQLite; the record of a run is the truth about it.
"""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import threading
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from huey import SqliteHuey

from lsl_core.errors import LslError, PartlyDone, RunCancelled
from lsl_core.runs.progress import RunProgress
from lsl_core.runs.store import Order, RunStore
from lsl_core.types import RunPhase, RunState
from lsl_core.workspace import Workspace

logger = logging.getLogger(__name__)


class Lane(StrEnum):
    """What a run waits for: the device, where one run at a time has room, a server, the backups."""

    DEVICE = "device"
    CVAT = "cvat"
    BACKUP = "backup"


_LANES = {
    **dict.fromkeys(("push", "export", "pull"), Lane.CVAT),
    **dict.fromkeys(("backup", "scheduled backup", "verify", "drill", "restore"), Lane.BACKUP),
}


#: What to do after a worker died; most kinds of work go on from what they finished.
_GOES_ON = "Run it again: it goes on from what is finished."
_AFTER_DEATH = {
    "restore": "See in CVAT what it made so far and remove it there, then restore again.",
    "drill": "Try again: what it made in CVAT is removed first.",
}


def lane_of(kind: str) -> Lane:
    """Return the lane of runs of a kind: a push waits for no training, and for no backup."""
    return _LANES.get(kind, Lane.DEVICE)


class Queue:
    """The runs of a workspace that wait for the worker of their lane."""

    def __init__(self, workspace: Workspace, lane: Lane = Lane.DEVICE) -> None:
        self.workspace, self.lane = workspace, lane
        self._suffix = "" if lane is Lane.DEVICE else f"-{lane}"
        self.store = RunStore(workspace.database)
        self._huey = SqliteHuey(
            "lsl", filename=str(workspace.data / f"queue{self._suffix}.db"), results=False
        )
        root = str(workspace.root)

        @self._huey.task(name="execute")  # type: ignore[untyped-decorator]
        def execute_run(run_id: str) -> None:
            execute(Workspace(Path(root)), run_id)

        self._task = execute_run

    def submit(
        self, order: Order, *, kind: str, subject: str, owner: str, alone: bool = False
    ) -> str:
        """Record a run, put it into the queue, see that a worker is there; return its id.

        See `RunStore.add` for what is given.
        """
        run_id = self.store.add(order, kind=kind, subject=subject, owner=owner, alone=alone)
        self._task(run_id)
        self.ensure_worker()
        return run_id

    def work_once(self) -> bool:
        """Do the next run of the queue here and now; False when there is none."""
        task = self._huey.dequeue()
        if task is None:
            return False
        self._huey.execute(task)
        return True

    def requeue(self) -> None:
        """Put back runs that a dead worker had taken but not begun."""
        waiting = {task.args[0] for task in self._huey.pending()}
        for run in self._active():
            if run.phase is RunPhase.QUEUED and run.id not in waiting:
                self._task(run.id)

    @property
    def lock(self) -> FileLock:
        """The lock that the one worker of the lane holds."""
        return FileLock(self.workspace.data / f"worker{self._suffix}.lock")

    @property
    def pid_file(self) -> Path:
        """The file that names the process of the worker."""
        return self.workspace.data / f"worker{self._suffix}.pid"

    def has_worker(self) -> bool:
        """Return whether a worker is alive."""
        try:
            with self.lock.acquire(blocking=False):
                return False
        except Timeout:
            return True

    def ensure_worker(self) -> None:
        """Start a worker of its own session, unless one is alive."""
        if self.has_worker():
            return
        log = self.workspace.data / f"worker{self._suffix}.log"
        with log.open("ab") as output:
            command = [sys.executable, "-m", "lsl_core.runs.worker", str(self.workspace.root)]
            worker = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, "--lane", self.lane.value],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # somebody has to take note of its end, or it stays as a zombie
        threading.Thread(target=worker.wait, daemon=True).start()

    def mark_lost(self) -> list[RunState]:
        """Mark runs whose worker died, and return them."""
        running = [r for r in self._active() if r.phase is RunPhase.RUNNING]
        if not running or self.has_worker():
            return []
        return self._mark_lost(running)

    def recover(self) -> None:
        """Clean up after a worker that died; called by the worker that holds the lock."""
        self._mark_lost([run for run in self._active() if run.phase is RunPhase.RUNNING])
        self.requeue()

    def _active(self) -> list[RunState]:
        return [r for r in self.store.recent(active=True) if lane_of(r.kind) is self.lane]

    def _mark_lost(self, running: list[RunState]) -> list[RunState]:
        for run in running:
            self.store.end(
                run.id,
                RunPhase.LOST,
                message="Stopped unexpectedly.",
                hint=_AFTER_DEATH.get(run.kind, _GOES_ON),
            )
        return running


def mark_lost(workspace: Workspace) -> None:
    """Mark the runs of all lanes whose worker died."""
    for lane in Lane:
        Queue(workspace, lane).mark_lost()


def execute(workspace: Workspace, run_id: str) -> None:
    """Do one run and record how it ended. Never raises for what the run did wrong."""
    store = RunStore(workspace.database)
    if not store.start(run_id):
        return
    progress = RunProgress(store, run_id)
    order = store.order(run_id)
    try:
        result = _call(order, workspace, progress)
    except RunCancelled as error:
        progress.flush()
        store.end(run_id, RunPhase.CANCELLED, message=error.message, hint=error.hint)
    except LslError as error:
        progress.flush()
        progress.note(f"{error.message} {error.detail}".strip())
        for name, reason in error.failed if isinstance(error, PartlyDone) else ():
            progress.note(f"{name}: {reason}")
        store.end(run_id, RunPhase.FAILED, message=error.message, hint=error.hint)
    except Exception:
        logger.exception("run %s failed", run_id)
        progress.note(traceback.format_exc())
        store.end(
            run_id,
            RunPhase.FAILED,
            message="Something went wrong in our code.",
            hint=f"Your data was not changed. Please report the log of run {run_id}.",
        )
    else:
        progress.flush()
        store.end(run_id, RunPhase.DONE, result=result)


def _call(order: Order, workspace: Workspace, progress: RunProgress) -> dict[str, Any]:
    module, _, function = order.function.partition(":")
    called = getattr(importlib.import_module(module), function)
    result: dict[str, Any] = called(workspace, progress=progress, **order.arguments)
    return result

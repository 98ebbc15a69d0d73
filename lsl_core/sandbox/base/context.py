"""What all calls of one sandbox share."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lsl_core.sandbox.base.flavour import Flavour
from lsl_core.sandbox.base.store import Database, now
from lsl_core.sandbox.base.tool_queue import Requests, Run

if TYPE_CHECKING:
    from lsl_core.sandbox.base.nuclio import Nuclio

#: Threads that answer calls; each keeps one database connection for good.
_NUM_THREADS = 12
#: Threads for background requests (task creation, imports, exports, backups).
_NUM_WORKERS = 2


class Context:
    """The folder, the database and the threads of one sandbox.

    Args:
        folder: where everything lies; made when missing.
        flavour: the CVAT version to pose as.
        nuclio: whose functions are the AI tools; None for no tools.
    """

    def __init__(self, folder: Path, flavour: Flavour, nuclio: Nuclio | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _take(folder)
        self.folder = folder
        self.flavour = flavour
        self.nuclio = nuclio
        #: Runs of AI tools by their id, the last one of each task.
        self.runs: dict[str, Run] = {}
        self.runs_lock = threading.Lock()
        #: What waits for agents.
        self.requests = Requests()
        self.db = Database(folder / "sandbox.sqlite3")
        self.answering = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="sandbox-call")
        self.working = ThreadPoolExecutor(_NUM_WORKERS, thread_name_prefix="sandbox-work")
        #: One hand at a time on the part files of resumable uploads.
        self.upload_lock = threading.Lock()
        for name in ("tasks", "uploads", "exports"):
            (folder / name).mkdir(exist_ok=True)
        self._tidy_what_was_cut_off()

    def _tidy_what_was_cut_off(self) -> None:
        for left in (*self.folder.glob("exports/*.zip"), *self.folder.glob("uploads/taken/*")):
            left.unlink(missing_ok=True)
        for left in self.folder.glob("tasks/restoring-*"):
            shutil.rmtree(left, ignore_errors=True)
        self.db.run(
            "UPDATE requests SET status = 'failed', finished = ?, message = ? "
            "WHERE status IN ('queued', 'started')",
            (now(), "The sandbox was stopped while this ran."),
        )

    def task_folder(self, task_id: int) -> Path:
        """Say where a task's files lie."""
        return self.folder / "tasks" / str(task_id)

    def close(self) -> None:
        """Finish what is under way, then let go of the database."""
        self.requests.close()
        self.answering.shutdown(wait=True)
        for run in self.runs.values():
            run.is_cancelled = True
        self.working.shutdown(wait=True, cancel_futures=True)
        self.db.close()
        self._lock.close()


def _take(folder: Path) -> sqlite3.Connection:
    """Hold a folder against a second sandbox; the system lets go of it when this process ends.

    Raises:
        RuntimeError: if another sandbox holds it.
    """
    # A transaction that is never ended: a file lock that every system has.
    lock = sqlite3.connect(folder / "lock.sqlite3", timeout=0, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as exc:
        lock.close()
        raise RuntimeError(f"Another sandbox uses the folder {folder}") from exc
    return lock

"""What all calls of one sandbox share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lsl_core.sandbox.flavour import Flavour
from lsl_core.sandbox.store import Database, now

#: Threads that answer calls; each keeps one database connection for good.
_NUM_THREADS = 12
#: Threads for background requests (task creation, imports, exports, backups).
_NUM_WORKERS = 2


class Context:
    """The folder, the database and the threads of one sandbox.

    Args:
        folder: where everything lies; made when missing.
        flavour: the CVAT version to pose as.
    """

    def __init__(self, folder: Path, flavour: Flavour) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.flavour = flavour
        self.db = Database(folder / "sandbox.sqlite3")
        self.answering = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="sandbox-call")
        self.working = ThreadPoolExecutor(_NUM_WORKERS, thread_name_prefix="sandbox-work")
        for name in ("tasks", "uploads", "exports"):
            (folder / name).mkdir(exist_ok=True)
        self._fail_what_was_cut_off()

    def _fail_what_was_cut_off(self) -> None:
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
        self.answering.shutdown(wait=True)
        self.working.shutdown(wait=True, cancel_futures=True)
        self.db.close()

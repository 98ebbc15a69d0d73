"""New tasks on their way to CVAT, written down: an upload that was killed goes on where it stopped.

While it arrives, a task carries the mark of its upload in its name. So it is found again when the
process ended between CVAT's making it and our writing down its number.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lsl_core.errors import Locked
from lsl_core.workspace.database import Database
from lsl_core.workspace.processes import is_running

_MIGRATIONS = (
    """
    CREATE TABLE cvat_arrivals (
        id TEXT PRIMARY KEY, key TEXT NOT NULL, url TEXT NOT NULL, phase TEXT NOT NULL,
        task_id INT, touched REAL NOT NULL, host TEXT NOT NULL, pid INT NOT NULL, UNIQUE (url, key)
    );
    CREATE TABLE cvat_arrived_files (
        arrival_id TEXT NOT NULL REFERENCES cvat_arrivals (id) ON DELETE CASCADE,
        name TEXT NOT NULL, state TEXT NOT NULL, place TEXT NOT NULL,
        PRIMARY KEY (arrival_id, name)
    ) WITHOUT ROWID
    """,
)


class ArrivalPhase(StrEnum):
    """How far a new task is: being made, its files sent, CVAT at work on them, shapes drawn."""

    CREATING = "creating"
    CREATED = "created"
    UPLOADING = "uploading"
    FINISHING = "finishing"
    FILLING = "filling"


class FileState(StrEnum):
    """Where a file stands. SENDING: sent, and nobody knows yet what became of it."""

    SENDING = "sending"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of an upload. place: where its parts go (TUS), "" for one that travels with others."""

    state: FileState
    place: str = ""


class Arrival:
    """One new task on its way; this one is remembered as long as the process lives, and no longer.

    mark: goes into the task's name while it arrives, "" for none. is_resumed: whether an earlier
    process began it. touched: when something was sent last, seconds since the epoch.
    """

    def __init__(self, mark: str = "") -> None:
        self.mark, self.is_resumed, self.touched = mark, False, time.time()
        self.phase = ArrivalPhase.CREATING
        self.task_id: int | None = None

    def reach(self, phase: ArrivalPhase, *, task_id: int | None = None) -> None:
        """Note a phase, before the work of it begins."""
        self.phase, self.task_id = phase, task_id if task_id is not None else self.task_id
        self.touched = time.time()

    def files(self) -> dict[str, SentFile]:
        """Return what is known of the files, by name; nothing of those that were not sent."""
        return {}

    def note(self, names: Iterable[str], file: SentFile) -> None:
        """Note where files stand."""

    def forget(self) -> None:
        """Note that the task is whole, or gone."""

    def restart(self) -> None:
        """Note that nothing of the task is left."""
        self.phase, self.task_id, self.is_resumed = ArrivalPhase.CREATING, None, False

    def settle(self, seconds: float) -> None:
        """Wait until a server must have done what was sent last, if an earlier process sent it."""
        if self.is_resumed:
            time.sleep(max(0.0, self.touched + seconds - time.time()))


class Arrivals:
    """The uploads of a workspace that are not finished, in an SQLite file."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, room="cvat-arrivals", migrations=_MIGRATIONS)

    def open(self, key: str, *, url: str) -> Arrival:
        """Begin an upload, or go on with the one of this key that was not finished.

        Args:
            key: what is uploaded, and as what: the same for the same wish.
            url: of the server.

        Raises:
            Locked: when a running process is at it.
        """
        with self._db.write() as db:
            row = db.execute(
                "SELECT * FROM cvat_arrivals WHERE url = ? AND key = ?", (url, key)
            ).fetchone()
            mine = (socket.gethostname(), os.getpid())
            if row is None:
                arrival_id = uuid.uuid4().hex[:10]
                db.execute(
                    "INSERT INTO cvat_arrivals VALUES (?, ?, ?, ?, NULL, ?, ?, ?)",
                    (arrival_id, key, url, ArrivalPhase.CREATING, time.time(), *mine),
                )
                return _Recorded(self._db, arrival_id)
            holder = (row["host"], row["pid"])
            if holder != mine and holder[0] == mine[0] and is_running(holder[1]):
                raise Locked(
                    "The same images are being uploaded by another process.",
                    hint=f"Wait for it, or stop process {holder[1]} and try again.",
                )
            db.execute(
                "UPDATE cvat_arrivals SET host = ?, pid = ? WHERE id = ?", (*mine, row["id"])
            )
        found = _Recorded(self._db, row["id"])
        found.phase, found.task_id = ArrivalPhase(row["phase"]), row["task_id"]
        found.is_resumed, found.touched = True, row["touched"]
        return found


class _Recorded(Arrival):
    """A new task whose way is written down."""

    def __init__(self, db: Database, arrival_id: str) -> None:
        super().__init__(f"(LSL upload {arrival_id})")
        self._db, self._id = db, arrival_id

    def reach(self, phase: ArrivalPhase, *, task_id: int | None = None) -> None:
        super().reach(phase, task_id=task_id)
        with self._db.write() as db:
            db.execute(
                "UPDATE cvat_arrivals SET phase = ?, task_id = ?, touched = ? WHERE id = ?",
                (self.phase, self.task_id, self.touched, self._id),
            )

    def files(self) -> dict[str, SentFile]:
        with self._db.read() as db:
            rows = db.execute(
                "SELECT * FROM cvat_arrived_files WHERE arrival_id = ?", (self._id,)
            ).fetchall()
        return {row["name"]: SentFile(FileState(row["state"]), row["place"]) for row in rows}

    def note(self, names: Iterable[str], file: SentFile) -> None:
        with self._db.write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO cvat_arrived_files VALUES (?, ?, ?, ?)",
                [(self._id, name, file.state, file.place) for name in names],
            )
            db.execute("UPDATE cvat_arrivals SET touched = ? WHERE id = ?", (time.time(), self._id))

    def restart(self) -> None:
        super().restart()
        with self._db.write() as db:
            db.execute("DELETE FROM cvat_arrived_files WHERE arrival_id = ?", (self._id,))
        self.reach(ArrivalPhase.CREATING)

    def forget(self) -> None:
        with self._db.write() as db:
            db.execute("DELETE FROM cvat_arrivals WHERE id = ?", (self._id,))

"""One SQLite file per workspace, shared by several processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from lsl_core.errors import FormatTooNew, Locked

#: Seconds to wait for another process to finish its transaction.
_BUSY_TIMEOUT_S = 30.0


class Database:
    """The workspace database. A room brings its own tables as numbered migrations.

    Every call opens its own connection, so an instance may be used from any thread.

    Args:
        path: the SQLite file; made when missing.
        room: who owns the tables, for example "runs".
        migrations: SQL scripts; number n is applied once, in order, and never edited later.

    Raises:
        FormatTooNew: when the tables were made by a newer version.
    """

    def __init__(self, path: Path, *, room: str, migrations: Sequence[str]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.write() as db:
            db.execute("CREATE TABLE IF NOT EXISTS migrations (room TEXT PRIMARY KEY, number INT)")
            row = db.execute("SELECT number FROM migrations WHERE room = ?", (room,)).fetchone()
            done = row["number"] if row else 0
            if done > len(migrations):
                raise FormatTooNew(
                    f"{path.name} was written by a newer version of LSL.",
                    hint="Update LSL: pip install --upgrade lsl-studio.",
                )
            for script in migrations[done:]:
                for statement in script.split(";"):
                    db.execute(statement)
            db.execute("INSERT OR REPLACE INTO migrations VALUES (?, ?)", (room, len(migrations)))

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA foreign_keys = ON")
        return db

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give a connection for questions."""
        with closing(self._connect()) as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside one transaction: all of the block is stored, or nothing.

        Raises:
            Locked: when another process holds the database too long.
        """
        with closing(self._connect()) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise Locked(
                    f"{self.path.name} is in use by another process.",
                    hint="Wait for it to finish, then try again.",
                    detail=str(error),
                ) from error
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

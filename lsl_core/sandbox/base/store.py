"""SQLite under the sandbox: one connection a thread, one writer at a time.

Reads never wait (WAL). Writes take one process-wide lock and run in one transaction, so a
request is all-or-nothing and parallel requests lose nothing.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lsl_core.sandbox.base import schema

Row = sqlite3.Row


def now() -> str:
    """Say the time as CVAT's API writes it: UTC, microseconds, a Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Database:
    """The sandbox's SQLite file. Safe for many threads.

    Args:
        path: where the file is, or will be made.

    Raises:
        RuntimeError: if the file was made by another version of the sandbox.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.RLock()
        self._open: list[sqlite3.Connection] = []
        conn = self._conn()
        found = conn.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, schema.SCHEMA_VERSION):
            self.close()
            raise RuntimeError(f"{path} is of sandbox format {found}, not {schema.SCHEMA_VERSION}")
        for script in schema.ALL:
            conn.executescript(script)
        conn.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION:d}")

    def _conn(self) -> sqlite3.Connection:
        conn: sqlite3.Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            # check_same_thread: each thread uses its own; only close() comes from another.
            conn = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=60
            )
            conn.row_factory = sqlite3.Row
            conn.executescript(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
                "PRAGMA cache_size = -32000;"
            )
            self._local.conn = conn
            with self._lock:
                self._open.append(conn)
        return conn

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Hold the one writer's place for a transaction; nested calls join the outer one."""
        with self._lock:
            conn = self._conn()
            if conn.in_transaction:
                yield conn
                return
            conn.execute("BEGIN IMMEDIATE")
            try:
                yield conn
            except BaseException:
                conn.execute("ROLLBACK")
                raise
            conn.execute("COMMIT")

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Read all rows of a query."""
        return self._conn().execute(sql, params).fetchall()

    def row(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        """Read the first row of a query, or None."""
        found: Row | None = self._conn().execute(sql, params).fetchone()
        return found

    def value(self, sql: str, params: Sequence[Any] = ()) -> Any:  # noqa: ANN401 - any column
        """Read the first column of the first row, or None."""
        found = self.row(sql, params)
        return None if found is None else found[0]

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Write one statement.

        Returns:
            The id of the row it inserted (whatever SQLite last inserted otherwise).
        """
        with self.write() as conn:
            return conn.execute(sql, params).lastrowid or 0

    def take_ids(self, counter: str, count: int) -> range:
        """Reserve `count` ids of a counter that no row of that table holds yet.

        Clients may bring their own ids (CVAT honours them without moving its own counter), so a
        reserved run steps over what is taken.
        """
        with self.write() as conn:
            start = conn.execute(
                "SELECT value + 1 FROM counters WHERE name = ?", (counter,)
            ).fetchone()[0]
            if counter != "tracked_shapes":
                start = _free_run(conn, counter, start, count)
            conn.execute(
                "UPDATE counters SET value = ? WHERE name = ?", (start + count - 1, counter)
            )
        return range(start, start + count)

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            for conn in self._open:
                conn.close()
            self._open.clear()
        self._local = threading.local()


_HIGHEST_IN = {
    "shapes": "SELECT max(id) FROM shapes WHERE id BETWEEN ? AND ?",
    "tags": "SELECT max(id) FROM tags WHERE id BETWEEN ? AND ?",
    "tracks": "SELECT max(id) FROM tracks WHERE id BETWEEN ? AND ?",
}


def _free_run(conn: sqlite3.Connection, table: str, start: int, count: int) -> int:
    while True:
        taken = conn.execute(_HIGHEST_IN[table], (start, start + count - 1)).fetchone()[0]
        if taken is None:
            return start
        start = taken + 1

"""Which version of a model is in use: a recorded choice, with the choices before it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from lsl_core.workspace.database import Database

_MIGRATIONS = (
    """
    CREATE TABLE choices (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL, model TEXT NOT NULL, why TEXT NOT NULL,
        at REAL NOT NULL)
    """,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """One time that a version was put in use. at: seconds since the epoch."""

    model: str
    why: str
    at: float


class CurrentVersions:
    """The versions in use, one a name. Nothing is overwritten, so the way back is known.

    Args:
        database: the workspace's SQLite file.
    """

    def __init__(self, database: Path) -> None:
        self._db = Database(database, room="models", migrations=_MIGRATIONS)

    def choose(self, name: str, model: str, *, why: str) -> None:
        """Put a version in use from now on."""
        with self._db.write() as db:
            db.execute(
                "INSERT INTO choices (name, model, why, at) VALUES (?, ?, ?, ?)",
                (name, model, why, time.time()),
            )

    def choices(self, name: str) -> list[Choice]:
        """Return every choice for a name, the newest first."""
        with self._db.read() as db:
            rows = db.execute(
                "SELECT model, why, at FROM choices WHERE name = ? ORDER BY number DESC", (name,)
            ).fetchall()
        return [Choice(row["model"], row["why"], row["at"]) for row in rows]

    def all(self) -> dict[str, list[str]]:
        """Return for each name the versions that were in use, the newest choice first."""
        with self._db.read() as db:
            rows = db.execute("SELECT name, model FROM choices ORDER BY number DESC").fetchall()
        found: dict[str, list[str]] = {}
        for row in rows:
            found.setdefault(row["name"], []).append(row["model"])
        return found

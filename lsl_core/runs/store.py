"""Runs as records: what was asked, where it stands, what it said."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsl_core.errors import UserInput
from lsl_core.types import RunPhase, RunState
from lsl_core.workspace import Database

_MIGRATIONS = (
    """
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, owner TEXT NOT NULL,
        function TEXT NOT NULL, arguments TEXT NOT NULL, phase TEXT NOT NULL,
        step TEXT NOT NULL DEFAULT '', done INT NOT NULL DEFAULT 0, total INT NOT NULL DEFAULT 0,
        unit TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',
        hint TEXT NOT NULL DEFAULT '', result TEXT NOT NULL DEFAULT '{}',
        cancel INT NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL, ended REAL,
        step_started REAL);
    CREATE INDEX runs_by_phase ON runs (phase, created);
    CREATE TABLE run_log (run TEXT NOT NULL REFERENCES runs (id), at REAL NOT NULL,
        line TEXT NOT NULL);
    CREATE INDEX run_log_by_run ON run_log (run);
    CREATE TABLE run_metrics (run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL,
        at INT NOT NULL, value REAL NOT NULL);
    CREATE INDEX run_metrics_by_run ON run_metrics (run)
    """,
    # the services moved into rooms (0136); runs that wait, or are asked for again, name them
    """
    UPDATE runs SET function = replace(function, '.modelling:', '.models.training:');
    UPDATE runs SET function = replace(function, '.pretrained:', '.models.pretrained:');
    UPDATE runs SET function = replace(function, '.predicting:', '.labelling.predicting:');
    UPDATE runs SET function = replace(function, '.pushing:', '.labelling.pushing:');
    UPDATE runs SET function = replace(function, '.exporting:', '.labelling.exporting:');
    UPDATE runs SET function = replace(function, '.backup_runs:', '.backups.background:');
    UPDATE runs SET function = replace(function, '.labelstudio:', '.labelstudio.projects:')
    """,
)

_STATE = (
    "id, kind, subject, owner, phase, step, done, total, unit, message, hint, result, created, "
    "started, ended"
)


@dataclass(frozen=True, slots=True)
class Order:
    """What a run shall do: "module:function", called with the workspace folder and progress."""

    function: str
    arguments: dict[str, Any]


class RunStore:
    """The runs of one workspace. Any thread, any process.

    Args:
        database: the workspace's SQLite file.
    """

    def __init__(self, database: Path) -> None:
        self._db = Database(database, room="runs", migrations=_MIGRATIONS)

    def add(self, order: Order, *, kind: str, subject: str, owner: str, alone: bool = False) -> str:
        """Record a queued run and return its id.

        Args:
            order: what it shall do.
            kind: of work.
            subject: what the work is on.
            owner: who asked for it.
            alone: refuse while a run of this kind and subject waits or works.

        Raises:
            UserInput: there is one, and this one was to be alone.
        """
        run_id = uuid.uuid4().hex[:12]
        with self._db.write() as db:
            if alone:
                _require_alone(db, kind, subject)
            db.execute(
                "INSERT INTO runs (id, kind, subject, owner, function, arguments, phase, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (run_id, kind, subject, owner, order.function, json.dumps(order.arguments),
                 RunPhase.QUEUED, time.time()),
            )  # fmt: skip
        return run_id

    def get(self, run_id: str) -> RunState:
        """Return how a run stands.

        Raises:
            UserInput: when there is no such run.
        """
        with self._db.read() as db:
            row = db.execute(
                f"SELECT {_STATE} FROM runs WHERE id = ?",  # noqa: S608 - a constant
                (run_id,),
            ).fetchone()
        if row is None:
            raise UserInput(f'There is no run "{run_id}".', hint="See them all: lsl runs")
        return _state(row)

    def recent(self, *, limit: int = 200, active: bool = False) -> list[RunState]:
        """Return runs, newest first; `active` keeps those that may still change."""
        phases = [p for p in RunPhase if p.is_active or not active]
        marks = ", ".join("?" * len(phases))
        with self._db.read() as db:
            rows = db.execute(
                f"SELECT {_STATE} FROM runs WHERE phase IN ({marks})"  # noqa: S608 - constants
                " ORDER BY created DESC LIMIT ?",
                (*phases, limit),
            ).fetchall()
        return [_state(row) for row in rows]

    def order(self, run_id: str) -> Order:
        """Return what a run was asked to do."""
        with self._db.read() as db:
            row = db.execute(
                "SELECT function, arguments FROM runs WHERE id = ?", (run_id,)
            ).fetchone()
        return Order(row["function"], json.loads(row["arguments"]))

    def start(self, run_id: str) -> bool:
        """Mark a queued run as running; False when it was cancelled or taken meanwhile."""
        with self._db.write() as db:
            changed = db.execute(
                "UPDATE runs SET phase = ?, started = ? WHERE id = ? AND phase = ?",
                (RunPhase.RUNNING, time.time(), run_id, RunPhase.QUEUED),
            )
        return changed.rowcount == 1

    def end(
        self,
        run_id: str,
        phase: RunPhase,
        *,
        message: str = "",
        hint: str = "",
        result: dict[str, Any] | None = None,
    ) -> None:
        """Record how a run ended; a run that ended already stays as it is."""
        with self._db.write() as db:
            db.execute(
                "UPDATE runs SET phase = ?, message = ?, hint = ?, result = ?, ended = ?"
                " WHERE id = ? AND phase IN (?, ?)",
                (phase, message, hint, json.dumps(result or {}), time.time(), run_id,
                 RunPhase.QUEUED, RunPhase.RUNNING),
            )  # fmt: skip

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop; one that waits in the queue is cancelled at once."""
        with self._db.write() as db:
            db.execute("UPDATE runs SET cancel = 1 WHERE id = ?", (run_id,))
            db.execute(
                "UPDATE runs SET phase = ?, message = 'It had not begun.', ended = ?"
                " WHERE id = ? AND phase = ?",
                (RunPhase.CANCELLED, time.time(), run_id, RunPhase.QUEUED),
            )

    def is_cancel_asked(self, run_id: str) -> bool:
        """Return whether somebody asked the run to stop."""
        with self._db.read() as db:
            row = db.execute("SELECT cancel FROM runs WHERE id = ?", (run_id,)).fetchone()
        return bool(row["cancel"])

    def step(self, run_id: str, step: str, *, done: int, total: int, unit: str) -> None:
        """Record where a run is."""
        with self._db.write() as db:
            db.execute(
                "UPDATE runs SET step_started = CASE WHEN step = ? THEN step_started ELSE ? END,"
                " step = ?, done = ?, total = ?, unit = ? WHERE id = ?",
                (step, time.time(), step, done, total, unit, run_id),
            )

    def seconds_left(self, run_id: str) -> float | None:
        """Estimate the time to the end of the current step from its own pace, after 5 s of it."""
        with self._db.read() as db:
            row = db.execute(
                "SELECT done, total, step_started FROM runs WHERE id = ?", (run_id,)
            ).fetchone()
        if row is None or not row["step_started"] or not row["done"] or not row["total"]:
            return None
        spent = time.time() - float(row["step_started"])
        if spent < 5.0:
            return None
        return spent / int(row["done"]) * max(0, int(row["total"]) - int(row["done"]))

    def note(self, run_id: str, line: str) -> None:
        """Add a line to the log of a run."""
        with self._db.write() as db:
            db.execute("INSERT INTO run_log VALUES (?, ?, ?)", (run_id, time.time(), line))

    def log(self, run_id: str, *, limit: int = 500) -> list[tuple[float, str]]:
        """Return the newest lines of a run's log as (seconds since the epoch, line), in order."""
        with self._db.read() as db:
            rows = db.execute(
                "SELECT at, line FROM run_log WHERE run = ? ORDER BY rowid DESC LIMIT ?",
                (run_id, limit),
            ).fetchall()
        return [(row["at"], row["line"]) for row in reversed(rows)]

    def add_metrics(self, run_id: str, rows: list[tuple[str, int, float]]) -> None:
        """Record figures as (name, at, value)."""
        with self._db.write() as db:
            db.executemany(
                "INSERT INTO run_metrics VALUES (?, ?, ?, ?)", [(run_id, *row) for row in rows]
            )

    def metrics(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Return the figures of a run: name -> [(at, value), …] in order."""
        with self._db.read() as db:
            rows = db.execute(
                "SELECT name, at, value FROM run_metrics WHERE run = ? ORDER BY rowid", (run_id,)
            ).fetchall()
        found: dict[str, list[tuple[int, float]]] = {}
        for row in rows:
            found.setdefault(row["name"], []).append((row["at"], row["value"]))
        return found


def _require_alone(db: sqlite3.Connection, kind: str, subject: str) -> None:
    twin = db.execute(
        "SELECT owner FROM runs WHERE kind = ? AND subject = ? AND phase IN (?, ?)",
        (kind, subject, RunPhase.QUEUED, RunPhase.RUNNING),
    ).fetchone()
    if twin is not None:
        by = f", asked for by {twin['owner']}" if twin["owner"] else ""
        raise UserInput(
            f"A {kind} of {subject} is under way already{by}.",
            hint="Follow it on the Activity page, and begin anew when it has ended.",
        )


def _state(row: Any) -> RunState:  # noqa: ANN401 - a sqlite3.Row
    values = dict(row)
    values["phase"] = RunPhase(values["phase"])
    values["result"] = json.loads(values["result"])
    return RunState(**values)

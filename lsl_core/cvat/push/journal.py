"""What was pushed: every batch is written down before it is sent and after it was answered.

A push can be killed at any instant, also between the server's commit and our note of it. Then a
batch is found as "sending", and the server is asked what became of it before anything is sent
again (`applying.py`).
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lsl_core.cvat.annotations.changing import Action
from lsl_core.cvat.annotations.content import Key, content_key, key_of, kind_of
from lsl_core.cvat.annotations.packing import dumps, loads
from lsl_core.errors import UserInput
from lsl_core.workspace.database import Database

Json = dict[str, Any]

_MIGRATIONS = (
    """
    CREATE TABLE cvat_pushes (
        id TEXT PRIMARY KEY, url TEXT NOT NULL, task_id INT NOT NULL, task_created TEXT NOT NULL,
        run_id TEXT NOT NULL, mode TEXT NOT NULL, owner TEXT NOT NULL, created REAL NOT NULL,
        phase TEXT NOT NULL, snapshot TEXT NOT NULL, summary TEXT NOT NULL
    );
    CREATE INDEX cvat_pushes_of_task ON cvat_pushes (url, task_id);
    CREATE TABLE cvat_batches (
        id INTEGER PRIMARY KEY, push_id TEXT NOT NULL REFERENCES cvat_pushes (id),
        job_id INT NOT NULL, action TEXT NOT NULL, part TEXT NOT NULL, shapes BLOB NOT NULL,
        state TEXT NOT NULL, sent REAL, reason TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX cvat_batches_of_push ON cvat_batches (push_id);
    CREATE TABLE cvat_shapes (
        push_id TEXT NOT NULL, batch_id INT NOT NULL, shape_id INT NOT NULL, content TEXT NOT NULL,
        score REAL NOT NULL, PRIMARY KEY (push_id, shape_id)
    ) WITHOUT ROWID
    """,
    # NULL in batches that were written before
    "ALTER TABLE cvat_batches ADD COLUMN num_shapes INT",
    # CVAT counts the ids of tags, shapes and tracks apart
    """
    CREATE TABLE cvat_created (
        push_id TEXT NOT NULL, batch_id INT NOT NULL, kind TEXT NOT NULL, entry_id INT NOT NULL,
        content TEXT NOT NULL, score REAL NOT NULL, PRIMARY KEY (push_id, kind, entry_id)
    ) WITHOUT ROWID;
    INSERT INTO cvat_created SELECT push_id, batch_id, 'shapes', shape_id, content, score
        FROM cvat_shapes;
    DROP TABLE cvat_shapes
    """,
)


class PushPhase(StrEnum):
    """Where a push stands. OPEN: begun, not finished: resume or undo it."""

    OPEN = "open"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"


class Part(StrEnum):
    """What a batch belongs to: the push itself, or taking it back."""

    PUSH = "push"
    UNDO = "undo"


class BatchState(StrEnum):
    """Where a batch stands. SENDING: sent, and nobody knows yet what became of it."""

    PLANNED = "planned"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PushRecord:
    """One push, as lists show it.

    created: seconds since the epoch. snapshot: file with the annotations as they were before.
    summary: figures for people, from the plan and the result.
    """

    id: str
    url: str
    task_id: int
    task_created: str
    run_id: str
    mode: str
    owner: str
    created: float
    phase: PushPhase
    snapshot: str
    summary: dict[str, Any]


class Origin(NamedTuple):
    """How a push made an annotation: the hash of what it sent, and the job."""

    content: str
    job_id: int


class StoredEntries(Collection[Json]):
    """The annotations of a batch, read from the journal each time that they are needed."""

    def __init__(self, read: Callable[[], bytes], count: int | None) -> None:
        self._read = read
        self._count = sum(1 for _ in self) if count is None else count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Json]:
        return iter(loads(gzip.decompress(self._read())))

    def __contains__(self, entry: object) -> bool:
        return any(entry == one for one in self)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Tags, shapes and tracks that are sent in one request, which CVAT does whole or not at all.

    id: 0 until it is written down. sent: when, seconds since the epoch, or None.
    """

    id: int
    job_id: int
    action: Action
    part: Part
    entries: Collection[Json]
    state: BatchState = BatchState.PLANNED
    sent: float | None = None
    reason: str = ""


class Journal:
    """The pushes of a workspace, in an SQLite file. Safe in several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, room="cvat", migrations=_MIGRATIONS)

    def begin(self, record: PushRecord, batches: Iterable[Batch]) -> None:
        """Write down a push with everything that it will send, in one transaction."""
        with self._db.write() as db:
            db.execute(
                "INSERT INTO cvat_pushes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.id, record.url, record.task_id, record.task_created, record.run_id,
                    record.mode, record.owner, record.created, record.phase, record.snapshot,
                    json.dumps(record.summary),
                ),
            )  # fmt: skip
            for batch in batches:
                _insert(db, record.id, batch)

    def begin_undo(self, push_id: str, batches: Iterable[Batch]) -> None:
        """Write down what undoing a push will send; batches that were never sent are dropped."""
        with self._db.write() as db:
            db.execute(
                "DELETE FROM cvat_batches WHERE push_id = ? AND part = ? AND state = ?",
                (push_id, Part.PUSH, BatchState.PLANNED),
            )
            db.execute(
                "UPDATE cvat_pushes SET phase = ? WHERE id = ?", (PushPhase.UNDOING, push_id)
            )
            for batch in batches:
                _insert(db, push_id, batch)

    def mark_sending(self, batch_id: int) -> None:
        """Write down that a batch is about to be sent."""
        self._mark(batch_id, BatchState.SENDING, sent=time.time())

    def mark_planned(self, batch_id: int) -> None:
        """Write down that a batch surely did not reach the server."""
        self._mark(batch_id, BatchState.PLANNED)

    def mark_failed(self, batch_id: int, reason: str) -> None:
        """Write down that the server refused a batch for good."""
        with self._db.write() as db:
            db.execute(
                "UPDATE cvat_batches SET state = ?, reason = ? WHERE id = ?",
                (BatchState.FAILED, reason, batch_id),
            )

    def mark_done(self, push_id: str, batch: Batch, ids: Sequence[int | None]) -> None:
        """Write down that a batch is stored, with the ids that the server gave its annotations.

        What an undo brings back still is of the push that made it once, under its new id.

        Args:
            push_id: of which push.
            batch: what was sent.
            ids: one per entry of a create, None for one that a person took away meanwhile.
        """
        with self._db.write() as db:
            db.execute(
                "UPDATE cvat_batches SET state = ? WHERE id = ?", (BatchState.DONE, batch.id)
            )
            if batch.action is Action.CREATE and batch.part is Part.PUSH:
                db.executemany(
                    "INSERT OR REPLACE INTO cvat_created VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (push_id, batch.id, kind_of(e), new_id, content_key(e), e.get("score", 1.0))
                        for e, new_id in zip(batch.entries, ids, strict=True)
                        if new_id is not None
                    ],
                )
            elif batch.action is Action.CREATE:
                db.executemany(
                    "UPDATE cvat_created SET entry_id = ? WHERE kind = ? AND entry_id = ?"
                    " AND push_id IN (SELECT p.id FROM cvat_pushes p JOIN cvat_pushes me"
                    " USING (url, task_id, task_created) WHERE me.id = ?)",
                    [
                        (new_id, *key_of(entry), push_id)
                        for entry, new_id in zip(batch.entries, ids, strict=True)
                        if new_id is not None
                    ],
                )

    def split(self, push_id: str, batch: Batch, parts: Sequence[Batch]) -> list[Batch]:
        """Put smaller batches in the place of one that the server refused; return them."""
        with self._db.write() as db:
            db.execute("DELETE FROM cvat_batches WHERE id = ?", (batch.id,))
            ids = [_insert(db, push_id, part) for part in parts]
        return [replace(part, id=new) for part, new in zip(parts, ids, strict=True)]

    def batches(self, push_id: str, part: Part) -> list[Batch]:
        """Return the batches of a push, or of its undoing, in the order they were planned."""
        with self._db.read() as db:
            rows = db.execute(
                "SELECT id, job_id, action, part, state, sent, reason, num_shapes"
                " FROM cvat_batches WHERE push_id = ? AND part = ? ORDER BY id",
                (push_id, part),
            ).fetchall()
        return [_batch(row, partial(self._stored, row["id"])) for row in rows]

    def _stored(self, batch_id: int) -> bytes:
        with self._db.read() as db:
            row = db.execute("SELECT shapes FROM cvat_batches WHERE id = ?", (batch_id,)).fetchone()
        return bytes(row["shapes"])

    def created(self, push_id: str) -> Iterator[tuple[Key, str]]:
        """Yield what a push made, with the hash of its content."""
        with self._db.read() as db:
            for row in db.execute(
                "SELECT kind, entry_id, content FROM cvat_created WHERE push_id = ?", (push_id,)
            ):
                yield (row["kind"], row["entry_id"]), row["content"]

    def count_created(self, push_id: str) -> int:
        """Return how many annotations a push made."""
        with self._db.read() as db:
            question = "SELECT count(*) FROM cvat_created WHERE push_id = ?"
            return int(db.execute(question, (push_id,)).fetchone()[0])

    @contextmanager
    def origins(self, push_id: str) -> Iterator[Callable[[Key], Origin | None]]:
        """Give what tells of an annotation how a push made it, None for one that it did not make.

        It asks the file each time, so that nothing of a large push is in memory.
        """
        question = (
            "SELECT content, job_id FROM cvat_created c JOIN cvat_batches b ON b.id = batch_id"
            " WHERE c.push_id = ? AND kind = ? AND entry_id = ?"
        )

        def origin(key: Key) -> Origin | None:
            row = db.execute(question, (push_id, *key)).fetchone()
            return None if row is None else Origin(*row)

        with self._db.read() as db:
            yield origin

    def scores(self, push_id: str) -> dict[int, float]:
        """Return the score of each shape that a push made; also where CVAT keeps none."""
        with self._db.read() as db:
            rows = db.execute(
                "SELECT entry_id, score FROM cvat_created WHERE push_id = ? AND kind = 'shapes'",
                (push_id,),
            ).fetchall()
        return {row["entry_id"]: row["score"] for row in rows}

    def own_shapes(self, *, url: str, task_id: int, task_created: str) -> dict[int, str]:
        """Return the ids of all shapes that pushes to a task ever made, with their content.

        Those of undone pushes too: what is left of them was edited by a person. CVAT never gives
        an id twice; `task_created` tells another server behind the same address.
        """
        with self._db.read() as db:
            rows = db.execute(
                "SELECT entry_id, content FROM cvat_created JOIN cvat_pushes p ON p.id = push_id"
                " WHERE kind = 'shapes' AND url = ? AND task_id = ? AND task_created = ?",
                (url, task_id, task_created),
            ).fetchall()
        return {row["entry_id"]: row["content"] for row in rows}

    def finish(self, push_id: str, phase: PushPhase, summary: dict[str, Any]) -> None:
        """Write down how a push, or its undoing, ended; adds to its summary."""
        known = self.get(push_id).summary
        with self._db.write() as db:
            db.execute(
                "UPDATE cvat_pushes SET phase = ?, summary = ? WHERE id = ?",
                (phase, json.dumps({**known, **summary}), push_id),
            )

    def get(self, push_id: str) -> PushRecord:
        """Return one push.

        Raises:
            UserInput: when there is none of that id.
        """
        with self._db.read() as db:
            row = db.execute("SELECT * FROM cvat_pushes WHERE id = ?", (push_id,)).fetchone()
        if row is None:
            raise UserInput(f'There is no push "{push_id}".', hint="Look at the Push page.")
        return _record(row)

    def pushes(self, *, url: str | None = None, task_id: int | None = None) -> list[PushRecord]:
        """Return the pushes, the newest first; of one server and one task when they are given."""
        with self._db.read() as db:
            rows = db.execute(
                "SELECT * FROM cvat_pushes WHERE (?1 IS NULL OR url = ?1)"
                " AND (?2 IS NULL OR task_id = ?2) ORDER BY created DESC",
                (url, task_id),
            ).fetchall()
        return [_record(row) for row in rows]

    def _mark(self, batch_id: int, state: BatchState, sent: float | None = None) -> None:
        with self._db.write() as db:
            db.execute(
                "UPDATE cvat_batches SET state = ?, sent = ? WHERE id = ?", (state, sent, batch_id)
            )


def _insert(db: Any, push_id: str, batch: Batch) -> int:  # noqa: ANN401 - a sqlite3 connection
    data = gzip.compress(dumps([*batch.entries]), compresslevel=1)
    cursor = db.execute(
        "INSERT INTO cvat_batches (push_id, job_id, action, part, shapes, state, num_shapes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (push_id, batch.job_id, batch.action, batch.part, data, batch.state, len(batch.entries)),
    )
    return int(cursor.lastrowid)


def _batch(row: Any, read: Callable[[], bytes]) -> Batch:  # noqa: ANN401 - a sqlite3 row
    return Batch(
        row["id"],
        row["job_id"],
        Action(row["action"]),
        Part(row["part"]),
        StoredEntries(read, row["num_shapes"]),
        BatchState(row["state"]),
        row["sent"],
        row["reason"],
    )


def _record(row: Any) -> PushRecord:  # noqa: ANN401 - a sqlite3 row
    values = dict(row)
    values["phase"] = PushPhase(values["phase"])
    values["summary"] = json.loads(values["summary"])
    return PushRecord(**values)

"""Previews: which model looked at which images, and what people decided about it.

Pixels of masks stay in the prediction cache; a preview keeps each frame's cache key, and the
scores and labels of its objects, so that counts over a whole task need no mask.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import UserInput
from lsl_core.types import Decision, ImageRef, Prediction, SlideWindows
from lsl_core.workspace import Database

_MIGRATIONS = (
    """
    CREATE TABLE previews (
        id TEXT PRIMARY KEY, title TEXT NOT NULL, url TEXT NOT NULL, task_id INT,
        source TEXT NOT NULL, model_id TEXT NOT NULL, labels TEXT NOT NULL, slide TEXT,
        floor_score REAL NOT NULL, thresholds TEXT NOT NULL, mask_threshold REAL NOT NULL,
        owner TEXT NOT NULL, created REAL NOT NULL, is_complete INT NOT NULL DEFAULT 0);
    CREATE INDEX previews_by_task ON previews (url, task_id);
    CREATE TABLE preview_frames (
        preview TEXT NOT NULL REFERENCES previews (id), frame INT NOT NULL, name TEXT NOT NULL,
        height INT NOT NULL, width INT NOT NULL, sha256 TEXT NOT NULL, path TEXT NOT NULL,
        cache_key TEXT NOT NULL, scores BLOB NOT NULL, class_ids BLOB NOT NULL,
        error TEXT NOT NULL DEFAULT '', is_flagged INT NOT NULL DEFAULT 0,
        PRIMARY KEY (preview, frame));
    CREATE TABLE decisions (
        preview TEXT NOT NULL, frame INT NOT NULL, object INT NOT NULL, decision TEXT NOT NULL,
        PRIMARY KEY (preview, frame, object))
    """,
)


@dataclass(frozen=True, slots=True)
class PreviewInfo:
    """One preview.

    url, task_id: the CVAT task it shows, or "" and None for a source of the workspace.
    thresholds: score per label. is_complete: whether every frame was looked at.
    """

    id: str
    title: str
    url: str
    task_id: int | None
    source: str
    model_id: str
    labels: tuple[str, ...]
    slide: SlideWindows | None
    floor_score: float
    thresholds: dict[str, float]
    mask_threshold: float
    owner: str
    created: float
    is_complete: bool


@dataclass(frozen=True, slots=True, eq=False)
class PreviewFrame:
    """One image of a preview.

    path: the image file, relative to the workspace's data folder. scores, class_ids: (N,) of all
    objects found, highest score first. error: why the image could not be looked at, or "".
    """

    ref: ImageRef
    path: str
    cache_key: str
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    error: str
    is_flagged: bool
    decisions: dict[int, Decision]


class PreviewStore:
    """The previews of one workspace. Any thread, any process.

    Args:
        database: the workspace's SQLite file.
    """

    def __init__(self, database: Path) -> None:
        self._db = Database(database, room="previews", migrations=_MIGRATIONS)

    def add(
        self,
        *,
        title: str,
        url: str,
        task_id: int | None,
        source: str,
        model_id: str,
        slide: SlideWindows | None,
        floor_score: float,
        thresholds: Mapping[str, float],
        mask_threshold: float,
        owner: str,
    ) -> PreviewInfo:
        """Begin a preview. `thresholds` names every label, in the order of class ids."""
        preview_id = uuid.uuid4().hex[:12]
        with self._db.write() as db:
            db.execute(
                "INSERT INTO previews VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (preview_id, title, url, task_id, source, model_id, json.dumps(list(thresholds)),
                 json.dumps(asdict(slide)) if slide else None, floor_score,
                 json.dumps(dict(thresholds)), mask_threshold, owner, time.time()),
            )  # fmt: skip
        return self.get(preview_id)

    def get(self, preview_id: str) -> PreviewInfo:
        """Return a preview.

        Raises:
            UserInput: when there is none of that id.
        """
        with self._db.read() as db:
            row = db.execute("SELECT * FROM previews WHERE id = ?", (preview_id,)).fetchone()
        if row is None:
            raise UserInput(f'There is no preview "{preview_id}".', hint="Predict the task again.")
        return _info(row)

    def recent(self, *, limit: int = 100) -> list[PreviewInfo]:
        """Return previews, newest first."""
        with self._db.read() as db:
            rows = db.execute(
                "SELECT * FROM previews ORDER BY created DESC LIMIT ?", (limit,)
            ).fetchall()
        return [_info(row) for row in rows]

    def finish(self, preview_id: str) -> None:
        """Say that every frame was looked at."""
        with self._db.write() as db:
            db.execute("UPDATE previews SET is_complete = 1 WHERE id = ?", (preview_id,))

    def record(self, preview_id: str, prediction: Prediction, *, path: str, key: str) -> None:
        """Add what was found on a frame."""
        found = prediction.instances
        self._record(
            preview_id,
            prediction.image,
            path=path,
            key=key,
            scores=found.scores.astype("<f4").tobytes(),
            class_ids=found.class_ids.astype("<i4").tobytes(),
        )

    def record_failure(self, preview_id: str, ref: ImageRef, *, path: str, reason: str) -> None:
        """Add a frame that could not be looked at."""
        self._record(preview_id, ref, path=path, key="", scores=b"", class_ids=b"", error=reason)

    def _record(
        self,
        preview_id: str,
        ref: ImageRef,
        *,
        path: str,
        key: str,
        scores: bytes,
        class_ids: bytes,
        error: str = "",
    ) -> None:
        height, width = ref.image_hw
        with self._db.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO preview_frames VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (preview_id, ref.frame, ref.name, height, width, ref.sha256, path, key, scores,
                 class_ids, error),
            )  # fmt: skip

    def frames(self, preview_id: str) -> list[PreviewFrame]:
        """Return the frames of a preview in the order of the task."""
        info = self.get(preview_id)
        with self._db.read() as db:
            rows = db.execute(
                "SELECT * FROM preview_frames WHERE preview = ? ORDER BY frame", (preview_id,)
            ).fetchall()
            decided = db.execute(
                "SELECT frame, object, decision FROM decisions WHERE preview = ?", (preview_id,)
            ).fetchall()
        decisions: dict[int, dict[int, Decision]] = {}
        for row in decided:
            decisions.setdefault(row["frame"], {})[row["object"]] = Decision(row["decision"])
        return [_frame(row, info, decisions.get(row["frame"], {})) for row in rows]

    def decide(self, preview_id: str, frame: int, decisions: Mapping[int, Decision]) -> None:
        """Replace what was decided about a frame's objects, by their position."""
        with self._db.write() as db:
            db.execute("DELETE FROM decisions WHERE preview = ? AND frame = ?", (preview_id, frame))
            db.executemany(
                "INSERT INTO decisions VALUES (?, ?, ?, ?)",
                [(preview_id, frame, position, d.value) for position, d in decisions.items()],
            )

    def flag(self, preview_id: str, frame: int, *, is_flagged: bool) -> None:
        """Mark a frame for review, or take the mark away."""
        with self._db.write() as db:
            db.execute(
                "UPDATE preview_frames SET is_flagged = ? WHERE preview = ? AND frame = ?",
                (is_flagged, preview_id, frame),
            )

    def choose(
        self, preview_id: str, *, thresholds: Mapping[str, float], mask_threshold: float
    ) -> None:
        """Keep the thresholds that a person chose."""
        with self._db.write() as db:
            db.execute(
                "UPDATE previews SET thresholds = ?, mask_threshold = ? WHERE id = ?",
                (json.dumps(dict(thresholds)), mask_threshold, preview_id),
            )


def _info(row: Any) -> PreviewInfo:  # noqa: ANN401 - a sqlite3.Row
    values = dict(row)
    slide = values["slide"]
    return PreviewInfo(
        **values
        | {
            "labels": tuple(json.loads(values["labels"])),
            "slide": SlideWindows(**json.loads(slide)) if slide else None,
            "thresholds": json.loads(values["thresholds"]),
            "is_complete": bool(values["is_complete"]),
        }
    )


def _frame(row: Any, info: PreviewInfo, decisions: dict[int, Decision]) -> PreviewFrame:  # noqa: ANN401 - a sqlite3.Row
    image_hw = (row["height"], row["width"])
    return PreviewFrame(
        ref=ImageRef(info.task_id, row["frame"], row["name"], image_hw, row["sha256"]),
        path=row["path"],
        cache_key=row["cache_key"],
        scores=np.frombuffer(row["scores"], "<f4").astype(np.float32),
        class_ids=np.frombuffer(row["class_ids"], "<i4").astype(np.int32),
        error=row["error"],
        is_flagged=bool(row["is_flagged"]),
        decisions=decisions,
    )

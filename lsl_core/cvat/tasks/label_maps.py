"""Where people sent the labels of models in a task: kept, so that nobody is asked twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lsl_core.workspace.database import Database

_MIGRATIONS = (
    """
    CREATE TABLE cvat_label_maps (
        url TEXT NOT NULL, task_id INT NOT NULL, label TEXT NOT NULL, target TEXT,
        PRIMARY KEY (url, task_id, label)
    ) WITHOUT ROWID
    """,
)


class LabelMaps:
    """The label maps of a workspace, one a task, in an SQLite file."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, room="cvat-label-maps", migrations=_MIGRATIONS)

    def get(self, *, url: str, task_id: int) -> dict[str, str | None]:
        """Return model label to label of the task; None leaves its objects out."""
        with self._db.read() as db:
            rows = db.execute(
                "SELECT label, target FROM cvat_label_maps WHERE url = ? AND task_id = ?",
                (url, task_id),
            ).fetchall()
        return {row["label"]: row["target"] for row in rows}

    def save(self, mapping: Mapping[str, str | None], *, url: str, task_id: int) -> None:
        """Keep where these labels go; a label that goes to its own name needs no memory."""
        with self._db.write() as db:
            for label, target in mapping.items():
                if label == target:
                    db.execute(
                        "DELETE FROM cvat_label_maps WHERE url = ? AND task_id = ? AND label = ?",
                        (url, task_id, label),
                    )
                else:
                    db.execute(
                        "INSERT OR REPLACE INTO cvat_label_maps VALUES (?, ?, ?, ?)",
                        (url, task_id, label, target),
                    )

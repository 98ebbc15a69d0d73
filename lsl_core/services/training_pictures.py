"""Pictures of a training: a few images that it does not learn from, as people and it see them."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsl_core.errors import WorkspaceError
from lsl_core.geometry.overlay import render_overlay
from lsl_core.runs import RunStore
from lsl_core.services.versions import slug
from lsl_core.types import Instances, Window
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import read_json, write_json
from lsl_core.workspace.images import Pixels, write_rgb

__all__ = ["SHOWN_FROM", "Album", "Picture", "of_model", "of_run", "trainings"]

#: Pictures of a training.
NUM_PICTURES = 3
#: Score from which found objects are drawn: thresholds are chosen when the training has ended.
SHOWN_FROM = 0.3
_SIDE_PX = 640
_INDEX = "pictures.json"


@dataclass(frozen=True, slots=True)
class Picture:
    """One held-out image, or a window of it, with what was drawn and what was found.

    jpeg: the file; found objects in colour, drawn ones dashed. num_drawn, num_found: objects,
    found ones from `SHOWN_FROM` up. made: seconds since the epoch.
    """

    name: str
    num_drawn: int
    num_found: int
    made: float
    jpeg: bytes


class Album:
    """Makes the pictures while a training measures, each time in place of the ones before.

    One window of each of the first images on which anything is drawn.

    Args:
        folder: for the pictures; what is there is removed.
        labels: names in the order of class ids.
    """

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder, self._labels = folder, labels
        self._windows: dict[str, Window] = {}
        self._rows: dict[str, dict[str, Any]] = {}

    def __call__(
        self, name: str, window: Window, *, part: Pixels, drawn: Instances, found: Instances
    ) -> None:
        """Look at a window that was measured; see `lsl_core.training.Watch`."""
        if name not in self._windows and len(drawn) and len(self._windows) < NUM_PICTURES:
            self._windows[name] = window
        if self._windows.get(name) != window:
            return
        shown = found.above(SHOWN_FROM).binary()
        picture = render_overlay(
            part, shown, self._labels, existing=drawn, max_side_px=_SIDE_PX, with_text=False
        )
        path = self.folder / f"{list(self._windows).index(name)}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rgb(path, picture)
        self._rows[name] = {
            "name": name, "num_drawn": len(drawn), "num_found": len(shown), "made": time.time(),
            "file": path.name,
        }  # fmt: skip
        write_json(self.folder / _INDEX, list(self._rows.values()))

    def move(self, folder: Path) -> None:
        """Put the pictures beside the model that they show."""
        if self.folder.is_dir():
            shutil.move(self.folder, folder / "pictures")


def trainings(workspace: Workspace, name: str) -> Path:
    """Return where the pictures of a training of a model of that name are while it goes on."""
    return workspace.data / "trainings" / f"{slug(name)} pictures"


def of_run(workspace: Workspace, run_id: str) -> list[Picture]:
    """Return the pictures of a training that has not ended well yet; none for other runs."""
    store = RunStore(workspace.database)
    name = store.order(run_id).arguments.get("name")
    if store.get(run_id).kind != "train" or not name:
        return []
    began = store.get(run_id).started or 0.0
    return [one for one in _read(trainings(workspace, name)) if one.made >= began]


def of_model(workspace: Workspace, model_id: str) -> list[Picture]:
    """Return the pictures that were made when a version was measured last."""
    return _read(workspace.models / model_id / "pictures")


def _read(folder: Path) -> list[Picture]:
    try:
        rows = read_json(folder / _INDEX)
        files = [(folder / row.pop("file")).read_bytes() for row in rows]
        return [Picture(**row, jpeg=jpeg) for row, jpeg in zip(rows, files, strict=True)]
    except (WorkspaceError, OSError, TypeError, KeyError):  # none yet, or just being replaced
        return []

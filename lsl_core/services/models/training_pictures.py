"""Pictures of a training: a few images that it does not learn from, as people and it see them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsl_core.errors import WorkspaceError
from lsl_core.geometry.overlay import render_overlay
from lsl_core.runs import RunStore
from lsl_core.services.models.versions import slug
from lsl_core.types import Instances, Window
from lsl_core.windows import cut
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import read_json, write_json
from lsl_core.workspace.images import Pixels, write_rgb

__all__ = [
    "SHOWN_FROM",
    "Album",
    "Change",
    "Compared",
    "Picture",
    "changes_of",
    "keep_changes",
    "of_model",
    "of_run",
    "trainings",
]

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


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A window of an image on which two versions were compared; class ids are the newer one's."""

    name: str
    pixels: Callable[[], Pixels]
    window: Window
    drawn: Instances
    before: Instances
    after: Instances


@dataclass(frozen=True, slots=True)
class Change:
    """An image on which a version finds more, or fewer, than its parent.

    right_before, right_after: objects met at IoU 0.5 by those found from `SHOWN_FROM` up, of
    num_drawn. wrong_before, wrong_after: the others that were found. before, after: JPEG files.
    """

    name: str
    num_drawn: int
    right_before: int
    wrong_before: int
    right_after: int
    wrong_after: int
    before: bytes
    after: bytes


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
        path = self.folder / f"{list(self._windows).index(name)}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rgb(path, _drawn_on(part, shown, drawn, self._labels))
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


def keep_changes(folder: Path, labels: tuple[str, ...], compared: Iterable[Compared]) -> None:
    """Draw the images on which a version differs most from its parent, as both see them.

    Args:
        folder: of the version.
        labels: names in the order of class ids.
        compared: what both found on the same windows.
    """
    counted = [(one, _right(one, one.before, labels), _right(one, one.after, labels))
               for one in compared]  # fmt: skip
    counted = [row for row in counted if row[1] != row[2]]
    counted.sort(key=lambda row: -abs(_worth(row[2]) - _worth(row[1])))
    rows = []
    for number, (one, was, now) in enumerate(counted[:NUM_PICTURES]):
        part = cut(one.pixels(), one.window)
        for side, found in (("before", one.before), ("after", one.after)):
            shown = found.above(SHOWN_FROM).binary()
            path = folder / "changes" / f"{number}-{side}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_rgb(path, _drawn_on(part, shown, one.drawn, labels))
        rows.append(
            {"name": one.name, "num_drawn": len(one.drawn), "right_before": was[0],
             "wrong_before": was[1], "right_after": now[0], "wrong_after": now[1]}
        )  # fmt: skip
    if rows:
        write_json(folder / "changes" / _INDEX, rows)


def changes_of(workspace: Workspace, model_id: str) -> list[Change]:
    """Return where a version differs most from its parent; nothing where none was compared."""
    folder = workspace.models / model_id / "changes"
    try:
        rows = read_json(folder / _INDEX)
        return [
            Change(
                **row,
                before=(folder / f"{i}-before.jpg").read_bytes(),
                after=(folder / f"{i}-after.jpg").read_bytes(),
            )
            for i, row in enumerate(rows)
        ]
    except (WorkspaceError, OSError, TypeError):
        return []


def _right(one: Compared, found: Instances, labels: tuple[str, ...]) -> tuple[int, int]:
    """Return how many of the shown objects are right, and how many are not."""
    from lsl_core.training import matches  # loads torch: only those who train wait

    shown = found.above(SHOWN_FROM)
    right = sum(int(of.right.sum()) for of in matches([one.drawn], [shown], labels))
    return right, len(shown) - right


def _worth(counts: tuple[int, int]) -> int:
    return counts[0] - counts[1]


def _drawn_on(part: Pixels, shown: Instances, drawn: Instances, labels: tuple[str, ...]) -> Pixels:
    return render_overlay(
        part, shown, labels, existing=drawn, max_side_px=_SIDE_PX, with_text=False
    )


def _read(folder: Path) -> list[Picture]:
    try:
        rows = read_json(folder / _INDEX)
        files = [(folder / row.pop("file")).read_bytes() for row in rows]
        return [Picture(**row, jpeg=jpeg) for row, jpeg in zip(rows, files, strict=True)]
    except (WorkspaceError, OSError, TypeError, KeyError):  # none yet, or just being replaced
        return []

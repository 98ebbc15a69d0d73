from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from lsl_core.runs import Order, RunStore
from lsl_core.services import workspaces
from lsl_core.services.models import training, training_pictures
from lsl_core.services.models.training_pictures import Album, Compared
from lsl_core.services.workspaces import Workspace
from lsl_core.types import Instances, Mode, RunPhase, Window
from lsl_core.workspace.images import decode_rgb

WINDOW = Window(0, 0, 80, 60)
BLACK = np.zeros((60, 80, 3), np.uint8)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspaces.create_workspace(tmp_path / "w", Mode.FSOD)


def boxes(*scores: float) -> Instances:
    xyxy = np.array([[10 * i, 10, 10 * i + 8, 30] for i in range(len(scores))], np.float32)
    ids = np.zeros(len(scores), np.int32)
    return Instances(xyxy.reshape(-1, 4), np.array(scores, np.float32), ids, None, (60, 80))


def look(album: Album, name: str, found: Instances, *, window=WINDOW, drawn=None) -> None:
    album(name, window, part=BLACK, drawn=boxes(1, 1) if drawn is None else drawn, found=found)


def submitted(workspace: Workspace, **arguments: object) -> str:
    store = RunStore(workspace.database)
    order = Order("module:function", arguments)
    run_id = store.add(order, kind="train", subject="bolts on line", owner="ana")
    store.start(run_id)
    return run_id


def test_the_first_images_with_objects_are_shown_as_they_were_measured_last(workspace) -> None:
    run_id = submitted(workspace, name="bolts")
    album = Album(training_pictures.trainings(workspace, "bolts"), ("bolt",))
    for found in (boxes(0.9), boxes(0.9, 0.8, 0.1)):
        look(album, "bare.png", found, drawn=boxes())
        for name in ("a.png", "b.png", "c.png", "d.png"):
            look(album, name, found)
            look(album, name, boxes(), window=Window(80, 0, 80, 60))
    shown = training_pictures.of_run(workspace, run_id)
    assert [one.name for one in shown] == ["a.png", "b.png", "c.png"]
    assert {(one.num_drawn, one.num_found) for one in shown} == {(2, 2)}
    assert decode_rgb(shown[0].jpeg, name="a").shape == BLACK.shape
    assert decode_rgb(shown[0].jpeg, name="a").any(), "the objects are drawn on it"


def test_pictures_of_an_earlier_training_are_not_taken_for_this_one(workspace) -> None:
    folder = training_pictures.trainings(workspace, "bolts")
    look(Album(folder, ("bolt",)), "a.png", boxes(0.9))
    run_id = submitted(workspace, name="bolts")
    assert training_pictures.of_run(workspace, run_id) == []
    Album(folder, ("bolt",))
    assert not folder.exists()


def test_when_a_training_ends_its_pictures_belong_to_the_model(workspace) -> None:
    run_id = submitted(workspace, name="bolts")
    album = Album(training_pictures.trainings(workspace, "bolts"), ("bolt",))
    (workspace.models / "bolts-v1").mkdir(parents=True)
    album.move(workspace.models / "bolts-v1")
    assert training_pictures.of_model(workspace, "bolts-v1") == [], "nothing was held out"
    look(album, "a.png", boxes(0.9))
    album.move(workspace.models / "bolts-v1")
    RunStore(workspace.database).end(run_id, RunPhase.DONE)
    assert training_pictures.of_run(workspace, run_id) == []
    assert [one.name for one in training_pictures.of_model(workspace, "bolts-v1")] == ["a.png"]


def test_pictures_that_somebody_changed_are_left_out_and_break_nothing(workspace) -> None:
    run_id = submitted(workspace, project_id=3)
    assert training_pictures.of_run(workspace, run_id) == [], "a run without a name"
    folder = workspace.models / "bolts-v1" / "pictures"
    look(Album(folder, ("bolt",)), "a.png", boxes(0.9))
    (folder / "0.jpg").unlink()
    assert training_pictures.of_model(workspace, "bolts-v1") == []


def test_the_images_that_changed_most_are_kept_with_what_was_right_and_wrong(workspace) -> None:
    drawn = boxes(1, 1, 1)
    missing = drawn.take(slice(1, 3))
    elsewhere = drawn.moved(3, 25, (60, 80))
    folder = workspace.models / "bolts-v2"
    compared = [
        Compared(name, lambda: BLACK, WINDOW, drawn, before, after)
        for name, before, after in (
            ("same.png", drawn, drawn),
            ("a little better.png", missing, drawn),
            ("much worse.png", drawn, elsewhere),
        )
    ]
    training_pictures.keep_changes(folder, ("bolt",), compared)
    first, second = training_pictures.changes_of(workspace, "bolts-v2")
    assert (first.name, first.right_before, first.wrong_before) == ("much worse.png", 3, 0)
    assert (first.right_after, first.wrong_after, first.num_drawn) == (0, 3, 3)
    assert (second.name, second.right_before, second.right_after) == ("a little better.png", 2, 3)
    pixels = [decode_rgb(side, name="x").astype(int) for side in (first.before, first.after)]
    assert abs(pixels[0] - pixels[1]).max() > 50


def test_versions_that_find_the_same_have_no_changes_to_show(workspace) -> None:
    one = Compared("a.png", lambda: BLACK, WINDOW, boxes(1), boxes(0.9), boxes(0.7, 0.1))
    training_pictures.keep_changes(workspace.models / "bolts-v2", ("bolt",), [one])
    assert training_pictures.changes_of(workspace, "bolts-v2") == []


def test_what_a_killed_training_kept_is_removed_after_a_month(tmp_path: Path) -> None:
    now = time.time()
    for name, days in (("gone.safetensors", 31), ("gone.fold1.safetensors", 31),
                       ("goes-on.safetensors", 29)):  # fmt: skip
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (now, now - days * 86_400))
    training._forget_old(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["goes-on.safetensors"]

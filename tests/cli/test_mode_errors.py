"""What a person is told who gives a mode what it cannot learn from, and what is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lsl_core.cli.main import run
from lsl_core.training.compact import compact_loop

Import = Callable[..., tuple[int, str, str]]
Asked = Callable[..., tuple[int, str, str]]

HW = (96, 128)
#: Where the objects of each image are: x, y, width, height.
PLACES = ((10, 10, 24, 20), (60, 30, 30, 26), (20, 60, 22, 24))


@pytest.fixture
def lsl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command in a workspace of the mode "fsis"; gives exit code, stdout, stderr."""

    def asked(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), out, err

    assert asked("create", tmp_path / "w", "--task", "fsis")[0] == 0
    monkeypatch.chdir(tmp_path / "w")
    return asked


def pixels_of(number: int) -> np.ndarray:
    pixels = np.random.default_rng(number).integers(20, 60, HW, np.uint8)
    for x, y, w, h in PLACES:
        cv2.ellipse(pixels, ((x + w / 2, y + h / 2), (w, h), 0), 200, -1)
    return pixels


def ring(x: int, y: int, w: int, h: int) -> list[list[int]]:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


@pytest.fixture
def source(tmp_path: Path, lsl: Asked) -> Import:
    """Import three images with three objects each.

    segmentation: of a place, None for boxes only. label: of an object by image and place.
    write: makes an image file.
    """

    def imported(
        name: str,
        *,
        segmentation: Callable[..., object] | None = ring,
        label: Callable[[int, int], str] = lambda image, place: "cell",
        write: Callable[[int], tuple[str, np.ndarray]] = lambda i: (f"{i}.png", pixels_of(i)),
    ) -> tuple[int, str, str]:
        folder = tmp_path / name
        folder.mkdir()
        images, objects, names = [], [], []
        for number in range(3):
            file_name, pixels = write(number)
            assert cv2.imwrite(str(folder / file_name), pixels)
            images.append({"id": number, "file_name": file_name, "height": HW[0], "width": HW[1]})
            for place, bbox in enumerate(PLACES):
                named = label(number, place)
                names += [] if named in names else [named]
                row = {"id": len(objects) + 1, "image_id": number, "bbox": bbox, "iscrowd": 0}
                row["category_id"] = names.index(named) + 1
                if segmentation is not None:
                    row["segmentation"] = segmentation(*bbox)
                objects.append(row)
        categories = [{"id": i, "name": named} for i, named in enumerate(names, 1)]
        coco = {"images": images, "annotations": objects, "categories": categories}
        annotation = tmp_path / f"{name}.json"
        annotation.write_text(json.dumps(coco))
        return lsl("import", "--name", name, "--image", folder, "--annotation", annotation)

    return imported


def files() -> set[str]:
    """What lies in the workspace, but for the database's own files."""
    found = {path.as_posix() for path in Path().rglob("*")}
    return {path for path in found if ".db" not in path and ".sqlite" not in path}


def says(err: str, message: str, hint: str) -> None:
    """Check that an error is one line and one next step, the last two lines there are."""
    *_, line, step = err.splitlines()
    assert line.startswith(f"lsl: {message}"), err
    assert step.startswith("     "), err
    assert hint in step, err
    assert "Traceback" not in err


def test_boxes_given_to_a_mode_that_learns_from_masks_are_refused_with_two_ways_out(lsl, source):
    assert source("boxed", segmentation=None)[0] == 0
    before = files()
    code, out, err = lsl("auto-label", "--train", "boxed", "--iter", 2)
    assert (code, out) == (2, "")
    says(err, '0.png has 3 objects drawn as boxes, but the mode "fsis"', 'Choose "wsis"')
    assert files() == before


def test_masks_without_area_are_named_and_left_out_and_nothing_else_is_no_training(lsl, source):
    code, _, err = source("flat", segmentation=lambda x, y, w, h: [[x, y, x + w, y, x, y]])
    assert code == 3
    assert "object 1: its mask cannot be used: it holds no pixel of the image" in err
    says(err, "9 could not be taken in", "import again")
    before = files()
    code, out, err = lsl("auto-label", "--train", "flat", "--iter", 2)
    assert (code, out) == (2, "")
    says(err, "Nothing is drawn on the", "Label a few images in CVAT")
    assert files() == before


def test_a_label_with_one_example_is_learnt_and_said_to_be_worth_little(lsl, source):
    assert source("rare", label=lambda i, place: "rare" if (i, place) == (1, 2) else "cell")[0] == 0
    code, out, err = lsl("auto-label", "--train", "rare", "--iter", 2)
    assert code == 0, err
    assert '"rare" has one example only: expect little of it.' in " ".join(err.split())
    assert 'Model "rare-v1"' in out


def test_labels_of_a_source_to_measure_on_that_were_never_learnt_are_refused(lsl, source):
    assert source("learnt")[0] == 0
    assert source("measured", label=lambda *_: "nut")[0] == 0
    before = files()
    code, out, err = lsl("auto-label", "--train", "learnt", "--valid", "measured", "--iter", 2)
    assert (code, out) == (2, "")
    says(err, '"measured" has labels that the training source lacks: nut', "leave --valid out")
    assert files() == before


def test_labels_of_a_source_to_label_that_were_never_learnt_are_said_before_training(
    lsl, source, monkeypatch
):
    assert source("learnt")[0] == 0
    assert source("other", label=lambda i, place: "nut" if place else "cell")[0] == 0
    monkeypatch.setattr(compact_loop, "batch_loss", lambda *_, **__: pytest.fail("it learnt"))
    with pytest.raises(pytest.fail.Exception):
        run(["auto-label", "--train", "learnt", "--test", "other", "--iter", "2"])
    code, out, err = lsl("auto-label", "--train", "learnt", "--test", "nowhere", "--iter", 2)
    assert (code, out) == (2, "")
    says(err, 'There is no source "nowhere"', "")


@pytest.mark.parametrize(
    "write",
    [
        lambda i: (f"{i}.png", pixels_of(i).astype(np.uint16) * 40 + 500),
        lambda i: (f"{i}.tif", pixels_of(i).astype(np.uint16) * 40 + 500),
        lambda i: (f"{i}.png", pixels_of(i)),
    ],
    ids=["16-bit png", "16-bit tiff", "grey png"],
)
def test_16_bit_and_grey_images_are_learnt_and_labelled_like_others(lsl, source, write):
    assert source("deep", write=write)[0] == 0
    code, out, err = lsl("auto-label", "--train", "deep", "--test", "deep", "--iter", 2)
    assert code == 0, err
    assert 'Model "deep-v1"' in out
    assert '"deep": 3 images' in out
    assert "failed" not in out


def test_a_loss_that_is_no_number_ends_the_training_and_leaves_nothing(lsl, source, monkeypatch):
    assert source("cells")[0] == 0
    before, learns, steps = files(), compact_loop.batch_loss, []

    def breaks(*given: object, **options: float) -> torch.Tensor:
        steps.append(1)
        return learns(*given, **options) * (float("nan") if len(steps) > 2 else 1)  # before a check

    monkeypatch.setattr(compact_loop, "batch_loss", breaks)
    # a checkpoint after each step
    monkeypatch.setattr("lsl_core.training.common.loop.SAVE_EVERY", 0)
    code, out, err = lsl("auto-label", "--train", "cells", "--iter", 40)
    assert (code, out) == (13, "")
    says(err, "Training stopped at step", "--seed 1")
    assert {path for path in files() - before if not path.endswith("trainings")} == set()
    monkeypatch.setattr(compact_loop, "batch_loss", learns)
    assert lsl("auto-label", "--train", "cells", "--iter", 2, "--seed", 1)[0] == 0


def test_a_gpu_too_small_is_tried_with_fewer_images_at_once_and_then_named(
    lsl, source, monkeypatch
):
    assert source("cells")[0] == 0
    before, learns, sizes = files(), compact_loop.batch_loss, []

    def small(network: torch.nn.Module, batch: tuple[torch.Tensor, object], **options: float):
        if network.training and sizes is not None:
            sizes.append(len(batch[0]))
            if len(batch[0]) > room:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return learns(network, batch, **options)

    monkeypatch.setattr(compact_loop, "set_threads", lambda *_: None)
    monkeypatch.setattr(compact_loop, "batch_loss", small)
    room = 0
    code, out, err = lsl("auto-label", "--train", "cells", "--iter", 2)
    assert (code, out, sizes) == (13, "", [4, 2, 1])
    says(err, "The memory of the device is too small to train this model", 'the device "cpu"')
    assert files() == before
    room = 1
    sizes.clear()
    code, out, err = lsl("auto-label", "--train", "cells", "--iter", 2, "--folds", 0)
    assert (code, sizes) == (0, [4, 2, 1, 1]), err
    assert "going on with smaller batches" in " ".join(err.split())

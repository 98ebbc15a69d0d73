import time

import cv2
import numpy as np
import pytest

from lsl_core.sandbox.scenes import (
    SCENE_LABELS,
    SceneKind,
    draw_scene,
    labelled_frames,
    large_frames,
)
from lsl_core.types import CropMasks

KINDS = list(SceneKind)


def holes(mask: np.ndarray) -> int:
    """Number of background parts that do not touch the border of the crop."""
    count, _ = cv2.connectedComponents(np.pad(~mask, 1, constant_values=True).astype(np.uint8))
    return count - 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_holds_objects_of_every_label_in_tight_boxes(kind: SceneKind) -> None:
    scene = draw_scene(kind, seed=3, image_hw=(600, 800))
    found = scene.instances
    assert scene.pixels.shape == (600, 800, 3)
    assert scene.pixels.dtype == np.uint8
    assert found.image_hw == (600, 800)
    assert isinstance(found.masks, CropMasks)
    assert set(found.class_ids) == set(range(len(SCENE_LABELS[kind])))
    for i, (x1, y1, x2, y2) in enumerate(found.boxes.astype(int)):
        crop = found.masks.crop(i)
        assert crop.shape == (y2 - y1, x2 - x1)
        assert 0 <= x1 < x2 <= 800
        assert 0 <= y1 < y2 <= 600
        assert crop.any(axis=0)[[0, -1]].all()
        assert crop.any(axis=1)[[0, -1]].all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same_and_another_seed_does_not(kind: SceneKind) -> None:
    first, again, other = (draw_scene(kind, seed=s, image_hw=(240, 320)) for s in (5, 5, 6))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.instances.masks.runs, again.instances.masks.runs)
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("kind", KINDS)
def test_no_pixel_belongs_to_two_objects(kind: SceneKind) -> None:
    scene = draw_scene(kind, seed=1, image_hw=(480, 640))
    owners = np.zeros((480, 640), int)
    for i, (x, y, w, h) in enumerate(scene.instances.masks.crops):
        owners[y : y + h, x : x + w] += scene.instances.masks.crop(i)
    assert owners.max() == 1


def test_washers_have_a_hole_and_the_belt_shows_through_it() -> None:
    scene = draw_scene(SceneKind.PARTS, seed=2, image_hw=(600, 800))
    masks = scene.instances.masks
    washers = np.flatnonzero(
        scene.instances.class_ids == SCENE_LABELS[SceneKind.PARTS].index("washer")
    )
    with_hole = [i for i in washers if holes(masks.crop(i)) == 1]
    assert len(with_hole) > len(washers) / 2


def test_red_cells_touch_each_other() -> None:
    scene = draw_scene(SceneKind.CELLS, seed=2, image_hw=(600, 800))
    together = np.zeros((600, 800), np.uint8)
    for i, (x, y, w, h) in enumerate(scene.instances.masks.crops):
        together[y : y + h, x : x + w] |= scene.instances.masks.crop(i)
    parts = cv2.connectedComponents(together)[0] - 1
    assert parts < 0.8 * len(scene.instances)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tasks_have_the_promised_sizes_and_names(kind: SceneKind) -> None:
    small, large = labelled_frames(kind), large_frames(kind)
    assert len(small) == 12
    assert all(480 <= f.image_hw[0] <= 600 and 640 <= f.image_hw[1] <= 800 for f in small)
    assert all(3000 <= f.image_hw[1] <= 4000 for f in large)
    frames = small + large
    assert len({f.name for f in frames}) == len({f.seed for f in frames}) == len(frames)


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_image_is_drawn_in_seconds_with_objects_of_the_same_size(kind: SceneKind) -> None:
    began = time.process_time()
    large = large_frames(kind)[0].draw().instances
    assert time.process_time() - began < 8  # about 2 on one idle core
    small = labelled_frames(kind)[2].draw().instances
    assert len(large) > 500
    ratio = np.median(large.masks.areas()) / np.median(small.masks.areas())
    assert 0.75 < ratio < 1.33

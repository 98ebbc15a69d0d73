import random

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsl_core.types import CropMasks, Instances, SlideWindows, SoftMasks
from lsl_core.windows import cut, plan, stitch

from .scenes import drawn, tries

SLIDE = SlideWindows(100, 100, 20)


def parts_of(layers, *, soft):
    """Return the connected parts of each label's layer 0 … 255, as a semantic model does."""
    boxes, pixels, places, class_ids = [], [], [], []
    for label, layer in enumerate(layers):
        count, ids, stats, _ = cv2.connectedComponentsWithStats(
            (layer >= 128).astype(np.uint8), connectivity=4
        )
        for i in range(1, count):
            x, y, w, h = stats[i, :4].tolist()
            pixels.append(np.where(ids == i, layer, 0)[y : y + h, x : x + w].astype(np.uint8))
            places.append((x, y))
            boxes.append((x, y, x + w, y + h))
            class_ids.append(label)
    kind = SoftMasks if soft else CropMasks
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.75, np.float32),
        np.array(class_ids, np.int32),
        kind.from_crops(pixels, places),
        layers[0].shape,
    )


def seen(layers, slide=SLIDE, *, soft=True):
    windows = plan(layers[0].shape, slide)
    return [(w, parts_of([cut(layer, w) for layer in layers], soft=soft)) for w in windows]


@settings(max_examples=tries(40), deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([0, 8, 13, 20, 31]), st.booleans())
def test_exact_layers_give_exactly_the_connected_parts_of_the_truth(seed, overlap, soft):
    rng = random.Random(seed)
    hw = (rng.randint(20, 190), rng.randint(20, 190))
    layers = [np.zeros(hw, np.uint8) for _ in range(rng.randint(1, 4))]
    for _ in range(rng.randint(0, 14)):
        at = (rng.randrange(hw[1]), rng.randrange(hw[0]))
        chosen = rng.randrange(len(layers))
        shape = np.zeros(hw, np.uint8)
        if rng.random() < 0.5:
            cv2.circle(shape, at, rng.choice([2, 9, 25, 60]), 1, rng.choice([-1, 1, 3]))
        else:
            cv2.line(shape, at, (rng.randrange(hw[1]), rng.randrange(hw[0])), 1, rng.choice([1, 5]))
        for label, layer in enumerate(layers):
            layer[shape > 0] = 255 if label == chosen else 0
    slide = SlideWindows(rng.randint(40, 70), rng.randint(40, 70), overlap)
    stitched = stitch(seen(layers, slide, soft=soft), image_hw=hw, semantic=True)
    truth = parts_of(layers, soft=soft)
    assert drawn(stitched) == drawn(truth)
    assert sorted(stitched.boxes.tolist()) == sorted(truth.boxes.tolist())
    assert stitched.scores.tolist() == pytest.approx([0.75] * len(truth))


def test_no_seam_shows_where_windows_are_not_equally_sure():
    (a, left), (b, right) = seen([np.full((60, 180), 255, np.uint8)])
    surer = [
        Instances(
            part.boxes,
            part.scores,
            part.class_ids,
            SoftMasks.from_crops([np.full((60, 100), value, np.uint8)], [(0, 0)]),
            part.image_hw,
        )
        for part, value in ((left, 150), (right, 240))
    ]
    stitched = stitch([(a, surer[0]), (b, surer[1])], image_hw=(60, 180), semantic=True)
    row = stitched.masks.crop(0)[30].astype(int)
    assert len(stitched) == 1
    assert (row[0], row[-1]) == (150, 240)
    assert np.diff(row).min() >= 0
    assert np.diff(row).max() <= 6


def test_a_window_that_found_nothing_there_has_a_say():
    layer = np.zeros((60, 180), np.uint8)
    layer[10:50, 20:100] = 200
    (a, left), (b, right) = seen([layer])
    nothing = right.take(np.zeros(len(right), bool))
    stitched = stitch([(a, left), (b, nothing)], image_hw=(60, 180), semantic=True)
    row = np.zeros(180, int)
    x, _, w, _ = stitched.masks.crops[0].tolist()
    row[x : x + w] = stitched.masks.crop(0)[20]
    assert row[20:80].tolist() == [200] * 60
    assert (np.diff(row[79:101]) <= 0).all()
    assert np.abs(np.diff(row[79:101])).max() <= 15
    assert stitched.boxes[0, 2] == 87  # 200 × 64 % is 128


def test_parts_that_one_window_sees_as_one_are_one():
    layer = np.zeros((100, 180), np.uint8)
    layer[10:20, 30:95] = layer[60:70, 30:95] = layer[10:70, 93:97] = 255
    stitched = stitch(seen([layer]), image_hw=(100, 180), semantic=True)
    assert len(stitched) == 1
    assert stitched.binary().masks.areas().tolist() == [int((layer > 0).sum())]


def test_faint_pixels_go_to_the_nearest_part():
    layer = np.zeros((40, 180), np.uint8)
    layer[10:30, 60:120] = 60
    layer[10:30, 60:80] = layer[10:30, 100:120] = 250
    windows = plan((40, 180), SLIDE)
    parts = []
    for window in windows:
        shown = cut(layer, window)
        x, y, w, h = cv2.boundingRect((shown > 0).astype(np.uint8))
        masks = SoftMasks.from_crops([shown[y : y + h, x : x + w].copy()], [(x, y)])
        box = np.array([[x, y, x + w, y + h]], np.float32)
        one = (np.ones(1, np.float32), np.zeros(1, np.int32))
        parts.append((window, Instances(box, *one, masks, shown.shape)))
    stitched = stitch(parts, image_hw=(40, 180), semantic=True)
    assert sorted(stitched.boxes.tolist()) == [[60, 10, 80, 30], [100, 10, 120, 30]]
    areas = sorted(stitched.binary(0.2).masks.areas().tolist())
    assert sum(areas) == 60 * 20
    assert areas[0] > 20 * 25


def test_boxes_of_a_semantic_model_are_joined_as_objects():
    parts = [
        (w, Instances(p.boxes, p.scores, p.class_ids, None, p.image_hw))
        for w, p in seen([np.full((60, 180), 255, np.uint8)])
    ]
    stitched = stitch(parts, image_hw=(60, 180), semantic=True)
    assert stitched.boxes.tolist() == [[0, 0, 180, 60]]

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsl_core.geometry.layer import ALPHA, mask_layer
from lsl_core.types import CropMasks, Instances, SoftMasks
from lsl_core.types.palette import label_style


def objects(rng, hw, count):
    pixels, places = [], []
    for _ in range(count):
        h, w = int(rng.integers(1, hw[0] + 1)), int(rng.integers(1, hw[1] + 1))
        pixels.append(rng.random((h, w)) < rng.choice([0.3, 0.9, 1.0]))
        places.append((int(rng.integers(hw[1] - w + 1)), int(rng.integers(hw[0] - h + 1))))
    return found(hw, CropMasks.from_crops(pixels, places), rng.integers(0, 4, count))


def found(hw, masks, labels):
    n = len(masks)
    boxes, ones = np.zeros((n, 4), np.float32), np.ones(n, np.float32)
    return Instances(boxes, ones, np.asarray(labels, np.int32), masks, hw)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 60))
def test_a_layer_shows_the_middle_pixel_of_the_best_object_there(seed, side):
    rng = np.random.default_rng(seed)
    hw = (int(rng.integers(1, 50)), int(rng.integers(1, 50)))
    some = objects(rng, hw, int(rng.integers(0, 6)))
    layer = mask_layer(some, max_side_px=side)
    whole = np.full(hw, -1)
    for i in reversed(range(len(some))):
        x, y, w, h = some.masks.crops[i].tolist()
        whole[y : y + h, x : x + w][some.masks.crop(i)] = some.class_ids[i]
    rows = ((np.arange(layer.shape[0]) + 0.5) * hw[0] / layer.shape[0]).astype(int)
    columns = ((np.arange(layer.shape[1]) + 0.5) * hw[1] / layer.shape[1]).astype(int)
    shown = whole[rows][:, columns]
    assert max(layer.shape[:2]) == min(side, max(hw))
    assert not layer[shown < 0].any()
    for label in np.unique(shown[shown >= 0]):
        assert (layer[shown == label] == (*label_style(int(label)).colour, ALPHA)).all()


def test_masks_that_leave_the_image_are_cut():
    masks = CropMasks.from_crops([np.ones((6, 6), bool)] * 2, [(-3, -3), (17, 8)])
    layer = mask_layer(found((10, 20), masks, [0, 1]), max_side_px=20)
    assert layer[:3, :3, 3].all()
    assert layer[8:, 17:, 3].all()
    assert np.count_nonzero(layer[..., 3]) == 9 + 6


def test_soft_masks_have_no_layer():
    soft = SoftMasks.from_crops([np.ones((2, 2), np.uint8)], [(0, 0)])
    with pytest.raises(TypeError, match="binary"):
        mask_layer(found((4, 4), soft, [0]), max_side_px=4)

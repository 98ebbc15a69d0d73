import numpy as np
import pytest
from cvat_sdk.masks import encode_mask
from hypothesis import given, settings
from hypothesis import strategies as st

from lsl_core.types import CropMasks, SoftMasks
from lsl_core.types import masks as module


def random_crops(seed, count):
    rng = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        h, w = rng.integers(1, 14, 2)
        crops.append((rng.random((h, w)) < rng.choice([0.0, 0.1, 0.5, 1.0])).astype(np.uint8))
    return crops


@pytest.mark.parametrize("large", [0, 1 << 16])
@pytest.mark.parametrize("piece", [1, 7, 64, 1 << 20])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**9), count=st.integers(1, 12))
def test_masks_are_those_of_cvat_however_the_pixels_are_cut(piece, large, seed, count):
    kept = module._PIECE, module._LARGE
    module._PIECE, module._LARGE = piece, large
    try:
        crops = random_crops(seed, count)
        masks = CropMasks.from_crops(crops, [(0, 0)] * count)
        soft = SoftMasks.from_crops([crop * np.uint8(200) for crop in crops], [(0, 0)] * count)
        binary = soft.binary(0.5)
    finally:
        module._PIECE, module._LARGE = kept
    for i, crop in enumerate(crops):
        h, w = crop.shape
        assert masks.runs_of(i).tolist() == encode_mask(crop.astype(bool), [0, 0, w, h])[:-4]
        assert np.array_equal(masks.crop(i), crop)
    assert np.array_equal(binary.runs, masks.runs)
    assert np.array_equal(binary.starts, masks.starts)


def test_a_crop_of_any_kind_of_number_is_set_where_it_is_not_zero():
    crop = np.array([[0.0, 0.5], [-1.0, 0.0]])
    masks = CropMasks.from_crops([crop, crop.T[::-1], crop > 0], [(0, 0)] * 3)
    assert masks.crop(0).tolist() == [[False, True], [True, False]]
    assert masks.crop(1).tolist() == [[True, False], [False, True]]
    assert masks.crop(2).tolist() == [[False, True], [False, False]]

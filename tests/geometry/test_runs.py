import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lsl_core.geometry.runs import from_set_runs, set_runs, tight_crops, trim
from lsl_core.types import CropMasks

crops = st.lists(hnp.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))), max_size=5)


def made(pixels):
    return CropMasks.from_crops(pixels, [(3 * i, 5 * i) for i in range(len(pixels))])


@given(crops)
def test_set_runs_make_the_same_masks_again(pixels):
    masks = made(pixels)
    again = from_set_runs(set_runs(masks), masks.crops)
    assert np.array_equal(again.runs, masks.runs)
    assert np.array_equal(again.starts, masks.starts)


@given(crops)
def test_trimmed_masks_equal_masks_made_from_trimmed_pixels(pixels):
    masks = made(pixels)
    small, places = [], []
    for i, crop in enumerate(pixels):
        rows, columns = np.flatnonzero(crop.any(1)), np.flatnonzero(crop.any(0))
        y0, y1, x0, x1 = 0, crop.shape[0], 0, crop.shape[1]
        if len(rows):
            y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        small.append(crop[y0:y1, x0:x1])
        places.append((3 * i + x0, 5 * i + y0))
    expected, trimmed = CropMasks.from_crops(small, places), trim(masks)
    assert np.array_equal(trimmed.crops, expected.crops)
    assert np.array_equal(trimmed.runs, expected.runs)
    assert np.array_equal(trimmed.starts, expected.starts)


def test_a_mask_without_a_pixel_is_zero_wide_and_keeps_its_crop_when_trimmed():
    masks = CropMasks.from_crops([np.zeros((3, 4)), np.ones((1, 2))], [(7, 8), (1, 1)])
    assert tight_crops(masks).tolist() == [[7, 8, 0, 0], [1, 1, 2, 1]]
    assert trim(masks).crops.tolist() == [[7, 8, 4, 3], [1, 1, 2, 1]]

import math

import numpy as np
import pytest
from cvat_sdk.masks import decode_mask, encode_mask
from hypothesis import given, settings
from hypothesis import strategies as st

from lsl_core.cvat.annotations.mask_points import from_points, to_points
from lsl_core.types import CropMasks

GOOD = [1, 2, 1, 5, 6, 6, 7]


def random_masks(seed, count):
    rng = np.random.default_rng(seed)
    crops = [
        rng.random(rng.integers(1, 20, 2)) < rng.choice([0, 0.1, 0.6, 1]) for _ in range(count)
    ]
    return crops, [tuple(place) for place in rng.integers(0, 30, (count, 2)).tolist()]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 8), st.booleans())
def test_points_are_those_of_the_sdk_and_come_back_as_pixels(seed, count, as_floats):
    crops, places = random_masks(seed, count)
    masks = CropMasks.from_crops(crops, places)
    points = to_points(masks)
    for crop, (x, y), numbers in zip(crops, places, points, strict=True):
        h, w = crop.shape
        image = np.zeros((60, 60), bool)
        image[y : y + h, x : x + w] = crop
        assert numbers == encode_mask(image, [x, y, x + w, y + h])
        assert np.array_equal(decode_mask(numbers, image_width=60, image_height=60), image)
    read, faults = from_points([[float(v) for v in p] if as_floats else p for p in points])
    assert not faults
    assert np.array_equal(read.crops, masks.crops)
    for crop, all_at_once, alone in zip(crops, read.decoded(), range(count), strict=True):
        assert np.array_equal(all_at_once, crop)
        assert np.array_equal(read.crop(alone), crop)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ([], "no run lengths"),
        ([5, 6, 6, 7], "no run lengths"),
        ("0,4,1,1,2,2", "no run lengths"),
        (None, "no run lengths"),
        ([0, 4, 1, 1, 2.5, 2], "no run lengths"),
        ([-1, 5, 1, 1, 2, 2], "no run lengths"),
        ([math.nan, 4, 1, 1, 2, 2], "no run lengths"),
        ([0, 1 << 40, 1, 1, 2, 2], "no run lengths"),
        ([0, 4, 1 << 40, 1, (1 << 40) + 1, 2], "no run lengths"),
        ([0, "4", 1, 1, 2, 2], "no numbers"),
        ([0, None, 1, 1, 2, 2], "no numbers"),
        ([0, [4], 1, 1, 2, 2], "no numbers"),
        ([0, 10**400, 1, 1, 2, 2], "no numbers"),
        ([0, 3, 1, 1, 2, 2], "do not fill"),
        ([0, 4, 2, 2, 1, 1], "do not fill"),
        ([0, 1, 5, 5, 4, 5], "do not fill"),
    ],
)
def test_a_damaged_mask_is_named_and_spoils_no_other(bad, reason):
    masks, faults = from_points([GOOD, bad, GOOD])
    assert list(faults) == [1]
    assert reason in faults[1]
    assert to_points(masks) == [GOOD, GOOD]
    assert len(from_points([bad])[0]) == 0

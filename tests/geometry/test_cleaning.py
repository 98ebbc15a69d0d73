from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lsl_core.geometry.cleaning import AS_THEY_ARE, Cleaning, cleaned
from lsl_core.types import CropMasks, Instances


def one(pixels):
    masks = CropMasks.from_crops([pixels], [(3, 2)])
    height, width = pixels.shape
    box = np.array([[3, 2, 3 + width, 2 + height]], np.float32)
    ones = np.ones(1, np.float32)
    return Instances(box, ones, np.zeros(1, np.int32), masks, (height + 9, width + 9))


def pixels_of(instances):
    """Return the mask where `one` had put it, on ground as large as its image."""
    full = np.zeros(instances.image_hw, bool)
    x, y, width, height = instances.masks.crops[0]
    full[y : y + height, x : x + width] = instances.masks.crop(0)
    return full


def blob():
    """A square of 12 with a hole of 4 pixels, and a stray of 3 beside it."""
    pixels = np.zeros((14, 20), bool)
    pixels[1:13, 1:13] = True
    pixels[5:7, 5:7] = False
    pixels[7, 16:19] = True
    return pixels


def test_nothing_is_tidied_unless_asked_for():
    before = one(blob())
    assert cleaned(before, AS_THEY_ARE) is before


@pytest.mark.parametrize(("least", "stays"), [(3, True), (4, False)])
def test_strays_below_the_area_go_and_the_box_follows(least, stays):
    after = cleaned(one(blob()), Cleaning(strays_px=least))
    assert after.masks.areas()[0] == 12 * 12 - 4 + 3 * stays
    assert after.boxes[0].tolist() == [4, 3, 22 if stays else 16, 15]


@pytest.mark.parametrize(("least", "stays"), [(4, True), (5, False)])
def test_holes_below_the_area_are_filled(least, stays):
    after = cleaned(one(blob()), Cleaning(holes_px=least))
    assert after.masks.areas()[0] == 12 * 12 + 3 - 4 * stays


def test_a_bay_at_the_border_is_no_hole():
    pixels = np.ones((6, 6), bool)
    pixels[0:2, 2:4] = False
    assert cleaned(one(pixels), Cleaning(holes_px=100)).masks.areas()[0] == 32


def test_the_largest_part_stays_however_small():
    pixels = np.zeros((5, 9), bool)
    pixels[0, 0:2] = pixels[4, 4:7] = True
    assert cleaned(one(pixels), Cleaning(strays_px=1000)).masks.areas()[0] == 3


def test_smoothing_takes_a_spike_and_leaves_what_it_would_wipe_out():
    pixels = np.zeros((20, 20), bool)
    pixels[4:16, 4:16] = True
    pixels[9, 16:20] = True
    assert not pixels_of(cleaned(one(pixels), Cleaning(smooth_px=2)))[2 + 9, 3 + 17 :].any()
    line = np.ones((1, 9), bool)
    assert cleaned(one(line), Cleaning(smooth_px=3)).masks.areas()[0] == 9


@given(arrays(bool, (9, 11)), st.integers(0, 6), st.integers(0, 6), st.integers(0, 2))
def test_no_object_is_lost_and_none_leaves_its_place(pixels, strays, holes, smooth):
    pixels[4, 5] = True
    before = one(pixels)
    after = cleaned(before, Cleaning(strays, holes, smooth))
    x, y, width, height = after.masks.crops[0]
    assert after.masks.areas()[0] > 0
    assert x >= 3
    assert y >= 2
    assert x + width <= 3 + 11
    assert y + height <= 2 + 9

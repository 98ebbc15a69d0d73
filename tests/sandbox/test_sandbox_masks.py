"""Masks between CVAT's runs, COCO's runs and pixels, against pycocotools and by property."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from lsl_core.sandbox.calls.work import WorkFailed
from lsl_core.sandbox.exchange import masks

crops = hnp.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8)))
places = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.integers(0, 3))


@given(crops, places)
def test_masks_survive_the_way_through_coco(crop, place):
    left, top, right, bottom = place
    height, width = top + crop.shape[0] + bottom, left + crop.shape[1] + right
    full = np.zeros((height, width), bool)
    full[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    points = masks.to_cvat(left, top, crop)
    again = masks.from_cvat(points, height=height, width=width)
    assert again[:2] == (left, top)
    assert np.array_equal(again[2], crop)
    rle = masks.to_coco(*again, height=height, width=width)
    assert 0 not in rle["counts"][1:], "runs that meet at a column's end are one"
    packed = coco_mask.frPyObjects(rle, height, width)
    assert np.array_equal(coco_mask.decode(packed).astype(bool), full)
    for given_rle in (rle, packed):
        back = masks.from_coco(given_rle)
        if not crop.any():
            assert back is None
            continue
        x, y, tight = back
        drawn = np.zeros_like(full)
        drawn[y : y + tight.shape[0], x : x + tight.shape[1]] = tight
        assert np.array_equal(drawn, full)
        assert tight.any(axis=0)[[0, -1]].all()
        assert tight.any(axis=1)[[0, -1]].all()


@pytest.mark.parametrize(
    "points",
    [[], [1, 2, 3], [0, 4, 9, 9, 10, 10], [0, 4, 2, 2, 1, 1], [0, 4, -1, 0, 0, 1]],
    ids=["empty", "no box", "outside", "inverted", "negative"],
)
def test_a_mask_without_a_right_box_is_refused(points):
    with pytest.raises(WorkFailed):
        masks.from_cvat([float(value) for value in points], height=10, width=10)


def test_an_rle_of_another_size_is_refused():
    with pytest.raises(WorkFailed):
        masks.from_coco({"counts": [3, 4], "size": [4, 4]})


def test_an_ellipse_has_its_area_also_when_it_is_turned():
    for rotation in (0.0, 30.0, 90.0):
        crop = masks.ellipse([50, 40, 80, 25], height=80, width=100, rotation=rotation)
        assert crop is not None
        assert abs(crop[2].sum() - np.pi * 30 * 15) < 20
    turned = masks.ellipse([50, 40, 80, 25], height=80, width=100, rotation=90)
    assert turned is not None
    assert turned[2].shape[0] > turned[2].shape[1]

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from lsl_core.errors import UserInput
from lsl_core.geometry.coco import from_coco_segmentation, to_coco_counts, to_coco_rle
from lsl_core.types import CropMasks

images = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def on_image(crop, xy, image_hw):
    image = np.zeros(image_hw, bool)
    image[xy[1] : xy[1] + crop.shape[0], xy[0] : xy[0] + crop.shape[1]] = crop
    return image


@given(images, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_run_lengths_equal_those_of_pycocotools_on_the_whole_image(crop, left, top, right, bottom):
    hw = (top + crop.shape[0] + bottom, left + crop.shape[1] + right)
    whole = on_image(crop, (left, top), hw)
    masks = CropMasks.from_crops([crop], [(left, top)])
    expected = coco_mask.encode(np.asfortranarray(whole.astype(np.uint8)))
    assert to_coco_rle(masks, hw) == [
        {"size": list(hw), "counts": expected["counts"].decode("ascii")}
    ]


@given(images)
def test_every_form_of_a_mask_comes_back_as_the_same_pixels(image):
    masks = CropMasks.from_crops([image], [(0, 0)])
    packed = to_coco_rle(masks, image.shape)[0]
    forms = [
        packed,
        {**packed, "counts": packed["counts"].encode("ascii")},
        {**packed, "counts": to_coco_counts(masks, image.shape)[0]},
    ]
    for form in forms:
        if not image.any():
            with pytest.raises(UserInput):
                from_coco_segmentation(form, image.shape)
            continue
        crop, xy = from_coco_segmentation(form, image.shape)
        assert np.array_equal(on_image(crop, xy, image.shape), image)
        assert crop[0].any()
        assert crop[:, 0].any()


def test_long_runs_survive_the_string_form():
    masks = CropMasks.from_crops([np.ones((2, 3), bool)], [(4000, 3000)])
    crop, xy = from_coco_segmentation(to_coco_rle(masks, (9000, 9000))[0], (9000, 9000))
    assert crop.shape == (2, 3)
    assert xy == (4000, 3000)
    assert crop.all()


@given(
    st.lists(
        st.lists(
            st.tuples(st.floats(-9, 40, width=32), st.floats(-9, 40, width=32)),
            min_size=3,
            max_size=7,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_polygons_are_drawn_as_pycocotools_draws_them_on_the_whole_image(polygons):
    flat = [[float(v) for point in polygon for v in point] for polygon in polygons]
    hw = (30, 33)
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, *hw))).astype(bool)
    try:
        crop, xy = from_coco_segmentation(flat, hw)
    except UserInput:
        assert not expected.any()
    else:
        assert np.array_equal(on_image(crop, xy, hw), expected)


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        "polygon",
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [["a", "b", "c", "d", "e", "f"]],
        [[50, 50, 60, 50, 60, 60]],
        {"size": [10, 10], "counts": [50, 10]},
        {"size": [10, 10], "counts": [-1, 101]},
        {"size": [9, 10], "counts": [0, 90]},
        {"size": [10, 10], "counts": "P"},
        {"size": [10, 10], "counts": "é"},
        {"size": [10, 10], "counts": ""},
        {"counts": [100]},
        {"size": [10, 10]},
    ],
)
def test_an_unusable_segmentation_is_refused_with_a_next_step(segmentation):
    with pytest.raises(UserInput) as refused:
        from_coco_segmentation(segmentation, (10, 10))
    assert refused.value.hint


def test_no_masks_give_no_run_lengths():
    assert json.dumps(to_coco_rle(CropMasks.empty(), (5, 5))) == "[]"


def test_a_mask_that_leaves_the_image_is_our_bug():
    masks = CropMasks.from_crops([np.ones((2, 2), bool)], [(4, 0)])
    with pytest.raises(ValueError, match="leaves"):
        to_coco_rle(masks, (5, 5))


def test_a_mask_below_the_image_is_our_bug_too():
    masks = CropMasks.from_crops([np.ones((2, 2), bool)], [(0, 4)])
    with pytest.raises(ValueError, match="leaves"):
        to_coco_rle(masks, (5, 9))

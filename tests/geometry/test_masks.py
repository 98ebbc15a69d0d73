import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lsl_core.geometry.masks import (
    areas,
    areas_inside,
    clip,
    corners,
    pixel_boxes,
    shared_areas,
    trim_soft,
)
from lsl_core.types import CropMasks, SoftMasks

pixel_crops = hnp.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7)))
places = st.tuples(st.integers(-9, 12), st.integers(-9, 12))


def drawn(crop, xy, size=40, zero=10):
    image = np.zeros((size, size), crop.dtype)
    x, y = xy[0] + zero, xy[1] + zero
    image[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return image


@given(st.lists(st.tuples(pixel_crops, places), min_size=1, max_size=4))
def test_clipped_masks_are_the_same_pixels_inside_the_image(rows):
    masks = CropMasks.from_crops([crop for crop, _ in rows], [xy for _, xy in rows])
    clipped = clip(masks, (6, 8))
    assert (corners(clipped.crops)[:, :2] >= 0).all()
    assert (corners(clipped.crops)[:, 2:] <= (8, 6)).all()
    for i, (crop, xy) in enumerate(rows):
        inside = drawn(crop, xy)
        inside[:10] = inside[16:] = False
        inside[:, :10] = inside[:, 18:] = False
        assert np.array_equal(drawn(clipped.crop(i), clipped.crops[i, :2].tolist()), inside)


@given(pixel_crops, pixel_crops, st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_pixels_in_common_are_counted_as_on_the_whole_image(first, second, xy):
    masks = CropMasks.from_crops([first, second], [(0, 0), xy])
    boxes = corners(masks.crops)
    if not (boxes[1, :2] < boxes[0, 2:]).all():
        return
    pixels = [first.astype(np.uint8), second.astype(np.uint8)]
    expected = (drawn(first, (0, 0)) & drawn(second, xy)).sum()
    assert shared_areas(pixels, boxes, np.array([0]), np.array([1])).tolist() == [expected]
    assert areas(pixels).tolist() == masks.areas().tolist()
    inside = areas_inside(pixels, boxes, np.array([0]), boxes[1:])
    x, y = xy
    assert inside.tolist() == [first[y : y + second.shape[0], x : x + second.shape[1]].sum()]


def test_pixel_boxes_go_around_set_pixels_only():
    masks = CropMasks.from_crops([np.pad(np.ones((2, 3)), 4)], [(10, 20)])
    assert pixel_boxes(masks).tolist() == [[14, 24, 17, 26]]


def test_soft_masks_lose_the_borders_where_they_are_zero():
    soft = np.zeros((5, 6), np.uint8)
    soft[2, 3:5] = 7
    trimmed = trim_soft(
        SoftMasks.from_crops([soft, np.zeros((3, 3), np.uint8)], [(10, 20), (0, 0)])
    )
    assert trimmed.crops.tolist() == [[13, 22, 2, 1], [0, 0, 1, 1]]
    assert trimmed.crop(0).tolist() == [[7, 7]]

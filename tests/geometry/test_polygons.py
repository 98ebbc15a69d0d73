import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lsl_core.geometry.polygons import to_polygons
from lsl_core.types import CropMasks


def enclosed(ring):
    x, y = ring.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_outlines_less_holes_enclose_as_much_as_there_are_pixels(pixels):
    (parts,) = to_polygons(CropMasks.from_crops([pixels], [(30, 40)]))
    total = sum(enclosed(p.outline) - sum(enclosed(h) for h in p.holes) for p in parts)
    assert total == pytest.approx(pixels.sum())


def test_a_ring_has_one_outline_and_one_hole_in_image_pixels():
    ring = np.ones((5, 6), bool)
    ring[2:4, 1:3] = False
    ((part,),) = to_polygons(CropMasks.from_crops([ring], [(10, 20)]))
    assert sorted(part.outline.tolist()) == [[10, 20], [10, 25], [16, 20], [16, 25]]
    assert [sorted(hole.tolist()) for hole in part.holes] == [
        [[11, 22], [11, 24], [13, 22], [13, 24]]
    ]


def test_every_part_of_a_split_object_is_there():
    pixels = np.array([[1, 0, 1, 0, 1]], bool)
    (parts,) = to_polygons(CropMasks.from_crops([pixels], [(0, 0)]))
    assert len(parts) == 3


def test_a_tolerance_leaves_fewer_corners_and_nearly_the_area():
    disc = cv2.circle(np.zeros((201, 201), np.uint8), (100, 100), 90, 1, -1)
    masks = CropMasks.from_crops([disc], [(0, 0)])
    ((exact,),), ((simple,),) = to_polygons(masks), to_polygons(masks, tolerance=1.0)
    assert len(simple.outline) < len(exact.outline) / 4
    assert enclosed(simple.outline) == pytest.approx(enclosed(exact.outline), rel=0.02)


def test_a_mask_without_a_pixel_has_no_part():
    assert to_polygons(CropMasks.from_crops([np.zeros((3, 3))], [(0, 0)])) == [[]]

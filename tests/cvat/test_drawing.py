from __future__ import annotations

import numpy as np
import pytest
from cvat_sdk.masks import encode_mask
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lsl_core.cvat import CvatLabel, Drawing, FrameInfo, to_instances
from lsl_core.cvat.annotations.drawing import from_instances, lost_pixels
from lsl_core.cvat.tasks.entities import LabelAttribute
from lsl_core.cvat.tasks.label_matching import drawing_for
from lsl_core.geometry.drawable import within_image
from lsl_core.types import CropMasks, Instances, SoftMasks

ANY = CvatLabel(7, "cell", "any", "#f00")


def masked(full, *, at=(0, 0), hw=None):
    masks = CropMasks.from_crops([full], [at])
    hw = hw or full.shape
    box = np.array([[0, 0, hw[1], hw[0]]], np.float32)
    return Instances(box, np.array([0.75], np.float32), np.zeros(1, np.int32), masks, hw)


def draw(instances, drawing=Drawing.MASK, label=ANY, **more):
    inside = within_image(instances)
    return from_instances(inside, frame=3, labels={0: label}, drawings={0: drawing}, **more)


bitmaps = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda hw: arrays(bool, hw))


@given(bitmaps)
def test_a_mask_is_byte_for_byte_what_the_sdk_encodes(full):
    drawn = draw(masked(full))
    if not full.any():
        assert drawn == []
        return
    points = drawn[0][0]["points"]
    assert points == encode_mask(full)
    assert all(type(value) is int for value in points)


@given(bitmaps)
def test_pull_of_a_push_is_the_same_mask(full):
    frames, labels = [FrameInfo(3, "x.png", full.shape[1], full.shape[0])], [ANY]
    shapes = [{"id": i, **s} for i, parts in enumerate(draw(masked(full))) for s in parts]
    got = to_instances({"shapes": shapes}, frames, labels).frames[3].instances
    assert len(got) == int(full.any())
    for i in range(len(got)):
        x, y, w, h = got.masks.crops[i]
        back = np.zeros_like(full)
        back[y : y + h, x : x + w] = got.masks.crop(i)
        assert np.array_equal(back, full)


def test_a_shape_has_every_field_that_cvat_reads():
    label = CvatLabel(7, "cell", "mask", "#f00", (LabelAttribute(4, "kind", "text", "round", ()),))
    ((shape,),) = draw(masked(np.ones((3, 4), bool)), label=label)
    assert shape == {
        "type": "mask",
        "frame": 3,
        "label_id": 7,
        "points": [0, 12, 0, 0, 3, 2],
        "rotation": 0.0,
        "occluded": False,
        "outside": False,
        "z_order": 0,
        "group": 0,
        "source": "auto",
        "attributes": [{"spec_id": 4, "value": "round"}],
        "elements": [],
        "score": 0.75,
    }


def test_a_mask_that_leaves_the_image_is_cut_and_one_outside_is_gone():
    half = masked(np.ones((4, 4), bool), at=(8, -2), hw=(10, 10))
    assert draw(half)[0][0]["points"] == [0, 4, 8, 0, 9, 1]
    assert draw(masked(np.ones((4, 4), bool), at=(20, 20), hw=(10, 10))) == []


def test_boxes_are_cut_rounded_and_never_empty():
    boxes = np.array(
        [[-5, 1.23456, 7.1, 30], [3, 3, 3, 9], [12, 1, 14, 5], [np.nan, 0, 1, 1]], np.float32
    )
    boxes_only = Instances(boxes, np.ones(4, np.float32), np.zeros(4, np.int32), None, (10, 10))
    drawn = draw(boxes_only, Drawing.RECTANGLE)
    assert [parts[0]["points"] for parts in drawn] == [[0.0, 1.23, 7.1, 10.0]]


def test_a_mask_under_a_rectangle_label_is_the_box_around_its_pixels():
    full = np.zeros((10, 10), bool)
    full[2:5, 3:9] = True
    assert draw(masked(full), Drawing.RECTANGLE)[0][0]["points"] == [3.0, 2.0, 9.0, 5.0]


def test_a_mask_in_two_parts_becomes_two_polygons_of_one_group():
    full = np.zeros((10, 10), bool)
    full[1:3, 1:3] = full[5:9, 5:9] = True
    (parts,) = draw(masked(full), Drawing.POLYGON, first_group=8)
    assert [part["group"] for part in parts] == [8, 8]
    shapes = [{"id": i, **part} for i, part in enumerate(parts)]
    got = to_instances({"shapes": shapes}, [FrameInfo(3, "x", 10, 10)], [ANY]).frames[3]
    assert got.shape_ids == ((0, 1),)
    assert int(got.instances.masks.areas()[0]) == 20


def lost(full, *, tolerance=0.0):
    return lost_pixels(
        masked(full).masks, draw(masked(full), Drawing.POLYGON, tolerance=tolerance), full.shape
    )


def test_the_pixels_that_polygons_lose_are_counted():
    full = np.ones((10, 10), bool)
    full[4:6, 4:7] = False
    assert lost(full) == (1, 6)
    assert lost(np.ones((3, 3), bool)) == (0, 0)


def test_a_simpler_outline_has_fewer_corners_and_says_what_it_costs():
    rows, columns = np.mgrid[:41, :41]
    disc = (rows - 20) ** 2 + (columns - 20) ** 2 <= 18**2
    assert lost(disc) == (0, 0)
    ((exact,),), ((simple,),) = (
        draw(masked(disc), Drawing.POLYGON, tolerance=tolerance) for tolerance in (0.0, 1.5)
    )
    assert len(simple["points"]) < len(exact["points"]) / 2
    objects, pixels = lost(disc, tolerance=1.5)
    assert objects == 1
    assert 0 < pixels < 0.1 * disc.sum()


def test_an_object_that_was_a_rectangle_is_drawn_as_one_again():
    full = masked(np.ones((4, 4), bool), at=(2, 2), hw=(10, 10))
    box = np.array([[2.25, 2.0, 5.75, 6.0]], np.float32)
    source = Instances(box, full.scores, full.class_ids, full.masks, full.image_hw)
    ((shape,),) = draw(source, has_mask=np.array([False]))
    assert (shape["type"], shape["points"]) == ("rectangle", [2.25, 2.0, 5.75, 6.0])


def test_soft_masks_are_refused():
    soft = SoftMasks.from_crops([np.full((3, 3), 200, np.uint8)], [(0, 0)])
    one = np.ones(1, np.float32)
    found = Instances(np.zeros((1, 4), np.float32), one, np.zeros(1, np.int32), soft, (3, 3))
    with pytest.raises(ValueError, match="binary"):
        within_image(found)


@pytest.mark.parametrize(
    ("kind", "has_masks", "drawing"),
    [
        ("any", True, Drawing.MASK),
        ("any", False, Drawing.RECTANGLE),
        ("mask", True, Drawing.MASK),
        ("mask", False, None),
        ("rectangle", True, Drawing.RECTANGLE),
        ("rectangle", False, Drawing.RECTANGLE),
        ("polygon", True, Drawing.POLYGON),
        ("polygon", False, None),
        ("points", True, None),
        ("skeleton", True, None),
    ],
)
def test_the_label_says_what_can_be_drawn(kind, has_masks, drawing):
    label = CvatLabel(1, "x", kind, "#000")
    assert drawing_for(label, has_masks=has_masks) is drawing


def test_polygons_are_drawn_on_request_where_the_label_allows():
    assert drawing_for(ANY, has_masks=True, polygons=True) is Drawing.POLYGON
    only_masks = CvatLabel(1, "x", "mask", "#000")
    assert drawing_for(only_masks, has_masks=True, polygons=True) is Drawing.MASK

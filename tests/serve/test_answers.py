import json

import numpy as np
import pytest
from cvat_sdk.masks import encode_mask

from lsl_core.cvat.annotations.drawing import from_instances
from lsl_core.cvat.tasks.entities import CvatLabel
from lsl_core.geometry.drawable import Drawing, within_image
from lsl_core.serve import cvat_answer, drawing_of, label_specs
from lsl_core.types import CropMasks, Instances, Mode

from .fakes import card


def objects(*pixels, boxes=None, hw=(40, 50), masks=True):
    crops = CropMasks.from_crops(list(pixels), [(3, 4)] * len(pixels)) if masks else None
    n = len(pixels)
    boxes = np.array(boxes or [(3, 4, 3 + p.shape[1], 4 + p.shape[0]) for p in pixels], np.float32)
    scores = np.linspace(0.9, 0.5, n).astype(np.float32)
    return Instances(boxes.reshape(-1, 4), scores, np.zeros(n, np.int32), crops, hw)


def answer(found, drawing):
    return json.loads(cvat_answer(found, ("cell",), drawing))


def as_cvat_reads(mask):
    """Return the run lengths that CVAT stores for a mask of an answer."""
    *pixels, left, top, right, bottom = mask
    crop = np.array(pixels, bool).reshape(bottom - top + 1, right - left + 1)
    whole = np.zeros((40, 50), bool)
    whole[top : bottom + 1, left : right + 1] = crop
    return encode_mask(whole, [left, top, right + 1, bottom + 1])


def test_a_mask_with_a_hole_reaches_cvat_as_a_push_would_send_it():
    pixels = np.ones((12, 14), bool)
    pixels[4:7, 5:9] = False
    found = objects(pixels)
    label = CvatLabel(1, "cell", "mask", "#fff")
    ((pushed,),) = from_instances(
        within_image(found), frame=0, labels={0: label}, drawings={0: Drawing.MASK}
    )

    (shape,) = answer(found, Drawing.MASK)

    assert shape["type"] == "mask"
    assert as_cvat_reads(shape["mask"]) == pushed["points"]
    assert set(shape["mask"][:-4]) == {0, 1}
    assert shape["points"][:2] == [3, 4]
    assert shape["confidence"] == "0.9"


def test_an_object_of_two_parts_becomes_polygons_of_one_group():
    pixels = np.zeros((10, 10), bool)
    pixels[:3, :3] = pixels[6:, 6:] = True

    shapes = answer(objects(pixels, np.ones((4, 4), bool)), Drawing.POLYGON)

    assert [shape.get("group_id") for shape in shapes] == [1, 1, None]
    assert all(len(shape["points"]) == 8 for shape in shapes)


def test_boxes_go_as_rectangles_whatever_was_asked_for():
    found = objects(np.ones((2, 2), bool), boxes=[(1.234, -5, 30.5, 99)], masks=False)

    (shape,) = answer(found, Drawing.MASK)

    assert shape["type"] == "rectangle"
    assert shape["points"] == [1.23, 0, 30.5, 40]


def test_what_lies_outside_the_image_is_cut():
    pixels = np.ones((60, 10), bool)

    (shape,) = answer(objects(pixels), Drawing.MASK)

    assert shape["mask"][-4:] == [3, 4, 12, 39]
    assert len(shape["mask"]) == 36 * 10 + 4


def test_no_objects_are_an_empty_list():
    assert answer(Instances.empty((40, 50), masks=CropMasks.empty()), Drawing.MASK) == []


@pytest.mark.parametrize(
    ("mode", "drawing"), [(Mode.FSIS, Drawing.MASK), (Mode.FSOD, Drawing.RECTANGLE)]
)
def test_labels_are_offered_with_the_shape_the_mode_gives(mode, drawing):
    offered = card(mode=mode)

    assert drawing_of(offered) is drawing
    assert label_specs(offered.labels, drawing) == [
        {"id": 0, "name": "cell", "type": drawing.value},
        {"id": 1, "name": "dim cell", "type": drawing.value},
    ]

import math

import numpy as np
import pytest
from label_studio_converter.brush import decode_rle

from lsl_core.errors import LabelMismatch, UserInput
from lsl_core.geometry.coco import from_coco_segmentation
from lsl_core.labelstudio import config_for, encode_brush, parse_config, read_regions, regions_of
from lsl_core.types import CropMasks, Instances

HW = (100, 200)


def region(kind, value, **more):
    """Return a result as Label Studio stores it."""
    return {
        "id": "r1", "from_name": "label", "to_name": "image", "type": kind,
        "original_width": HW[1], "original_height": HW[0], "image_rotation": 0,
        "value": {**value, kind: ["bolt"]},
    } | more  # fmt: skip


def read_one(*arguments, **more):
    shapes, problems = read_regions([region(*arguments, **more)], HW)
    assert not problems
    (shape,) = shapes
    assert shape.label == "bolt"
    return shape


def pixels_of(segmentation):
    crop, (x, y) = from_coco_segmentation(segmentation, HW)
    whole = np.zeros(HW, bool)
    whole[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return whole


RECTANGLE = {"x": 10, "y": 20, "width": 25, "height": 30, "rotation": 0}


def test_percent_become_pixels():
    shape = read_one("rectanglelabels", RECTANGLE)
    assert shape.bbox == [20, 20, 50, 30]
    assert shape.segmentation == []


@pytest.mark.parametrize(
    ("degrees", "bbox"),
    [(90, [-10, 20, 30, 50]), (180, [-30, -10, 50, 30]), (270, [20, -30, 30, 50])],
)
def test_a_rectangle_turned_by_quarters_about_its_corner_is_a_box(degrees, bbox):
    shape = read_one("rectanglelabels", RECTANGLE | {"rotation": degrees})
    assert shape.bbox == pytest.approx(bbox)
    assert shape.segmentation == []


def test_a_rotated_rectangle_is_the_polygon_that_one_sees():
    shape = read_one(
        "rectanglelabels", {"x": 50, "y": 20, "width": 10, "height": 20, "rotation": 45}
    )
    corners = np.array(shape.segmentation[0]).reshape(4, 2)
    d = 20 / math.sqrt(2)
    expected = [[100, 20], [100 + d, 20 + d], [100, 20 + 2 * d], [100 - d, 20 + d]]
    assert corners == pytest.approx(np.array(expected))
    assert pixels_of(shape.segmentation).sum() == pytest.approx(400, rel=0.05)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_shapes_drawn_on_a_turned_view_lie_where_they_are_on_the_image(turn):
    pixels = np.zeros(HW, bool)
    pixels[20:50, 20:70] = True
    view = np.rot90(pixels, -turn // 90)  # clockwise, as the editor turns
    rows, columns = np.flatnonzero(view.any(1)), np.flatnonzero(view.any(0))
    h, w = view.shape
    x, y, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    value = {
        "x": 100 * x / w, "y": 100 * y / h,
        "width": 100 * (x1 - x) / w, "height": 100 * (y1 - y) / h, "rotation": 0,
    }  # fmt: skip
    box = read_one("rectanglelabels", value, image_rotation=turn)
    assert box.bbox == pytest.approx([20, 20, 50, 30])
    assert box.segmentation == []
    points = [[100 * a / w, 100 * b / h] for a, b in ((x, y), (x1, y), (x1, y1), (x, y1))]
    polygon = read_one("polygonlabels", {"points": points}, image_rotation=turn)
    assert (pixels_of(polygon.segmentation) == pixels).all()


def test_an_ellipse_has_its_area_and_its_turn():
    value = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 90}
    shape = read_one("ellipselabels", value)
    assert shape.bbox == pytest.approx([90, 10, 20, 80], abs=0.2)
    assert pixels_of(shape.segmentation).sum() == pytest.approx(math.pi * 40 * 10, rel=0.02)


def test_a_brush_mask_keeps_holes_and_parts():
    pixels = np.zeros(HW, bool)
    pixels[10:40, 20:90] = True
    pixels[20:30, 30:40] = False
    pixels[60:80, 150:200] = True
    crop = CropMasks.from_crops([pixels], [(0, 0)])
    shape = read_one("brushlabels", {"format": "rle", "rle": encode_brush(crop, 0, HW)})
    assert (pixels_of(shape.segmentation) == pixels).all()
    assert shape.bbox == [20, 10, 180, 70]


def test_generic_labels_are_read_by_their_shape():
    assert read_one("labels", RECTANGLE).segmentation == []
    triangle = {"points": [[0, 0], [50, 0], [0, 50]]}
    assert len(read_one("labels", triangle).segmentation[0]) == 6


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (region("rectanglelabels", RECTANGLE, original_width=99), "for an image of 99×100"),
        (region("rectanglelabels", RECTANGLE, image_rotation=45), "only quarters"),
        (region("rectanglelabels", {**RECTANGLE, "x": "left"}), "no number"),
        (region("rectanglelabels", {**RECTANGLE, "x": math.nan}), "no number"),
        (region("polygonlabels", {"points": [[1, 2], [3, 4]]}), "three points"),
        (region("polygonlabels", {"points": [[1, 2], [3, 4], [5]]}), "three points"),
        (region("brushlabels", {"rle": [1, 2]}), "cut off"),
        (region("labels", {}), "no rectangle"),
        (region("rectanglelabels", RECTANGLE) | {"value": RECTANGLE}, "no label"),
        (region("rectanglelabels", RECTANGLE) | {"value": None}, "no label"),
    ],
)
def test_a_region_that_cannot_be_used_is_left_out_alone(result, reason):
    shapes, problems = read_regions([result, region("rectanglelabels", RECTANGLE)], HW)
    assert len(shapes) == 1
    assert reason in problems[0]
    assert "r1" in problems[0]


def test_answers_to_questions_are_no_shapes():
    results = [{"type": "choices", "value": {"choices": ["good"]}}, {"type": "relation"}]
    assert read_regions(results, HW) == ([], [])


def found(masks=True):
    pixels = np.zeros((30, 40), bool)
    pixels[2:28, 2:38] = True
    pixels[10:20, 10:20] = False
    parts = np.zeros((10, 30), bool)
    parts[:, :10] = parts[:, 20:] = True
    crops = CropMasks.from_crops([pixels, parts], [(20, 10), (150, 80)])
    boxes = np.array([[22, 12, 58, 38], [150, 80, 180, 90]], np.float32)
    return Instances(
        boxes, np.array([0.9, 0.6], np.float32), np.array([0, 1], np.int32),
        crops if masks else None, HW,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["brushlabels", "polygonlabels", "rectanglelabels"])
def test_objects_come_back_as_they_went(kind):
    config = parse_config(config_for(["bolt", "nut & <co>"], kind))
    regions = regions_of(found(), ["bolt", "nut & <co>"], config)
    assert len({row["id"] for row in regions}) == len(regions)
    assert {row["type"] for row in regions} == {kind}
    assert regions[0]["score"] == pytest.approx(0.9)
    shapes, problems = read_regions(regions, HW)
    assert not problems
    assert {shape.label for shape in shapes} == {"bolt", "nut & <co>"}
    if kind == "rectanglelabels":
        assert [s.bbox for s in shapes] == [pytest.approx([22, 12, 36, 26]), [150, 80, 30, 10]]
        return
    assert len(shapes) == (2 if kind == "brushlabels" else 3)  # polygons: one for each part
    crop = found().masks.crop(0)
    whole = np.zeros(HW, bool)
    whole[10:40, 20:60] = crop
    if kind == "polygonlabels":
        whole[12:38, 22:58] = True  # and without holes
    assert (pixels_of(shapes[0].segmentation) == whole).all()


def test_a_brush_result_is_what_label_studio_paints():
    config = parse_config(config_for(["bolt", "nut"], "brushlabels"))
    regions = regions_of(found(), ["bolt", "nut"], config)
    layer = decode_rle(regions[1]["value"]["rle"]).reshape(*HW, 4)[:, :, 3]
    assert layer.max() == 255
    assert (layer > 0).sum() == 200
    assert layer[80:90, 150:160].all()
    assert not layer[80:90, 160:170].any()


def test_boxes_go_to_rectangles_and_nowhere_else():
    both = """<View><Image name="i" value="$picture"/>
      <BrushLabels name="b" toName="i"><Label value="bolt"/></BrushLabels>
      <RectangleLabels name="r" toName="i"><Label value="bolt"/></RectangleLabels></View>"""
    config = parse_config(both)
    assert config.image_key == "picture"
    regions = regions_of(found(masks=False), ["bolt", "nut"], config)
    assert [(row["from_name"], row["type"]) for row in regions] == [("r", "rectanglelabels")]
    only_brush = parse_config(config_for(["bolt"], "brushlabels"))
    with pytest.raises(LabelMismatch, match="no tool"):
        regions_of(found(masks=False), ["bolt"], only_brush)


def test_a_label_with_an_alias_is_found_by_what_people_see_too():
    config = parse_config("""<View><Image name="i" value="$image"/>
      <BrushLabels name="b" toName="i">
        <Label value="bolt" alias="b1"/><Label value="Nut" alias="nut"/>
      </BrushLabels></View>""")
    assert config.labels == ("b1", "nut")
    regions = regions_of(found(), ["bolt", "nut"], config)
    assert [row["value"]["brushlabels"] for row in regions] == [["b1"], ["nut"]]


def test_each_label_goes_to_the_tool_that_has_it():
    config = parse_config("""<View><Image name="i" value="$image"/>
      <BrushLabels name="other" toName="i"><Label value="dirt"/></BrushLabels>
      <RectangleLabels name="r" toName="i"><Label value="bolt"/><Label value="nut"/>
      </RectangleLabels>
      <BrushLabels name="b" toName="i"><Label value="bolt"/></BrushLabels></View>""")
    regions = regions_of(found(), ["bolt", "nut"], config)
    assert [(row["from_name"], row["type"]) for row in regions] == [
        ("b", "brushlabels"), ("r", "rectanglelabels"),
    ]  # fmt: skip
    with pytest.raises(LabelMismatch, match="none of the model's labels") as caught:
        regions_of(found(), ["cat", "dog"], config)
    assert "dirt, bolt, nut" in caught.value.hint


def test_labels_are_found_by_their_other_names_and_in_other_case():
    config = parse_config("""<View><Image name="i" value="$image"/>
      <PolygonLabels name="p" toName="i">
        <Label value="Screw" predicted_values="bolt, rivet"/><Label value="NUT"/>
      </PolygonLabels></View>""")
    regions = regions_of(found(), ["bolt", "nut"], config)
    assert {row["value"]["polygonlabels"][0] for row in regions} == {"Screw", "NUT"}
    with pytest.raises(LabelMismatch, match="none of the model's labels"):
        regions_of(found(), ["cat", "dog"], config)


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("<View", "no XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "document type"),
        ("<View/>", "no Image"),
        ('<View><Image name="i" value="$x"/></View>', "no RectangleLabels"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_named(xml, reason):
    with pytest.raises(UserInput, match=reason):
        parse_config(xml)

"""What CVAT's lambda manager does that the recordings do not show, by its code at 2.30 and later.

Read in cvat-ai/cvat, cvat/apps/lambda_manager/views.py (LambdaGateway, LambdaFunction,
DetectionResultConverter); the pictures are those that its frame provider hands over.
"""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from lsl_core.geometry.drawable import Drawing

from .fakes import BrightModel, image_with, png, ring


def ask(served, payload, name="cells", **headers):
    named = {"x-nuclio-function-name": name, "x-nuclio-path": "/", **headers}
    return served.client().post("/api/function_invocations", json=payload, headers=named)


def body(data, **more):
    return {"image": base64.b64encode(data).decode(), **more}


@pytest.fixture
def served(serve):
    served = serve()
    served.offer("cells")
    return served


def stored(shape, *, as_polygon):
    """Return type and points that CVAT stores for a shape of a detector's answer."""
    if shape["type"] == "mask" and as_polygon:
        return "polygon", shape["points"]
    if shape["type"] != "mask":
        return shape["type"], shape["points"]
    *pixels, left, top, right, bottom = shape["mask"]
    changes = np.flatnonzero(np.diff(pixels)) + 1
    runs = np.diff([0, *changes, len(pixels)]).tolist()
    if pixels[0]:
        runs = [0, *runs]  # the first run is background
    return "mask", [*runs, left, top, right, bottom]


@pytest.mark.parametrize(
    "rects",
    [[(7, 9, 1, 1)], [(0, 0, 1, 5)], [(119, 99, 1, 1)], [(0, 0, 120, 100)], [(3, 3, 9, 1)]],
    ids=str,
)
@pytest.mark.parametrize("as_polygon", [False, True])
def test_the_smallest_and_largest_objects_are_shapes_that_cvat_takes(served, rects, as_polygon):
    (shape,) = ask(served, body(png(image_with(*rects)))).json()

    kind, points = stored(shape, as_polygon=as_polygon)

    x, y, w, h = rects[0]
    if kind == "mask":
        assert points == [0, w * h, x, y, x + w - 1, y + h - 1]
    else:
        corners = np.reshape(points, (-1, 2))
        assert len(corners) >= 3
        assert corners.min(0).tolist() >= [x, y]
        assert corners.max(0).tolist() <= [x + w, y + h]


def pictures():
    """Return pictures of one ring as CVAT keeps them, by name; turned ones say so in EXIF."""
    rgb = Image.fromarray(ring())
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn to the right
    kinds = {
        "grey png": (rgb.convert("L"), {"format": "PNG"}),
        "palette png": (rgb.convert("P"), {"format": "PNG"}),
        "png with alpha": (rgb.convert("RGBA"), {"format": "PNG"}),
        "tiff": (rgb, {"format": "TIFF"}),
        "lzw tiff": (rgb, {"format": "TIFF", "compression": "tiff_lzw"}),
        "bmp": (rgb, {"format": "BMP"}),
        "webp": (rgb, {"format": "WEBP", "lossless": True}),
        "turned jpeg": (
            rgb.transpose(Image.Transpose.ROTATE_90),
            {"format": "JPEG", "quality": 100, "subsampling": 0, "exif": exif},
        ),
        "cmyk jpeg": (rgb.convert("CMYK"), {"format": "JPEG", "quality": 100}),
        "grey jpeg": (rgb.convert("L"), {"format": "JPEG", "quality": 100}),
    }
    for name, (image, how) in kinds.items():
        file = io.BytesIO()
        image.save(file, **how)
        yield pytest.param(file.getvalue(), id=name)


@pytest.mark.parametrize("data", pictures())
def test_every_kind_of_picture_that_cvat_hands_over_shows_the_same_object(served, data):
    (expected,) = ask(served, body(png(ring()))).json()

    (shape,) = ask(served, body(data)).json()

    assert shape["mask"][-4:] == expected["mask"][-4:]
    assert np.mean(np.not_equal(shape["mask"][:-4], expected["mask"][:-4])) < 0.02


def test_what_cvat_lists_is_text_that_nuclio_could_have_written(serve):
    served = serve()
    served.offer("Zellen (größer), 細胞", BrightModel(labels=("Zelle", "dunkle Zelle", "細胞")))

    listed = served.client().get("/api/functions").json()

    assert len(listed) == 2
    for name, function in listed.items():
        assert name == function["metadata"]["name"]
        assert re.fullmatch(r"[a-zA-Z0-9_.-]+", name)  # the route of CVAT's own API
        annotations = function["metadata"]["annotations"]
        assert all(isinstance(value, str) for value in annotations.values())
        spec = json.loads(annotations["spec"])
        if annotations["type"] == "interactor":
            assert bool(annotations["startswith_box_optional"])
            assert "startswith_box" not in annotations  # CVAT would take "false" for true
        else:
            assert [label["name"] for label in spec] == ["Zelle", "dunkle Zelle", "細胞"]
            assert {label["type"] for label in spec} == {"mask"}
            assert not any(label.get("attributes") for label in spec)


def test_a_service_without_offers_is_an_empty_nuclio(serve):
    answer = serve().client().get("/api/functions")

    assert (answer.status_code, answer.json()) == (200, {})


@pytest.mark.parametrize("timeout", ["120s", "30s", "2m", "", "soon", "-1s", "inf", "nan"])
def test_the_time_that_cvat_waits_is_no_reason_to_fail(served, timeout):
    answer = ask(served, body(png(ring())), **{"X-Nuclio-Invoke-Timeout": timeout})

    assert answer.status_code == 200


@pytest.mark.parametrize("threshold", [None, 0, 0.0, 1, 0.25])
def test_any_threshold_that_cvat_can_send_is_taken(served, threshold):
    assert ask(served, body(png(ring()), threshold=threshold)).status_code == 200


def test_a_call_of_another_kind_than_the_function_is_no_fault_of_ours(served):
    tracking = body(png(ring()), shapes=[[1, 1, 5, 5]], states=[])
    matching = {"image0": "", "image1": "", "boxes0": [], "boxes1": []}

    assert ask(served, tracking).status_code == 200
    assert ask(served, matching).status_code == 422


CLICKS = [
    {"pos_points": [[25.4, 33.9]], "neg_points": [], "obj_bbox": None},
    {"pos_points": [], "neg_points": [], "obj_bbox": [[18.5, 28.25], [62, 72]]},
    {"pos_points": [[25, 35], [55, 65]], "neg_points": [[40, 50]], "obj_bbox": [[1, 1], [90, 90]]},
    {"pos_points": [[-3.2, 400]], "neg_points": [], "obj_bbox": None},
    {"pos_points": [[90, 10]], "neg_points": []},
]


@pytest.mark.parametrize("clicks", CLICKS, ids=str)
def test_clicks_become_a_mask_that_cvats_page_draws(served, clicks):
    answer = ask(served, body(png(ring()), **clicks), "cells-by-click").json()

    mask = np.array(answer["mask"])  # rows of equal length, or this is no array of numbers
    left, top, right, bottom = answer["bounds"]
    assert mask.shape == (bottom - top + 1, right - left + 1)
    assert set(np.unique(mask)) <= {0, 1}
    assert mask.any()
    assert 0 <= left <= right < 120
    assert 0 <= top <= bottom < 100
    corners = np.array(answer["points"])
    assert corners.shape == (len(corners), 2)
    assert len(corners) >= 3
    assert (corners >= [left, top]).all()
    assert (corners <= [right + 1, bottom + 1]).all()


@pytest.mark.parametrize("drawing", [Drawing.POLYGON, Drawing.RECTANGLE])
def test_shapes_other_than_masks_have_the_numbers_that_their_kind_needs(serve, drawing):
    served = serve()
    served.offer("cells", drawing=drawing)

    shapes = ask(served, body(png(image_with((3, 4, 1, 1), (40, 40, 20, 30))))).json()

    assert len(shapes) == 2
    for shape in shapes:
        assert "mask" not in shape
        assert shape["type"] == drawing.value
        assert len(shape["points"]) >= (4 if drawing is Drawing.RECTANGLE else 6)
        assert len(shape["points"]) % 2 == 0

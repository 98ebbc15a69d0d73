"""What CVAT sends to a Nuclio, as it was recorded, and what it makes of the answer."""

import base64
import json

import numpy as np
import pytest

from lsl_core.geometry.drawable import Drawing

from .fakes import POISON, BrightModel, image_with, png, ring

#: Names of the recorded stand-in's functions, and which of ours takes their place.
OURS = {
    "det-mask": "det-mask",
    "det-any": "det-any",
    "det-fail": "det-fail",
    "inter": "det-mask-by-click",
    "nope": "nope",
}


@pytest.fixture
def served(serve):
    served = serve()
    served.offer("det mask")
    served.offer("det any")
    served.offer("det fail")
    return served


def recorded(shared, version):
    folder = shared / "cvat-contract" / f"{version}-nuclio"
    found = sorted(folder.glob("gw_*.json"))
    assert found
    return [json.loads(path.read_text("utf-8")) for path in found]


def with_image(body, pixels):
    """Put an image in the place of one that was recorded by its length only."""
    return {**body, "image": base64.b64encode(png(pixels)).decode()}


def check_description(function):
    """Read a function as CVAT does; whatever CVAT needs has to be there."""
    annotations = function["metadata"]["annotations"]
    labels = json.loads(annotations["spec"])
    names = [label["name"] for label in labels]
    assert function["metadata"]["name"]
    assert annotations["type"] in ("detector", "interactor")
    assert function["spec"]["description"]
    assert isinstance(function["status"]["httpPort"], int)
    assert function["status"]["state"] == "ready"
    assert len(set(names)) == len(names)
    if annotations["type"] == "interactor":
        for key in ("min_pos_points", "min_neg_points", "version"):
            int(annotations[key])
    return {label["name"]: label["type"] for label in labels}


def check_shapes(shapes, labels):
    for shape in shapes:
        assert labels[shape["label"]] == shape["type"]
        *pixels, left, top, right, bottom = shape["mask"]
        assert set(pixels) <= {0, 1}
        assert len(pixels) == (right - left + 1) * (bottom - top + 1)
        assert len(shape["points"]) >= 6


@pytest.mark.parametrize("version", ["2.30.0", "2.39.0"])
def test_every_recorded_request_of_a_real_cvat_is_answered(served, shared, version):
    functions = served.client().get("/api/functions").json()
    labels = {name: check_description(function) for name, function in functions.items()}
    last = ""
    seen = {"functions": 0, "detected": 0, "clicked": 0, "failed": 0}
    for exchange in recorded(shared, version):
        asked, answered = exchange["request"], exchange["response"]
        client = served.client(exchange["port"])
        headers = {k: v for k, v in asked["headers"].items() if k != "content-type"}
        if asked["method"] == "GET":
            last = OURS.get(asked["path"].rpartition("/")[2], "")
            path = f"/api/functions/{last}" if last else asked["path"]
            answer = client.get(path, headers=headers)
            assert answer.status_code == answered["status"]
            if answer.status_code == 200 and last:
                check_description(answer.json())
                seen["functions"] += 1
            continue
        name = "det-mask-by-click" if "pos_points" in asked["body"] else last
        direct = served.client(functions[name]["status"]["httpPort"])
        if answered["status"] == 500:
            broken = image_with((3, 3, 9, 9))
            broken[0, 0] = POISON
            answer = direct.post("/", json=with_image(asked["body"], broken), headers=headers)
            assert answer.status_code == 500
            seen["failed"] += 1
            continue
        answer = direct.post("/", json=with_image(asked["body"], ring()), headers=headers)
        assert answer.status_code == 200
        if "pos_points" in asked["body"]:
            found = answer.json()
            left, top, right, bottom = found["bounds"]
            assert np.array(found["mask"]).shape == (bottom - top + 1, right - left + 1)
            seen["clicked"] += 1
        else:
            assert len(answer.json()) == 1
            check_shapes(answer.json(), labels[name])
            seen["detected"] += 1

    assert seen["functions"] >= 10
    assert seen["detected"] >= 15
    assert seen["clicked"] == 1
    assert seen["failed"] >= 2


def ask(served, payload, name="det-mask", **headers):
    """Call by the dashboard, as CVAT on Kubernetes does."""
    named = {"x-nuclio-function-name": name, "x-nuclio-path": "/", **headers}
    return served.client().post("/api/function_invocations", json=payload, headers=named)


def test_both_ways_to_call_give_the_same_answer(served):
    payload = with_image({"threshold": 0.5}, ring())
    port = served.client().get("/api/functions/det-mask").json()["status"]["httpPort"]

    assert ask(served, payload).content == served.client(port).post("/", json=payload).content


def test_a_hole_survives_the_way_to_cvat(served):
    (shape,) = ask(served, with_image({}, ring())).json()

    *pixels, left, top, right, bottom = shape["mask"]
    crop = np.array(pixels).reshape(bottom - top + 1, right - left + 1)
    assert (left, top, right, bottom) == (20, 30, 59, 69)
    assert crop[15:25, 15:25].sum() == 0
    assert crop.sum() == 1500


def test_the_threshold_of_cvat_wins_and_the_models_own_counts_without_one(served):
    pixels = image_with((10, 10, 5, 6))
    pixels[50:60, 50:60] = 100

    labels = [
        [shape["label"] for shape in ask(served, with_image(body, pixels)).json()]
        for body in ({}, {"threshold": 0.3}, {"threshold": 0.95}, {"threshold": None})
    ]

    assert labels == [["cell"], ["cell", "dim cell"], [], ["cell"]]


@pytest.mark.parametrize("drawing", list(Drawing))
def test_a_model_is_offered_with_the_shape_that_was_chosen(serve, drawing):
    served = serve()
    served.offer("cells", drawing=drawing)

    (function,) = [
        f for n, f in served.client().get("/api/functions").json().items() if n == "cells"
    ]
    shapes = ask(served, with_image({}, ring()), "cells").json()

    assert set(check_description(function).values()) == {drawing.value}
    assert {shape["type"] for shape in shapes} == {drawing.value}


@pytest.mark.parametrize(
    "box", [[[18, 28], [62, 72]], [18, 28, 62, 72], [[62, 72], [18, 28]]], ids=str
)
def test_a_box_alone_is_enough_for_the_interactor(served, box):
    payload = with_image({"pos_points": [], "neg_points": [], "obj_bbox": box}, ring())

    answer = ask(served, payload, "det-mask-by-click").json()

    assert answer["bounds"] == [20, 30, 59, 69]


def test_a_model_of_boxes_has_no_interactor(serve):
    served = serve()
    served.offer("boxes", BrightModel(mode="fsod"))

    assert list(served.client().get("/api/functions").json()) == ["boxes"]


@pytest.mark.parametrize(
    ("payload", "status", "text"),
    [
        ({}, 422, "no image"),
        ({"image": 5}, 422, "no image"),
        ({"image": "?!"}, 422, "base64"),
        ({"image": ""}, 422, "no image that can be read"),
        ({"image": base64.b64encode(b"GIF89a").decode()}, 422, "no image"),
        ({"image": base64.b64encode(png(ring())[:150]).decode()}, 422, "cut off"),
        (with_image({"threshold": "x"}, ring()), 422, "threshold"),
        (with_image({"threshold": 7}, ring()), 422, "threshold"),
        ([1, 2], 422, "JSON object"),
        (with_image({}, np.zeros((1001, 1000, 3), np.uint8)), 413, "1000×1001"),
    ],
)
def test_what_cannot_be_answered_says_why(served, payload, status, text):
    answer = ask(served, payload)

    assert answer.status_code == status
    assert text in answer.json()["error"]


@pytest.mark.parametrize(
    "points", [{"pos_points": 5}, {"pos_points": [[1]]}, {"obj_bbox": [[1, 2]]}, {}]
)
def test_clicks_that_are_none_say_why(served, points):
    answer = ask(served, with_image(points, ring()), "det-mask-by-click")

    assert answer.status_code == 422
    assert answer.json()["error"]


def test_an_unknown_function_and_an_unused_port_are_not_found(served):
    assert ask(served, {}, "nope").status_code == 404
    assert served.client(9999).post("/", json={}).status_code == 404


def test_a_body_that_is_no_json_says_so(served):
    answer = served.client(8071).post("/", content=b"\x00\xff")

    assert answer.status_code == 422
    assert "JSON" in answer.json()["error"]

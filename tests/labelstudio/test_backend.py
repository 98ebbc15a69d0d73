"""The ML backend as Label Studio calls it."""

import json
import socket
from dataclasses import asdict

import numpy as np
import pytest
from label_studio_converter.brush import decode_rle
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import PredictionValue
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from lsl_core.labelstudio import LabelStudio, config_for
from lsl_core.serve import label_studio
from lsl_core.serve.access import Access
from lsl_core.serve.detector import Detector
from lsl_core.serve.label_studio import Backend, main
from lsl_core.serve.shelf import Live, Shelf
from lsl_core.services import activity
from lsl_core.services.labelstudio.backend import BackendSettings
from lsl_core.services.serving.offers import Offer
from lsl_core.types import Mode
from lsl_core.workspace import Workspace
from tests.labelstudio.fake import TOKEN, FakeLabelStudio
from tests.serve.fakes import POISON, BrightModel, image_with, looks, png, ring

LABELS = ["cell", "dim cell"]
BRUSH = config_for(LABELS, "brushlabels")


@pytest.fixture
def fake():
    with FakeLabelStudio() as made:
        yield made


@pytest.fixture
def backend(fake, tmp_path):
    workspace = Workspace.create(tmp_path / "w", mode=Mode.FSIS)
    shelf = Shelf(workspace, 10**6, lambda: [])
    shelf._live["cells"] = Live(
        Offer("cells"), Detector(BrightModel(), looks(BrightModel(), max_pixels=10**5)), since=1.0
    )
    with LabelStudio(fake.url, TOKEN) as server:
        yield Backend(workspace, server, shelf, Access(), "cells")
    shelf.close()


@pytest.fixture
def ask(backend):
    client = TestClient(backend.app(), client=("127.0.0.1", 5000))

    def post(path, body):
        answer = client.post(path, json=body)
        return answer.status_code, answer.json()

    return post


def tasks_of(fake, *images):
    number = fake.add_project(BRUSH, *((f"{i}.png", data, []) for i, data in enumerate(images)))
    return fake.tasks[number]


def request(tasks, config=BRUSH):
    """Return what Label Studio sends: label_studio/ml/api_connector.py, make_predictions."""
    return {
        "tasks": tasks, "model_version": None, "project": "1.1700000000", "label_config": config,
        "params": {"login": None, "password": None, "context": None},
    }  # fmt: skip


def test_it_is_up_and_says_which_version_answers(backend):
    with TestClient(backend.app(), client=("127.0.0.1", 5000)) as client:
        for path in ("/", "/health"):
            assert client.get(path).json()["status"] == "UP"
            assert client.get(path).json()["model_version"] == "cells-v1"


def test_setup_tells_whether_the_model_fits_the_project(ask):
    body = {"project": "1.17", "hostname": "http://x", "access_token": "t"}
    assert ask("/setup", body | {"schema": BRUSH}) == (200, {"model_version": "cells-v1"})
    status, said = ask("/setup", body | {"schema": config_for(["cat"], "brushlabels")})
    assert status == 422
    assert "none of the model's labels" in said["error"]
    status, said = ask("/setup", body | {"schema": "<View/>"})
    assert (status, "no Image" in said["error"]) == (422, True)


def test_a_prediction_is_painted_with_its_hole(fake, ask):
    status, said = ask("/predict", request(tasks_of(fake, png(ring()))))
    assert (status, said["model_version"]) == (200, "cells-v1")
    (prediction,) = said["results"]
    assert prediction["score"] == pytest.approx(0.9)
    (region,) = prediction["result"]
    assert (region["from_name"], region["to_name"]) == ("label", "image")
    assert region["value"]["brushlabels"] == ["cell"]
    layer = decode_rle(region["value"]["rle"]).reshape(100, 120, 4)[:, :, 3] > 0
    assert layer.sum() == 40 * 40 - 10 * 10
    assert not layer[45:55, 35:45].any()


def pointing(kind, value, **more):
    """Return what the editor sends of a smart tool, as Label Studio 1.23.2 does."""
    return {
        "original_width": 120, "original_height": 100, "image_rotation": 0,
        "value": {**value, kind: ["dim cell"]}, "id": "vv0b_kziRQ", "from_name": "smart",
        "to_name": "image", "type": kind, "origin": "manual",
    } | more  # fmt: skip


def point(x, y, *, positive=True, **more):
    value = {"x": x / 1.2, "y": y, "width": 0.2, "labels": ["dim cell"]}
    return pointing("keypointlabels", value, is_positive=positive, **more)


def selected(ask, task, *results):
    """Return the mask of the answer to what was pointed at, (100, 120) bool."""
    body = request([task])
    body["params"]["context"] = {"result": list(results)}
    _, said = ask("/predict", body)
    ((region,),) = [row["result"] for row in said["results"]]
    assert (region["from_name"], region["value"]["brushlabels"]) == ("label", ["dim cell"])
    return decode_rle(region["value"]["rle"]).reshape(100, 120, 4)[:, :, 3] > 0


def test_what_somebody_points_at_comes_alone_with_the_label_it_is_to_have(fake, ask):
    (task,) = tasks_of(fake, png(image_with((10, 10, 20, 20), (60, 40, 30, 40))))
    first, second = image_with((10, 10, 20, 20)), image_with((60, 40, 30, 40))
    assert (selected(ask, task, point(15, 15)) == (first[:, :, 0] > 0)).all()
    box = {"x": 50, "y": 38, "width": 26, "height": 45, "rotation": 0}
    found = selected(ask, task, pointing("rectanglelabels", box))
    assert (found == (second[:, :, 0] > 0)).all()
    both = selected(ask, task, point(15, 15), point(70, 60))
    assert both.sum() == 20 * 20 + 30 * 40
    without = selected(ask, task, point(65, 45), point(85, 75, positive=False))
    assert without[45, 65]
    assert not without[75, 85]


def test_what_is_pointed_at_on_a_turned_view_is_found_on_the_image(fake, ask):
    (task,) = tasks_of(fake, png(image_with((10, 10, 20, 20), (60, 40, 30, 40))))
    # a quarter to the right: x is from the image's lower border, y from its left one
    value = {"x": 100 - 60, "y": 70 / 1.2, "width": 0.2}
    found = selected(ask, task, pointing("keypointlabels", value, image_rotation=90))
    assert found.sum() == 30 * 40


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([point(5, 5, positive=False)], "Nothing was pointed at"),
        ([{"type": "choices", "value": {"choices": ["good"]}}], "Nothing was pointed at"),
        ([point(5, 5, original_width=None)], "of which size"),
        ([{**point(5, 5), "value": {"x": 1, "y": 1}}], "no label"),
        ([pointing("keypointlabels", {"x": "1", "y": 2})], "no number"),
    ],
)
def test_what_points_at_nothing_is_refused(fake, ask, results, reason):
    body = request(tasks_of(fake, png(ring())))
    body["params"]["context"] = {"result": results}
    status, said = ask("/predict", body)
    assert (status, reason in said["error"]) == (422, True)


def test_without_anything_pointed_at_everything_is_found(fake, ask):
    body = request(tasks_of(fake, png(image_with((10, 10, 20, 20), (60, 40, 30, 40)))))
    for context in (None, {}, {"result": []}):
        body["params"]["context"] = context
        _, said = ask("/predict", body)
        assert len(said["results"][0]["result"]) == 2


def test_polygons_and_rectangles_where_the_project_has_no_brush(fake, ask):
    tasks = tasks_of(fake, png(image_with((30, 20, 60, 40))))
    _, said = ask("/predict", request(tasks, config_for(LABELS, "rectanglelabels")))
    value = said["results"][0]["result"][0]["value"]
    assert (value["x"], value["y"], value["width"], value["height"]) == (25, 20, 50, 40)
    _, said = ask("/predict", request(tasks, config_for(LABELS, "polygonlabels")))
    points = np.array(said["results"][0]["result"][0]["value"]["points"])
    assert points.min(0).tolist() == [25, 20]
    assert points.max(0).tolist() == [75, 60]


def test_one_bad_image_is_an_error_of_its_task_alone(fake, ask):
    good = png(ring())
    tasks = tasks_of(fake, good, b"no image", good[:300], png(image_with(hw=(400, 400))), good)
    tasks = [*tasks, {"id": 1, "data": {"image": "http://10.0.0.1/a.png"}}, {"id": 2, "data": {}}]
    status, said = ask("/predict", request(tasks))
    assert status == 200
    assert ["result" in row for row in said["results"]] == [True, False, False, False, True] + [
        False
    ] * 2
    reasons = ("no image that can be read", "cut off", "at most 100,000", "10.0.0.1", "no address")
    errors = [row["error"] for row in said["results"] if "error" in row]
    assert all(reason in error for reason, error in zip(reasons, errors, strict=True))


def test_what_there_is_no_time_for_is_left_to_the_next_request(fake, ask, monkeypatch, caplog):
    """Label Studio sends all tasks at once, and takes nothing of an answer after 100 s."""
    tasks = tasks_of(fake, *[png(ring())] * 3)
    monkeypatch.setattr(label_studio, "_TIMEOUT_S", 0.0)
    _, said = ask("/predict", request(tasks))
    assert ["no time left" in row.get("error", "") for row in said["results"]] == [True] * 3
    assert [call for call in fake.calls if "/data/" in call[1]] == []  # and nothing is fetched
    assert [record.message for record in caplog.records] == [
        "3 tasks had no time left: retrieve predictions again."
    ]
    monkeypatch.undo()
    _, said = ask("/predict", request(tasks))
    assert ["result" in row for row in said["results"]] == [True] * 3


def test_a_failure_of_ours_is_an_error_of_its_task_alone(fake, ask):
    poisoned = png(np.full((64, 64, 3), POISON, np.uint8))
    _, said = ask("/predict", request(tasks_of(fake, poisoned, png(ring()))))
    assert ["error" in row for row in said["results"]] == [True, False]
    assert "poisoned" not in said["results"][0]["error"]


def test_an_image_with_nothing_on_it_is_an_empty_prediction(fake, ask):
    _, said = ask("/predict", request(tasks_of(fake, png(image_with()))))
    assert said["results"] == [{"result": [], "score": 0.0, "model_version": "cells-v1"}]


@pytest.mark.parametrize(
    ("body", "reason"),
    [({}, "no tasks"), ({"tasks": [1]}, "no tasks"), ({"tasks": []}, "no label configuration")],
)
def test_a_request_that_is_none_is_refused_with_a_reason(ask, body, reason):
    status, said = ask("/predict", body)
    assert status == 422
    assert reason in said["error"]


def test_training_is_one_run_in_the_worker_however_often_it_is_asked(backend, ask):
    event = {"action": "START_TRAINING", "project": {"id": 5}}
    status, said = ask("/webhook", event)
    assert status == 201
    assert ask("/webhook", event) == (201, said)
    assert ask("/train", {"annotations": [], "project": "5.1700000000"}) == (201, said)
    (run,) = activity.list_runs(backend.workspace)
    assert (run.id, run.kind) == (said["job"], "train")
    assert run.subject == "cells on Label Studio project 5"


def test_an_annotation_alone_trains_nothing(backend, ask):
    body = {"action": "ANNOTATION_CREATED", "project": {"id": 5}}
    assert ask("/webhook", body) == (201, {})
    assert activity.list_runs(backend.workspace) == []
    assert ask("/train", {"project": "five"})[0] == 422


def test_others_need_the_password_that_label_studio_was_given(backend):
    backend.access = Access.of(host="0.0.0.0", allow=[], token="sesame-open-sesame")
    client = TestClient(backend.app(), client=("10.1.2.3", 5000))
    assert client.get("/health").status_code == 401
    assert client.get("/health", auth=("lsl", "wrong")).status_code == 401
    assert client.get("/health", auth=("lsl", "sesame-open-sesame")).status_code == 200
    broken = {"Authorization": "Basic %%%"}
    assert client.get("/health", headers=broken).status_code == 401


def test_a_port_that_is_taken_is_said_before_anything_else(backend, tmp_path, capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = BackendSettings("cells", port=taken.getsockname()[1])
        (tmp_path / "s.json").write_text(json.dumps(asdict(wanted)))
        assert main(backend.workspace.root, tmp_path / "s.json") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert f"Nothing can listen on port {wanted.port}" in err


def test_label_studios_own_types_take_the_predictions(fake, ask):
    """`results` are what `label_studio_ml.response.ModelResponse` holds: the SDK's predictions."""
    holes, parts = png(ring()), png(image_with((5, 5, 20, 20), (60, 50, 30, 20)))
    tasks = tasks_of(fake, holes, parts, png(image_with()))
    for kind in ("brushlabels", "polygonlabels", "rectanglelabels"):
        config = config_for(LABELS, kind)
        _, said = ask("/predict", request(tasks, config))
        interface = LabelInterface(config)
        predictions = TypeAdapter(list[PredictionValue]).validate_python(said["results"])
        assert [len(one.result) for one in predictions] == [1, 2, 0]
        assert {one.model_version for one in predictions} == {"cells-v1"}
        for prediction in predictions:
            sent = json.loads(prediction.model_dump_json())
            assert interface.validate_prediction(sent, return_errors=True) == []


def test_label_studios_own_types_refuse_what_is_no_prediction(fake, ask):
    """So that the test above can fail: a wrong tool, a label of nobody, a coordinate outside."""
    config = config_for(LABELS, "rectanglelabels")
    _, said = ask("/predict", request(tasks_of(fake, png(ring())), config))
    interface = LabelInterface(config)
    for spoil in (
        lambda region: region | {"from_name": "nobody"},
        lambda region: region | {"type": "polygonlabels"},
        lambda region: region | {"value": region["value"] | {"x": 101}},
        lambda region: region | {"value": region["value"] | {"rectanglelabels": ["cat"]}},
    ):
        prediction = said["results"][0]
        spoilt = prediction | {"result": [spoil(region) for region in prediction["result"]]}
        assert interface.validate_prediction(spoilt, return_errors=True)

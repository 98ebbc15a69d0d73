"""Clicks that a pretrained segmenter answers, through the gateway and the shelf."""

import base64
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lsl_core.errors import UserInput, WeightsMissing
from lsl_core.models import save_model
from lsl_core.models.foundation.selector import Selector
from lsl_core.serve.cvat_function import SelectFunction
from lsl_core.serve.interactor import Prompt
from lsl_core.serve.selecting import _window_of, select_by
from lsl_core.serve.shelf import Shelf
from lsl_core.services.serving import offers
from lsl_core.services.serving.offers import Offer
from lsl_core.types import Mode, SlideWindows, Window
from lsl_core.workspace import Workspace
from tests.tiny import NAMES

from .fakes import BrightModel, card, png, ring


@pytest.fixture
def selector(shelf):
    return Selector.open(shelf / NAMES["sam2"])


def counted(selector, monkeypatch):
    encode, seen = selector._segmenter.encode, []
    monkeypatch.setattr(
        selector._segmenter, "encode", lambda w: seen.extend(x.shape[:2] for x in w) or encode(w)
    )
    return seen


def asked(pixels, **prompt):
    return {"image": base64.b64encode(png(pixels)).decode(), **prompt}


def test_clicks_and_boxes_are_answered_through_the_gateway_from_one_look(
    serve, selector, monkeypatch
):
    seen = counted(selector, monkeypatch)
    served = serve()
    served.offer("boxes", BrightModel(mode="fsod"), selector=selector)
    client = served.client()
    functions = client.get("/api/functions").json()
    assert functions["boxes-by-click"]["metadata"]["annotations"]["type"] == "interactor"
    port = functions["boxes-by-click"]["status"]["httpPort"]
    for prompt in (
        {"pos_points": [[25, 35]], "neg_points": []},
        {"pos_points": [[25, 35], [50, 40]], "neg_points": [[100, 90]]},
        {"pos_points": [], "neg_points": [], "obj_bbox": [[18, 28], [62, 72]]},
    ):
        answer = served.client(port).post("/", json=asked(ring(), **prompt))
        assert answer.status_code == 200, answer.text
        found = answer.json()
        left, top, right, bottom = found["bounds"]
        mask = np.zeros((100, 120), bool)
        mask[top : bottom + 1, left : right + 1] = found["mask"]
        assert mask.any()
        assert all(mask[y, x] for x, y in prompt["pos_points"])
        assert not any(mask[y, x] for x, y in prompt["neg_points"])
    assert seen == [(100, 120)]
    assert served.models["boxes"].batches == [], "the model itself was not asked"


@pytest.mark.parametrize(
    ("payload", "status", "reason"),
    [
        (asked(ring()), 422, "pointed at"),
        (asked(np.zeros((1001, 1000, 3), np.uint8), pos_points=[[1, 1]]), 413, "1000×1001"),
        (
            {"image": base64.b64encode(png(ring())[:99]).decode(), "pos_points": [[1, 1]]},
            422,
            "cut",
        ),
    ],
)
def test_what_a_segmenter_cannot_answer_says_why(serve, selector, payload, status, reason):
    served = serve()
    served.offer("cells", selector=selector)
    port = served.service.ports["cells-by-click"]
    answer = served.client(port).post("/", json=payload)
    assert answer.status_code == status
    assert reason in answer.json()["error"]


def test_an_agent_draws_what_the_gateway_draws(serve, selector):
    served = serve()
    served.offer("cells", selector=selector)
    detector = served.shelf.all()[0].detector
    function = SelectFunction(detector, None, selector)
    prompts = SimpleNamespace(pos_points=[(25, 35)], neg_points=[(50, 40)], bounding_box=None)
    (shape,) = function.detect(
        None, function.preprocess_image(None, Image.fromarray(ring())), prompts
    )
    payload = asked(ring(), pos_points=[[25, 35]], neg_points=[[50, 40]])
    port = served.service.ports["cells-by-click"]
    found = served.client(port).post("/", json=payload).json()
    *runs, left, top, right, bottom = map(int, shape.points)
    assert [left, top, right, bottom] == found["bounds"]
    values = np.arange(len(runs)) % 2
    assert np.repeat(values, runs).tolist() == np.ravel(found["mask"]).tolist()


def test_with_windows_it_looks_at_the_one_around_the_click_again_and_again(
    serve, selector, monkeypatch
):
    seen = counted(selector, monkeypatch)
    served = serve()
    served.offer("cells", selector=selector)
    detector = served.shelf.all()[0].detector
    slide = SlideWindows(64, 64, 16)
    data = png(ring(hw=(100, 120)))
    for point in ((90, 80), (95, 70), (5, 5)):
        mask = select_by(selector, detector, data, Prompt((point,)), slide=slide)
        x, y, w, h = mask.crops[0].tolist()
        assert x <= point[0] < x + w
        assert y <= point[1] < y + h
    assert seen == [(64, 64), (64, 64)]


@pytest.mark.parametrize(
    ("prompt", "window"),
    [
        (Prompt(((10, 10),)), Window(0, 0, 64, 64)),
        (Prompt(((60, 10),)), Window(48, 0, 64, 64)),
        (Prompt(box=(50, 5, 110, 60)), Window(48, 0, 64, 64)),
        (Prompt(((10, 10), (190, 90))), Window(0, 0, 200, 100)),
    ],
)
def test_the_window_shows_the_whole_prompt_and_has_it_in_the_middle(prompt, window):
    assert _window_of(prompt, (100, 200), SlideWindows(64, 64, 16)) == window
    whole = replace(SlideWindows(64, 64, 16), whole_image=True)
    assert _window_of(prompt, (100, 200), whole) == window
    assert _window_of(prompt, (100, 200), None) == Window(0, 0, 200, 100)


@pytest.fixture
def workspace(tmp_path, shelf):
    made = Workspace.create(tmp_path / "w", mode=Mode.FSIS)
    made.pretrained.symlink_to(shelf)
    return made


def test_offers_share_a_segmenter_and_it_goes_with_the_last(workspace, monkeypatch):
    wanted = [Offer("a", clicks=NAMES["sam2"]), Offer("b", clicks=NAMES["sam2"])]
    _save_compact(workspace, "a", "b")
    followed = Shelf(workspace, 10**6, lambda: list(wanted))
    try:
        assert followed.follow()
        first, second = followed.all()
        assert first.selector is second.selector is not None
        wanted[0] = Offer("a", clicks=NAMES["sam"])
        followed.follow()
        assert (first.selector.name, second.selector.name) == (NAMES["sam"], NAMES["sam2"])
        wanted[:] = [Offer("a"), Offer("b")]
        followed.follow()
        assert first.selector is None
        assert not followed._selectors
    finally:
        followed.close()


def test_an_offer_with_weights_that_answer_no_clicks_is_refused(workspace):
    _save_compact(workspace, "a")
    with pytest.raises(UserInput, match="answers no clicks"):
        offers.deploy(workspace, Offer("a", clicks=NAMES["detector"]))
    with pytest.raises(WeightsMissing, match="not here"):
        offers.deploy(workspace, Offer("a", clicks="sam2.1-tiny"))
    assert offers.deploy(workspace, Offer("a", clicks=NAMES["sam"])).clicks == NAMES["sam"]
    assert offers.list_offers(workspace)[0].clicks == NAMES["sam"]


def _save_compact(workspace, *names):
    from lsl_core.models.compact.network import CompactNetwork

    for name in names:
        network = CompactNetwork(Mode.FSIS, num_labels=2, width=8)
        settings = {"width": 8, "least_range": 8.0, "invert": False}
        made = card(id=f"{name}-v1", name=name, settings=settings, weights_sha256="")
        (workspace.models / made.id).mkdir(parents=True)
        save_model(workspace.models / made.id, made, network.state_dict())

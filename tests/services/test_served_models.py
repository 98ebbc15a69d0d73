"""A trained model behind each door, beside what a push of the same model draws."""

from __future__ import annotations

import io
import json
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import asdict, replace

import numpy as np
import pytest
from cvat_cli.__main__ import main as cvat_cli
from PIL import Image

from lsl_core import cvat
from lsl_core.errors import ServeError
from lsl_core.models import read_card
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER
from lsl_core.serve import cvat_function
from lsl_core.services.models import versions
from lsl_core.services.serving import offers, service
from lsl_core.services.serving.offers import Offer
from lsl_core.services.serving.state import ServiceSettings
from lsl_core.workspace.files import write_json
from lsl_core.workspace.images import decode_rgb, encode_rgb
from tests.services.drawn import CONF, push, shapes


def auto_annotate(world, model: str, task_id: int, *more: str) -> int:
    return cvat_cli(
        [
            "--server-host", world.sandbox.url, "--auth", f"{DEMO_USER}:{DEMO_PASSWORD}",
            "task", "auto-annotate", str(task_id), "--clear-existing",
            "--function-module", "lsl_core.serve.cvat_function",
            "-p", f"model=str:{model}", "-p", f"workspace=str:{world.workspace.root}",
            *more,
        ]
    )  # fmt: skip


def test_cvat_cli_draws_the_very_shapes_that_a_push_draws(world, model: str) -> None:
    push(world, model, world.unlabelled)
    pushed = shapes(world, world.unlabelled)
    assert sum(pushed.values()) > 5

    assert auto_annotate(world, model, world.unlabelled, "--conf-threshold", str(CONF)) == 0
    assert shapes(world, world.unlabelled) == pushed

    assert auto_annotate(world, model, world.unlabelled, "-p", f"conf=float:{CONF}") == 0
    assert shapes(world, world.unlabelled) == pushed


@pytest.mark.parametrize(
    ("kind", "polygons", "asked"),
    [
        ("any", True, ["--conv-mask-to-poly"]),
        ("any", True, ["-p", "draw=str:polygon"]),
        ("polygon", False, ["-p", "draw=str:polygon"]),
        ("rectangle", False, ["-p", "draw=str:rectangle"]),
    ],
)
def test_cvat_cli_draws_the_polygons_and_rectangles_that_a_push_draws(
    world, model: str, kind: str, polygons: bool, asked: list[str]
) -> None:
    labels = [(label, kind) for label in versions.get_model(world.workspace, model).labels]
    pulled = cvat.pull_frames(world.session, world.unlabelled, world.workspace.frames)
    task = cvat.create_task(world.session, kind, labels, list(pulled.paths)).id
    push(world, model, task, polygons=polygons)
    pushed = shapes(world, task)
    assert sum(pushed.values()) > 5

    assert auto_annotate(world, model, task, "--conf-threshold", str(CONF), *asked) == 0
    assert shapes(world, task) == pushed


class Context:
    frame_name = "a.png"
    conf_threshold = 0.1
    conv_mask_to_poly = False


@pytest.fixture
def function(world, model: str):
    made = cvat_function.create(model, str(world.workspace.root))
    yield made
    made._detector.close()


def scene(world) -> Image.Image:
    pulled = cvat.pull_frames(world.session, world.unlabelled, world.workspace.frames)
    return Image.open(pulled.paths[0])


def test_a_function_says_its_labels_and_their_type(function, model: str, world) -> None:
    labels = versions.get_model(world.workspace, model).labels

    assert [(s.name, s.type, s.id) for s in function.spec.labels] == [
        (name, "mask", i) for i, name in enumerate(labels)
    ]


def test_masks_become_polygons_when_cvat_asks_for_them(function, world) -> None:
    class Polygons(Context):
        conv_mask_to_poly = True

    masks = function.detect(Context, scene(world))
    polygons = function.detect(Polygons, scene(world))

    assert {str(s.type) for s in masks} == {"mask"}
    assert {str(s.type) for s in polygons} == {"polygon"}
    assert len(polygons) >= len(masks) > 0


@pytest.mark.parametrize("turn", [1, 6], ids=["upright", "turned"])
def test_a_jpeg_of_inks_has_the_pixels_of_our_own_decoder(turn) -> None:
    inks = np.random.default_rng(0).integers(0, 256, (40, 60, 4)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turn
    file = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(file, "JPEG", quality=95, exif=exif)

    ours = decode_rgb(file.getvalue(), name="inks.jpg")

    assert (cvat_function._rgb(Image.open(file)) == ours).all()


def test_an_image_that_cannot_be_looked_at_ends_no_run(function, world, caplog) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 50, 3)).astype(np.uint8)
    data = encode_rgb(noise, suffix=".png")
    cut = Image.open(io.BytesIO(data[: len(data) // 2]))

    assert function.detect(Context, cut) == []
    assert "a.png" in caplog.text


def test_an_agent_answers_a_click_with_the_mask_of_one_object(world, model: str) -> None:
    finder = cvat_function.create(model, str(world.workspace.root))
    selector = cvat_function.create(model, str(world.workspace.root), interactive=True)
    image = scene(world)
    found = max(finder.detect(Context, image), key=lambda shape: shape.score)
    *runs, left, top, _, bottom = map(int, found.points)
    crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(bottom - top + 1, -1)
    y, x = np.argwhere(crop)[crop.sum() // 2]

    class Prompts:
        pos_points = ((float(left + x), float(top + y)),)
        neg_points = ()
        bounding_box = None

    pixels = selector.preprocess_image(None, image)
    (shape,) = selector.detect(None, pixels, Prompts)

    assert shape.type == "mask"
    assert sum(shape.points[:-4]) == (shape.points[-2] - shape.points[-4] + 1) * (
        shape.points[-1] - shape.points[-3] + 1
    )
    for one in (finder, selector):
        one._detector.close()


# the service as a process of its own


def ask(url: str, path: str, body: bytes | None = None, **headers: str):
    request = urllib.request.Request(url + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def add_version(world, model: str, number: int) -> str:
    """Copy a model as a newer version of it, no worse by its card, with the weights it had."""
    folder = world.workspace.models
    card = read_card(folder / model)
    new = replace(card, id=f"{card.name}-v{number}", parent=card.id, created="2099-01-01T00:00:00Z")
    shutil.copytree(folder / model, folder / new.id)
    write_json(folder / new.id / "card.json", asdict(new))
    return new.id


def test_the_service_starts_answers_follows_rolls_back_and_stops(
    world, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    workspace = world.workspace
    name = versions.get_model(workspace, model).name
    offers.deploy(workspace, Offer(name, threshold=CONF))
    settings = ServiceSettings(port=free_port(), is_nuclio=True)
    found = service.start(workspace, settings)
    try:
        pixels = np.asarray(scene(world).convert("RGB"))
        image = b64encode(encode_rgb(pixels, suffix=".png")).decode()
        body = json.dumps({"image": image}).encode()
        call = {"x-nuclio-function-name": found.offers[0].functions[0].name}
        status, by_dashboard = ask(found.url, "/api/function_invocations", body, **call)
        port = found.offers[0].functions[0].port
        direct = ask(f"http://127.0.0.1:{port}", "/", body)
        assert status == 200
        assert len(by_dashboard) > 2
        assert direct == (200, by_dashboard)

        with pytest.raises(ServeError, match="already"):
            service.start(workspace, settings)
        second = add_version(world, model, 2)
        assert wait_for(workspace, lambda s: s.offers[0].version == second)
        assert offers.roll_back(workspace, name) == model
        now = wait_for(workspace, lambda s: s.offers[0].version == model)
        assert now.offers[0].functions[0].requests == 2
        assert [who.split()[0] for who, _, _ in now.callers] == ["127.0.0.1"]
        assert ask(found.url, "/readyz")[0] == 200
    finally:
        assert service.stop(workspace)
    assert service.state(workspace) is None
    assert service.died_at(workspace) is None
    assert not service.stop(workspace)


def test_a_service_that_cannot_start_says_why(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))

    with pytest.raises(ServeError, match="everybody"):
        service.start(world.workspace, ServiceSettings(host="0.0.0.0", port=free_port()))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(workspace, condition):
    for _ in range(600):
        found = service.state(workspace)
        if found is not None and found.offers and condition(found):
            return found
        time.sleep(0.1)
    raise AssertionError(service.state(workspace))

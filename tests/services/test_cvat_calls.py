"""From CVAT's AI tools to shapes in a task: a sandbox calls the gateway, over real sockets."""

from __future__ import annotations

import http.client
import shutil
import threading
import time
from contextlib import closing

import numpy as np
import pytest

from lsl_core import cvat
from lsl_core.cli.main import run as lsl
from lsl_core.errors import CvatAuth, CvatRequestFailed, CvatUnreachable
from lsl_core.sandbox.base.nuclio import Nuclio
from lsl_core.sandbox.tasks import data as sandbox_data
from lsl_core.serve.__main__ import server_of
from lsl_core.services.models import versions
from lsl_core.services.serving import offers, service
from lsl_core.services.serving.offers import Drawing, Offer
from lsl_core.services.serving.state import ServiceSettings, ServiceState
from tests.sandbox.nuclio_stand_in import StandIn, described
from tests.services.drawn import CONF, api, run_tool, shapes


@pytest.fixture
def gateway(world, model, restored_threads):
    """The service of this workspace on free ports; CVAT's AI tools are its functions."""
    offers.deploy(world.workspace, Offer(versions.get_model(world.workspace, model).name))
    server = server_of(world.workspace, ServiceSettings(port=0, is_nuclio=True))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 60
    while service.state(world.workspace) is None or server._server is None:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.02)
    yield server
    server.stop()
    thread.join()


@pytest.fixture
def restored_threads():
    """The service gives each copy of a model one thread; other tests want theirs back."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def point_cvat_at(world, gateway, *, is_direct):
    world.sandbox.context.nuclio = Nuclio("127.0.0.1", gateway.port, is_direct=is_direct)


def forget_predictions(world):
    """Let nothing be equal only because it was looked up."""
    shutil.rmtree(world.workspace.predictions, ignore_errors=True)


@pytest.mark.parametrize("is_direct", [False, True], ids=["dashboard", "direct"])
def test_cvat_draws_by_the_gateway_what_cvat_inference_draws(
    world, model, gateway, is_direct, monkeypatch
):
    point_cvat_at(world, gateway, is_direct=is_direct)
    run = run_tool(world, task=world.unlabelled, threshold=CONF)
    assert (run["status"], run["exc_info"]) == ("finished", None)
    by_gateway = shapes(world, world.unlabelled)
    assert sum(by_gateway.values()) > 5
    api_delete(world, world.unlabelled)
    forget_predictions(world)

    cvat_inference(world, model, monkeypatch)
    assert shapes(world, world.unlabelled) == by_gateway


def test_polygons_are_those_of_cvat_inference(world, model, gateway, monkeypatch):
    card = versions.get_model(world.workspace, model)
    offers.deploy(world.workspace, Offer(card.name, drawing=Drawing.POLYGON))
    point_cvat_at(world, gateway, is_direct=False)
    gateway.service.shelf.follow()
    # a label of the task takes masks alone where it was made for masks
    labels = [(label, "any") for label in card.labels]
    frames = cvat.pull_frames(world.session, world.unlabelled, world.workspace.frames).paths
    task = cvat.create_task(world.session, "any shape", labels, list(frames)).id
    run = run_tool(world, task=task, threshold=CONF)
    assert (run["status"], run["exc_info"]) == ("finished", None)
    by_gateway = shapes(world, task)
    drawn = cvat.task_annotations(world.session, task)["shapes"]
    assert {str(shape["type"]) for shape in drawn} == {"polygon"}
    assert sum(by_gateway.values()) > 5
    api_delete(world, task)
    forget_predictions(world)

    cvat_inference(world, model, monkeypatch, "--polygons", task=task)
    assert shapes(world, task) == by_gateway


def cvat_inference(world, model, monkeypatch, *more, task=None):
    """Run `lsl cvat-inference` on a task."""
    monkeypatch.chdir(world.workspace.root)
    with pytest.raises(SystemExit) as ended:
        lsl(["cvat-inference", "--train", model, "--cvat-task-id", str(task or world.unlabelled),
             "--conf", str(CONF), *more])  # fmt: skip
    assert not ended.value.code


def api_delete(world, task_id):
    path = f"/api/tasks/{task_id}/annotations"
    world.session.transport.send("DELETE", path, doing="clearing a task")


def test_a_click_in_cvat_gives_the_mask_of_the_object_under_it(world, gateway):
    point_cvat_at(world, gateway, is_direct=False)
    tools = {tool["kind"]: tool for tool in api(world, "GET", "/api/lambda/functions")}
    run_tool(world, task=world.unlabelled, threshold=CONF)
    masks = [s for s in cvat.task_annotations(world.session, world.unlabelled)["shapes"]]
    largest = max(masks, key=lambda shape: sum(shape["points"][1:-4:2]))
    *runs, left, top, _, bottom = map(int, largest["points"])
    crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(bottom - top + 1, -1)
    y, x = np.argwhere(crop)[crop.sum() // 2]

    asked = {"task": world.unlabelled, "frame": largest["frame"], "neg_points": []}
    by_click = call(world, tools, pos_points=[[float(left + x), float(top + y)]], **asked)
    corners = [[left, top], [left + crop.shape[1], top + crop.shape[0]]]
    by_box = call(world, tools, pos_points=[], obj_bbox=corners, **asked)

    for answer in (by_click, by_box):
        x1, y1, x2, y2 = answer["bounds"]
        selected = np.array(answer["mask"], bool)
        assert selected.shape == (y2 - y1 + 1, x2 - x1 + 1)
        whole = np.zeros((2, 240, 320), bool)
        whole[0, y1 : y2 + 1, x1 : x2 + 1] = selected
        whole[1, top : bottom + 1, left : left + crop.shape[1]] = crop
        assert whole.all(0).sum() / whole.any(0).sum() > 0.8


def call(world, tools, **asked):
    return api(world, "POST", f"/api/lambda/functions/{tools['interactor']['id']}", asked)


def test_the_settings_that_cvat_needs_are_checked_by_asking_it(world, gateway):
    found = service.state(world.workspace)
    off = service.check_cvat(world.session, found)
    world.sandbox.context.nuclio = Nuclio("127.0.0.1", 1)
    unreached = service.check_cvat(world.session, found)
    point_cvat_at(world, gateway, is_direct=False)
    fine = service.check_cvat(world.session, found)
    # as with a CVAT in Docker that nobody told how to call: the list comes, no answer does
    point_cvat_at(world, gateway, is_direct=True)
    gateway.service.ports = dict.fromkeys(gateway.service.ports, 1)
    uncalled = service.check_cvat(world.session, found)
    with StandIn(lambda asked: (401, {"error": "A token is needed."})) as guarded:
        world.sandbox.context.nuclio = Nuclio("127.0.0.1", guarded.port)
        turned_away = service.check_cvat(world.session, found)

    assert (off.is_fine, "CVAT_SERVERLESS=1" in off.hint) == (False, True)
    assert (unreached.is_fine, "CVAT_NUCLIO_HOST" in unreached.hint) == (False, True)
    assert fine.is_fine, fine
    assert "answered it for task" in fine.text
    assert (uncalled.is_fine, "INVOKE_METHOD=dashboard" in uncalled.hint) == (False, True)
    assert all(str(f.port) in uncalled.hint for f in found.offers[0].functions[:1])
    assert (turned_away.is_fine, "--allow" in turned_away.hint) == (False, True)
    settings = service.cvat_settings(found)
    assert settings["CVAT_NUCLIO_PORT"] == str(gateway.port)


@pytest.mark.parametrize("error", [CvatUnreachable, CvatAuth])
def test_a_cvat_that_does_not_answer_is_not_blamed_on_the_service(monkeypatch, error):
    def refuse(_):
        raise error("CVAT said no.", hint="Ask it later.")

    monkeypatch.setattr(cvat, "has_functions", refuse)
    found = ServiceState(1, "127.0.0.1", 8070, True, 0.0, (), {}, ())
    verdict = service.check_cvat(None, found)
    assert verdict == service.Verdict(False, "CVAT said no.", "Ask it later.")


def test_a_check_with_no_task_to_try_says_so(world, gateway, monkeypatch):
    monkeypatch.setattr(cvat, "try_function", lambda *_: None)
    point_cvat_at(world, gateway, is_direct=False)

    verdict = service.check_cvat(world.session, service.state(world.workspace))

    assert verdict.is_fine
    assert "no task of yours" in verdict.text


def test_a_trial_stores_nothing_and_a_refused_picture_was_an_answer(world, gateway):
    point_cvat_at(world, gateway, is_direct=False)
    before = {task: shapes(world, task) for task in (world.labelled, world.unlabelled)}
    name = next(iter(gateway.service.functions()))
    tried = cvat.try_function(world.session, name)
    with StandIn(lambda asked: (422, {}) if asked.method == "POST" else listed(asked)) as picky:
        world.sandbox.context.nuclio = Nuclio("127.0.0.1", picky.port)
        assert cvat.try_function(world.session, "cells") == tried
    with StandIn(lambda asked: (500, {}) if asked.method == "POST" else listed(asked)) as broken:
        world.sandbox.context.nuclio = Nuclio("127.0.0.1", broken.port)
        with pytest.raises(CvatRequestFailed, match="500 Server Error"):
            cvat.try_function(world.session, "cells")

    assert tried in before
    assert {task: shapes(world, task) for task in before} == before


def listed(asked):
    """Answer as a Nuclio with one detector."""
    return 200, described("cells", {"name": "cell", "type": "mask"})


@pytest.mark.parametrize("is_direct", [False, True], ids=["dashboard", "direct"])
def test_cvat_tells_its_user_why_a_call_was_refused(world, gateway, is_direct):
    point_cvat_at(world, gateway, is_direct=is_direct)
    tools = {tool["kind"]: tool for tool in api(world, "GET", "/api/lambda/functions")}

    with pytest.raises(
        CvatRequestFailed, match=r"422 .*Nothing was pointed at\. Click on an object"
    ):
        call(world, tools, task=world.unlabelled, frame=0, pos_points=[], neg_points=[])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/api/functions/nobody", 'There is no function "nobody".'),
        ("/api/functions/a%0d%0aSet-Cookie:%20x%3D1%00%1b", 'There is no function "a  Set-Cookie'),
        ("/api/functions/" + "n" * 2000, 'There is no function "nnn'),
        ("/api/functions/Zellgr%C3%B6%C3%9Fe", 'There is no function "Zellgr??e".'),
        ("/healthz", "OK"),
    ],
)
def test_a_reason_stands_in_the_status_line_and_nowhere_else(gateway, path, reason):
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)) as line:
        line.request("GET", path)
        answer = line.getresponse()
        assert answer.read()
        line.request("GET", "/healthz")  # the connection goes on
        assert line.getresponse().status == 200

    assert answer.reason.startswith(reason)
    assert len(answer.reason) <= 300
    said = {name.lower() for name, _ in answer.getheaders()}
    assert said - {"date"} == {"content-length", "content-type"}, "the first second has no date yet"


def test_serve_adds_a_model_to_the_service_that_runs(world, model, gateway, monkeypatch, capsys):
    monkeypatch.chdir(world.workspace.root)
    card = versions.get_model(world.workspace, model)

    assert left(lsl, ["serve", "--train", card.name, "--conf", "0.33"]) == 0
    assert f"{card.name} is offered in version {card.id}" in capsys.readouterr().out
    assert [o.threshold for o in offers.list_offers(world.workspace)] == [0.33]
    assert left(lsl, ["serve", "--train", card.name, "--port", "1", "--conf", "0.44"]) == 14
    assert "lsl serve --stop" in capsys.readouterr().err
    assert [o.threshold for o in offers.list_offers(world.workspace)] == [0.33]


def test_status_tells_what_cannot_be_offered(world, monkeypatch, capsys):
    monkeypatch.chdir(world.workspace.root)
    problems = {"bolts": 'There is no model "bolts".'}
    found = ServiceState(1, "127.0.0.1", 8070, True, 0.0, (), problems, ())
    monkeypatch.setattr(service, "state", lambda _: found)

    assert left(lsl, ["serve", "--status"]) == 0
    assert 'bolts cannot be offered as it should be: There is no model "bolts".' in (
        capsys.readouterr().out
    )


def left(command, words):
    """Run a command and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        command(words)
    return ended.value.code or 0


def test_an_image_that_is_cut_off_is_named_and_all_others_are_labelled(
    world, model, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(world.workspace.root)
    (whole, *_) = cvat.pull_frames(world.session, world.unlabelled, tmp_path / "frames").paths
    files = [tmp_path / name for name in ("a.png", "b.png")]
    files[0].write_bytes(whole.read_bytes())
    files[1].write_bytes(whole.read_bytes())
    labels = [(label, "any") for label in versions.get_model(world.workspace, model).labels]
    task = cvat.create_task(world.session, "one is cut off", labels, files).id
    cut_off(world, task, 1)

    words = ["cvat-inference", "--train", model, "--cvat-task-id", str(task), "--conf", str(CONF)]
    assert left(lsl, words) == 3

    assert "b.png is cut off" in capsys.readouterr().err
    assert {frame for frame, *_ in shapes(world, task)} == {0}


def cut_off(world, task_id, frame):
    """Take half of a picture that the sandbox keeps away, as CVAT keeps what came so."""
    context = world.sandbox.context
    row = context.db.row("SELECT * FROM tasks WHERE id = ?", (task_id,))
    path, _ = sandbox_data.frame_file(context, row, frame, is_original=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

"""cvat-cli's own commands for agents, with our function module, on the sandbox."""

from __future__ import annotations

import re
import sys
import threading
import time

import numpy as np
import pytest
from cvat_cli.__main__ import main as cvat_cli

from lsl_core import cvat
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER
from tests.services.drawn import CONF, api, ended, push, shapes


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """An agent works in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))


def function(world, capsys, model, verb, *words, interactive=False):
    """Run `cvat-cli function VERB …` with our module; return what it printed."""
    code = cvat_cli(
        [
            "--server-host", world.sandbox.url, "--auth", f"{DEMO_USER}:{DEMO_PASSWORD}",
            "function", verb, *words,
            "--function-module", "lsl_core.serve.cvat_function",
            "-p", f"model=str:{model}", "-p", f"workspace=str:{world.workspace.root}",
            "-p", f"interactive=bool:{interactive}",
        ]
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0, err
    return out.strip()


def asked_meanwhile(world, path, body):
    """Ask for something that an agent answers, which nobody is yet."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(api(world, "POST", path, body)))
    thread.start()
    end = time.monotonic() + 20
    while not world.sandbox.context.requests.rows:
        assert time.monotonic() < end
        time.sleep(0.01)
    return thread, answers


def test_an_agent_annotates_a_task_and_a_frame_as_a_push_does(world, model, capsys):
    push(world, model, world.unlabelled)
    pushed = shapes(world, world.unlabelled)
    number = function(world, capsys, model, "create-native", "Cells")
    (tool,) = api(world, "GET", "/api/lambda/functions")
    body = {"task": world.unlabelled, "frame": 0, "threshold": CONF}
    thread, answers = asked_meanwhile(world, f"/api/lambda/functions/{number}", body)
    run = {"function": number, "task": world.unlabelled, "threshold": CONF, "cleanup": True}
    run = api(world, "POST", "/api/lambda/requests", run)

    function(world, capsys, model, "run-agent", number, "--burst")
    thread.join()

    assert (tool["id"], tool["kind"]) == (number, "detector")
    assert {label["type"] for label in tool["labels_v2"]} == {"mask"}
    assert ended(world, run)["status"] == "finished"
    assert shapes(world, world.unlabelled) == pushed
    on_frame = sum(count for shape, count in pushed.items() if shape[0] == 0)
    assert len(answers[0]["shapes"]) == on_frame > 0


def test_an_agent_answers_a_click(world, model, capsys):
    push(world, model, world.unlabelled)
    drawn = cvat.task_annotations(world.session, world.unlabelled)["shapes"]
    mask = max(drawn, key=lambda shape: sum(shape["points"][1:-4:2]))
    *runs, left, top, _, bottom = map(int, mask["points"])
    crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(bottom - top + 1, -1)
    y, x = np.argwhere(crop)[crop.sum() // 2]
    number = function(world, capsys, model, "create-native", "Click", interactive=True)
    body = {
        "task": world.unlabelled, "frame": mask["frame"], "neg_points": [],
        "pos_points": [[float(left + x), float(top + y)]],
    }  # fmt: skip
    thread, answers = asked_meanwhile(world, f"/api/lambda/functions/{number}", body)

    function(world, capsys, model, "run-agent", number, "--burst", interactive=True)
    thread.join()

    (shape,) = answers[0]["shapes"]
    assert shape["type"] == "mask"
    x1, y1, x2, y2 = shape["points"][-4:]
    assert x1 <= left + x <= x2
    assert y1 <= top + y <= y2


def test_an_agent_of_another_model_is_refused_before_it_takes_work(world, model, capsys):
    labels = [{"name": "other", "type": "mask", "attributes": []}]
    body = {"provider": "native", "name": "n", "kind": "detector", "labels_v2": labels}
    number = api(world, "POST", "/api/functions", body)["id"]

    with pytest.raises(AssertionError) as refused:
        function(world, capsys, model, "run-agent", str(number), "--burst")

    assert re.search(r"incompatible.*'other'", str(refused.value))

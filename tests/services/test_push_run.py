"""A push in a worker of its own: finished when it was killed, and no secret anywhere."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lsl_core import cvat
from lsl_core.cli.main import app
from lsl_core.runs import Lane, Queue
from lsl_core.services import activity, connections
from lsl_core.services.labelling import predicting, previewing, pushing
from lsl_core.types import RunPhase


def _wait(done, seconds=60.0):
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.05)


def _preview(world, model):
    info = predicting.predict_task(world.session, world.workspace, world.unlabelled, model=model)
    thresholds = dict.fromkeys(info.labels, 0.1)
    previewing.choose(world.workspace, info.id, thresholds=thresholds, mask_threshold=0.5)
    return previewing.get_preview(world.workspace, info.id)


def test_the_worker_pushes_and_no_secret_is_in_an_argument_or_a_file(world, model) -> None:
    info = _preview(world, model)
    plan = pushing.plan(world.session, world.workspace, info.id)
    assert plan.num_add
    run_id = activity.submit_push(world.workspace, world.session, plan, pushing.AS_USUAL)
    queue = Queue(world.workspace, Lane.CVAT)
    _wait(lambda: queue.pid_file.exists())
    worker = int(queue.pid_file.read_text())
    try:
        arguments = Path(f"/proc/{worker}/cmdline").read_bytes()
        _wait(lambda: not activity.get_run(world.workspace, run_id).phase.is_active)
        run = activity.get_run(world.workspace, run_id)
        assert run.phase is RunPhase.DONE, run.message
    finally:
        os.kill(worker, signal.SIGTERM)
    assert len(cvat.task_annotations(world.session, world.unlabelled)["shapes"]) == plan.num_add
    secrets = ("demo-password", world.session.key)
    written = [p.read_bytes() for p in world.workspace.root.rglob("*") if p.is_file()]
    assert b"--lane" in arguments
    assert len(written) > 5
    for secret in secrets:
        assert secret.encode() not in arguments
        assert not any(secret.encode() in data for data in written)


def test_a_run_that_is_done_again_adds_nothing_and_finishes_what_it_began(world, model) -> None:
    info = _preview(world, model)
    plan = pushing.plan(world.session, world.workspace, info.id)
    arguments = {
        "connection": connections.connection_of(world.session).model_dump(),
        "preview_id": info.id,
        "choices": {},
        "token": plan.token,
        "confirmed_task": None,
        "progress": pushing.NULL,
    }
    first = pushing.run_push(world.workspace, **arguments)
    assert pushing.run_push(world.workspace, **arguments) == first
    assert len(cvat.task_annotations(world.session, world.unlabelled)["shapes"]) == plan.num_add
    assert len(pushing.list_pushes(world.workspace)) == 1


def _without_a_label(world, info) -> str:
    """Take a label that has objects away from the task; return its name."""
    counts = previewing.counts(info, previewing.frames(world.workspace, info.id))
    name = max(counts, key=lambda label: counts[label])
    labels = cvat.task_labels(world.session, world.unlabelled)
    gone = next(label for label in labels if label.name == name)
    world.session.transport.send("DELETE", f"/api/labels/{gone.id}", doing="the test")
    return name


def _labels(world) -> set[str]:
    return {label.name for label in cvat.task_labels(world.session, world.unlabelled)}


def test_a_dry_run_shows_the_labels_that_would_be_made_and_the_push_makes_them(
    world, model, tmp_path
) -> None:
    info = _preview(world, model)
    name = _without_a_label(world, info)
    coco = tmp_path / "to-add.json"
    words = ["--workspace", str(world.workspace.root), "push", "--preview", info.id]
    words += ["--create-labels", "--coco", str(coco)]
    dry = CliRunner().invoke(app, [*words, "--dry-run"], catch_exceptions=False)
    assert f'New label: "{name}", for mask shapes' in dry.output
    assert "Nothing was written" in dry.output
    assert name not in _labels(world)
    assert not cvat.task_annotations(world.session, world.unlabelled)["shapes"]
    would = json.loads(coco.read_text())
    assert name in {category["name"] for category in would["categories"]}

    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert name in _labels(world)
    shapes = cvat.task_annotations(world.session, world.unlabelled)["shapes"]
    assert len(shapes) == len(would["annotations"]) > 0


def test_a_run_that_was_killed_after_it_made_a_label_goes_on(world, model, monkeypatch) -> None:
    info = _preview(world, model)
    name = _without_a_label(world, info)
    choices = pushing.PushChoices(create=(name,))
    plan = pushing.plan(world.session, world.workspace, info.id, choices=choices)
    arguments = {
        "connection": connections.connection_of(world.session).model_dump(),
        "preview_id": info.id,
        "choices": {"create": [name]},
        "token": plan.token,
        "confirmed_task": None,
        "progress": pushing.NULL,
    }

    def killed(*args, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pushing, "apply", killed)
        with pytest.raises(KeyboardInterrupt):
            pushing.run_push(world.workspace, **arguments)
    assert name in _labels(world)
    pushing.run_push(world.workspace, **arguments)
    assert len(cvat.task_annotations(world.session, world.unlabelled)["shapes"]) == plan.num_add

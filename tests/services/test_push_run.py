"""A push in a worker of its own: finished when it was killed, and no secret anywhere."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from lsl_core import cvat
from lsl_core.runs import Lane, Queue
from lsl_core.services import activity, connections, predicting, previewing, pushing
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

"""What a task holds, and the ways to fill it: a push, and CVAT's AI tools."""

from __future__ import annotations

import time
from collections import Counter
from urllib.parse import quote

from lsl_core import cvat
from lsl_core.services.labelling import predicting, previewing, pushing
from lsl_core.services.labelling.pushing import PushChoices

CONF = 0.2


def shapes(world, task_id: int) -> Counter:
    state = cvat.task_annotations(world.session, task_id)
    return Counter(
        (s["frame"], s["label_id"], s["type"], tuple(s["points"]), s["source"])
        for s in state["shapes"]
    )


def push(world, model: str, task_id: int, *, polygons: bool = False) -> None:
    info = predicting.predict_task(world.session, world.workspace, task_id, model=model)
    thresholds = dict.fromkeys(info.labels, CONF)
    previewing.choose(world.workspace, info.id, thresholds=thresholds, mask_threshold=0.5)
    choices = PushChoices(polygons=polygons)
    plan = pushing.plan(world.session, world.workspace, info.id, choices=choices)
    pushing.apply(world.session, world.workspace, plan)


def api(world, method, path, body=None):
    return world.session.transport.json(method, path, doing="calling an AI tool", body=body)


def run_tool(world, **asked):
    """Start a run as CVAT's dialog does, and wait for its end."""
    asked.setdefault("function", api(world, "GET", "/api/lambda/functions")[0]["id"])
    return ended(world, api(world, "POST", "/api/lambda/requests", asked))


def ended(world, run):
    """Wait for the end of a run."""
    end = time.monotonic() + 60
    while run["status"] in ("queued", "started"):
        assert time.monotonic() < end
        time.sleep(0.05)
        run = api(world, "GET", f"/api/lambda/requests/{quote(run['id'], safe='')}")
    return run

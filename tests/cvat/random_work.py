"""Random predictions, random people and random trouble, each from a seed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import numpy as np
from cvat_helpers import HW, Answer, Fault

from lsl_core.cvat import CvatSession, PushPlan, TaskInfo, task_annotations, task_jobs, task_labels
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.cvat.annotations.content import content_key
from lsl_core.types import CropMasks, Instances

#: How long the proxy holds back what the server shall do late, and how long a push waits for it.
LATE_S, SETTLE_S = 0.02, 0.25

BEFORE = ("drop", "500", "502", "429", "expired")
AFTER = ("lost", "half", "cut", "504", "slow", "late")


def random_instances(rng: np.random.Generator, *, at_most: int = 12) -> Instances:
    """Return masks of noise: holes, strays and single pixels among them."""
    count = int(rng.integers(0, at_most + 1))
    sizes = rng.integers(1, 15, (count, 2))
    crops = [rng.random((h, w)) < rng.uniform(0.3, 1.0) for h, w in sizes.tolist()]
    for crop in crops:
        crop[0, 0] = True
    places = [
        (int(rng.integers(0, HW[1] - w + 1)), int(rng.integers(0, HW[0] - h + 1)))
        for h, w in sizes.tolist()
    ]
    boxes = [(x, y, x + w, y + h) for (x, y), (h, w) in zip(places, sizes.tolist(), strict=True)]
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        rng.uniform(0.1, 1.0, count).astype(np.float32),
        np.zeros(count, np.int32),
        CropMasks.from_crops(crops, places),
        HW,
    )


def random_predictions(rng: np.random.Generator, *, frames: int = 4) -> dict[int, Instances]:
    return {frame: random_instances(rng) for frame in range(frames)}


def draw_people(session: CvatSession, task: TaskInfo, rng: np.random.Generator) -> list[Any]:
    """Empty a task, draw what people might have, and return it as the server tells it."""
    url = f"/api/tasks/{task.id}/annotations/"
    session.transport.send("DELETE", url, doing="emptying")
    ids = {label.name: label.id for label in task_labels(session, task.id)}
    for job in task_jobs(session, task.id):
        shapes = []
        for _ in range(int(rng.integers(0, 5))):
            x, y = rng.uniform(0, 50, 2)
            points = [x, y, x + rng.uniform(1, 29), y + rng.uniform(1, 9)]
            shapes.append(
                {
                    "type": "rectangle",
                    "frame": int(rng.integers(job.start_frame, job.stop_frame + 1)),
                    "label_id": ids[str(rng.choice(["box", "thing"]))],
                    "points": [float(p) for p in points],
                    "rotation": float(rng.choice([0.0, 12.5])),
                    "source": str(rng.choice(["manual", "semi-auto", "file"])),
                    "occluded": bool(rng.integers(2)),
                    "attributes": [],
                    "group": 0,
                    "z_order": int(rng.integers(3)),
                }
            )
        if shapes:
            change_job(session, job.id, Action.CREATE, shapes)
    return shapes_of(session, task)


def shapes_of(session: CvatSession, task: TaskInfo) -> list[Any]:
    found = task_annotations(session, task.id)["shapes"]
    return sorted(found, key=lambda shape: shape["id"])


def require_planned(before: list[Any], plan: PushPlan, after: list[Any]) -> None:
    """See that what was there is there bit for bit, and beside it just what was planned."""
    removed = {int(shape["id"]) for shape in plan.remove}
    stays = [shape for shape in before if shape["id"] not in removed]
    known = {shape["id"] for shape in before}
    assert [shape for shape in after if shape["id"] in known] == stays
    new = Counter(content_key(shape) for shape in after if shape["id"] not in known)
    assert new == Counter(content_key(shape) for shape in plan.create)


def trouble(rng: np.random.Generator, share: float, seen: Counter[str]) -> Fault:
    """Return a fault that hits this share of all requests, each time in another way."""
    lock = threading.Lock()
    late: list[tuple[float, threading.Timer]] = []

    def fault(method: str, path: str, forward: Any) -> Answer | None:
        for due, store in late:
            if method == "GET" and time.monotonic() > due:
                store.join()  # a busy machine must not make it later than a push waits
        with lock:
            hit = rng.random() < share
            kind = str(rng.choice(BEFORE + AFTER)) if hit else ""
            if hit:
                seen[kind] += 1
        if not hit:
            return forward()  # type: ignore[no-any-return]
        if kind in BEFORE:
            return _refuse(kind)
        if kind == "late":
            late.append((time.monotonic() + 3 * LATE_S, threading.Timer(LATE_S, forward)))
            late[-1][1].start()
            return Answer(504, [], b"<h1>504 Gateway Time-out</h1>")
        answer: Answer = forward()
        if kind == "slow":
            time.sleep(LATE_S)
        elif kind == "cut":
            answer.cut()
        elif kind == "half":
            answer.body = answer.body[: len(answer.body) // 2]
        elif kind == "504":
            return Answer(504, [], b"<h1>504 Gateway Time-out</h1>")
        return None if kind == "lost" else answer

    return fault


def _refuse(kind: str) -> Answer | None:
    if kind == "drop":
        return None
    if kind == "429":
        return Answer(429, [("Retry-After", "0")], b"{}")
    if kind == "expired":
        return Answer(401, [], b'{"detail": "Invalid token."}')
    return Answer(int(kind), [], b"<h1>trouble</h1>")

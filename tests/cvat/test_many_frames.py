"""A task with many images comes here without being held in memory.

2,500 by default; `LSL_MANY_FRAMES=10000` asks for more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from lsl_core.cvat import get_task, plan_push, task_frames
from lsl_core.sandbox.files.media import Frame
from lsl_core.sandbox.tasks.filling import store_frames
from lsl_core.types import Instances

FRAMES = int(os.environ.get("LSL_MANY_FRAMES", "2500"))
DIFFERENT, SIDE = 50, 56

#: Pulls a task twice in a process of its own, and says what it held at most, in bytes.
_PULLING = """
import json, sys, tracemalloc
from pathlib import Path
from lsl_core.cvat import PasswordLogin, connect, pull_frames

with connect(sys.argv[1], PasswordLogin("demo", "demo-password"), organisation="") as session:
    tracemalloc.start()
    pulled = pull_frames(session, int(sys.argv[2]), Path(sys.argv[3]))
    peak = tracemalloc.get_traced_memory()[1]
    again = pull_frames(session, int(sys.argv[2]), Path(sys.argv[3]))
    bytes_each = [path.stat().st_size for path in pulled.paths]
    print(json.dumps({
        "peak": peak, "images": len(pulled.paths), "bytes": sum(bytes_each),
        "files": len(set(pulled.paths)), "first": pulled.fetched, "again": again.fetched,
        "frames": [ref.frame for ref in pulled.refs] == list(range(len(pulled.refs))),
    }))
"""


@pytest.fixture(scope="module")
def large_task(sandbox, tmp_path_factory):
    """A task of many frames that show 50 pictures, without uploading each."""
    folder = tmp_path_factory.mktemp("many")
    database = sandbox.context.db
    with database.write() as conn:
        user = database.value("SELECT id FROM users WHERE username = 'demo'", ())
        task_id = conn.execute(
            "INSERT INTO tasks (name, owner_id, created, updated, segment_size) VALUES"
            " ('many', ?, '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 500)",
            (user,),
        ).lastrowid
        conn.execute(
            "INSERT INTO labels (task_id, name, color, type) VALUES (?, 'cell', '#ff0000', 'any')",
            (task_id,),
        )
    raw = sandbox.context.task_folder(task_id) / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(DIFFERENT):
        pixels = rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        cv2.imwrite(str(raw / f"{i}.png"), pixels)
    frames = [Frame(f"{n:05d}.png", SIDE, SIDE, f"raw/{n % DIFFERENT}.png") for n in range(FRAMES)]
    store_frames(sandbox.context, task_id, frames, {})
    return task_id, folder / "store"


def test_many_images_pass_through_little_memory(sandbox, large_task):
    task_id, store = large_task
    words = [sandbox.url, str(task_id), str(store)]
    done = subprocess.run(
        [sys.executable, "-c", _PULLING, *words], check=True, stdout=subprocess.PIPE
    )
    found = json.loads(done.stdout)
    assert (found["images"], found["first"], found["again"]) == (FRAMES, FRAMES, 0)
    assert found["files"] == DIFFERENT
    assert found["frames"]
    assert found["bytes"] > 9_000 * FRAMES
    # what stays are the names of frames and files
    assert found["peak"] < 2_000 * FRAMES


def test_a_plan_for_many_frames_writes_what_few_of_them_get(session, large_task):
    task_id, _ = large_task
    assert get_task(session, task_id).frames == len(task_frames(session, task_id)) == FRAMES
    empty = Instances.empty((SIDE, SIDE))
    box = np.array([[5, 5, 30, 30]], np.float32)
    one = Instances(box, np.ones(1, np.float32), np.zeros(1, np.int32), None, (SIDE, SIDE))
    found = {frame: one if frame % 500 == 499 else empty for frame in range(FRAMES)}
    plan = plan_push(session, task_id, found, ("cell",))
    assert [row.frame for row in plan.frames] == list(range(499, FRAMES, 500))
    assert len(plan.create.counts) == FRAMES // 500

"""A new task whose upload is killed: the same export goes on, and makes exactly one whole task.

A few kills by default; `LSL_KILL_RUNS=200` asks for more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from cvat_helpers import FaultProxy

from lsl_core import cvat
from lsl_core.cvat import Arrivals, Drawing, PasswordLogin, connect
from lsl_core.errors import CvatUnreachable
from lsl_core.services.labelling import exporting
from lsl_core.services.workspaces import create_workspace
from lsl_core.sources import LabelledImage, save_source
from lsl_core.types import CropMasks, Instances, Mode
from lsl_core.workspace.images import image_ref

KILLS = int(os.environ.get("LSL_KILL_RUNS", "4"))
#: Three small images travel together, five larger ones in two parts each.
SIDES = (30, 70, 30, 70, 70, 30, 70, 70)

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    from lsl_core.sandbox import Sandbox

    with Sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="module")
def session(sandbox):
    with connect(sandbox.url, PasswordLogin("demo", "demo-password"), organisation="") as opened:
        yield opened


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace with a source of small labelled images."""
    folder = tmp_path_factory.mktemp("work")
    made = create_workspace(folder / "w", Mode.FSIS)
    rng = np.random.default_rng(0)
    rows = []
    for n, side in enumerate(SIDES):
        path = folder / f"{n}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (side, side, 3), np.uint8))
        crops = [rng.random((8, 9)) > 0.3 for _ in range(3)]
        masks = CropMasks.from_crops(crops, [(i * 10, i * 2) for i in range(3)])
        x, y, w, h = masks.crops.T
        boxes = np.stack([x, y, x + w, y + h], axis=1).astype(np.float32)
        found = Instances(boxes, np.ones(3, np.float32), np.zeros(3, np.int32), masks, (side, side))
        ref = image_ref(path, frame=n, name=path.name)
        rows.append(LabelledImage(ref, path, found, np.ones(3, bool)))
    origin = {"kind": "folder"}
    save_source(made.sources, "cells", rows, labels=("cell",), is_labelled=True, origin=origin)
    return made


@pytest.fixture(scope="module")
def whole(session, workspace):
    """The names, bytes and shapes of a task that was made undisturbed."""
    return contents(
        session, exporting.export_source(session, workspace, "cells", cvat_name="whole")
    )


def contents(session, task):
    frames = cvat.task_frames(session, task.id)
    data = [cvat.frame_bytes(session, task.id, f.frame, quality="original") for f in frames]
    shapes = Counter(
        (s["frame"], s["type"], tuple(s["points"]), s["source"])
        for s in cvat.task_annotations(session, task.id)["shapes"]
    )
    return [f.name for f in frames], data, shapes


def tasks_of(session, *words):
    return [task for task in cvat.list_tasks(session) if any(word in task.name for word in words)]


@pytest.fixture(scope="module")
def nursery():
    script = Path(__file__).with_name("exporting_child.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


class Child:
    """A child that makes a task; reaped at the end of the block."""

    def __init__(self, nursery, url, workspace, name):
        self._nursery = nursery
        self._words = json.dumps([url, str(workspace.root), name])
        self.pid, self.began = 0, threading.Event()
        self.status = None

    def __enter__(self):
        self._nursery.stdin.write(self._words + "\n")
        self._nursery.stdin.flush()
        self.pid = int(self._nursery.stdout.readline())
        self.began.set()
        return self

    def kill(self):
        self.began.wait()
        os.kill(self.pid, signal.SIGKILL)

    def __exit__(self, *error):
        self._nursery.stdin.write("reap\n")
        self._nursery.stdin.flush()
        self.status = int(self._nursery.stdout.readline())


def run_through(nursery, url, workspace, name):
    """Export in a child that nobody kills; return the seconds that it took."""
    begun = time.monotonic()
    with Child(nursery, url, workspace, name) as child:
        pass
    assert child.status == 0
    return time.monotonic() - begun


def is_number(wanted, number, method, path):
    return number == wanted


def makes_the_task(number, method, path):
    return method == "POST" and path.endswith("/api/tasks")


def kill_at_request(nursery, proxy, workspace, name, is_wanted, *, is_done):
    """Export, and kill the child as the wanted request comes, or as CVAT has done it.

    Returns the child's status: 0 when it was through before.
    """
    child = Child(nursery, proxy.url, workspace, name)
    seen = []
    lock = threading.Lock()

    def fault(method, path, forward):
        with lock:
            seen.append(path)
            is_it = is_wanted(len(seen), method, path)
        if not is_it:
            return forward()
        if is_done:
            forward()
        child.kill()
        return None

    proxy.fault = fault
    with child:
        pass
    proxy.fault = lambda method, path, forward: forward()
    return child.status


def test_killed_at_any_instant_an_export_goes_on_and_makes_one_whole_task(
    sandbox, session, workspace, whole, nursery
):
    with FaultProxy(sandbox.url) as proxy:
        requests = []

        def count(method, path, forward):
            requests.append(path)
            return forward()

        proxy.fault = count
        whole_s = run_through(nursery, proxy.url, workspace, "counted")
        killed = 0
        for number in range(KILLS):
            rng = np.random.default_rng(number)
            name = f"killed {number}."
            if number % 4 == 3:  # between requests, too
                with Child(nursery, proxy.url, workspace, name) as child:
                    time.sleep(rng.uniform(0, whole_s))
                    child.kill()
                status = child.status
            else:
                at = int(rng.integers(5, len(requests) + 1))  # the first ones sign in
                done = bool(rng.integers(2))
                status = kill_at_request(
                    nursery, proxy, workspace, name, partial(is_number, at), is_done=done
                )
            killed += status == signal.SIGKILL
            if status != 0:  # one that was through is not begun again
                run_through(nursery, proxy.url, workspace, name)
            (task,) = tasks_of(session, name, "LSL upload")
            assert task.name == name
            assert contents(session, task) == whole
    assert killed >= KILLS / 2


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_killed_at_the_request_that_makes_the_task_there_is_no_second_one(
    sandbox, session, workspace, whole, nursery, is_done
):
    name = f"making {is_done}."
    with FaultProxy(sandbox.url) as proxy:
        kill_at_request(nursery, proxy, workspace, name, makes_the_task, is_done=is_done)
        assert len(tasks_of(session, "LSL upload")) == is_done
        run_through(nursery, proxy.url, workspace, name)
    (task,) = tasks_of(session, name, "LSL upload")
    assert contents(session, task) == whole


def test_files_that_arrived_are_not_sent_again(sandbox, session, workspace, whole, nursery):
    sent, taken = [], []
    with FaultProxy(sandbox.url) as proxy:
        child = Child(nursery, proxy.url, workspace, "once")

        def fault(method, path, forward):
            if method != "PATCH" or "/data/" not in path:
                return forward()
            sent.append(path)
            if len(sent) == 6:
                child.kill()
                return None
            answer = forward()
            if answer.status < 300:
                taken.append(path)
            return answer

        proxy.fault = fault
        with child:
            pass
        run_through(nursery, proxy.url, workspace, "once")
    (task,) = tasks_of(session, "once", "LSL upload")
    assert contents(session, task) == whole
    assert len(taken) == 10, sent  # five files of two parts


def test_a_server_that_goes_away_keeps_what_arrived_and_the_same_export_goes_on(
    sandbox, session, workspace, whole, monkeypatch
):
    monkeypatch.setattr("lsl_core.cvat.new_tasks.upload.SETTLE_S", 0.1)
    with FaultProxy(sandbox.url) as proxy:
        proxy.fault = lambda method, path, forward: (
            None if path.endswith("/data/") and method == "POST" else forward()
        )
        login = PasswordLogin("demo", "demo-password")
        with connect(proxy.url, login, organisation="") as through:
            with pytest.raises(CvatUnreachable) as caught:
                exporting.export_source(through, workspace, "cells", cvat_name="gone")
            assert "goes on where it stopped" in str(caught.value.hint)
            (half,) = tasks_of(session, "LSL upload")
            proxy.fault = lambda method, path, forward: forward()
            made = exporting.export_source(through, workspace, "cells", cvat_name="gone")
    assert (made.id, made.name) == (half.id, "gone")
    assert contents(session, made) == whole


def test_a_task_that_somebody_took_away_meanwhile_is_made_anew(session, workspace, whole, tmp_path):
    images = sorted(workspace.root.parent.glob("*.png"))
    arrivals = Arrivals(tmp_path / "a.sqlite")
    arrival = arrivals.open("key", url=session.url)
    first = cvat.create_task(session, "taken", [("cell", Drawing.MASK)], images, arrival=arrival)
    cvat.delete_task(session, first.id)
    again = arrivals.open("key", url=session.url)
    second = cvat.create_task(session, "taken", [("cell", Drawing.MASK)], images, arrival=again)
    assert second.id != first.id
    assert contents(session, second)[1] == whole[1]
    again.forget()
    assert not arrivals.open("key", url=session.url).is_resumed


def test_two_processes_do_not_upload_the_same_at_once(session, tmp_path):
    arrivals = Arrivals(tmp_path / "a.sqlite")
    arrivals.open("key", url=session.url)
    code = (
        "import sys; from pathlib import Path; from lsl_core.cvat import Arrivals;"
        "from lsl_core.errors import Locked\n"
        "try: Arrivals(Path(sys.argv[1])).open('key', url=sys.argv[2])\n"
        "except Locked: sys.exit(7)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.sqlite"), session.url]
    assert subprocess.run(words, check=False).returncode == 7
    arrivals.open("key", url=session.url)  # it is ours

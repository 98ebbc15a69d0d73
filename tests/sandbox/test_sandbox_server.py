"""The pages, the command, the object, and how fast it all is."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from sandbox_helpers import Http, box, draw_images, make_task, read, write

from lsl_core.sandbox import PortTakenError, Sandbox
from lsl_core.sandbox.__main__ import PASSWORD_VARIABLE, main
from lsl_core.sandbox.exchange import masks

SAYS = "LSL sandbox – not a real CVAT"


def page(sandbox: Sandbox, path: str, status: int = 200) -> str:
    found, body, headers = Http(sandbox.url).call("GET", path)
    assert found == status
    assert headers["content-type"].startswith("text/html")
    text = body.decode()
    assert SAYS in re.sub("<[^>]*>", " ", text.partition("<body>")[2]), "said on every page"
    return text


# ---- pages


def test_every_page_says_what_it_is_and_needs_no_session(sandbox, http, task):
    job = task["jobs_by_start"][3]
    assert f'href="/tasks/{task["id"]}"' in page(sandbox, "/")
    assert "6 frames" in page(sandbox, "/tasks")
    at = f"/tasks/{task['id']}"
    assert f'href="{at}/jobs/{job}?frame=4"' in page(sandbox, at)
    assert "frame 4 (2 of 3)" in page(sandbox, f"{at}/jobs/{job}?frame=4")
    assert "frame 3 (1 of 3)" in page(sandbox, f"{at}/jobs/{job}?frame=999")
    for missing in ("/tasks/999", f"{at}/jobs/999", "/tasks/x", "/projects/1"):
        assert "nothing here" in page(sandbox, missing, 404)
    for image in (f"/view{at}/frames/3.jpg", f"/view{at}/previews/3.jpg"):
        assert Http(sandbox.url).call("GET", image)[1][:2] == b"\xff\xd8"
    assert Http(sandbox.url).call("POST", "/tasks", {})[0] == 405


def test_a_page_draws_each_kind_of_shape_and_counts_by_label(sandbox, http, task):
    ring = np.zeros((30, 40), bool)
    ring[2:28, 3:37] = True
    ring[10:20, 12:25] = False
    cell = {"label_id": task["cell"], "type": "mask", "points": masks.to_cvat(5, 6, ring)}
    shapes = [
        box(task, rotation=30),
        box(task, **cell, source="auto"),
        box(task, type="polygon", points=[1, 1, 9, 1, 9, 9]),
        box(task, type="polyline", points=[1, 1, 9, 1, 9, 9]),
        box(task, type="ellipse", points=[30, 30, 40, 25]),
        box(task, type="points", points=[5, 5, 6, 6]),
        box(task, **{**cell, "points": [0, 4, 900, 900, 901, 901]}),
    ]
    assert write(http, task, shapes)[0] == 200
    text = page(sandbox, f"/tasks/{task['id']}/jobs/{task['jobs_by_start'][0]}?frame=0")
    for element, count in (
        ("<rect ", 1),
        ("<path ", 1),
        ("<polygon ", 1),
        ("<polyline ", 1),
        ("<ellipse ", 1),
        ("<circle ", 2),
        ('class="auto"', 1),
    ):
        assert text.count(element) == count, element
    rows = dict(re.findall(r'</i>(\w+)</td>.*?<td class="n">(\d+)', text))
    assert rows == {"box": "5", "cell": "2"}
    path = re.search(r'<path fill-rule="evenodd" d="([^"]+)"', text)
    assert path is not None
    assert drawn_area(path.group(1)) == ring.sum(), "the hole is a hole"


def drawn_area(path: str) -> int:
    """Fill an SVG path of straight lines, even-odd, and count its pixels."""
    rings = [
        np.array(re.findall(r"-?[\d.]+", ring), float).reshape(-1, 2)
        for ring in path.split("M")
        if ring
    ]
    canvas = np.zeros((720, 960), np.uint8)
    for ring in rings:
        corners = np.rint(ring * 10).astype(np.int32)
        mask = np.zeros_like(canvas)
        cv2.fillPoly(mask, [corners], 1)
        canvas ^= mask
    return int(canvas[5::10, 5::10].sum())


def test_names_cannot_write_html(sandbox, http, tmp_path):
    name = '<script>alert(1)</script>"'
    labels = [{"name": name, "color": '"><script>'}]
    project = http.ok("POST", "/api/projects", {"name": name, "labels": labels}, status=201)
    task = {"name": name, "project_id": project["id"]}
    http.ok("POST", "/api/tasks", task, status=201)
    made = make_task(http, draw_images(tmp_path / "i", 1), name=name)
    job = next(iter(made["jobs_by_start"].values()))
    paths = ("/", f"/projects/{project['id']}", "/tasks/1", f"/tasks/{made['id']}/jobs/{job}")
    for path in paths:
        assert "<script" not in page(sandbox, path)


# ---- the object and the command


def test_a_port_in_use_is_one_clear_line(tmp_path, capsys):
    with Sandbox(tmp_path / "one") as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(PortTakenError):
            Sandbox(tmp_path / "two", port=port).start()
        code = main(["--folder", str(tmp_path / "two"), "--port", str(port)])
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1
    assert f"Port {port} of 127.0.0.1 is in use" in error


@pytest.mark.parametrize("version", ["2", "new", "2.80"])
def test_a_version_that_is_none_is_refused(tmp_path, capsys, version):
    assert main(["--folder", str(tmp_path), "--cvat-version", version, "--port", "0"]) == 2
    assert "looks like 2.80.0" in capsys.readouterr().err


def test_the_command_runs_until_it_is_told_to_stop(tmp_path):
    command = [sys.executable, "-m", "lsl_core.sandbox", "--folder", str(tmp_path / "sandbox")]
    environment = {**os.environ, PASSWORD_VARIABLE: "from-the-environment"}
    with subprocess.Popen(
        [*command, "--port", "0", "--user", "ann"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert url is not None, line
        assert "from-the-environment" not in line
        login = {"username": "ann", "password": "from-the-environment"}
        assert Http(url.group()).call("POST", "/api/auth/login", login)[0] == 200
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


def test_the_sandbox_listens_on_loopback_only(sandbox):
    port = int(sandbox.url.rpartition(":")[2])
    with socket.socket() as other:
        # Binding the same port of every other address works only if nobody listens there.
        other.bind(("127.0.0.2", port))
    assert sandbox.url.startswith("http://127.0.0.1:")


def test_the_object_says_what_is_wrong(sandbox, tmp_path):
    with pytest.raises(ValueError, match="no user 'nobody'"):
        sandbox.make_token("nobody")
    with pytest.raises(RuntimeError, match="not started"):
        Sandbox(tmp_path / "x").make_token("demo")


def test_two_sandboxes_do_not_share_a_folder(sandbox):
    folder = sandbox.context.folder
    with pytest.raises(RuntimeError, match="Another sandbox uses the folder"):
        Sandbox(folder).start()


def test_a_folder_of_another_format_is_refused(tmp_path):
    with Sandbox(tmp_path / "s") as first:
        first.context.db.run("PRAGMA user_version = 99")
    with pytest.raises(RuntimeError, match="format 99"):
        Sandbox(tmp_path / "s").start()


# ---- speed


def test_thousands_of_masks_are_quick(http, task):
    rng = np.random.default_rng(0)
    runs = rng.integers(1, 9, 330).tolist()
    points = [*map(float, runs), 0.0, 0.0, 59.0, 59.0]
    cell = box(task, label_id=task["cell"], type="mask", points=points, source="auto")
    # CPU time of client and server together: wall time says more about the machine's other work.
    started = time.process_time()
    for _ in range(5):
        assert write(http, task, [cell] * 1000)[0] == 200
    written = time.process_time() - started
    started = time.process_time()
    assert len(read(http, task)) == 5000
    took = time.process_time() - started
    # Some 0.3 s a thousand and 0.4 s in all; the margin is for a slower machine.
    assert written < 7, f"{written:.1f} s to write 5 × 1000 masks"
    assert took < 3, f"{took:.1f} s to read 5000 masks"

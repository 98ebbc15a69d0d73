"""AI tools of the sandbox: what is stored of an answer, and what happens without one."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest
from nuclio_stand_in import StandIn, described
from sandbox_helpers import Http, box, draw_images, make_task, read, write

from lsl_core.sandbox import Sandbox
from lsl_core.sandbox.base.nuclio import Nuclio

#: A ring of 3×3 pixels at (5, 4): its middle is a hole.
RING = [1, 1, 1, 1, 0, 1, 1, 1, 1, 5, 4, 7, 6]
MASK = {"label": "cell", "type": "mask", "mask": RING, "points": [5, 4, 8, 4, 8, 7, 5, 7]}
BOX = {"label": "box", "type": "rectangle", "points": [1, 2, 9, 8]}
CELLS = described("cells", {"name": "cell", "type": "mask"}, {"name": "box", "type": "rectangle"})


@contextmanager
def tools(folder, found=(MASK,), *, rows=None, is_direct=False, timeout_s=20.0):
    """A sandbox whose AI tool is `cells`; `found` is its answer, or a function that gives one."""
    rows = rows or {"cells": CELLS}

    def answer(asked):
        if asked.method == "POST":
            return found(asked) if callable(found) else (200, list(found))
        name = asked.path.removeprefix("/api/functions").strip("/")
        return (200, rows[name]) if name else (200, rows)

    with StandIn(answer) as stand_in:
        CELLS["status"]["httpPort"] = stand_in.direct_port
        nuclio = Nuclio("127.0.0.1", stand_in.port, is_direct, timeout_s)
        with Sandbox(folder, nuclio=nuclio) as sandbox:
            http = Http(sandbox.url, sandbox.make_token("demo", kind="login"))
            http.stand_in, http.sandbox = stand_in, sandbox
            yield http


def started(http, task, **more):
    body = {"function": "cells", "task": task["id"], **more}
    return http.ok("POST", "/api/lambda/requests", body)


def ended(http, run):
    path = f"/api/lambda/requests/{run['id'].replace('=', '%3D').replace('&', '%26')}"
    end = time.monotonic() + 20
    while True:
        found = http.ok("GET", path)
        if found["status"] in ("finished", "failed"):
            return found
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_mask_keeps_its_hole_on_the_way_into_the_task(tmp_path):
    with tools(tmp_path) as http:
        task = make_task(http, draw_images(tmp_path / "i", 2))
        assert ended(http, started(http, task))["progress"] == 100
        shapes = read(http, task)
    assert [shape["points"] for shape in shapes] == [[0, 4, 1, 4, 5, 4, 7, 6]] * 2
    assert {(s["type"], s["source"], s["label_id"]) for s in shapes} == {
        ("mask", "auto", task["cell"])
    }


@pytest.mark.parametrize("is_direct", [False, True])
def test_an_outline_is_stored_when_polygons_are_asked_for(tmp_path, is_direct):
    with tools(tmp_path, is_direct=is_direct) as http:
        task = make_task(http, draw_images(tmp_path / "i", 1))
        ended(http, started(http, task, conv_mask_to_poly=True, threshold=0.25))
        (shape,) = read(http, task)
        asked = http.stand_in.asked[-1]
    assert (shape["type"], shape["points"]) == ("polygon", MASK["points"])
    assert asked.is_direct == is_direct
    assert asked.body["threshold"] == 0.25
    assert asked.headers.get("x-nuclio-function-name") == (None if is_direct else "cells")


def test_what_no_label_fits_is_dropped_and_a_mapping_renames(tmp_path):
    found = (MASK, BOX, {**BOX, "label": "unknown"})
    with tools(tmp_path, found) as http:
        task = make_task(http, draw_images(tmp_path / "i", 1))
        ended(http, started(http, task))
        assert sorted(shape["type"] for shape in read(http, task)) == ["mask", "rectangle"]
        mapping = {"box": {"name": "box"}}
        ended(http, started(http, task, cleanup=True, mapping=mapping))
        assert [shape["type"] for shape in read(http, task)] == ["rectangle"]


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({"zzz": {"name": "cell"}}, 'Unknown model label "zzz"'),
        ({"cell": {"name": "zzz"}}, 'Unknown db label "zzz"'),
        ({"box": {"name": "cell"}}, "are not compatible"),
    ],
)
def test_a_bad_mapping_fails_the_run_and_refuses_the_call(tmp_path, mapping, text):
    with tools(tmp_path) as http:
        task = make_task(http, draw_images(tmp_path / "i", 1))
        run = ended(http, started(http, task, mapping=mapping))
        call = {"task": task["id"], "frame": 0, "mapping": mapping}
        status, answer, _ = http.call("POST", "/api/lambda/functions/cells", call)
    assert run["status"] == "failed"
    assert text in run["exc_info"]
    assert (status, text in answer) == (400, True)


def test_what_a_person_drew_stays_unless_cleanup_is_asked_for(tmp_path):
    with tools(tmp_path) as http:
        task = make_task(http, draw_images(tmp_path / "i", 1))
        write(http, task, [box(task)])
        ended(http, started(http, task))
        assert [shape["source"] for shape in read(http, task)] == ["manual", "auto"]
        ended(http, started(http, task, cleanup=True))
        assert [shape["source"] for shape in read(http, task)] == ["auto"]


def test_a_run_over_a_job_leaves_the_other_jobs_and_deleted_frames_alone(tmp_path):
    with tools(tmp_path) as http:
        task = make_task(http, draw_images(tmp_path / "i", 6), segment_size=3)
        job = task["jobs_by_start"][3]
        http.ok("PATCH", f"/api/jobs/{job}/data/meta", {"deleted_frames": [4]})
        run = started(http, task, job=job)
        ended(http, run)
        assert run["function"]["job"] == job
        assert sorted(shape["frame"] for shape in read(http, task)) == [3, 5]


def test_a_failure_leaves_what_was_stored_after_a_hundred_frames(tmp_path):
    calls = []

    def found(asked):
        calls.append(asked)
        return (200, [BOX]) if len(calls) <= 105 else (500, {"errorMessage": "boom"})

    with tools(tmp_path, found) as http:
        (small,) = draw_images(tmp_path / "i", 1, height=8, width=8)
        images = [(f"{number:03d}.png", small.read_bytes()) for number in range(110)]
        task = make_task(http, images)
        run = ended(http, started(http, task))
        assert (run["status"], run["progress"]) == ("failed", 95)
        assert run["exc_info"].endswith("500 Server Error: Internal Server Error for url: "
                                        f"http://127.0.0.1:{http.stand_in.port}"
                                        "/api/function_invocations")  # fmt: skip
        assert sorted(shape["frame"] for shape in read(http, task)) == list(range(101))


def test_a_cancelled_run_is_forgotten_and_ends_after_the_frame_it_is_at(tmp_path):
    may_go, has_begun = threading.Event(), threading.Event()

    def found(_):
        has_begun.set()
        assert may_go.wait(20)
        return 200, [BOX]

    with tools(tmp_path, found) as http:
        task = make_task(http, draw_images(tmp_path / "i", 3))
        run = started(http, task)
        assert has_begun.wait(20)
        assert http.call("POST", "/api/lambda/requests", {"function": "cells", "task": task["id"]})[
            0
        ] == 409  # fmt: skip
        path = f"/api/lambda/requests/{run['id'].replace('=', '%3D').replace('&', '%26')}"
        http.ok("DELETE", path, status=204)
        may_go.set()
        assert http.ok("GET", "/api/lambda/requests") == []
        assert http.call("GET", path)[0] == 404
        end = time.monotonic() + 20
        while not read(http, task):
            assert time.monotonic() < end
        assert len(http.stand_in.asked) == 3  # the function twice, one frame


def test_a_gateway_that_is_down_or_slow_is_answered_as_cvat_does(tmp_path):
    release = threading.Event()

    def found(_):
        release.wait(20)
        return 200, []

    with tools(tmp_path, found, timeout_s=0.2) as http:
        task = make_task(http, draw_images(tmp_path / "i", 1))
        call = {"task": task["id"], "frame": 0}
        assert http.call("POST", "/api/lambda/functions/cells", call)[0] == 504
        assert "ReadTimeout" in ended(http, started(http, task))["exc_info"]
        release.set()
        http.sandbox.context.nuclio = Nuclio("127.0.0.1", 1)
        assert http.call("GET", "/api/lambda/functions")[0] == 503
        assert http.call("POST", "/api/lambda/functions/cells", call)[0] == 503
        started_ = {"function": "cells", "task": task["id"]}
        assert http.call("POST", "/api/lambda/requests", started_)[0] == 503


def test_a_run_is_its_owners_and_its_task_has_to_be_seen(tmp_path):
    with tools(tmp_path) as http:
        task = make_task(http, draw_images(tmp_path / "i", 1))
        run = started(http, task)
        ended(http, run)
        http.sandbox.add_user("other", "pw")
        other = Http(http.url, http.sandbox.make_token("other", kind="login"))
        assert other.ok("GET", "/api/lambda/requests") == []
        body = {"function": "cells", "task": task["id"]}
        assert other.call("POST", "/api/lambda/requests", body)[0] == 403


def test_functions_that_cvat_does_not_understand_are_not_offered(tmp_path):
    rows = {
        "cells": CELLS,
        "other": described("other", type="something"),
        "bare": {"metadata": {"name": "bare", "annotations": {"type": "detector"}}},
        "twice": described("twice", {"name": "a"}, {"name": "a"}),
        "clicks": described("clicks", type="interactor", min_pos_points="0", version="2"),
    }
    with tools(tmp_path, rows=rows) as http:
        found = {row["id"]: row for row in http.ok("GET", "/api/lambda/functions")}
        status = [http.call("GET", f"/api/lambda/functions/{name}")[0] for name in rows]
        has_tools = http.ok("GET", "/api/server/plugins")["MODELS"]
    assert sorted(found) == ["cells", "clicks"]
    assert (found["clicks"]["min_pos_points"], found["clicks"]["version"]) == (0, 2)
    assert status == [200, 500, 500, 500, 200]
    assert has_tools


@pytest.mark.parametrize("text", ["", "8070", "host:", ":8070", "host:x"])
def test_an_address_needs_a_host_and_a_port(text):
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:8070"):
        Nuclio.at(text)

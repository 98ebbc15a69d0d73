"""The queue of agents, in the words that cvat-cli sends and reads."""

from __future__ import annotations

import threading
import time
import urllib.request

import pytest
from cvat_cli._internal.agent import _Event, _NewReconnectionDelay, _parse_event_stream
from sandbox_helpers import Http, box, read, write

NATIVE = {
    "provider": "native", "name": "Cells", "kind": "detector", "visibility": "private",
    "labels_v2": [{"name": "box", "attributes": [], "type": "rectangle"}],
}  # fmt: skip


def made(http, **more):
    return http.ok("POST", "/api/functions", NATIVE | more, status=201)["id"]


def told(http, number, what, body=None, **more):
    path = f"/api/functions/queues/function:{number}/requests/{what}"
    return http.ok("POST", path, {"agent_id": "a1", **(body or {}), **more})


def acquired(http, number, category="batch"):
    return told(http, number, "acquire", request_category=category)["ar_assignment"]


def started(http, number, task, **more):
    body = {"function": str(number), "task": task["id"], **more}
    return http.ok("POST", "/api/lambda/requests", body)


def run_of(http):
    (run,) = http.ok("GET", "/api/lambda/requests")
    return run


def test_what_an_agent_completes_is_stored_in_the_task(http, task):
    number = made(http)
    write(http, task, [box(task)])
    assert acquired(http, number) is None
    started(http, number, task, cleanup=True, threshold=0.4)
    assert acquired(http, number, "interactive") is None
    given = acquired(http, number)
    assert given["ar_params"] == {
        "type": "annotate_task", "task": task["id"], "threshold": 0.4,
        "mapping": {"box": {"name": "box"}}, "conv_mask_to_poly": False,
    }  # fmt: skip
    assert acquired(http, number) is None
    told(http, number, f"{given['ar_id']}/update", progress=0.5)
    assert (run_of(http)["status"], run_of(http)["progress"]) == ("started", 50)
    shape = box(task, points=[5, 5, 9, 9], source="auto")
    annotations = {"tags": [], "shapes": [shape]}
    told(http, number, f"{given['ar_id']}/complete", annotations=annotations)
    assert (run_of(http)["status"], run_of(http)["progress"]) == ("finished", 100)
    assert [shape["points"] for shape in read(http, task)] == [[5, 5, 9, 9]]


def test_a_request_that_an_agent_fails_says_why(http, task):
    number = made(http)
    started(http, number, task)
    given = acquired(http, number)
    told(http, number, f"{given['ar_id']}/fail", exc_info="Unknown error")
    assert (run_of(http)["status"], run_of(http)["exc_info"]) == ("failed", "Unknown error")


def test_a_cancelled_run_is_nobodys_any_more(http, task):
    number = made(http)
    started(http, number, task)
    given = acquired(http, number)
    path = run_of(http)["id"].replace("=", "%3D").replace("&", "%26")
    http.ok("DELETE", f"/api/lambda/requests/{path}", status=204)
    late = f"/api/functions/queues/function:{number}/requests/{given['ar_id']}/complete"
    assert http.call("POST", late, {"agent_id": "a1", "annotations": {}})[0] == 404
    assert read(http, task) == []


def test_an_agent_is_told_of_new_requests_in_events_that_cvat_cli_reads(http, task):
    number = made(http)
    request = urllib.request.Request(
        f"{http.url}/api/functions/queues/function:{number}/watch", headers=http.headers
    )
    with urllib.request.urlopen(request, timeout=20) as stream:
        messages = _parse_event_stream(stream)
        assert isinstance(next(messages), _NewReconnectionDelay)
        started(http, number, task)
        assert next(messages) == _Event("newrequest", '{"request_category": "batch"}')


@pytest.mark.parametrize("is_failed", [False, True])
def test_a_call_for_one_frame_waits_for_its_agent(http, task, is_failed):
    number = made(http, kind="interactor", min_pos_points=1, min_neg_points=0)
    body = {"task": task["id"], "frame": 1, "pos_points": [[1, 2]], "neg_points": []}
    answers = []
    path = f"/api/lambda/functions/{number}"
    thread = threading.Thread(target=lambda: answers.append(http.call("POST", path, body)))
    thread.start()
    end = time.monotonic() + 20
    while (given := acquired(http, number, "interactive")) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    if is_failed:
        told(http, number, f"{given['ar_id']}/fail", exc_info="Invalid ROI")
    else:
        told(http, number, f"{given['ar_id']}/complete", shapes=[{"type": "mask"}])
    thread.join()
    assert given["ar_params"] == {
        "type": "interact", "task": task["id"], "frame": 1, "pos_points": [[1, 2]],
        "neg_points": [], "obj_bbox": [],
    }  # fmt: skip
    wanted = (500, "Invalid ROI") if is_failed else (200, {"shapes": [{"type": "mask"}]})
    assert answers[0][:2] == wanted


def test_a_native_function_is_its_owners_and_can_be_deleted(sandbox, http, task):
    number = made(http)
    sandbox.add_user("other", "pw")
    other = Http(http.url, sandbox.make_token("other", kind="login"))
    assert other.call("GET", f"/api/functions/{number}")[0] == 404
    assert [tool["id"] for tool in http.ok("GET", "/api/lambda/functions")] == [str(number)]
    http.ok("DELETE", f"/api/functions/{number}", status=204)
    assert http.call("GET", f"/api/functions/{number}")[0] == 404
    assert http.call("POST", "/api/functions", {"name": "n", "provider": "x"})[0] == 400


def test_a_frame_of_an_agent_that_never_comes_ends_with_the_sandbox(sandbox, http, task):
    number = made(http)
    body = {"task": task["id"], "frame": 0}
    answers = []
    path = f"/api/lambda/functions/{number}"
    thread = threading.Thread(target=lambda: answers.append(http.call("POST", path, body)[0]))
    thread.start()
    end = time.monotonic() + 20
    while not sandbox.context.requests.rows:
        assert time.monotonic() < end
    sandbox.context.requests.close()
    thread.join()
    assert answers == [504]


def test_an_agent_takes_whole_tasks_only(http, task):
    job = task["jobs_by_start"][0]
    of_job = {"function": str(made(http)), "task": task["id"], "job": job}
    assert http.call("POST", "/api/lambda/requests", of_job)[0] == 400

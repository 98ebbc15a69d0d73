"""Who may come in, and what they may see."""

from __future__ import annotations

import base64

import pytest
from sandbox_helpers import Http, box, draw_images, make_task, write


def test_nobody_comes_in_without_a_secret(sandbox):
    status, body, headers = Http(sandbox.url).call("GET", "/api/tasks")
    assert (status, headers["www-authenticate"]) == (401, "Token")
    assert body == {"detail": "Authentication credentials were not provided."}


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Token wrong", 401),
        ("Bearer wrong", 401),
        ("Basic " + base64.b64encode(b"demo:demo-password").decode(), 200),
        ("Basic " + base64.b64encode(b"demo:wrong").decode(), 401),
        ("Basic ???", 401),
    ],
)
def test_each_scheme_is_checked(sandbox, header, status):
    answer = Http(sandbox.url).call("GET", "/api/users/self", headers={"Authorization": header})
    assert answer[0] == status


def test_a_session_needs_its_csrf_header_to_write(sandbox):
    http = Http(sandbox.url)
    login = {"username": "demo", "password": "demo-password"}
    _, body, headers = http.call("POST", "/api/auth/login", login)
    cookies = dict(part.split(";")[0].split("=") for part in headers["set-cookie"].split(", "))
    sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
    new = {"name": "p", "labels": []}
    assert http.call("GET", "/api/tasks", headers=sent)[0] == 200
    assert http.call("POST", "/api/projects", new, headers=sent)[0] == 403
    wrong = {**sent, "X-CSRFToken": "wrong"}
    assert http.call("POST", "/api/projects", new, headers=wrong)[0] == 403
    right = {**sent, "X-CSRFToken": cookies["csrftoken"]}
    assert http.call("POST", "/api/projects", new, headers=right)[0] == 201
    token = {"Authorization": f"Token {body['key']}"}
    assert http.call("GET", "/api/users/self", headers=token)[1]["username"] == "demo"
    assert http.call("POST", "/api/auth/logout", headers=right)[0] == 200
    assert http.call("GET", "/api/tasks", headers=sent)[0] == 401
    assert http.call("GET", "/api/tasks", headers=token)[0] == 401


def test_another_persons_task_is_forbidden_and_an_unknown_one_not_found(sandbox, http, task):
    sandbox.add_user("second", "pw")
    second = Http(sandbox.url, sandbox.make_token("second"), "Bearer")
    for method, path in (
        ("GET", f"/api/tasks/{task['id']}"),
        ("GET", f"/api/tasks/{task['id']}/annotations"),
        ("PATCH", f"/api/jobs/{task['jobs_by_start'][0]}/annotations?action=create"),
        ("GET", f"/api/tasks/{task['id']}/data?type=frame&number=0"),
        ("POST", f"/api/tasks/{task['id']}/dataset/export?format=COCO+1.0"),
        ("DELETE", f"/api/tasks/{task['id']}"),
    ):
        assert second.call(method, path, {})[0] == 403, path
    assert second.ok("GET", "/api/tasks")["results"] == []
    assert second.call("GET", "/api/tasks/99999")[0] == 404
    assert http.call("GET", "/api/tasks/abc")[1] == {"detail": "Not found."}
    assert second.call("GET", "/api/labels?task_id=1")[0] == 403


def test_the_assignee_of_a_job_may_annotate_it(sandbox, http, task):
    second_id = sandbox.add_user("second", "pw")
    second = Http(sandbox.url, sandbox.make_token("second"), "Bearer")
    http.ok("PATCH", f"/api/jobs/{task['jobs_by_start'][0]}", {"assignee": second_id})
    assert write(second, task, [box(task)])[0] == 200
    assert second.call("DELETE", f"/api/tasks/{task['id']}")[0] == 403


def test_a_worker_of_an_organisation_sees_what_is_assigned_only(sandbox, http, tmp_path):
    sandbox.add_user("worker", "pw")
    sandbox.add_organisation("lab", "demo", {"worker": "worker"})
    lab = {"X-Organization": "lab"}
    http.headers |= lab
    made = make_task(http, draw_images(tmp_path / "images", 1))
    worker = Http(sandbox.url, sandbox.make_token("worker"), "Bearer")
    assert worker.ok("GET", "/api/tasks", headers=lab)["count"] == 0
    new = {"name": "x", "labels": []}
    assert worker.call("POST", "/api/projects", new, headers=lab)[0] == 403
    job = next(iter(made["jobs_by_start"].values()))
    user = worker.ok("GET", "/api/users/self")["id"]
    http.ok("PATCH", f"/api/jobs/{job}", {"assignee": user})
    assert worker.ok("GET", "/api/tasks", headers=lab)["count"] == 1
    members = http.ok("GET", "/api/memberships?org=lab")["results"]
    assert {(one["user"]["username"], one["role"]) for one in members} == {
        ("demo", "owner"),
        ("worker", "worker"),
    }
    sandbox.add_user("outsider", "pw")
    outsider = Http(sandbox.url, sandbox.make_token("outsider"), "Bearer")
    for kind in ("memberships", "organizations", "tasks", "jobs", "projects", "labels"):
        assert outsider.ok("GET", f"/api/{kind}")["count"] == 0, kind


def test_a_foreign_host_name_is_turned_away(http):
    assert http.call("GET", "/", headers={"Host": "evil.example"})[0] == 421

"""What a backup reads from CVAT: everything, honestly, and whole."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from backup_world import LOGIN, BackupWorld, api, backup_world, documents, make_project
from cvat_helpers import LABELS, FaultProxy

from lsl_core.cvat import connect
from lsl_core.cvat.backup import (
    Document,
    Lack,
    UnitKind,
    export_archive,
    list_units,
    read_instance,
    read_unit,
    restore_archive,
)
from lsl_core.errors import CvatRequestFailed, CvatUnreachable
from lsl_core.sandbox import Sandbox


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    with backup_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def units(world: BackupWorld):
    return {unit.key: unit for unit in list_units(world.session).units}


def test_e1_every_page_of_projects_is_read(tmp_path: Path, monkeypatch):
    with Sandbox(tmp_path) as sandbox, connect(sandbox.url, LOGIN) as session:
        made = {make_project(session, f"project {i}") for i in range(13)}
        pages = []

        def counting(method, path, forward):
            pages.append(path)
            return forward()

        monkeypatch.setattr("lsl_core.cvat.connection.transport._PAGE_SIZE", 10)
        with FaultProxy(sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:
            proxy.fault = counting
            found = {unit.id for unit in list_units(through).units}
        assert found == made
        assert sum("/api/projects" in path for path in pages) == 2


def test_e2_loose_tasks_are_units_of_their_own(world, units):
    project, task, loose = world.project, world.task, world.loose
    assert units[f"project-{project}"].tasks == (task,)
    assert units[f"task-{loose}"].kind is UnitKind.TASK
    assert f"task-{task}" not in units


def test_what_a_unit_holds_is_read_to_the_last_shape(world, units):
    session, project, task = world.session, world.project, world.task
    found = documents(session, f"project-{project}")
    at = f"project-{project}/tasks/{task}"
    jobs = [job["id"] for job in found[f"{at}/jobs.json"]]
    shapes = [len(found[f"{at}/annotations/{job}.json"]["shapes"]) for job in jobs]
    assert shapes == [1, 1]
    assert [label["name"] for label in found[f"{at}/labels.json"]] == [name for name, _ in LABELS]
    assert len(found[f"{at}/data.json"]["frames"]) == 4
    assert found[f"{at}/quality.json"][0]["task_id"] == task


def test_the_same_annotations_are_the_same_bytes(world, units):
    session, project = world.session, world.project
    unit = units[f"project-{project}"]
    first, again = ([p.data for p in read_unit(session, unit) if isinstance(p, Document)]
                    for _ in range(2))  # fmt: skip
    assert first == again


def test_issues_come_with_their_comments(world, units):
    session, project, task = world.session, world.project, world.task
    job = api(session, "GET", "/api/jobs", query={"task_id": task})["results"][0]
    body = {"job": job["id"], "frame": 0, "position": [1, 2, 3, 4], "message": "is this a cell?"}
    issue = api(session, "POST", "/api/issues", body)
    api(session, "POST", "/api/comments", {"issue": issue["id"], "message": "yes"})
    found = documents(session, f"project-{project}")
    saved = found[f"project-{project}/tasks/{task}/issues.json"]
    assert [c["message"] for c in saved[0]["comments"]] == ["is this a cell?", "yes"]


def test_a_task_without_images_is_read_as_far_as_there_is_anything(world, units):
    empty = next(unit for unit in units.values() if unit.name == "empty")
    found = list(read_unit(world.session, empty))
    at = f"{empty.key}/tasks/{empty.id}"
    assert [piece.path for piece in found] == [f"{at}/task.json", f"{at}/labels.json"]


@pytest.mark.parametrize("broken", ["/api/jobs?project_id", "/api/tasks?project_id"])
def test_a_project_is_asked_once_for_all_tasks_and_else_task_by_task(world, units, broken):
    unit = units[f"project-{world.project}"]
    asked: list[str] = []

    def read(breaks: str) -> dict[str, bytes]:
        asked.clear()
        with FaultProxy(world.sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:

            def note(method, path, forward):
                asked.append(path)
                answer = forward()
                if breaks and breaks in path:
                    answer.status = 500
                return answer

            proxy.fault = note
            return {piece.path: piece.data for piece in read_unit(through, unit)}

    whole = read("")
    of_task = [path for path in asked if "task_id" in path or "/tasks/" in path]
    assert len(of_task) == 2, of_task  # frames and quality settings; annotations are of jobs
    assert read(broken).keys() == whole.keys()
    assert len([path for path in asked if "task_id" in path]) > 1


def test_a_document_that_fails_is_a_lack_and_the_others_are_read(world, units):
    sandbox, project, task = world.sandbox, world.project, world.task
    with FaultProxy(sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:

        def break_issues(method, path, forward):
            answer = forward()
            if "/api/jobs?" in path:
                answer.status = 403
            return answer

        proxy.fault = break_issues
        pieces = list(read_unit(through, units[f"project-{project}"]))
    lacks = [piece for piece in pieces if isinstance(piece, Lack)]
    assert [lack.path for lack in lacks] == [f"project-{project}/tasks/{task}/jobs.json"]
    assert "may not read" in lacks[0].reason
    assert any(piece.path.endswith("data.json") for piece in pieces)


def test_the_instance_knows_its_people_and_organisations_without_secrets(world):
    session = world.session
    hook = {"target_url": "https://a", "type": "organization", "content_type": "application/json",
            "secret": "open-sesame", "events": ["update:task"]}  # fmt: skip
    api(session, "POST", "/api/webhooks", hook)
    found = {p.path: p.value for p in read_instance(session) if isinstance(p, Document)}
    assert {user["username"] for user in found["instance/users.json"]} == {"demo", "ana"}
    assert [org["slug"] for org in found["instance/organisations.json"]] == ["lab"]
    roles = {m["user"]["username"]: m["role"] for m in found["instance/members.json"]}
    assert roles == {"demo": "owner", "ana": "worker"}
    assert found["instance/webhooks.json"][0]["target_url"] == "https://a"
    assert "open-sesame" not in json.dumps(found)


def test_an_archive_comes_whole_and_makes_a_new_project(world, tmp_path):
    session, project = world.session, world.project
    path = tmp_path / "archive.zip"
    export_archive(session, UnitKind.PROJECT, project, path)
    with zipfile.ZipFile(path) as archive:
        assert sum("/data/" in name for name in archive.namelist()) == 5
    made = restore_archive(session, UnitKind.PROJECT, path)
    assert made != project
    api(session, "DELETE", f"/api/projects/{made}")


def test_e4_a_cut_download_goes_on_where_it_broke(world, tmp_path):
    sandbox, project = world.sandbox, world.project
    asked = []
    with FaultProxy(sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:

        def cut_twice(method, path, forward):
            answer = forward()
            if "/backup" in path and method == "GET":
                asked.append(answer.status)
                return answer.cut() if len(asked) <= 2 else answer
            return answer

        proxy.fault = cut_twice
        export_archive(through, UnitKind.PROJECT, project, tmp_path / "a.zip")
    assert asked == [200, 206, 206]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None


def test_e4_a_download_that_never_ends_well_is_no_archive(world, tmp_path):
    sandbox, project = world.sandbox, world.project
    with FaultProxy(sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:

        def always_cut(method, path, forward):
            answer = forward()
            return answer.cut() if method == "GET" and "/backup" in path else answer

        proxy.fault = always_cut
        with pytest.raises(CvatUnreachable):
            export_archive(through, UnitKind.PROJECT, project, tmp_path / "a.zip")


def test_e5_what_is_no_whole_archive_is_refused(world, tmp_path):
    sandbox, project = world.sandbox, world.project
    with FaultProxy(sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:

        def flip(method, path, forward):
            answer = forward()
            if method == "GET" and "/backup" in path:
                middle = len(answer.body) // 2
                answer.body = answer.body[:middle] + b"\0" * 64 + answer.body[middle + 64 :]
            return answer

        proxy.fault = flip
        with pytest.raises(CvatRequestFailed, match=r"archive|damaged"):
            export_archive(through, UnitKind.PROJECT, project, tmp_path / "a.zip")


def test_e8_a_server_in_trouble_is_asked_again(world, tmp_path, monkeypatch):
    sandbox, project = world.sandbox, world.project
    waited: list[float] = []
    monkeypatch.setattr("lsl_core.cvat.backup.archives.time.sleep", waited.append)
    troubles = [503, 429]
    with FaultProxy(sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:

        def busy(method, path, forward):
            if method == "POST" and "/backup/export" in path and troubles:
                answer = forward()
                answer.status = troubles.pop()
                return answer
            return forward()

        proxy.fault = busy
        export_archive(through, UnitKind.PROJECT, project, tmp_path / "a.zip")
    assert waited[:2] == [0.5, 2.0]


def test_e16_tracks_stay_tracks(world, units):
    session, loose = world.session, world.loose
    label = api(session, "GET", "/api/labels", query={"task_id": loose})["results"][0]["id"]
    places = [{"type": "rectangle", "frame": 0, "points": [1, 1, 9, 9], "outside": False}]
    track = {"frame": 0, "label_id": label, "shapes": places, "attributes": []}
    body = {"version": 0, "tags": [], "shapes": [], "tracks": [track]}
    api(session, "PUT", f"/api/tasks/{loose}/annotations/", body)
    found = documents(session, f"task-{loose}")
    (saved,) = [value for path, value in found.items() if "/annotations/" in path]
    assert len(saved["tracks"][0]["shapes"]) == 1

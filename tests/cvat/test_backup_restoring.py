"""Bringing back: a unit as a new one, an instance into a fresh server, a frame into a live task."""

from __future__ import annotations

import importlib
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from backup_world import (
    LOGIN,
    ONE,
    BackupWorld,
    api,
    backup_world,
    documents,
    instance_documents,
    jobs_of,
    saved,
)
from cvat_helpers import Answer, FaultProxy, discs

from lsl_core.cvat import (
    apply_push,
    connect,
    draw_in_new_task,
    get_task,
    read_task,
    task_annotations,
    undo_push,
)
from lsl_core.cvat.annotations.content import content_key
from lsl_core.cvat.backup import (
    People,
    UnitKind,
    export_archive,
    plan_restore,
    reapply,
    restore_archive,
    restore_organisations,
)
from lsl_core.errors import CvatRequestFailed, RestoreRefused, UserInput
from lsl_core.sandbox import Sandbox

reapplying = importlib.import_module("lsl_core.cvat.backup.reapply")  # its function hides it


@pytest.fixture
def world(tmp_path: Path):
    with backup_world(tmp_path) as made:
        yield made


def contents(world: BackupWorld, task_id: int) -> Counter[str]:
    return Counter(map(content_key, task_annotations(world.session, task_id)["shapes"]))


def review(world: BackupWorld) -> None:
    """Let people work on the drawn task: stages, assignees, an issue, quality settings."""
    session = world.session
    ana = next(u for u in api(session, "GET", "/api/users")["results"] if u["username"] == "ana")
    first, second = jobs_of(session, world.task)
    api(session, "PATCH", f"/api/jobs/{first['id']}", {"assignee": ana["id"]})
    api(session, "PATCH", f"/api/jobs/{first['id']}", {"stage": "validation"})
    api(session, "PATCH", f"/api/jobs/{second['id']}", {"state": "completed"})
    api(session, "PATCH", f"/api/tasks/{world.task}", {"assignee_id": ana["id"]})
    issue = {"job": first["id"], "frame": 0, "position": [1, 1], "message": "sure?",
             "assignee": ana["id"]}  # fmt: skip
    made = api(session, "POST", "/api/issues", issue)
    api(session, "POST", "/api/comments", {"issue": made["id"], "message": "yes"})
    api(session, "PATCH", f"/api/issues/{made['id']}", {"resolved": True})
    query = {"task_id": world.task}
    (settings,) = api(session, "GET", "/api/quality/settings", query=query)["results"]
    api(session, "PATCH", f"/api/quality/settings/{settings['id']}", {"iou_threshold": 0.9})


def test_an_archive_goes_up_where_no_proxy_in_front_of_cvat_names_the_host(world, tmp_path):
    path = tmp_path / "a.zip"
    export_archive(world.session, UnitKind.PROJECT, world.project, path)
    begun: list[str | None] = []

    def as_cvat(method, path, forward):
        if "Upload-Length" in forward.headers:
            begun.append(forward.headers.get("Origin"))
            if begun[-1] is None:
                return Answer(500, [], b"unsupported operand type(s) for +: 'NoneType' and 'str'")
        return forward()

    with FaultProxy(world.sandbox.url) as proxy, connect(proxy.url, LOGIN) as bare:
        proxy.fault = as_cvat
        restore_archive(bare, UnitKind.PROJECT, path)
    assert begun == [proxy.url]


@pytest.mark.parametrize("kind", UnitKind)
def test_a_task_on_a_file_share_comes_back_with_the_images_of_its_archive(world, tmp_path, kind):
    path, shared = tmp_path / "a.zip", tmp_path / "shared.zip"
    unit = world.project if kind is UnitKind.PROJECT else world.loose
    export_archive(world.session, kind, unit, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(shared, "w") as other:
        for info in archive.infolist():
            data = archive.read(info)
            if info.filename.endswith("task.json"):
                data = data.replace(b'"storage": "local"', b'"storage": "share"')
            other.writestr(info, data)
    before = path.read_bytes()
    restore_archive(world.session, kind, path)
    assert path.read_bytes() == before, "nothing to change"
    restore_archive(world.session, kind, shared)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(shared) as changed:
        assert changed.testzip() is None
        assert sorted(changed.namelist()) == sorted(archive.namelist())
        assert all(changed.read(name) == archive.read(name) for name in archive.namelist())


def test_what_cvats_archive_loses_is_put_back(world, tmp_path):
    review(world)
    found = documents(world.session, f"project-{world.project}")
    export_archive(world.session, UnitKind.PROJECT, world.project, tmp_path / "a.zip")
    made = restore_archive(world.session, UnitKind.PROJECT, tmp_path / "a.zip")
    done = reapply(world.session, saved(found), made, People(world.session))
    assert done.not_restored == []
    new = done.tasks[world.task]
    first, second = jobs_of(world.session, new)
    assert (first["stage"], first["assignee"]["username"]) == ("validation", "ana")
    assert second["state"] == "completed"
    assert get_task(world.session, new).assignee == "ana"
    query = {"job_id": first["id"]}
    (issue,) = api(world.session, "GET", "/api/issues", query=query)["results"]
    assert (issue["resolved"], issue["comments"]["count"]) == (True, 2)
    (quality,) = api(world.session, "GET", "/api/quality/settings", query={"task_id": new})[
        "results"
    ]
    assert quality["iou_threshold"] == 0.9


def test_newer_annotations_take_the_place_of_an_older_archives(world, tmp_path):
    export_archive(world.session, UnitKind.PROJECT, world.project, tmp_path / "daily.zip")
    task = get_task(world.session, world.task)
    draw_in_new_task(world.session, task, {1: (discs([(30, 30, 9)]), ONE)}, ("cell",))
    hourly = documents(world.session, f"project-{world.project}")
    made = restore_archive(world.session, UnitKind.PROJECT, tmp_path / "daily.zip")
    done = reapply(world.session, saved(hourly), made, People(world.session), annotations=True)
    before, after = contents(world, world.task), contents(world, done.tasks[world.task])
    assert sum(after.values()) == sum(before.values()) == 3
    assert done.not_restored == []


def test_a_group_that_cvat_refuses_is_named_and_the_rest_goes_in(world, tmp_path, monkeypatch):
    export_archive(world.session, UnitKind.PROJECT, world.project, tmp_path / "daily.zip")
    hourly = documents(world.session, f"project-{world.project}")
    count, send = sum(contents(world, world.task).values()), reapplying.change_job
    calls: list[int] = []

    def refuse_the_first(*args):
        calls.append(len(args[-1]))
        if len(calls) == 1:
            raise CvatRequestFailed("No.")
        return send(*args)

    monkeypatch.setattr(reapplying, "change_job", refuse_the_first)
    made = restore_archive(world.session, UnitKind.PROJECT, tmp_path / "daily.zip")
    done = reapply(world.session, saved(hourly), made, People(world.session), annotations=True)
    after = contents(world, done.tasks[world.task])
    assert sum(after.values()) == count - calls[0] > 0
    assert [why for _, why in done.not_restored] == ["No.", "CVAT did not keep them"]


def test_what_cvat_refuses_by_name_is_all_that_is_left_out(world, tmp_path):
    export_archive(world.session, UnitKind.PROJECT, world.project, tmp_path / "daily.zip")
    hourly = documents(world.session, f"project-{world.project}")
    shapes = next(v["shapes"] for v in hourly.values() if isinstance(v, dict) and v.get("shapes"))
    shapes.append({**shapes[0], "type": "polygon", "points": [1.0, 1.0, 9.0, 9.0]})  # as of 2.39
    made = restore_archive(world.session, UnitKind.PROJECT, tmp_path / "daily.zip")
    done = reapply(world.session, saved(hourly), made, People(world.session), annotations=True)
    assert contents(world, done.tasks[world.task]).total() == contents(world, world.task).total()
    named, lost = done.not_restored
    assert named[0].startswith("1 annotations of a job")
    assert "invalid length" in named[1]
    assert lost[0].startswith("1 shapes")


def test_people_who_are_not_there_are_named(world, tmp_path):
    review(world)
    found = documents(world.session, f"project-{world.project}")
    export_archive(world.session, UnitKind.PROJECT, world.project, tmp_path / "a.zip")
    with Sandbox(tmp_path / "other") as fresh, connect(fresh.url, LOGIN) as there:
        fresh.add_user("anne", "anne-password")
        made = restore_archive(there, UnitKind.PROJECT, tmp_path / "a.zip")
        alone = reapply(there, saved(found), made, People(there))
        mapped = reapply(there, saved(found), made, People(there, {"ana": "anne"}))
        job = jobs_of(there, mapped.tasks[world.task])[0]
    assert ('user "ana"', "there is no such user on this server") in alone.not_restored
    assert mapped.not_restored == []
    assert job["assignee"]["username"] == "anne"


def test_a_fresh_server_gets_organisations_and_members(world, tmp_path):
    found = instance_documents(world.session)
    with Sandbox(tmp_path / "other") as fresh, connect(fresh.url, LOGIN) as there:
        fresh.add_user("ana", "ana-password")
        organisations, members = (
            found[f"instance/{name}.json"] for name in ("organisations", "members")
        )
        for _ in range(2):  # doing it again changes nothing
            assert restore_organisations(there, organisations, members, People(there)) == []
        assert [organisation.slug for organisation in there.organisations()] == ["lab"]
        roles = {
            entry["user"]["username"]: entry["role"]
            for entry in instance_documents(there)["instance/members.json"]
        }
    assert roles == {"demo": "owner", "ana": "worker"}


def test_a_frame_comes_back_and_undo_takes_it_away_again(world, journal, tmp_path):
    before = contents(world, world.task)
    found = saved(documents(world.session, f"project-{world.project}")).tasks()[0]
    api(world.session, "DELETE", f"/api/tasks/{world.task}/annotations/")
    task = get_task(world.session, world.task)
    draw_in_new_task(world.session, task, {0: (discs([(50, 20, 6)]), ONE)}, ("cell",))
    lost = contents(world, world.task)
    plan = plan_restore(world.session, found, frames=[0])
    assert (plan.num_add, plan.num_remove) == (1, 1)
    result = apply_push(world.session, plan, journal, snapshot=tmp_path / "s.gz")
    assert result.is_verified
    now = read_task(world.session, world.task).annotations["shapes"]
    assert [shape["frame"] for shape in now] == [0]
    assert set(map(content_key, now)) < set(before)
    assert undo_push(world.session, journal, result.push_id).is_verified
    assert contents(world, world.task) == lost


def test_a_job_comes_back_and_nothing_else_is_touched(world, journal, tmp_path):
    before = contents(world, world.task)
    found = saved(documents(world.session, f"project-{world.project}")).tasks()[0]
    api(world.session, "DELETE", f"/api/tasks/{world.task}/annotations/")
    second = jobs_of(world.session, world.task)[1]["id"]
    plan = plan_restore(world.session, found, job=second)
    apply_push(world.session, plan, journal, snapshot=tmp_path / "s.gz")
    now = read_task(world.session, world.task).annotations["shapes"]
    assert [shape["frame"] for shape in now] == [3]
    everything = plan_restore(world.session, found)
    apply_push(world.session, everything, journal, snapshot=tmp_path / "t.gz")
    assert contents(world, world.task) == before
    assert plan_restore(world.session, found).does_nothing


def test_what_came_later_can_stay(world):
    found = saved(documents(world.session, f"project-{world.project}")).tasks()[0]
    task = get_task(world.session, world.task)
    draw_in_new_task(world.session, task, {0: (discs([(50, 20, 6)]), ONE)}, ("cell",))
    assert plan_restore(world.session, found).num_remove == 1
    assert plan_restore(world.session, found, keep_newer=True).does_nothing


def test_a_task_with_other_images_is_refused(world):
    found = saved(documents(world.session, f"project-{world.project}")).tasks()[0]
    with pytest.raises(RestoreRefused, match="other images"):
        plan_restore(world.session, found, task_id=world.loose)
    with pytest.raises(UserInput, match="no frame 9"):
        plan_restore(world.session, found, frames=[9])
    with pytest.raises(UserInput, match="no job 9999"):
        plan_restore(world.session, found, job=9999)

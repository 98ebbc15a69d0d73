"""Backups against a server: taken, honest about what failed, restored, drilled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from backup_world import LOGIN, BackupWorld, api, backup_world, documents, make_project, saved
from cvat_helpers import FaultProxy

from lsl_core.backups import Repository, State, Tier, checking
from lsl_core.cvat import connect
from lsl_core.cvat.backup import differences, list_units
from lsl_core.errors import BackupError, Locked, PartlyDone, UserInput
from lsl_core.sandbox import Sandbox
from lsl_core.services import workspaces
from lsl_core.services.backups import (
    backing_up,
    drilling,
    inspecting,
    repositories,
    restoring,
    retaining,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    with backup_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "backups")


def all_units(world: BackupWorld, tier: Tier):
    return [(unit, tier) for unit in list_units(world.session).units]


def project_snapshot(world: BackupWorld, repository: Repository, tier: Tier = Tier.FULL):
    unit = backing_up.find_unit(world.session, project=world.project)
    report = backing_up.back_up(repository, world.session, [(unit, tier)], reason="asked for")
    (one,) = report.taken
    return one


def test_a_full_snapshot_holds_documents_images_and_counts(world, repository):
    one = project_snapshot(world, repository)
    assert (one.state, one.counts["shapes"], one.counts["frames"]) == (State.OK, 2, 4)
    images = repository.members(one, f"project-{world.project}/archive.zip")
    assert sum("/data/" in member.name for member in images) == 5
    assert one.subject.name == "cells"


def test_a_second_full_snapshot_of_the_same_costs_almost_nothing(world, repository):
    first = project_snapshot(world, repository)
    second = project_snapshot(world, repository)
    assert second.added_bytes < first.added_bytes / 5


def test_e2_loose_tasks_and_empty_ones_are_saved_too(world, repository):
    report = backing_up.back_up(
        repository, world.session, all_units(world, Tier.ANNOTATIONS), reason="hourly"
    )
    states = {one.subject.name: one.state for one in report.taken}
    assert states == dict.fromkeys(("cells", "loose", "empty"), State.OK)
    report.require_whole()


def test_e3_one_project_of_twelve_that_fails_stops_none_of_the_others(tmp_path, repository):
    with Sandbox(tmp_path / "sandbox") as sandbox, connect(sandbox.url, LOGIN) as session:
        made = [make_project(session, f"road_{i}") for i in range(12)]
        with FaultProxy(sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:

            def break_one(method, path, forward):
                answer = forward()
                if path.startswith(f"/api/projects/{made[5]}"):
                    answer.status, answer.body = 500, b"Traceback"
                return answer

            proxy.fault = break_one
            units = [(unit, Tier.FULL) for unit in list_units(through).units]
            report = backing_up.back_up(repository, through, units, reason="daily")
    assert len(report.taken) == 11
    assert [what for what, _ in report.failed] == [f"project-{made[5]} road_5"]
    failed = [one for one in repository.snapshots() if one.state is State.FAILED]
    assert [one.subject.id for one in failed] == [made[5]]
    with pytest.raises(PartlyDone, match="11 backed up, 0 in part, 1 failed"):
        report.require_whole()


def test_e3b_a_project_whose_answers_are_nonsense_or_missing_stops_none_of_the_others(
    tmp_path, repository
):
    with Sandbox(tmp_path / "sandbox") as sandbox, connect(sandbox.url, LOGIN) as session:
        first, second, whole = (make_project(session, f"road_{i}") for i in range(3))
        with FaultProxy(sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:

            def break_two(method, path, forward):
                if path.startswith(f"/api/projects/{first}"):
                    return None  # the connection ends without an answer
                answer = forward()
                if path.startswith(f"/api/projects/{second}"):
                    answer.body = b"<html>not what was asked for</html>"
                return answer

            units = [(unit, Tier.FULL) for unit in list_units(through).units]
            proxy.fault = break_two
            report = backing_up.back_up(repository, through, units, reason="daily")
    failed = {one.subject.id for one in repository.snapshots() if one.state is State.FAILED}
    assert failed == {first, second}
    assert [snapshot.subject.id for snapshot in report.taken] == [whole]


def test_e3_when_cvat_cannot_pack_the_images_the_annotations_are_saved_and_it_says_so(
    world, repository
):
    with FaultProxy(world.sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:

        def cannot_pack(method, path, forward):
            answer = forward()
            if "/backup/export" in path:
                answer.status, answer.body = 400, b'["cannot be exported"]'
            return answer

        proxy.fault = cannot_pack
        unit = backing_up.find_unit(through, project=world.project)
        report = backing_up.back_up(repository, through, [(unit, Tier.FULL)], reason="x")
    (one,) = report.taken
    with pytest.raises(PartlyDone, match="1 in part"):
        report.require_whole()
    assert one.state is State.PARTIAL
    assert "cannot be exported" in one.missing[0].why
    assert one.counts["shapes"] == 2


def test_a_backup_of_which_nothing_came_is_an_error(world, repository):
    with FaultProxy(world.sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:
        unit = backing_up.find_unit(through, project=world.project)

        def down(method, path, forward):
            answer = forward()
            answer.status = 500
            return answer

        proxy.fault = down
        report = backing_up.back_up(repository, through, [(unit, Tier.FULL)], reason="x")
    with pytest.raises(BackupError, match="Nothing was backed up"):
        report.require_whole()


def test_e6_projects_of_one_name_are_kept_apart_and_dated_by_their_backup(tmp_path, repository):
    with Sandbox(tmp_path / "sandbox") as sandbox, connect(sandbox.url, LOGIN) as session:
        twins = [make_project(session, "Twins") for _ in range(2)]
        units = [(unit, Tier.ANNOTATIONS) for unit in list_units(session).units]
        report = backing_up.back_up(repository, session, units, reason="hourly")
        edited = api(session, "GET", f"/api/projects/{twins[0]}")["updated_date"]
    assert len({one.subject.key for one in report.taken}) == 2
    assert all(one.started.isoformat() > edited[:19] for one in report.taken)


@pytest.mark.parametrize("name", ["road_signs", "../../x", "_start", "ⓔmoji 🦊 /tmp/x", "a" * 256])
def test_e7_any_name_is_data_and_becomes_no_path(tmp_path, repository, name):
    with Sandbox(tmp_path / "sandbox") as sandbox, connect(sandbox.url, LOGIN) as session:
        make_project(session, name)
        before = sorted(tmp_path.iterdir())
        (unit,) = list_units(session).units
        (one,) = backing_up.back_up(repository, session, [(unit, Tier.FULL)], reason="x").taken
        assert sorted(tmp_path.iterdir()) == before
    assert one.subject.name == name


def test_e15_two_backups_at_once_are_one_and_a_clear_refusal(world, repository, tmp_path):
    other = Repository.open(tmp_path / "backups")
    with other.lock("backup: daily"), pytest.raises(Locked, match="daily"):
        project_snapshot(world, repository)
    assert repository.snapshots() == []


def test_a_restored_project_is_the_saved_one(world, repository):
    one = project_snapshot(world, repository)
    (unit,) = restoring.units_of(repository, one)
    made = restoring.restore_unit(repository, world.session, one, unit, name="back again")
    assert (made.name, made.not_restored) == ("back again", ())
    after = saved(documents(world.session, f"project-{made.id}"))
    assert differences(unit, after, made.tasks) == []
    restoring.remove_unit(world.session, unit.kind, made.id)


def test_e16_an_hourly_backup_of_annotations_comes_back_with_the_images_of_a_daily_one(
    world, repository
):
    daily = project_snapshot(world, repository)
    hourly = project_snapshot(world, repository, Tier.ANNOTATIONS)
    (unit,) = restoring.units_of(repository, hourly)
    made = restoring.restore_unit(repository, world.session, hourly, unit)
    assert made.images_from == daily.id
    after = saved(documents(world.session, f"project-{made.id}"))
    assert differences(unit, after, made.tasks) == []
    restoring.remove_unit(world.session, unit.kind, made.id)


def test_the_last_copy_of_something_is_known_as_such(world, repository):
    hourly = project_snapshot(world, repository, Tier.ANNOTATIONS)
    one = project_snapshot(world, repository)
    assert retaining.is_last_copy(repository, one)  # the hourly one has no images
    assert not retaining.is_last_copy(repository, hourly)
    everything = backing_up.back_up_instance(repository, world.session, reason="test")
    assert not retaining.is_last_copy(repository, one)
    assert retaining.is_last_copy(repository, everything)


def test_a_key_is_made_for_a_new_repository_only(tmp_path):
    workspace = workspaces.create_workspace(tmp_path / "w")
    place, key = str(tmp_path / "sealed"), tmp_path / "key"
    assert repositories.create_repository(workspace, place, key_file=str(key)).is_encrypted
    with pytest.raises(UserInput, match="holds no backup key"):
        repositories.create_repository(workspace, place, key_file=str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    assert repositories.create_repository(workspace, place, key_file=str(key)).is_encrypted


def test_a_drill_restores_compares_and_leaves_nothing_behind(world, repository):
    before = {unit.key for unit in list_units(world.session).units}
    verdict = drilling.drill(
        repository, world.session, project_snapshot(world, repository)
    ).marks.drill
    assert verdict is not None
    assert (verdict.good, verdict.problems) == (True, ())
    assert {unit.key for unit in list_units(world.session).units} == before


def test_a_drill_finds_what_a_server_does_not_keep(world, repository):
    one = project_snapshot(world, repository)
    with FaultProxy(world.sandbox.url) as proxy, connect(proxy.url, LOGIN) as through:

        def loses_a_shape(method, path, forward):
            answer = forward()
            if method == "GET" and path.endswith("/annotations/"):
                answer.body = answer.body.replace(b'"type": "mask"', b'"type": "ellipse"')
                answer.body = answer.body.replace(b'"type":"mask"', b'"type":"ellipse"')
            return answer

        proxy.fault = loses_a_shape
        verdict = drilling.drill(repository, through, one).marks.drill
    assert verdict is not None
    assert not verdict.good
    assert "gone or changed" in verdict.problems[0]


def test_a_fresh_server_is_filled_from_one_instance_snapshot(world, repository, tmp_path):
    one = backing_up.back_up_instance(repository, world.session, reason="before delete")
    assert one.counts["units"] == 3
    with Sandbox(tmp_path / "fresh") as fresh, connect(fresh.url, LOGIN) as there:
        fresh.add_user("ana", "ana-password")
        made = restoring.restore_instance(repository, there, one)
        names = {unit.name for unit in list_units(there).units}
        slugs = [organisation.slug for organisation in there.organisations()]
    assert names == {"cells", "loose", "empty"}
    assert slugs == ["lab"]
    assert made.failed == ()


def test_webhooks_come_back_switched_off_where_they_were(world, repository, tmp_path):
    hook = {"target_url": "https://hook.example", "type": "organization", "is_active": True,
            "content_type": "application/json", "secret": "open-sesame", "enable_ssl": True,
            "events": ["update:task"]}  # fmt: skip
    of_project = {**hook, "type": "project", "project_id": world.project}
    made = [
        api(world.session, "POST", "/api/webhooks", hook, headers={"X-Organization": "lab"}),
        api(world.session, "POST", "/api/webhooks", of_project),
    ]
    one = backing_up.back_up_instance(repository, world.session, reason="before delete")
    for entry in made:
        world.session.transport.send("DELETE", f"/api/webhooks/{entry['id']}", doing="the test")
    with Sandbox(tmp_path / "fresh") as fresh, connect(fresh.url, LOGIN) as there:
        restored = restoring.restore_snapshot(repository, there, one)
        (project,) = [unit.id for unit in restored.units if unit.name == "cells"]
        found = api(there, "GET", "/api/webhooks", headers={"X-Organization": None})["results"]
        lab = next(o.id for o in there.organisations() if o.slug == "lab")
    places = {(entry["organization"], entry["project_id"]) for entry in found}
    assert places == {(lab, None), (None, project)}
    assert [entry["is_active"] for entry in found] == [False, False]
    assert found[0]["events"] == ["update:task"]
    told = [why for what, why in restored.not_restored if what == "webhook https://hook.example"]
    assert told == ["made switched off: set its secret in CVAT, then switch it on"]


def test_whom_a_server_does_not_know_is_asked_for_before_a_restore(world, repository, tmp_path):
    path = f"/api/tasks/{world.task}"
    ana = next(u for u in api(world.session, "GET", "/api/users")["results"]
               if u["username"] == "ana")  # fmt: skip
    api(world.session, "PATCH", path, {"assignee_id": ana["id"]})
    one = project_snapshot(world, repository)
    api(world.session, "PATCH", path, {"assignee_id": None})
    with Sandbox(tmp_path / "fresh") as fresh, connect(fresh.url, LOGIN) as there:
        fresh.add_user("anna", "anna-password")
        assert restoring.strangers(repository, there, one) == (["ana"], ["anna", "demo"])
        made = restoring.restore_snapshot(
            repository, there, one, organisation="", names={"ana": "anna"}
        )
        task = made.units[0].tasks[world.task]
        assert api(there, "GET", f"/api/tasks/{task}")["assignee"]["username"] == "anna"
    assert made.not_restored == ()


def test_e13_and_e14_no_password_and_no_key_is_in_a_repository(world, repository, tmp_path):
    backing_up.back_up_instance(repository, world.session, reason="x")
    for one in repository.snapshots():
        for file in one.files:
            if file.kind == "file":
                data = repository.read(one, file.name)
                assert b"demo-password" not in data
                assert world.session.key.encode() not in data


def test_a_damaged_copy_covers_nothing_and_another_backup_mends_it(world, repository, tmp_path):
    one = project_snapshot(world, repository)
    packs = [path for path in (tmp_path / "backups" / "packs").rglob("*") if path.is_file()]
    largest = max(packs, key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    largest.write_bytes(data)
    assert one.id in repositories.verify(repository).damaged
    rows = {row.key: row for row in inspecting.coverage(repository, world.session)}
    assert not rows[f"project-{world.project}"].is_covered
    project_snapshot(world, repository)
    assert repositories.verify(repository).is_good
    assert not repository.snapshot(one.id).is_damaged


def test_a_backup_that_is_killed_leaves_older_snapshots_and_no_lock_for_long(
    world, repository, tmp_path
):
    older = project_snapshot(world, repository)
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("backing_up_child.py")),
         world.sandbox.url, str(tmp_path / "backups")],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "packing\n"
        child.kill()
    again = Repository.open(tmp_path / "backups")
    assert [one.id for one in again.snapshots()] == [older.id]
    assert checking.check(again).is_good
    assert project_snapshot(world, again).state is State.OK

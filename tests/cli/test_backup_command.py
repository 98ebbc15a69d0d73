"""`lsl backup`, as an operator types it, against a server."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from lsl_core.cli.main import run
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox

sys.path.insert(0, str(Path(__file__).parents[1] / "cvat"))
from backup_world import BackupWorld, api, backup_world, jobs_of, make_project


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    with backup_world(tmp_path_factory.mktemp("world")) as made:
        # the one without images cannot be covered, nor restored
        api(made.session, "DELETE", f"/api/tasks/{made.loose + 1}")
        yield made


@pytest.fixture
def lsl(tmp_path: Path, world: BackupWorld, capsys: pytest.CaptureFixture[str]):
    """Run a command in a workspace that is signed in; give exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            run(["--workspace", str(tmp_path / "w"), *map(str, arguments)])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    assert call("create", tmp_path / "w", "--task", "fsis")[0] == 0
    url, user = world.sandbox.url, ("--cvat-username", DEMO_USER)
    assert call("cvat-setup", "--url", url, *user, "--cvat-password", DEMO_PASSWORD)[0] == 0
    return call


def first_id(text: str) -> str:
    found = re.search(r"^[0-9a-f]{10}", text, re.MULTILINE)
    assert found is not None
    return found[0]


def test_a_day_in_the_life_of_an_operator(lsl, world):
    code, out, _ = lsl("backup", "now")
    assert code == 0
    assert out.count("full") == 2
    one = first_id(lsl("backup", "list", "--project", world.project)[1])
    assert "2 shapes" in lsl("backup", "show", one)[1]
    assert "Nothing changed." in lsl("backup", "diff", one)[1]
    assert lsl("backup", "verify")[0] == 0
    assert lsl("backup", "check")[0] == 0
    assert "came back as it was saved" in lsl("backup", "drill", one)[1]
    assert lsl("backup", "coverage")[1].endswith("All 2 are covered.\n")
    assert "Nothing was due" not in lsl("backup", "run")[1]
    assert "Nothing was due" in lsl("backup", "run")[1]


def test_a_command_without_snapshots_or_with_options_of_another_way_says_what_to_do(lsl, world):
    assert lsl("backup", "init")[0] == 0
    assert "Make the first: lsl backup now" in lsl("backup", "list")[1]
    for verb in ("verify", "check", "drill"):
        code, _, err = lsl("backup", verb)
        assert (code, "Make one: lsl backup now" in err) == (20, True)
    lsl("backup", "now")
    one = first_id(lsl("backup", "list", "--project", world.project)[1])
    assert lsl("backup", "list", "--search", "nowhere")[1] == "There is no such snapshot.\n"
    # the newest snapshot may be of a task without images
    lsl("backup", "now", "--tier", "annotations")
    assert "came back as it was saved" in lsl("backup", "drill")[1]
    for option in (["--keep-newer"], ["--confirm", "1"], ["--job", "1"], ["--frame", "0"]):
        assert lsl("backup", "restore", "--snapshot", one, *option)[0] == 2
    lsl("backup", "forget", one)
    assert "--yes" in lsl("backup", "prune")[2]


def test_a_dry_run_of_a_restore_as_new_makes_nothing(lsl, world):
    lsl("backup", "now", "--project", world.project)
    before = api(world.session, "GET", "/api/projects")["count"]
    code, out, _ = lsl("backup", "restore", "--snapshot", "latest", "--dry-run")
    assert code == 0
    assert out == f'project-{world.project} "cells" would be made anew\nNothing was written.\n'
    assert api(world.session, "GET", "/api/projects")["count"] == before
    nowhere = ("--project", 999, "--dry-run")
    assert lsl("backup", "restore", "--snapshot", "latest", *nowhere)[0] == 20


def test_e14_a_token_is_enough_and_work_of_every_organisation_is_saved(
    lsl, world, tmp_path, monkeypatch
):
    with world.session.in_organisation("lab") as there:
        made = make_project(there, "of the lab")
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", world.sandbox.make_token(DEMO_USER))
    where = ("--workspace", tmp_path / "t")  # a workspace that never knew a password
    assert lsl("create", tmp_path / "t", "--task", "fsis")[0] == 0
    assert lsl(*where, "cvat-setup", "--url", world.sandbox.url)[0] == 0
    assert lsl(*where, "backup", "now")[0] == 0
    listed = lsl(*where, "backup", "list")[1]
    assert "of the lab" in listed
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", "no-such-token")
    assert lsl(*where, "backup", "now")[0] == 11
    api(world.session, "DELETE", f"/api/projects/{made}")


def test_e17_what_is_forgotten_can_come_back_until_a_prune(lsl, world):
    lsl("backup", "now", "--project", world.project, "--tier", "annotations")
    one = first_id(lsl("backup", "list")[1])
    assert lsl("backup", "protect", one, "--note", "golden set")[0] == 0
    code, _, err = lsl("backup", "forget", one)
    assert (code, "protected" in err) == (20, True)
    assert lsl("backup", "protect", "--off", one)[0] == 0
    assert "kept because" in lsl("backup", "forget", "--dry-run")[1]
    lsl("backup", "forget", one)
    assert lsl("backup", "list")[1] == "There is no snapshot. Make the first: lsl backup now\n"
    assert lsl("backup", "undelete", one)[0] == 0
    lsl("backup", "forget", one)
    assert "Nothing was removed" in lsl("backup", "prune", "--dry-run")[1]
    assert lsl("backup", "prune", "--yes")[0] == 0
    assert lsl("backup", "show", one)[0] == 20
    assert "there is nothing to remove" in lsl("backup", "prune")[1]


def test_what_has_nothing_in_common_is_not_compared(lsl, world):
    lsl("backup", "now", "--project", world.project, "--tier", "annotations")
    one = first_id(lsl("backup", "list")[1])
    lsl("backup", "now", "--task", world.loose, "--tier", "annotations")
    code, _, err = lsl("backup", "diff", one, "latest")
    assert (code, "are of different things: cells and loose" in err) == (20, True)


def test_a_job_comes_back_into_the_live_task_and_undo_takes_it_away(lsl, world):
    lsl("backup", "now", "--project", world.project)
    one = first_id(lsl("backup", "list")[1])
    job = jobs_of(world.session, world.task)[0]["id"]
    kept = api(world.session, "GET", f"/api/jobs/{job}/annotations/")
    api(world.session, "DELETE", f"/api/jobs/{job}/annotations/")
    back = ("backup", "restore", "--snapshot", one, "--task", world.task, "--job", job)
    assert "Nothing was written" in lsl(*back, "--dry-run")[1]
    code, out, _ = lsl(*back)
    assert (code, "Brought back 1 object," in out) == (0, True)
    push = out.split()[-1]
    now = api(world.session, "GET", f"/api/jobs/{job}/annotations/")["shapes"]
    assert [shape["points"] for shape in now] == [shape["points"] for shape in kept["shapes"]]
    assert lsl("undo", push)[0] == 0
    assert not api(world.session, "GET", f"/api/jobs/{job}/annotations/")["shapes"]
    assert lsl(*back)[0] == 0


def test_shapes_only_go_when_the_tasks_number_is_typed(lsl, world):
    lsl("backup", "now", "--project", world.project)
    one = first_id(lsl("backup", "list")[1])
    job = jobs_of(world.session, world.task)[0]["id"]
    shape = api(world.session, "GET", f"/api/jobs/{job}/annotations/")["shapes"][0]
    body = {"version": 0, "tags": [], "tracks": [], "shapes": [{**shape, "id": None, "frame": 1}]}
    body["shapes"][0].pop("id")
    api(world.session, "PATCH", f"/api/jobs/{job}/annotations/", body, query={"action": "create"})
    back = ("backup", "restore", "--snapshot", one, "--task", world.task)
    code, _, err = lsl(*back)
    assert (code, "would go" in err) == (20, True)
    assert lsl(*back, "--confirm", world.task)[0] == 0
    assert len(api(world.session, "GET", f"/api/jobs/{job}/annotations/")["shapes"]) == 1


def test_a_password_without_a_terminal_is_said_to_be_needed_or_piped_in(
    lsl, world, tmp_path, monkeypatch
):
    lsl("backup", "now", "--project", world.project)
    one = first_id(lsl("backup", "list")[1])
    with Sandbox(tmp_path / "fresh") as fresh:
        back = ("backup", "restore", "--snapshot", one, "--into", fresh.url)
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        code, _, err = lsl(*back)
        assert (code, "Stopped" in err) == (2, False)
        assert f"The password of {DEMO_USER} at {fresh.url} is needed" in err
        assert "CVAT_ACCESS_TOKEN" in err
        monkeypatch.setattr("sys.stdin", io.StringIO(DEMO_PASSWORD + "\n"))
        code, told, _ = lsl(*back)
    assert (code, told.count("is now")) == (0, 1)


def test_tags_and_tracks_are_counted_by_kind(lsl, world):
    job = jobs_of(world.session, world.task)[0]["id"]
    shape = api(world.session, "GET", f"/api/jobs/{job}/annotations/")["shapes"][0]
    common = {"frame": 0, "label_id": shape["label_id"], "attributes": []}
    key = {"type": "rectangle", "frame": 0, "points": [1.0, 1.0, 9.0, 9.0]}
    body = {"version": 0, "tags": [common], "shapes": [], "tracks": [{**common, "shapes": [key]}]}
    path = f"/api/jobs/{job}/annotations/"
    api(world.session, "PATCH", path, body, query={"action": "create"})
    lsl("backup", "now", "--project", world.project)
    one = first_id(lsl("backup", "list")[1])
    api(world.session, "DELETE", path)
    back = ("backup", "restore", "--snapshot", one, "--task", world.task)
    code, out, err = lsl(*back, "--frame", 0, "--dry-run")
    rows = [line.split() for line in out.splitlines()]
    assert ["cell", "shapes", "1", "0", "0", "1", "0"] in rows
    assert ["cell", "tags", "0", "0", "0", "1", "0"] in rows
    assert (code, f"Frame 0: 1 left out: a track comes back whole, with all frames of job {job}"
            in err) == (0, True)  # fmt: skip
    code, out, _ = lsl(*back, "--job", job)
    assert (code, "Brought back 3 objects" in out) == (0, True)
    now = api(world.session, "GET", path)
    assert [len(now[kind]) for kind in ("tags", "shapes", "tracks")] == [1, 1, 1]
    code, out, _ = lsl("undo", out.split()[-1])
    assert (code, "Removed 3 objects" in out) == (0, True)


def test_before_a_deployment_goes_everything_is_saved_and_fills_a_fresh_one(
    lsl, world, tmp_path, monkeypatch
):
    code, out, _ = lsl("backup", "snapshot", "--before-delete")
    assert code == 0
    shown = lsl("backup", "list")[1]
    assert "verified" in shown
    assert "protected" in shown
    with Sandbox(tmp_path / "fresh") as fresh:
        fresh.add_user("ana", "ana-password")
        monkeypatch.setenv("CVAT_ACCESS_TOKEN", fresh.make_token(DEMO_USER))
        code, told, err = lsl("backup", "restore", "--snapshot", out.strip(), "--into", fresh.url)
    assert (code, "could not be" in err) == (0, False)
    assert told.count("is now") == 2


def test_an_encrypted_repository_needs_its_key(lsl, tmp_path):
    key, place = tmp_path / "key", tmp_path / "elsewhere"
    code, out, _ = lsl("backup", "init", place, "--key-file", key)
    assert (code, "encrypted" in out) == (0, True)
    assert lsl("backup", "now")[0] == 0
    stored = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
    assert b"cells" not in stored
    key.unlink()
    code, _, err = lsl("backup", "list")
    assert (code, "no backup key" in err) == (2, True)


def test_the_schedule_is_shown_and_changed(lsl):
    assert "Switch it on" in lsl("backup", "schedule")[1]
    code, out, _ = lsl("backup", "schedule", "--on", "--full-hours", "12", "--quota-gb", "50")
    assert (code, "12.0" in out, "50.0" in out) == (0, True, True)
    assert lsl("backup", "schedule", "--full-hours", "-1")[0] == 2


def test_without_backups_it_says_how_to_begin(lsl):
    code, _, err = lsl("backup", "list")
    assert code == 20
    assert "lsl backup" in err

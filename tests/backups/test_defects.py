"""Each defect of backup scripts that people lost work to, by its number, and why it cannot be here.

Those that need a server (E1, E2, E8, E14) are tested where the server is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup_helpers import project, save, save_archive, shapes, taken, write_archive
from pydantic import ValidationError

from lsl_core.backups import (
    DEFAULT_KEEP,
    Keep,
    Passphrase,
    Repository,
    Rule,
    State,
    Tier,
    check,
    decide,
    forecast,
    make_key_file,
    plan_prune,
    prune,
    verify,
)
from lsl_core.errors import CvatRequestFailed, Damaged, Locked

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_e3_a_project_that_fails_is_recorded_and_the_next_is_saved(
    repository: Repository,
) -> None:

    def from_server(number: int) -> bytes:
        if number == 5:
            raise CvatRequestFailed("The server answered 500.")
        return b"%d" % number

    with repository.lock("test"):
        for number in range(1, 13):
            with (
                contextlib.suppress(CvatRequestFailed),
                repository.record(project(number), Tier.FULL) as draft,
            ):
                draft.add("a", from_server(number))
    states = {one.subject.id: one.state for one in repository.snapshots()}
    assert states == {n: State.FAILED if n == 5 else State.OK for n in range(1, 13)}
    assert repository.snapshots(subject=project(5))[0].missing[0].why == "The server answered 500."


def test_e4_a_cut_download_is_never_kept_as_good_and_never_skipped(
    repository: Repository, tmp_path: Path
) -> None:
    path = write_archive(tmp_path / "a.zip", objects=shapes(50))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(Damaged, match="The download was cut"):
        save_archive(repository, path)
    path.write_bytes(whole)
    assert save_archive(repository, path).state is State.OK
    states = [one.state for one in repository.snapshots()]
    assert states == [State.OK, State.FAILED]


def test_e5_a_snapshot_knows_its_hashes_counts_and_server(
    repository: Repository, tmp_path: Path
) -> None:
    path = write_archive(tmp_path / "a.zip", images=3)
    with (
        repository.lock("test"),
        repository.record(project(), Tier.FULL, server_version="2.80.0", reason="daily") as draft,
    ):
        draft.add_archive("task.zip", path)
        draft.counts["frames"] = 3
    one = repository.snapshot("latest")
    assert (one.server_version, one.reason, one.counts) == ("2.80.0", "daily", {"frames": 3})
    assert (one.files[0].num_members, one.files[0].size) == (5, path.stat().st_size)
    with repository.lock("test"):
        assert verify(repository).is_good


def test_e6_age_is_counted_from_the_backup_and_equal_names_do_not_collide(
    tmp_path: Path,
) -> None:
    repository = Repository.create(tmp_path / "r", clock=lambda: NOW)
    save(repository, project(1, "Same Name"), a=b"1")
    save(repository, project(2, "same name"), a=b"2")
    found = repository.snapshots()
    assert [repository.read(one, "a") for one in found] == [b"2", b"1"]
    assert all(one.finished == NOW for one in found)


def test_e7_a_name_from_a_server_is_data(repository: Repository) -> None:
    name = 'a"; filename="../../../etc/passwd'
    save(repository, project(1, name), a=b"1")
    assert repository.snapshot("latest").subject.name == name
    assert {key.partition("/")[0] for key in repository.store.list("")} == {
        "config.json", "config.copy.json", "packs", "index", "snapshots",
    }  # fmt: skip


@pytest.mark.parametrize("names", [("road_signs", "road_markings"), ("_a", "_b"), ("a", "a")])
def test_e9_projects_do_not_share_their_places(names: tuple[str, str]) -> None:
    found = [
        taken(10 * id_ + n, NOW + timedelta(days=n), subject=project(id_, name))
        for id_, name in enumerate(names, start=1)
        for n in range(9)
    ]
    keep = {Tier.FULL: Keep(last=3, daily=0, weekly=0, monthly=0)}
    kept = [one.snapshot.subject.id for one in decide(found, keep) if one.keep]
    assert (kept.count(1), kept.count(2)) == (3, 3)


def test_e9b_a_name_that_begins_with_an_underscore_is_swept() -> None:
    found = [
        taken(n + 1, NOW + timedelta(days=n), subject=project(1, "_scratch")) for n in range(9)
    ]
    keep = {Tier.FULL: Keep(last=3, daily=0, weekly=0, monthly=0)}
    assert sum(one.keep for one in decide(found, keep)) == 3


def test_e10_every_tier_is_swept() -> None:
    for tier in Tier:
        hourly = [taken(n + 1, NOW + timedelta(hours=n), tier=tier) for n in range(24 * 365)]
        kept = [one for one in decide(hourly) if one.keep]
        keep = DEFAULT_KEEP[tier]
        places = keep.last + keep.hourly + keep.daily + keep.weekly + keep.monthly
        assert 0 < len(kept) <= places


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs tzset")
def test_e11_the_zone_of_the_machine_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository.create(tmp_path / "r")
    try:
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            one = save(repository, a=zone.encode())
            assert abs((datetime.now(UTC) - one.finished).total_seconds()) < 60
    finally:
        monkeypatch.undo()
        time.tzset()
    periods = {reason for one in decide(repository.snapshots()) for reason in one.reasons}
    assert len([one for one in periods if one.startswith("daily")]) <= 2


def test_e12_a_setting_with_another_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="dayly"):
        Keep.model_validate({"dayly": 3})
    with pytest.raises(ValidationError, match="ttl_hours"):
        Rule.model_validate({"tier": "full", "every": 3600, "longest": 7200, "ttl_hours": 24})


def test_e13_no_key_and_no_environment_is_ever_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVAT_PASSWORD", "pa$$'\"word")
    repository = Repository.create(tmp_path / "r", key=Passphrase("correct horse"))
    save(repository, a=b"a")
    stored = b"".join(p.read_bytes() for p in (tmp_path / "r").rglob("*") if p.is_file())
    assert b"correct horse" not in stored
    assert os.environ["CVAT_PASSWORD"].encode() not in stored


def test_e15_two_schedulers_do_not_write_at_once(tmp_path: Path) -> None:
    daily = Repository.create(tmp_path / "r")
    hourly = Repository.open(tmp_path / "r")
    with daily.lock("daily backup"):
        with pytest.raises(Locked, match="daily backup"):
            save(hourly, a=b"a")
        with daily.record(project(), Tier.FULL) as draft:
            draft.add("a", b"daily")
    save(hourly, a=b"hourly")
    assert [one.sequence for one in hourly.snapshots()] == [2, 1]


def test_e16_tracks_come_back_as_tracks(repository: Repository) -> None:
    annotations = {
        "version": 0, "tags": [], "shapes": [],
        "tracks": [{"id": 5, "frame": 0, "label_id": 1, "shapes": [
            {"frame": 0, "points": [0.0, 1.5, 9.25, 9.0], "keyframe": True},
            {"frame": 7, "points": [4.0, 1.5, 13.25, 9.0], "outside": True},
        ]}],
    }  # fmt: skip
    with repository.lock("test"), repository.record(project(), Tier.ANNOTATIONS) as draft:
        draft.add_json("annotations.json", annotations)
    assert repository.read_json(repository.snapshot("latest"), "annotations.json") == annotations


def test_e17_a_backup_can_be_listed_checked_verified_protected_pruned_and_brought_back(
    tmp_path: Path,
) -> None:
    key = make_key_file(tmp_path / "key")
    repository = Repository.create(f"memory://{tmp_path}/offsite", key=key)
    path = write_archive(tmp_path / "a.zip", objects=shapes(200))
    saved = [save_archive(repository, path) for _ in range(3)]
    assert [one.id for one in repository.snapshots()] == [one.id for one in saved[::-1]]
    assert saved[2].added_bytes < 1000  # stored once
    with repository.lock("test"):
        assert verify(repository).is_good
        repository.protect(saved[0], note="first")
        repository.forget([saved[1]])
        assert "Remove full snapshot" in plan_prune(repository).lines[0]
        prune(repository)
    assert check(repository).is_good
    assert [one.sequence for one in repository.snapshots(forgotten=True)] == [3, 1]
    assert repository.extract(saved[2], "task.zip", tmp_path / "back.zip")
    assert (tmp_path / "back.zip").read_bytes() == path.read_bytes()
    told = forecast(repository.snapshots(), used_bytes=5, limit_bytes=5, now=datetime.now(UTC))
    assert told.text == "full"
    assert json.loads(repository.store.read("config.json"))["encryption"]["cipher"] == "aes-256-gcm"

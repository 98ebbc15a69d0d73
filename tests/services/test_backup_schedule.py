"""Backups that make themselves: what is due, once, whoever asks; looked after weekly."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup_world import backup_world

from lsl_core.backups import Repository, Tier
from lsl_core.runs import Lane, Queue, RunStore
from lsl_core.services import connections, workspaces
from lsl_core.services.backups import background, repositories, scheduling
from lsl_core.types import RunPhase


class Clock:
    """A time that the test moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    with backup_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workspace(tmp_path: Path, world):
    made = workspaces.create_workspace(tmp_path / "w")
    settings = made.settings()
    settings.cvat = connections.connection_of(world.session)
    made.save(settings)
    return made


@pytest.fixture
def repository(workspace, clock: Clock) -> Repository:
    return Repository.create(workspace.backups, clock=clock)


def test_what_is_due_is_made_once_and_missed_runs_are_caught_up_by_one(
    world, workspace, repository, clock
):
    first = scheduling.run_due(workspace, repository, world.session)
    made = sorted((one.subject.name, one.tier.value) for one in first.taken)
    names = ("cells", "empty", "loose")
    assert made == sorted((name, tier) for name in names for tier in ("annotations", "full"))
    assert first.failed == []
    assert scheduling.run_due(workspace, repository, world.session).taken == []
    clock.now += timedelta(hours=5)
    again = scheduling.run_due(workspace, repository, world.session).taken
    tiers = [one.tier for one in again if one.subject.name == "cells"]
    assert tiers.count(Tier.ANNOTATIONS) == 1


def test_the_first_care_proves_that_a_snapshot_comes_back(world, workspace, repository):
    report = scheduling.run_due(workspace, repository, world.session)
    assert report.failed == []
    found = repository.snapshots()
    assert all(one.is_verified for one in found)
    drilled = [one for one in found if one.marks.drill is not None]
    assert [one.marks.drill.good for one in drilled] == [True]


def test_what_the_rules_forget_goes_a_week_later(world, workspace, repository, clock):
    repositories.change_settings(
        workspace, keep_last=1, keep_hourly=0, keep_daily=1, keep_weekly=0, keep_monthly=0
    )
    for _ in range(3):
        scheduling.run_due(workspace, repository, world.session)
        clock.now += timedelta(days=8)
    everything = repository.snapshots(forgotten=True)
    kept = {(one.subject.key, one.tier) for one in repository.snapshots()}
    assert len(kept) == 6  # of each project or task and tier something stays
    assert any(one.marks.forgotten for one in everything)
    assert len(everything) < 18


def test_two_schedulers_at_once_make_each_backup_once(world, workspace, repository):
    seats = [Repository.open(workspace.backups) for _ in range(2)]
    reports = []
    barrier = threading.Barrier(2)

    def scheduler(seat: Repository) -> None:
        barrier.wait()
        reports.append(scheduling.run_due(workspace, seat, world.session))

    threads = [threading.Thread(target=scheduler, args=(seat,)) for seat in seats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scheduling.run_due(workspace, repository, world.session)
    made = [(one.subject.key, one.tier) for one in repository.snapshots()]
    assert len(made) == len(set(made)) == 6
    assert repositories.check(repository).is_good


def test_e12_the_settings_are_the_ones_that_are_read(workspace):
    new = repositories.change_settings(workspace, full_hours=12.0, annotations_hours=0.0)
    rules = scheduling.rules_of(workspace.settings().backups)
    assert [(rule.tier, rule.every) for rule in rules] == [(Tier.FULL, timedelta(hours=12))]
    assert "full_hours = 12.0" in (workspace.root / "lsl.toml").read_text()
    assert new.full_hours == 12.0


def test_the_worker_begins_a_run_when_the_schedule_is_on_and_no_second_one(workspace, monkeypatch):
    monkeypatch.setattr(Queue, "ensure_worker", lambda self: None)
    assert background.tick(workspace) is False
    repositories.change_settings(workspace, scheduled=True)
    assert background.tick(workspace) is True
    assert background.tick(workspace) is True
    runs = RunStore(workspace.database).recent()
    assert [run.kind for run in runs] == ["scheduled backup"]


def test_a_backup_in_the_worker_is_a_run_like_any_other(world, workspace, monkeypatch):
    monkeypatch.setattr(Queue, "ensure_worker", lambda self: None)
    connections._secrets().put(
        connections.Secret("key", world.session.key), url=world.session.url, user="demo"
    )
    run_id = background.submit_backup(
        workspace, world.session, tier=Tier.FULL, project=world.project
    )
    assert Queue(workspace, Lane.BACKUP).work_once()
    run = RunStore(workspace.database).get(run_id)
    assert run.phase is RunPhase.DONE
    (one,) = repositories.open_repository(workspace).snapshots()
    assert run.result == {"snapshots": [one.short_id]}
    for submit in (
        background.submit_verify(workspace, owner="demo", ids=[one.id]),
        background.submit_drill(workspace, world.session, snapshot=one.id),
    ):
        assert Queue(workspace, Lane.BACKUP).work_once()
        assert RunStore(workspace.database).get(submit).phase is RunPhase.DONE


def test_a_run_trusts_the_certificates_that_its_session_trusted(world):
    with connections.sign_in(
        connections.PasswordLogin("demo", "demo-password"),
        url=world.sandbox.url,
        verify_tls=False,
    ) as session:
        assert connections.connection_of(session).verify_tls is False
        with session.in_organisation("lab") as there:
            assert (there.organisation, there.verify_tls) == ("lab", False)
    assert connections.connection_of(world.session).verify_tls is True

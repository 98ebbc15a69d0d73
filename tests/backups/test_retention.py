from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from backup_helpers import project, save, taken

from lsl_core.backups import (
    Keep,
    Repository,
    Snapshot,
    State,
    Tier,
    Usage,
    decide,
    fit_quota,
    forecast,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEEP = {Tier.FULL: Keep(last=1, hourly=0, daily=3, weekly=2, monthly=2)}


def days(count: int, **more: Any) -> list[Snapshot]:
    return [taken(day + 1, NOON + timedelta(days=day), **more) for day in range(count)]


def kept(snapshots: list[Snapshot], keep: dict[Tier, Keep] | None = None) -> list[int]:
    return [one.snapshot.sequence for one in decide(snapshots, keep or KEEP) if one.keep]


def test_the_newest_of_each_of_the_newest_days_weeks_and_months_stays() -> None:
    # daily: 40, 39, 38; weekly: 40 and 31 (the Sunday before); monthly: 40 and 11 (November's end)
    found = days(40)
    assert found[39].finished.strftime("%a %d %b") == "Tue 29 Dec"
    assert kept(found) == [40, 39, 38, 11]


def test_every_decision_says_why() -> None:
    texts = [decision.text for decision in decide(days(9), KEEP)]
    assert "kept because" in texts[0]
    assert "daily 2026-11-28" in texts[0]
    assert texts[-1] == "forgotten because newer ones are kept in its place"


def test_the_newest_verified_copy_is_never_forgotten() -> None:
    found = [taken(1, NOON, verified=True), *days(40)[1:]]
    (decision,) = [one for one in decide(found, KEEP) if one.snapshot.sequence == 1]
    assert decision.is_essential
    assert "newest verified copy" in decision.text


def test_a_whole_snapshot_is_kept_before_a_newer_partial_one_of_the_same_day() -> None:
    found = [
        taken(1, NOON - timedelta(days=1)),
        taken(2, NOON - timedelta(hours=20), state=State.PARTIAL),
        taken(3, NOON),
    ]
    assert kept(found, {Tier.FULL: Keep(last=1, daily=2, weekly=0, monthly=0)}) == [3, 1]


def test_a_failed_snapshot_goes_once_a_newer_one_is_usable() -> None:
    assert kept([taken(1, NOON), taken(2, NOON, state=State.FAILED)]) == [2, 1]
    assert kept([taken(1, NOON, state=State.FAILED), taken(2, NOON)]) == [2]


def test_a_damaged_snapshot_takes_nobodys_place_and_is_left_to_people() -> None:
    found = [taken(1, NOON), taken(2, NOON + timedelta(hours=1), verified=False)]
    decisions = decide(found, {Tier.FULL: Keep(last=1, daily=1, weekly=0, monthly=0)})
    assert [one.keep for one in decisions] == [True, True]
    assert "damaged" in decisions[0].text
    assert "newest whole copy" in decisions[1].text


def test_protected_snapshots_stay() -> None:
    assert kept([taken(1, NOON, protected=True), *days(40)[1:]])[-1] == 1


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=30_000)])
def test_a_clock_that_was_wrong_for_a_while_costs_no_new_snapshot(jump: timedelta) -> None:
    wrong = [taken(10 + n, NOON + jump + timedelta(hours=n)) for n in range(5)]
    after = [taken(20 + n, NOON + timedelta(days=n)) for n in range(5)]
    found = kept([*days(9), *wrong, *after])
    assert found[:3] == [24, 23, 22]


def test_subjects_and_tiers_are_kept_apart_whatever_their_names() -> None:
    names = ["road_signs", "road_markings", "_road", "road"]
    found = [
        taken(10 * number + n, NOON, subject=project(number + 1, name))
        for number, name in enumerate(names)
        for n in range(1, 4)
    ]
    assert kept(found, {Tier.FULL: Keep(last=1, daily=0, weekly=0, monthly=0)}) == [33, 23, 13, 3]


def test_a_quota_forgets_the_oldest_and_spares_last_copies(repository: Repository) -> None:
    import random

    for number in range(4):
        save(repository, project(1), a=random.Random(number).randbytes(50_000))
    save(repository, project(2), a=random.Random(9).randbytes(50_000))
    found = repository.snapshots()
    decisions = decide(found, {Tier.FULL: Keep(last=10)})
    usage = Usage(repository, found)

    assert 250_000 < usage.bytes_of(found) < 251_000
    plan = fit_quota(decisions, usage, 160_000)
    assert [one.keep for one in plan.decisions] == [True, True, True, False, False]
    assert plan.fits
    assert plan.decisions[-1].text == "forgotten because of the quota of 0.0 GB"

    plan = fit_quota(decisions, usage, 1000)
    assert [one.keep for one in plan.decisions] == [True, True, False, False, False]
    assert not plan.fits
    assert "the last copy" in plan.text


def test_the_forecast_says_when_the_room_is_used_up() -> None:
    found = days(8, added_bytes=10)
    now = found[-1].finished
    growing = forecast(found, used_bytes=100, limit_bytes=190, now=now)
    assert growing.text == "full in about 9 days"
    assert forecast(found, used_bytes=190, limit_bytes=190, now=now).text == "full"
    early = forecast(found[:1], used_bytes=100, limit_bytes=190, now=NOON)
    assert early.text == "too early to say when it will be full"
    still = forecast(days(8, added_bytes=0), used_bytes=100, limit_bytes=190, now=now)
    assert still.text == "not full within ten years"

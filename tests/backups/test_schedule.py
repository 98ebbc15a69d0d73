from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from backup_helpers import URL, project, taken

from lsl_core.backups import Forecast, Rule, Snapshot, State, Subject, Tier, all_due, next_time
from lsl_core.backups.schedule import due, pace_of

HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
RULE = Rule(tier=Tier.ANNOTATIONS, every=HOUR, longest=24 * HOUR)


def hourly(
    sequence: int, at: datetime, *, took: timedelta = timedelta(0), **more: object
) -> Snapshot:
    return taken(sequence, at, tier=Tier.ANNOTATIONS, finished=at + took, **more)


def test_what_was_never_saved_is_due() -> None:
    found = due(RULE, project(), [], NOW)
    assert found is not None
    assert found.reason == "there is none yet"


def test_a_backup_is_due_once_in_every_slot() -> None:
    history: list[Snapshot] = []
    for minute in range(0, 6 * 60, 5):
        now = NOW + timedelta(minutes=minute)
        if due(RULE, project(), history, now):
            history.append(hourly(len(history) + 1, now))
    assert len(history) == 7  # one at once, then one an hour


def test_many_missed_runs_are_caught_up_by_one() -> None:
    history = [hourly(1, NOW - 50 * HOUR)]
    found = due(RULE, project(), history, NOW)
    assert found is not None
    assert "49 missed" in found.reason
    assert due(RULE, project(), [*history, hourly(2, NOW)], NOW + timedelta(minutes=1)) is None


@pytest.mark.parametrize("jump", [timedelta(hours=-5), timedelta(days=-20_000)])
def test_a_clock_that_went_back_makes_one_backup_due_and_no_more(jump: timedelta) -> None:
    history = [hourly(1, NOW)]
    found = due(RULE, project(), history, NOW + jump)
    assert found is not None
    assert found.reason == "the clock went back"
    history.append(hourly(2, NOW + jump))
    assert due(RULE, project(), history, NOW + jump + timedelta(minutes=1)) is None


def test_a_failed_backup_is_tried_again_soon_and_then_less_often() -> None:
    history = [hourly(1, NOW - 2 * HOUR), hourly(2, NOW, state=State.FAILED)]
    assert due(RULE, project(), history, NOW + timedelta(minutes=9)) is None
    found = due(RULE, project(), history, NOW + timedelta(minutes=10))
    assert found is not None
    assert found.reason == "the last attempt failed"
    history.append(hourly(3, NOW + timedelta(minutes=10), state=State.FAILED))
    assert due(RULE, project(), history, NOW + timedelta(minutes=29)) is None
    assert due(RULE, project(), history, NOW + timedelta(minutes=30)) is not None


def test_subjects_do_not_start_together_and_each_keeps_its_minute() -> None:
    history = [hourly(1, NOW)]
    pace = pace_of(RULE, history)
    starts = {id_: next_time(RULE, project(id_), pace, NOW) for id_ in range(50)}
    minutes = {start.timestamp() % 3600 for start in starts.values()}
    assert len(minutes) > 40
    assert max(minutes) <= 360
    assert starts[7] == next_time(RULE, project(7, "renamed"), pace, NOW)
    assert starts[7] + HOUR == next_time(RULE, project(7), pace, starts[7])


def test_a_backup_takes_a_twentieth_of_the_time() -> None:
    slow = [hourly(n, NOW, took=timedelta(minutes=6)) for n in range(1, 4)]
    pace = pace_of(RULE, slow)
    assert pace.interval == 2 * HOUR
    assert pace.reasons == ("one takes 6 minutes",)


def test_what_does_not_change_is_saved_less_often_until_it_does() -> None:
    quiet = [hourly(n, NOW + n * HOUR, added_bytes=0) for n in range(1, 7)]
    assert pace_of(RULE, quiet[:2]).interval == HOUR
    assert pace_of(RULE, quiet[:4]).interval == 4 * HOUR
    assert pace_of(RULE, quiet).interval == 16 * HOUR
    assert pace_of(RULE, quiet, changed=NOW + 7 * HOUR).interval == HOUR
    assert pace_of(RULE, [*quiet, hourly(9, NOW + 9 * HOUR)]).interval == HOUR


def test_the_interval_grows_when_the_room_runs_out_and_has_an_end() -> None:
    tight = Forecast(100, 200, 10.0, 10.0)
    assert pace_of(RULE, [], forecast=tight).interval == 3 * HOUR
    assert "full in about 10 days" in pace_of(RULE, [], forecast=tight).reasons[0]
    assert pace_of(RULE, [], forecast=Forecast(199, 200, 10.0, 0.1)).interval == 24 * HOUR


def test_lighter_tiers_come_first_and_servers_have_their_own() -> None:
    rules = [Rule(tier=tier, every=HOUR, longest=HOUR) for tier in reversed(Tier)]
    server = Subject(url=URL, kind="instance", id=0)
    found = all_due(rules, [project(1), project(2), server], [hourly(1, NOW - 9 * HOUR)], NOW)
    assert [(need.subject.id, need.tier) for need in found] == [
        (2, Tier.ANNOTATIONS), (1, Tier.ANNOTATIONS), (1, Tier.FULL), (2, Tier.FULL),
        (0, Tier.INSTANCE),
    ]  # fmt: skip


def test_a_rule_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="longest"):
        Rule(tier=Tier.FULL, every=2 * HOUR, longest=HOUR)

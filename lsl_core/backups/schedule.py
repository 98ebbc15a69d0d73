"""Which backup is due now. Pure: history in, answer out; nothing is remembered elsewhere.

Every subject and tier has an interval. Time is cut into slots of that length; a backup is due when
the slot of now is another one than that of the last attempt. So backups stay at the same time of
day, many missed slots are caught up by one backup, a clock that jumped makes one backup due at
once and then things go on, and a failed attempt is tried again after 10, 20, 40 … minutes.

Slots of different subjects are shifted by a tenth of the interval at most, by a hash of the
subject, so that they do not all start at the full hour.

The interval begins at `every` and becomes longer, up to `longest`:

- a backup may take a twentieth of the time: at 6 minutes each, not more often than every 2 hours;
- after three that added next to nothing (under a thousandth), twice as long each time; back to
  `every` as soon as something changes;
- when the room will be full in less than 30 days at the present pace, longer by 30 ÷ days.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from statistics import median

from pydantic import BaseModel, ConfigDict, model_validator

from lsl_core.backups.quota import Forecast
from lsl_core.backups.snapshot import Snapshot, Subject, Tier, newest_first

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIGHTEST_FIRST = {Tier.ANNOTATIONS: 0, Tier.FULL: 1, Tier.INSTANCE: 2}

_SHARE_OF_TIME = 20
_QUIET_RUNS = 3
_QUIET_PART = 0.001
_HORIZON_DAYS = 30.0
_FIRST_RETRY = timedelta(minutes=10)


class Rule(BaseModel):
    """How often a tier is saved.

    every, longest: bounds of the interval. at: shift of the slots from midnight UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tier: Tier
    every: timedelta
    longest: timedelta
    at: timedelta = timedelta(0)

    @model_validator(mode="after")
    def _check(self) -> Rule:
        if not timedelta(minutes=1) <= self.every <= self.longest:
            raise ValueError("every must be a minute or more, and not above longest")
        return self


DEFAULT_RULES = (
    Rule(tier=Tier.ANNOTATIONS, every=timedelta(hours=1), longest=timedelta(hours=24)),
    Rule(
        tier=Tier.FULL,
        every=timedelta(days=1),
        longest=timedelta(days=7),
        at=timedelta(hours=1),
    ),
    Rule(
        tier=Tier.INSTANCE,
        every=timedelta(days=1),
        longest=timedelta(days=7),
        at=timedelta(hours=3),
    ),
)


@dataclass(frozen=True, slots=True)
class Pace:
    """The interval that holds now, and what made it so."""

    interval: timedelta
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """A backup that should be made now, and why."""

    subject: Subject
    tier: Tier
    reason: str
    pace: Pace


def pace_of(
    rule: Rule,
    history: Sequence[Snapshot],
    *,
    forecast: Forecast | None = None,
    changed: datetime | None = None,
) -> Pace:
    """Return the interval of one subject and tier, with its reasons.

    Args:
        rule: of the tier.
        history: its snapshots.
        forecast: of the repository.
        changed: when the server says that the subject was last changed, where it does.
    """
    usable = [one for one in newest_first(history) if one.is_usable]
    interval, reasons = rule.every, []
    if usable:
        took = timedelta(seconds=median(_seconds(one) for one in usable[:5]))
        if took * _SHARE_OF_TIME > interval:
            interval = took * _SHARE_OF_TIME
            reasons.append(f"one takes {_words(took)}")
        quiet = len([*takewhile(_is_quiet, usable)])
        is_stale = changed is not None and changed > usable[0].started
        if quiet >= _QUIET_RUNS and not is_stale:
            interval *= 2 ** min(quiet - _QUIET_RUNS + 1, 10)
            reasons.append(f"the last {quiet} found no change")
    if forecast is not None and forecast.days is not None and forecast.days < _HORIZON_DAYS:
        interval *= _HORIZON_DAYS / max(forecast.days, 1.0)
        reasons.append(f"the repository is {forecast.text}")
    return Pace(min(interval, rule.longest), tuple(reasons))


def _seconds(snapshot: Snapshot) -> float:
    return (snapshot.finished - snapshot.started).total_seconds()


def _is_quiet(snapshot: Snapshot) -> bool:
    return snapshot.added_bytes <= _QUIET_PART * snapshot.size_bytes


def _words(span: timedelta) -> str:
    seconds = span.total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = seconds / length
            return f"{count:.3g} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:.0f} seconds"


def due(
    rule: Rule,
    subject: Subject,
    history: Sequence[Snapshot],
    now: datetime,
    *,
    forecast: Forecast | None = None,
    changed: datetime | None = None,
) -> Due | None:
    """Say whether a backup of a subject is due, and why.

    Args:
        rule: of the tier.
        subject: what would be saved.
        history: any snapshots; those of other subjects and tiers are passed over.
        now: the time, with its zone.
        forecast: of the repository.
        changed: when the server says that the subject was last changed, where it does.
    """
    own = [one for one in history if one.subject.key == subject.key and one.tier is rule.tier]
    attempts = newest_first(own)
    pace = pace_of(rule, own, forecast=forecast, changed=changed)
    if not attempts:
        return Due(subject, rule.tier, "there is none yet", pace)
    last = attempts[0].started
    failures = len([*takewhile(lambda one: not one.is_usable, attempts)])
    if failures:
        wait = min(_FIRST_RETRY * 2 ** min(failures - 1, 10), pace.interval)
        retry = now < last or now - last >= wait
        times = "the last attempt" if failures == 1 else f"the last {failures} attempts"
        return Due(subject, rule.tier, f"{times} failed", pace) if retry else None
    missed = _slot(now, rule, subject, pace) - _slot(last, rule, subject, pace)
    if missed == 0:
        return None
    if missed < 0:
        return Due(subject, rule.tier, "the clock went back", pace)
    reason = f"every {_words(pace.interval)}"
    if missed > 1:
        reason += f", {missed - 1} missed since {last:%Y-%m-%d %H:%M} UTC"
    return Due(subject, rule.tier, reason, pace)


def all_due(
    rules: Sequence[Rule],
    subjects: Sequence[Subject],
    history: Sequence[Snapshot],
    now: datetime,
    *,
    forecast: Forecast | None = None,
    changed: dict[str, datetime] | None = None,
) -> list[Due]:
    """Return everything that is due, lighter tiers first, then those that waited longest.

    A whole server is saved by the tier "instance", everything else by the other tiers.

    Args:
        rules: one a tier.
        subjects: what exists.
        history: snapshots of the repository.
        now: the time, with its zone.
        forecast: of the repository.
        changed: subject key -> when the server says it was last changed, where it does.
    """
    own = by_subject(history)
    found = [
        need
        for rule in rules
        for subject in subjects
        if (rule.tier is Tier.INSTANCE) == (subject.kind == "instance")
        and (
            need := due(
                rule, subject, own.get((subject.key, rule.tier), ()), now,
                forecast=forecast, changed=(changed or {}).get(subject.key),
            )
        )
    ]  # fmt: skip
    return sorted(
        found,
        key=lambda need: (
            _LIGHTEST_FIRST[need.tier],
            max((one.sequence for one in own.get((need.subject.key, need.tier), ())), default=0),
        ),
    )


def by_subject(history: Iterable[Snapshot]) -> dict[tuple[str, Tier], list[Snapshot]]:
    """Return the snapshots of each subject, by its key, and tier, in the order they came."""
    found: dict[tuple[str, Tier], list[Snapshot]] = defaultdict(list)
    for one in history:
        found[one.subject.key, one.tier].append(one)
    return found


def next_time(rule: Rule, subject: Subject, pace: Pace, now: datetime) -> datetime:
    """Return when the slot after that of `now` begins."""
    number = _slot(now, rule, subject, pace) + 1
    return _EPOCH + _shift(rule, subject, pace) + number * pace.interval


def _slot(at: datetime, rule: Rule, subject: Subject, pace: Pace) -> int:
    return (at - _EPOCH - _shift(rule, subject, pace)) // pace.interval


def _shift(rule: Rule, subject: Subject, pace: Pace) -> timedelta:
    digest = hashlib.sha256(f"{subject.key} {rule.tier}".encode()).digest()
    part = int.from_bytes(digest[:4], "big") / 2**32
    return rule.at + 0.1 * part * pace.interval

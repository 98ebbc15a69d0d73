"""Which snapshots to keep, and why. Pure: decides, and leaves acting to `Repository.forget`.

Snapshots are grouped by subject (server, kind, id) and tier. In each group:

- protected snapshots stay, and so do the newest whole one, the newest verified one, and as many of
  the newest as `last` says;
- of each of the newest `hourly` hours (days, ISO weeks, months; UTC) that saw a snapshot one
  stays: a whole one before a partial one, then the newest;
- a failed one stays until a newer one is usable; one that `verify` found damaged stays until
  somebody forgets it, and takes no one's place.

"Newest" goes by the sequence in which they were written, hours and days by the clock of that time:
a clock that goes backwards may spend a place twice, it never costs the newest snapshots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from lsl_core.backups.snapshot import Snapshot, State, Tier, newest_first


class Keep(BaseModel):
    """How many snapshots of one subject and tier to keep."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    last: int = Field(default=3, ge=1)
    hourly: int = Field(default=0, ge=0)
    daily: int = Field(default=7, ge=0)
    weekly: int = Field(default=4, ge=0)
    monthly: int = Field(default=6, ge=0)


#: Two days of hours, two weeks of days, a year of months; full copies share images, not room.
DEFAULT_KEEP: Mapping[Tier, Keep] = {
    Tier.ANNOTATIONS: Keep(last=3, hourly=48, daily=14, weekly=8, monthly=12),
    Tier.FULL: Keep(last=3, daily=14, weekly=8, monthly=12),
    Tier.INSTANCE: Keep(last=3, daily=7, weekly=4, monthly=12),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a snapshot, and why.

    is_essential: a byte quota may not overrule it.
    """

    snapshot: Snapshot
    keep: bool
    reasons: tuple[str, ...]
    is_essential: bool = False

    @property
    def text(self) -> str:
        """Say it: "kept because daily 2026-11-20"."""
        return f"{'kept' if self.keep else 'forgotten'} because {', '.join(self.reasons)}"


def decide(
    snapshots: Sequence[Snapshot], keep: Mapping[Tier, Keep] = DEFAULT_KEEP
) -> list[Decision]:
    """Decide for every snapshot that is not forgotten yet; newest first."""
    groups: dict[tuple[str, Tier], list[Snapshot]] = defaultdict(list)
    for one in newest_first(snapshots):
        if one.marks.forgotten is None:
            groups[one.subject.key, one.tier].append(one)
    found = {
        decision.snapshot.id: decision
        for (_, tier), group in groups.items()
        for decision in _decide_group(group, keep.get(tier, Keep()))
    }
    return [found[one.id] for one in newest_first(snapshots) if one.id in found]


def _decide_group(group: Sequence[Snapshot], keep: Keep) -> Iterator[Decision]:
    """Decide for the snapshots of one subject and tier, given newest first."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for one, why in _essential(group):
        reasons[one.id].append(why)
    essential = set(reasons)
    for one, why in [*_others(group), *_by_time(group, keep)]:
        reasons[one.id].append(why)
    for one in group:
        told = tuple(reasons[one.id]) or ("newer ones are kept in its place",)
        yield Decision(one, bool(reasons[one.id]), told, one.id in essential)


def _essential(group: Sequence[Snapshot]) -> Iterator[tuple[Snapshot, str]]:
    for one in group:
        if one.marks.protected:
            yield one, f"protected ({one.marks.note})" if one.marks.note else "protected"
    usable = [one for one in group if _fills_a_place(one)]
    firsts: list[tuple[str, Callable[[Snapshot], bool]]] = [
        ("newest verified copy", lambda one: one.is_verified),
        ("newest whole copy", lambda one: one.state is State.OK),
        ("newest copy", lambda one: True),
    ]
    for why, is_such in firsts:
        first = next((one for one in usable if is_such(one)), None)
        if first is not None:
            yield first, why


def _others(group: Sequence[Snapshot]) -> Iterator[tuple[Snapshot, str]]:
    has_newer = False
    for one in group:
        if not one.is_usable and not has_newer:
            yield one, "failed, and nothing newer is usable"
        if one.is_usable and not _fills_a_place(one):
            yield one, "damaged: forget it when you have no more use for it"
        has_newer = has_newer or _fills_a_place(one)


def _fills_a_place(one: Snapshot) -> bool:
    is_damaged = one.marks.verified is not None and not one.marks.verified.good
    return one.is_usable and not is_damaged


def _by_time(group: Sequence[Snapshot], keep: Keep) -> Iterator[tuple[Snapshot, str]]:
    usable = [one for one in group if _fills_a_place(one)]
    for number, one in enumerate(usable[: keep.last], start=1):
        yield one, f"last {number} of {keep.last}"
    periods: list[tuple[str, int, Callable[[datetime], str]]] = [
        ("hourly", keep.hourly, lambda at: f"{at:%Y-%m-%d %H}:00"),
        ("daily", keep.daily, lambda at: f"{at:%Y-%m-%d}"),
        ("weekly", keep.weekly, lambda at: f"{at:%G-W%V}"),
        ("monthly", keep.monthly, lambda at: f"{at:%Y-%m}"),
    ]
    for name, places, period_of in periods:
        best: dict[str, Snapshot] = {}
        for one in usable:
            period = period_of(one.finished)
            held = best.get(period)
            if held is None and len(best) == places:
                continue
            if held is None or (held.state is not State.OK and one.state is State.OK):
                best[period] = one
        for period, one in best.items():
            yield one, f"{name} {period}"

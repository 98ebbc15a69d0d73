"""How much room snapshots take, when it will be used up, and what to forget before that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from lsl_core.backups.needs import blobs_of
from lsl_core.backups.repository import Repository
from lsl_core.backups.retention import Decision
from lsl_core.backups.snapshot import Snapshot
from lsl_core.errors import Damaged

#: Growth is what was added in this time.
_WINDOW = timedelta(days=14)
_LEAST = timedelta(hours=12)


class Usage:
    """Which stored bytes each snapshot needs, shared ones counted once.

    stored_bytes: everything under the repository's packs, needed or not.
    """

    def __init__(self, repository: Repository, snapshots: Sequence[Snapshot]) -> None:
        self.stored_bytes = sum(repository.store.list("packs").values())
        self._numbers: dict[bytes, int] = {}
        self._lengths: list[int] = []
        self._files: dict[str, NDArray[np.int64]] = {}
        self._of = {one.id: self._blobs(repository, one) for one in snapshots}
        self._length = np.array(self._lengths, np.int64)

    def _blobs(self, repository: Repository, snapshot: Snapshot) -> NDArray[np.int64]:
        parts = [np.empty(0, np.int64)]
        for file in snapshot.files:
            if file.content.sha256 not in self._files:
                try:
                    blobs = {*blobs_of(repository.reader, file)}
                except Damaged:
                    blobs = set()
                found = [self._number(repository, blob) for blob in blobs]
                self._files[file.content.sha256] = np.array(found, np.int64)
            parts.append(self._files[file.content.sha256])
        return np.unique(np.concatenate(parts))

    def _number(self, repository: Repository, blob: bytes) -> int:
        if blob not in self._numbers:
            place = repository.index.find(blob)
            self._numbers[blob] = len(self._lengths)
            self._lengths.append(place.length if place else 0)
        return self._numbers[blob]

    def bytes_of(self, snapshots: Iterable[Snapshot]) -> int:
        """Return the stored bytes that these snapshots need together."""
        parts = [self._of[one.id] for one in snapshots]
        needed = np.unique(np.concatenate([np.empty(0, np.int64), *parts]))
        return int(self._length[needed].sum())

    def counts(self, snapshots: Iterable[Snapshot]) -> Counts:
        """Return a running count that snapshots can be taken out of."""
        users = np.zeros(len(self._length), np.int64)
        for one in snapshots:
            users[self._of[one.id]] += 1
        return Counts(self._of, self._length, users)


class Counts:
    """How many snapshots need each blob."""

    def __init__(
        self, of: dict[str, NDArray[np.int64]], length: NDArray[np.int64], users: NDArray[np.int64]
    ) -> None:
        self._of = of
        self._length = length
        self._users = users

    def remove(self, snapshot: Snapshot) -> int:
        """Take a snapshot out; return the bytes that nobody needs any more."""
        blobs = self._of[snapshot.id]
        self._users[blobs] -= 1
        return int(self._length[blobs[self._users[blobs] == 0]].sum())


@dataclass(frozen=True, slots=True)
class QuotaPlan:
    """Decisions that respect a byte quota as far as they may.

    used_bytes: what the kept ones need. fits: whether that is below the quota.
    """

    decisions: tuple[Decision, ...]
    used_bytes: int
    quota_bytes: int
    fits: bool

    @property
    def text(self) -> str:
        """Say whether it fits."""
        used, quota = f"{self.used_bytes / 1e9:,.1f}", f"{self.quota_bytes / 1e9:,.1f}"
        if self.fits:
            return f"Needs {used} of {quota} GB."
        return (
            f"Needs {used} of {quota} GB, and all that is left is protected or the last copy of"
            " something. Give it more room, or unprotect snapshots."
        )


def fit_quota(decisions: Sequence[Decision], usage: Usage, quota_bytes: int) -> QuotaPlan:
    """Forget the oldest snapshots beyond what retention forgets, until the rest fits.

    Protected ones and last copies stay. Of each subject and tier the oldest goes first, those with
    most snapshots before others, so that no subject pays for all.
    """
    kept = [decision.snapshot for decision in decisions if decision.keep]
    counts = usage.counts(kept)
    used = usage.bytes_of(kept)
    over: dict[str, int] = {}
    spare: dict[tuple[str, str], list[Snapshot]] = defaultdict(list)
    for decision in decisions:
        if decision.keep and not decision.is_essential:
            one = decision.snapshot
            spare[one.subject.key, one.tier].append(one)
    while used > quota_bytes and any(spare.values()):
        # newest first, so the oldest is at the end
        group = max(spare.values(), key=lambda left: (len(left), -left[-1].sequence if left else 0))
        one = group.pop()
        freed = counts.remove(one)
        used -= freed
        over[one.id] = freed
    reason = f"of the quota of {quota_bytes / 1e9:,.1f} GB"
    done = tuple(
        replace(one, keep=False, reasons=(reason,)) if one.snapshot.id in over else one
        for one in decisions
    )
    return QuotaPlan(done, used, quota_bytes, used <= quota_bytes)


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the room will be used up.

    bytes_per_day: growth of late. days: until the limit is reached; None when nothing grows, or
    when there is too little history to say.
    """

    used_bytes: int
    limit_bytes: int
    bytes_per_day: float | None
    days: float | None

    @property
    def text(self) -> str:
        """Say it: "full in about 9 days"."""
        if self.used_bytes >= self.limit_bytes:
            return "full"
        if self.bytes_per_day is None:
            return "too early to say when it will be full"
        if self.days is None or self.days > 3650:
            return "not full within ten years"
        if self.days < 1:
            return "full within a day"
        if self.days < 60:
            return f"full in about {self.days:.0f} day{'' if round(self.days) == 1 else 's'}"
        return f"full in about {self.days / 30.4:.0f} months"


def forecast(
    snapshots: Sequence[Snapshot], *, used_bytes: int, limit_bytes: int, now: datetime
) -> Forecast:
    """Say when `limit_bytes` will be reached if the last two weeks go on.

    The first snapshot of a subject and tier does not count: it comes once. What a prune will free
    does not count either, so the forecast errs towards too early.

    Args:
        snapshots: of the whole repository, forgotten ones too.
        used_bytes: stored now.
        limit_bytes: the quota; on a disk not more than what is used and what is free together.
        now: the time.
    """
    ordered = sorted(snapshots, key=lambda one: one.sequence)
    firsts: set[tuple[str, str]] = set()
    grown, times = 0, []
    for one in ordered:
        is_first = (one.subject.key, one.tier) not in firsts
        firsts.add((one.subject.key, one.tier))
        if timedelta(0) <= now - one.finished <= _WINDOW:
            times.append(one.finished)
            grown += 0 if is_first else one.added_bytes
    span = max(times) - min(times) if times else timedelta(0)
    if span < _LEAST:
        return Forecast(used_bytes, limit_bytes, None, None)
    pace = grown / (span / timedelta(days=1))
    days = max(0, limit_bytes - used_bytes) / pace if pace else None
    return Forecast(used_bytes, limit_bytes, pace, days)

"""What the service did: figures for Prometheus, and for people on the Serve page."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

#: Answers that the median and the 95th percentile look back on.
_RECENT = 1000
#: Seconds that callers are remembered.
_HOUR_S = 3600.0
#: Callers at a time; more in one hour are counted under one name.
_MOST_CALLERS = 200
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True, slots=True)
class FunctionUse:
    """How often a function was called, and how long answers took, seconds."""

    requests: int = 0
    failed: int = 0
    median_s: float | None = None
    p95_s: float | None = None
    last_error: str = ""
    last_error_at: float | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called in the last hour: address and program, how often, when last."""

    who: str
    requests: int
    last: float


@dataclass(slots=True, eq=False)
class _Function:
    requests: int = 0
    failed: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    last_error: str = ""
    last_error_at: float | None = None


class Usage:
    """Counts answers; safe for several threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "lsl_requests", "Answers by function and status", ["function", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "lsl_request_seconds", "Time to an answer", ["function"], buckets=_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self._offered = Gauge(
            "lsl_offered", "Versions that are offered", ["function", "version"],
            registry=self.registry,
        )  # fmt: skip
        self._functions: dict[str, _Function] = {}
        self._callers: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def add(self, function: str, *, status: int, seconds: float, who: str, error: str = "") -> None:
        """Count one answer; only those that succeeded count for the times."""
        self._requests.labels(function, str(status)).inc()
        self._seconds.labels(function).observe(seconds)
        now = time.time()
        with self._lock:
            row = self._functions.setdefault(function, _Function())
            row.requests += 1
            if status >= 400:
                row.failed += 1
                row.last_error, row.last_error_at = error, now
            else:
                row.seconds.append(seconds)
            if who not in self._callers and len(self._callers) >= _MOST_CALLERS:
                who = "others"
            self._callers.setdefault(who, deque(maxlen=10_000)).append(now)

    def offered(self, versions: dict[str, str]) -> None:
        """Say which version of each function is offered now."""
        self._offered.clear()
        for function, version in versions.items():
            self._offered.labels(function, version).set(1)

    def of(self, function: str) -> FunctionUse:
        """Return the figures of a function."""
        with self._lock:
            row = self._functions.get(function)
            if row is None:
                return FunctionUse()
            seconds = sorted(row.seconds)
            return FunctionUse(
                row.requests,
                row.failed,
                statistics.median(seconds) if seconds else None,
                seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))] if seconds else None,
                row.last_error,
                row.last_error_at,
            )

    def callers(self) -> list[Caller]:
        """Return who called in the last hour, the latest first."""
        oldest = time.time() - _HOUR_S
        with self._lock:
            for who, times in list(self._callers.items()):
                while times and times[0] < oldest:
                    times.popleft()
                if not times:
                    del self._callers[who]
            found = [Caller(who, len(times), times[-1]) for who, times in self._callers.items()]
        return sorted(found, key=lambda caller: caller.last, reverse=True)

    def text(self) -> bytes:
        """Return the figures as Prometheus reads them."""
        return generate_latest(self.registry)

"""Progress of a run, written to its record."""

from __future__ import annotations

import time

from lsl_core.errors import RunCancelled
from lsl_core.runs.store import RunStore

#: Seconds between writes; a person sees no faster change, and SQLite is spared.
_PERIOD_S = 0.5


class RunProgress:
    """A `Progress` that any page can read and stop.

    Args:
        store: where the run is recorded.
        run_id: which run.
    """

    def __init__(self, store: RunStore, run_id: str) -> None:
        self._store = store
        self._run = run_id
        self._step, self._total, self._unit, self._done = "", 0, "", 0
        self._metrics: list[tuple[str, int, float]] = []
        self._written = 0.0
        self._checked = 0.0

    def start(self, step: str, *, total: int, unit: str) -> None:
        """Begin a step."""
        self.flush()
        self._step, self._total, self._unit, self._done = step, total, unit, 0
        self.flush()
        self._store.note(self._run, f"{step}: {total} {unit}" if total else step)

    def advance(self, count: int = 1) -> None:
        """Say that `count` more units are done."""
        self._done += count
        if self._done == self._total or time.monotonic() - self._written >= _PERIOD_S:
            self.flush()

    def metric(self, name: str, value: float, *, at: int) -> None:
        """Keep a figure for the curves."""
        self._metrics.append((name, at, float(value)))

    def note(self, text: str) -> None:
        """Add a line to the run's log."""
        self._store.note(self._run, text)

    def check(self) -> None:
        """Stop the work when somebody asked for it."""
        if time.monotonic() - self._checked < _PERIOD_S:
            return
        self._checked = time.monotonic()
        if self._store.is_cancel_asked(self._run):
            raise RunCancelled("Cancelled.", hint="What was finished is kept.")

    def flush(self) -> None:
        """Write what was held back."""
        self._written = time.monotonic()
        if self._step:
            self._store.step(
                self._run, self._step, done=self._done, total=self._total, unit=self._unit
            )
        if self._metrics:
            self._store.add_metrics(self._run, self._metrics)
            self._metrics = []

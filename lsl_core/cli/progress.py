"""Progress bars in the terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console


class TerminalProgress:
    """A `Progress` as one bar per step on stderr, so that stdout stays for results.

    Without a terminal it prints one line per step and no bar.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[unit]}"),
            bars.TextColumn("{task.fields[facts]}"),
            bars.TimeRemainingColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._task: bars.TaskID | None = None
        self._facts: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def start(self, step: str, *, total: int, unit: str) -> None:
        """Begin a step."""
        self._facts = {}
        self._task = self._bars.add_task(step, total=total, unit=unit, facts="")
        if self._bars.disable:
            self._console.print(f"{step}: {total} {unit}" if total > 1 else step)

    def advance(self, count: int = 1) -> None:
        """Say that `count` more units are done."""
        if self._task is not None:
            self._bars.advance(self._task, count)

    def metric(self, name: str, value: float, *, at: int) -> None:
        """Show the newest value of a figure beside the bar."""
        self._facts[name] = value
        if self._task is not None:
            facts = " ".join(f"{key} {number:.3f}" for key, number in self._facts.items())
            self._bars.update(self._task, facts=facts)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False)

    def check(self) -> None:
        """Nothing: Ctrl-C stops a command."""

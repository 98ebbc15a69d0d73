"""How long work says where it is, and learns that it should stop."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener of one piece of long work.

    Implementations: a terminal bar (cli), a record in the workspace database (runs), silence
    (`NULL`). Calls may come from one thread only.
    """

    def start(self, step: str, *, total: int, unit: str) -> None:
        """Begin a step: "Predicting", 240, "images". Ends the step before it."""

    def advance(self, count: int = 1) -> None:
        """Say that `count` more units of the step are done."""

    def metric(self, name: str, value: float, *, at: int) -> None:
        """Record a figure of the work, such as the loss at iteration `at`."""

    def note(self, text: str) -> None:
        """Say one line for the log. No secrets."""

    def check(self) -> None:
        """Return, or raise `RunCancelled` when somebody asked the work to stop."""


class NullProgress:
    """Progress that nobody listens to and nobody stops."""

    def start(self, step: str, *, total: int, unit: str) -> None:
        """Ignore the step."""

    def advance(self, count: int = 1) -> None:
        """Ignore the advance."""

    def metric(self, name: str, value: float, *, at: int) -> None:
        """Ignore the figure."""

    def note(self, text: str) -> None:
        """Ignore the line."""

    def check(self) -> None:
        """Never stop."""


NULL: Progress = NullProgress()

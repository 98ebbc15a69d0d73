"""Work of AI tools: runs over tasks, and requests that wait for agents."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

from lsl_core.sandbox.base.store import Row, now

Json = dict[str, Any]


@dataclass(slots=True, eq=False)
class Run:
    """A function on its way over a task, and how it stands."""

    id: str
    owner_id: int
    asked: Json
    status: str
    progress: int | None
    enqueued: str
    started: str | None = None
    ended: str | None = None
    exc_info: str | None = None
    is_cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it ended."""
        return self.status in ("finished", "failed")

    def end(self, error: str | None = None) -> None:
        """Note that it finished, or failed and why."""
        self.exc_info, self.ended = error, now()
        self.status = "finished" if error is None else "failed"

    def as_json(self) -> Json:
        """Describe it as the API does."""
        asked = self.asked
        function = {"id": asked["function"], "task": asked["task"]}
        if asked.get("job") is not None:
            function["job"] = asked["job"]
        return {
            "id": self.id,
            "function": {**function, "threshold": asked.get("threshold")},
            "status": self.status,
            "progress": self.progress,
            "enqueued": self.enqueued,
            "started": self.started,
            "ended": self.ended,
            "exc_info": self.exc_info,
        }


@dataclass(slots=True, eq=False)
class Request:
    """Something that an agent shall do.

    Args:
        function_id: whose agents may take it.
        category: interactive or batch.
        params: what the agent is told.
        task: the row of the task.
        run: of a batch.
    """

    function_id: int
    category: str
    params: Json
    task: Row
    run: Run | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    agent: str | None = None
    result: Json | None = None
    error: str | None = None


@dataclass(slots=True, eq=False)
class Requests:
    """What waits for agents, oldest first, and what they work at."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    rows: list[Request] = field(default_factory=list)
    is_closed: bool = False

    def add(self, request: Request) -> None:
        """Let agents know of a request."""
        with self.changed:
            self.rows.append(request)
            self.changed.notify_all()

    def end(self, request: Request) -> None:
        """Take a request away, and wake up who waits for it."""
        with self.changed:
            if request in self.rows:
                self.rows.remove(request)
            self.changed.notify_all()

    def close(self) -> None:
        """Let go of those who wait."""
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()

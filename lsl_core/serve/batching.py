"""Threads that own a model each and look at whatever waits for it, whoever sent it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from lsl_core.errors import TooBusy, TooLate
from lsl_core.inference.batches import Batches, Pixels, power_of_two
from lsl_core.models.base import Model
from lsl_core.progress import NULL
from lsl_core.serve.apart import ModelProcess
from lsl_core.serve.looking import Answer, Question
from lsl_core.types import Instances

#: Questions that a process answers at a time; the first waits for the last.
_QUESTIONS = 8


#: What a model looks at: a window, or an image that its process answers whole.
_Item = Pixels | Question


class _Request:
    """The windows of one image on their way, or a question."""

    def __init__(self, items: Sequence[_Item], ends_at: float) -> None:
        self.left = deque(enumerate(items))
        self.found: dict[int, Any] = {}
        self.num_items = len(items)
        self.ends_at = ends_at
        self.lock = threading.Lock()
        self.answer: Future[list[Any]] = Future()

    @property
    def is_question(self) -> bool:
        """Whether what is left is no window."""
        return isinstance(self.left[0][1], Question)

    def add(self, i: int, found: Instances | Answer) -> None:
        """Keep what an item gave; the last one completes the answer."""
        if isinstance(found, Exception):
            self.fail(found)
            return
        with self.lock:
            self.found[i] = found
            if len(self.found) == self.num_items and not self.answer.done():
                self.answer.set_result([self.found[k] for k in range(self.num_items)])

    def fail(self, error: Exception) -> None:
        """End the answer with what went wrong."""
        with self.lock:
            if not self.answer.done():
                self.answer.set_exception(error)


#: A request, the number of an item of it, and the item.
_Taken = tuple[_Request, int, _Item]


class Batching:
    """Shares batches between callers: while the model works, windows gather for the next batch.

    No window waits for a batch to fill, so a lone caller pays nothing. Windows are taken from one
    request after the other, so a huge image does not hold up small ones. When a batch fails, its
    windows are tried one by one, so only the request with the bad one fails. Questions are taken
    like windows, but no batch holds both.

    Args:
        models: copies of one model; each is used by a thread of its own.
        floor_score: lowest score that is kept.
        size: windows at a time; None chooses by device.
    """

    def __init__(
        self, models: Sequence[Model], *, floor_score: float, size: int | None = None
    ) -> None:
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(
                target=self._work,
                args=(model, Batches(model, floor_score=floor_score, size=size, progress=NULL)),
                name="model",
                daemon=True,
            )
            for model in models
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, windows: Sequence[Pixels], *, timeout_s: float) -> Future[list[Instances]]:
        """Queue the windows of one image; the future gives what each shows.

        Args:
            windows: (h, w, 3) uint8 RGB each.
            timeout_s: after this long nobody waits any more, and windows are dropped unseen.

        Raises:
            TooBusy: when it was closed.
        """
        return self._submit(windows, timeout_s)

    def ask(self, question: Question, *, timeout_s: float) -> Future[list[bytes | None]]:
        """Queue a question for models that are a `ModelProcess`; see `submit` and `Looks.answers`.

        Returns:
            A future of one answer.
        """
        return self._submit([question], timeout_s)

    def _submit(self, items: Sequence[_Item], timeout_s: float) -> Future[list[Any]]:
        request = _Request(items, time.monotonic() + timeout_s)
        with self._changed:
            if self._is_closed:
                raise TooBusy("This model is being replaced.", hint="Send it again.")
            self._waiting.append(request)
            self._changed.notify_all()
        return request.answer

    def close(self) -> None:
        """Finish what waits, then end the threads."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, model: Model, batches: Batches) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                batch = self._take(batches)
            if batch:
                self._look(batch, model, batches)

    def _take(self, batches: Batches) -> list[_Taken]:
        """Take items of one kind, one from each request in turn, and leave other models theirs."""
        batch: list[_Taken] = []
        others: list[_Request] = []
        size = 1
        while self._waiting and len(batch) < size:
            request = self._waiting.popleft()
            if request.answer.done() or time.monotonic() > request.ends_at:
                request.fail(TooLate("No answer in time.", hint="Send it again."))
                continue
            if batch and isinstance(batch[0][2], Question) != request.is_question:
                others.append(request)
                continue
            if not batch:
                size = self._share(request, batches)
            batch.append((request, *request.left.popleft()))
            if request.left:
                self._waiting.append(request)
        self._waiting.extendleft(reversed(others))
        return batch

    def _share(self, first: _Request, batches: Batches) -> int:
        """Return how many items one model takes now, of which this is the first."""
        alike = [one for one in self._waiting if one.is_question == first.is_question]
        share = -(-sum(len(one.left) for one in (first, *alike)) // len(self._threads))
        item = first.left[0][1]
        most = _QUESTIONS if isinstance(item, Question) else batches.size(item)
        return power_of_two(min(most, share))

    def _look(self, batch: Sequence[_Taken], model: Model, batches: Batches) -> None:
        items: list[Any] = [item for _, _, item in batch]
        asked = (
            model if isinstance(model, ModelProcess) and isinstance(items[0], Question) else None
        )
        found: Sequence[Instances | Answer]
        try:
            found = asked.answers(items) if asked else batches.predict(items)
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    self._look([one], model, batches)
            else:
                batch[0][0].fail(error)
            return
        for (request, i, _), given in zip(batch, found, strict=True):
            request.add(i, given)

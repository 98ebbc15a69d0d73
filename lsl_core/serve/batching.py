"""Threads that own a model each and look at whatever windows wait, whoever sent them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from lsl_core.errors import TooBusy, TooLate
from lsl_core.inference.batches import Batches, Pixels
from lsl_core.models.base import Model
from lsl_core.progress import NULL
from lsl_core.types import Instances


class _Request:
    """The windows of one image on their way."""

    def __init__(self, windows: Sequence[Pixels], ends_at: float) -> None:
        self.left = deque(enumerate(windows))
        self.found: dict[int, Instances] = {}
        self.num_windows = len(windows)
        self.ends_at = ends_at
        self.lock = threading.Lock()
        self.answer: Future[list[Instances]] = Future()

    def add(self, i: int, found: Instances) -> None:
        """Keep what a window shows; the last one completes the answer."""
        with self.lock:
            self.found[i] = found
            if len(self.found) == self.num_windows and not self.answer.done():
                self.answer.set_result([self.found[k] for k in range(self.num_windows)])

    def fail(self, error: Exception) -> None:
        """End the answer with what went wrong."""
        with self.lock:
            if not self.answer.done():
                self.answer.set_exception(error)


class Batching:
    """Shares batches between callers: while the model works, windows gather for the next batch.

    No window waits for a batch to fill, so a lone caller pays nothing. Windows are taken from one
    request after the other, so a huge image does not hold up small ones. When a batch fails, its
    windows are tried one by one, so only the request with the bad one fails.

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
                args=(Batches(model, floor_score=floor_score, size=size, progress=NULL),),
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
        request = _Request(windows, time.monotonic() + timeout_s)
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

    def _work(self, batches: Batches) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                batch = self._take(batches)
            if batch:
                self._look(batch, batches)

    def _take(self, batches: Batches) -> list[tuple[_Request, int, Pixels]]:
        """Take windows, one from each request in turn, up to a batch, and leave others theirs."""
        batch: list[tuple[_Request, int, Pixels]] = []
        share = -(-sum(len(request.left) for request in self._waiting) // len(self._threads))
        size = 1
        while self._waiting and len(batch) < size:
            request = self._waiting.popleft()
            if request.answer.done() or time.monotonic() > request.ends_at:
                request.fail(TooLate("No answer in time.", hint="Send it again."))
                continue
            i, pixels = request.left.popleft()
            batch.append((request, i, pixels))
            size = _power_of_two(min(batches.size(batch[0][2]), share))
            if request.left:
                self._waiting.append(request)
        return batch

    def _look(self, batch: Sequence[tuple[_Request, int, Pixels]], batches: Batches) -> None:
        try:
            found = batches.predict([pixels for _, _, pixels in batch])
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    self._look([one], batches)
            else:
                batch[0][0].fail(error)
            return
        for (request, i, _), instances in zip(batch, found, strict=True):
            request.add(i, instances)


def _power_of_two(most: int) -> int:
    """Return the largest power of two that is no more.

    Batches of many sizes leave free memory in pieces of many sizes, which the next seldom fits:
    a small model held 648 MB after batches of 1 to 13 windows, 490 after 1, 2, 4 and 8.
    """
    return 1 << (most.bit_length() - 1)

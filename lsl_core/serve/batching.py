"""One thread that owns a model and looks at whatever windows wait, whoever sent them."""

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
        self.answer: Future[list[Instances]] = Future()

    def add(self, i: int, found: Instances) -> None:
        """Keep what a window shows; the last one completes the answer."""
        self.found[i] = found
        if len(self.found) == self.num_windows and not self.answer.done():
            self.answer.set_result([self.found[k] for k in range(self.num_windows)])


class Batching:
    """Shares batches between callers: while the model works, windows gather for the next batch.

    No window waits for a batch to fill, so a lone caller pays nothing. Windows are taken from one
    request after the other, so a huge image does not hold up small ones. When a batch fails, its
    windows are tried one by one, so only the request with the bad one fails.

    Args:
        model: only this thread uses it.
        floor_score: lowest score that is kept.
        size: windows at a time; None chooses by device.
    """

    def __init__(self, model: Model, *, floor_score: float, size: int | None = None) -> None:
        self._batches = Batches(model, floor_score=floor_score, size=size, progress=NULL)
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

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
            self._changed.notify()
        return request.answer

    def close(self) -> None:
        """Finish what waits, then end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                batch = self._take()
            if batch:
                self._look(batch)

    def _take(self) -> list[tuple[_Request, int, Pixels]]:
        """Take windows, one from each request in turn, up to a batch."""
        batch: list[tuple[_Request, int, Pixels]] = []
        size = 1
        while self._waiting and len(batch) < size:
            request = self._waiting.popleft()
            if request.answer.done() or time.monotonic() > request.ends_at:
                self._drop(request)
                continue
            i, pixels = request.left.popleft()
            batch.append((request, i, pixels))
            size = self._batches.size(batch[0][2])
            if request.left:
                self._waiting.append(request)
        return batch

    def _drop(self, request: _Request) -> None:
        if not request.answer.done():
            request.answer.set_exception(TooLate("No answer in time.", hint="Send it again."))

    def _look(self, batch: Sequence[tuple[_Request, int, Pixels]]) -> None:
        try:
            found = self._batches.predict([pixels for _, _, pixels in batch])
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    self._look([one])
            elif not batch[0][0].answer.done():
                batch[0][0].answer.set_exception(error)
            return
        for (request, i, _), instances in zip(batch, found, strict=True):
            request.add(i, instances)

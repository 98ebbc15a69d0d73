"""Reading images in the background, a little ahead of the device."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Items made in one background thread, at most so many bytes of them waiting.

    An item is only made once there is room for it; one waits even if it is larger. What making
    raises is raised where items are waited for, after those before it were taken.
    Use as a context manager: leaving it stops the thread after the item it works on.

    Args:
        items: pairs of what makes an item and its size in bytes.
        max_bytes: how much may wait.
    """

    def __init__(self, items: Iterable[tuple[Callable[[], T], int]], *, max_bytes: int) -> None:
        self._items = items
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._is_over = self._is_stopped = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)

    def __enter__(self) -> Ahead[T]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _read(self) -> None:
        try:
            self._fill(iter(self._items))
        except BaseException as error:
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _fill(self, items: Iterator[tuple[Callable[[], T], int]]) -> None:
        while not self._is_stopped:
            try:
                make, size = next(items)
            except StopIteration:
                return
            with self._changed:
                while not self._has_room(size):
                    self._changed.wait()
            if self._is_stopped:
                return
            item = make()
            with self._changed:
                self._waiting.append((item, size))
                self._bytes += size
                self._changed.notify_all()
            del item, make

    def _has_room(self, size: int) -> bool:
        return self._is_stopped or not self._waiting or self._bytes + size <= self._max_bytes

    def take(self, *, wait: bool, timeout_s: float = 0.2) -> T | None:
        """Return the next item, or None: none is ready in time, or there is no more.

        Args:
            wait: whether to wait up to `timeout_s` for it.
            timeout_s: seconds.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._waiting or self._is_over, timeout_s)
            if self._waiting:
                item, size = self._waiting.popleft()
                self._bytes -= size
                self._changed.notify_all()
                return item
            if wait and self._error is not None:
                error, self._error = self._error, None
                raise error
            return None

    @property
    def is_over(self) -> bool:
        """Whether every item was taken."""
        with self._changed:
            return self._is_over and not self._waiting and self._error is None

"""A bounded amount of memory that several threads share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lsl_core.errors import TooBusy


class Room:
    """A bounded number of bytes that several threads share.

    What is larger than everything is let in when nothing else is there.
    """

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes = num_bytes
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, num_bytes: int, *, timeout_s: float) -> Iterator[None]:
        """Take bytes while the block runs; wait for them.

        Raises:
            TooBusy: when others keep them for too long.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._has(num_bytes), timeout_s):
                raise TooBusy(
                    "Too many images are being looked at.", hint="Send fewer at once, or later."
                )
            self._taken += num_bytes
        try:
            yield
        finally:
            with self._changed:
                self._taken -= num_bytes
                self._changed.notify_all()

    def _has(self, num_bytes: int) -> bool:
        return not self._taken or self._taken + num_bytes <= self._num_bytes

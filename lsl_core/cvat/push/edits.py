"""What people edited of that which is about to be deleted: it stays."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import partial
from threading import Lock
from typing import NamedTuple

from lsl_core.cvat.annotations.content import Key, key_of, mark
from lsl_core.cvat.annotations.reading import job_entries, unless_cut
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.push.journal import Batch


class _Look(NamedTuple):
    """What was found edited in a job, and until when that counts, by `time.monotonic`."""

    edited: frozenset[Key]
    until: float


class Edits:
    """Tells what people edited since it was planned to delete it.

    CVAT tells of a job as a whole only. Were it asked before each batch of 500, 50,000 shapes would
    be read a hundred times; so a look counts for as long as it took. Half of the time at most goes
    into looking, and no edit is older than two looks when its shape is deleted.

    Args:
        session: who looks.
        batches: all that will be deleted.
    """

    def __init__(self, session: CvatSession, batches: Iterable[Batch]) -> None:
        self._session = session
        self._planned: dict[int, dict[Key, int]] = defaultdict(dict)  # of each job
        for batch in batches:
            self._planned[batch.job_id].update((key_of(e), mark(e)) for e in batch.entries)
        self._looks: dict[int, _Look] = {}
        self._lock = Lock()

    def among(self, batch: Batch) -> Collection[Key]:
        """Return which annotations of a batch are to stay.

        Raises:
            CvatError: when the job cannot be read.
        """
        with self._lock:  # a second thread waits for the look of the first
            look = self._looks.get(batch.job_id)
            if look is None or time.monotonic() > look.until:
                began = time.monotonic()
                edited = unless_cut(partial(self._edited, batch.job_id))
                took = time.monotonic() - began
                look = self._looks[batch.job_id] = _Look(edited, began + 2 * took)
        return look.edited.intersection(map(key_of, batch.entries))

    def _edited(self, job_id: int) -> frozenset[Key]:
        planned = self._planned[job_id]
        return frozenset(
            key_of(entry)
            for entry in job_entries(self._session, job_id)
            if key_of(entry) in planned and planned[key_of(entry)] != mark(entry)
        )

"""Sending the batches of the journal: at most once each, whatever happens on the way.

CVAT does a PATCH whole or not at all, but its answer can get lost (a proxy gives up after 60 s
and CVAT stores all the same). Repeating it would double everything. So before a batch is sent
again, the job is read: shapes of the batch that appeared there mean that it is done.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from threading import Lock
from typing import Any

from lsl_core.cvat.annotations import Action, change_job, job_annotations
from lsl_core.cvat.content import by_id, content_key
from lsl_core.cvat.errors import is_server_error, may_have_happened, seconds_to_wait
from lsl_core.cvat.journal import Batch, BatchState, Journal, Part
from lsl_core.cvat.session import CvatSession
from lsl_core.errors import CvatAuth, CvatDenied, CvatError, CvatRequestFailed, CvatUnreachable
from lsl_core.progress import Progress

Json = dict[str, Any]

#: Two connections were the fastest on a real server: 5,000 masks in 1.7 s, four took 2.6 s.
_CONNECTIONS = 2
#: Shapes and numbers in one batch: a second or two of the server's time, far from its 60 s.
_BATCH_SHAPES, _BATCH_NUMBERS = 500, 200_000
#: How long a server may still store what it did not answer: small batches take it seconds.
SETTLE_S = 30.0
#: The same when CVAT itself answered that it broke: then it has stopped.
_SETTLE_AFTER_500_S = 2.0
#: Waits before a batch that did not reach the server is sent again.
_RETRY_WAITS_S = (0.5, 2.0, 5.0)
#: From this share on, shapes found on the server are those of a batch whose answer was lost.
_FOUND_SHARE = 0.5


def make_batches(
    shapes: Iterable[Json], jobs: dict[int, int], action: Action, part: Part
) -> list[Batch]:
    """Cut shapes into batches of one job each, bounded in shapes and in bytes."""
    by_job: dict[int, list[Json]] = defaultdict(list)
    for shape in shapes:
        by_job[jobs[int(shape["frame"])]].append(shape)
    batches = []
    for job_id, members in by_job.items():
        group: list[Json] = []
        numbers = 0
        for shape in members:
            size = len(shape.get("points") or ())
            if group and (len(group) >= _BATCH_SHAPES or numbers + size > _BATCH_NUMBERS):
                batches.append(Batch(0, job_id, action, part, tuple(group)))
                group, numbers = [], 0
            group.append(shape)
            numbers += size
        batches.append(Batch(0, job_id, action, part, tuple(group)))
    return batches


class Sender:
    """Sends what is left of one push, or of its undoing.

    Args:
        session: who sends.
        journal: where it is written down.
        push_id: of which push.
        known_ids: shapes that were there before the push; they are never taken for its own.
        settle_s: how long to wait for a batch whose answer was lost.
    """

    def __init__(
        self,
        session: CvatSession,
        journal: Journal,
        push_id: str,
        *,
        known_ids: Iterable[int],
        settle_s: float = SETTLE_S,
    ) -> None:
        self._session, self._journal, self._push_id = session, journal, push_id
        self._taken = set(known_ids) | set(journal.created_shapes(push_id))
        self._lock = Lock()
        self._settle_s = settle_s
        self.kept: list[Json] = []  # shapes not deleted, since a person edited them

    def send_all(self, part: Part, progress: Progress, *, doing: str) -> None:
        """Send every batch that is not settled: creates first, so that nothing is ever missing.

        Args:
            part: the push or its undoing.
            progress: counts shapes, those settled earlier among them.
            doing: the step's name for progress.

        Raises:
            CvatError: when the server went away or the right is gone; what is done is written
                down, and the rest can be sent later.
            RunCancelled: likewise.
        """
        batches = self._journal.batches(self._push_id, part)
        waiting = [b for b in batches if b.state in (BatchState.PLANNED, BatchState.SENDING)]
        total, left = (sum(len(b.shapes) for b in some) for some in (batches, waiting))
        progress.start(doing, total=total, unit="shapes")
        progress.advance(total - left)
        for action in (Action.CREATE, Action.DELETE):
            self._send_side_by_side([b for b in waiting if b.action is action], progress)

    def settle(self, part: Part) -> None:
        """Find out what became of batches that were being sent, without sending any.

        A create that never arrived is planned again. A delete stays "sending": whether it arrived
        shows in what is left on the server.
        """
        for batch in self._journal.batches(self._push_id, part):
            if batch.state is not BatchState.SENDING:
                continue
            if batch.action is Action.DELETE:
                time.sleep(max(0.0, (batch.sent or 0.0) + self._settle_s - time.time()))
            elif not self._is_stored(batch, settle_s=self._settle_s):
                self._journal.mark_planned(batch.id)

    def _send_side_by_side(self, batches: Sequence[Batch], progress: Progress) -> None:
        waiting = iter(batches)
        with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="cvat-push") as pool:
            running: dict[Future[None], int] = {}
            more = True
            while more or running:
                while more and len(running) < _CONNECTIONS:
                    progress.check()
                    batch = next(waiting, None)
                    if batch is None:
                        more = False
                    else:
                        running[pool.submit(self._send, batch)] = len(batch.shapes)
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    count = running.pop(future)
                    future.result()
                    progress.advance(count)

    def _send(self, batch: Batch) -> None:
        """Bring one batch to its end: stored, or refused for good."""
        if batch.state is BatchState.SENDING and self._is_stored(batch, settle_s=self._settle_s):
            return
        batch = replace(batch, shapes=tuple(batch.shapes))  # unpacked once, for all tries
        for pause in (*_RETRY_WAITS_S, None):
            if batch.action is Action.DELETE:
                batch = self._still_ours(batch)
            self._journal.mark_sending(batch.id)
            batch = replace(batch, state=BatchState.SENDING, sent=time.time())
            try:
                ids = self._change(batch)
            except CvatError as error:
                if self._is_settled(batch, error, is_last=pause is None):
                    return
                time.sleep(seconds_to_wait(error) or pause or 0.0)
            else:
                self._done(batch, ids)
                return

    def _is_settled(self, batch: Batch, error: CvatError, *, is_last: bool) -> bool:
        """Whether a batch came to its end in spite of an error; False to send it once more.

        Raises:
            CvatError: the same, when sending it once more is of no use now.
        """
        if may_have_happened(error):
            settle_s = _SETTLE_AFTER_500_S if is_server_error(error) else self._settle_s
            if self._is_stored(batch, settle_s=min(settle_s, self._settle_s)):
                return True
            if batch.action is Action.CREATE:
                self._journal.mark_planned(batch.id)
            if is_last and is_server_error(error):
                self._refused(batch, error)
                return True
        else:
            self._journal.mark_planned(batch.id)
            for_all = isinstance(error, CvatAuth | CvatDenied | CvatUnreachable)
            if not for_all and seconds_to_wait(error) is None:
                self._refused(batch, error)
                return True
        if is_last or isinstance(error, CvatAuth | CvatDenied):
            raise error
        return False

    def _change(self, batch: Batch) -> list[int | None]:
        """Send a batch once; return the ids that CVAT gave, in the order of the shapes."""
        if not batch.shapes:
            return []
        shapes = [self._for_the_wire(batch.action, shape) for shape in batch.shapes]
        answer = change_job(self._session, batch.job_id, batch.action, shapes)
        if batch.action is Action.DELETE:
            return []
        ids: list[int | None] = [shape.get("id") for shape in answer]
        if len(ids) != len(batch.shapes) or None in ids:
            raise CvatRequestFailed(
                f"CVAT's answer to {len(batch.shapes)} new shapes does not name them all.",
                hint="Try again.",
            ) from ValueError(f"{len(ids)} ids")
        return ids

    def _for_the_wire(self, action: Action, shape: Json) -> Json:
        left_out = {"id"} if action is Action.CREATE else set()
        if not self._session.server.keeps_score:
            left_out.add("score")
        sent = {key: value for key, value in shape.items() if key not in left_out}
        if action is Action.CREATE and sent.get("elements"):  # a skeleton that comes back
            sent["elements"] = [self._for_the_wire(action, part) for part in sent["elements"]]
        return sent

    def _done(self, batch: Batch, ids: Sequence[int | None]) -> None:
        with self._lock:
            self._taken.update(shape_id for shape_id in ids if shape_id is not None)
        self._journal.mark_done(self._push_id, batch, ids)

    def _is_stored(self, batch: Batch, *, settle_s: float) -> bool:
        """Ask the server whether a batch without an answer was stored; note it if so.

        Looks until the server had time enough to finish what it may still be doing.
        """
        if batch.action is Action.DELETE:
            return False  # deleting once more is harmless
        until = (batch.sent or 0.0) + settle_s
        pause = 0.2
        while True:
            live = job_annotations(self._session, batch.job_id)["shapes"]
            with self._lock:
                ids = self._find(batch, live)
                found = sum(shape_id is not None for shape_id in ids)
                if found >= max(1, _FOUND_SHARE * len(batch.shapes)):
                    self._taken.update(shape_id for shape_id in ids if shape_id is not None)
                    self._journal.mark_done(self._push_id, batch, ids)
                    return True
            if time.time() >= until:
                return False
            time.sleep(min(pause, max(0.0, until - time.time())))
            pause = min(pause * 2, 5.0)

    def _find(self, batch: Batch, live: Sequence[Json]) -> list[int | None]:
        """Return the ids of live shapes with the content of the batch's, None for those gone."""
        free: dict[str, list[int]] = defaultdict(list)
        for shape in live:
            if int(shape["id"]) not in self._taken:
                free[content_key(shape)].append(int(shape["id"]))
        found: list[int | None] = []
        for shape in batch.shapes:
            ids = free.get(content_key(shape))
            found.append(ids.pop(0) if ids else None)
        return found

    def _still_ours(self, batch: Batch) -> Batch:
        """Return the batch without shapes that a person edited or deleted since it was planned."""
        live = by_id(job_annotations(self._session, batch.job_id)["shapes"])
        ours: list[Json] = []
        edited: list[Json] = []
        for shape in batch.shapes:
            now = live.get(int(shape["id"]))
            if now is not None:
                is_same = content_key(now) == content_key(shape)
                (ours if is_same else edited).append(now)
        with self._lock:
            known = {int(shape["id"]) for shape in self.kept}
            self.kept += [shape for shape in edited if int(shape["id"]) not in known]
        return replace(batch, shapes=tuple(ours))

    def _refused(self, batch: Batch, error: CvatError) -> None:
        """Try a refused batch again by frame, so that one bad frame does not stop the others."""
        by_frame: dict[int, list[Json]] = defaultdict(list)
        for shape in batch.shapes:
            by_frame[int(shape["frame"])].append(shape)
        if len(by_frame) <= 1:
            self._journal.mark_failed(batch.id, error.message)
            return
        parts = [
            replace(batch, id=0, shapes=tuple(shapes), state=BatchState.PLANNED, sent=None)
            for shapes in by_frame.values()
        ]
        for part in self._journal.split(self._push_id, batch, parts):
            self._send(part)

"""Sending the batches of the journal: at most once each, whatever happens on the way.

CVAT does a PATCH whole or not at all, but its answer can get lost (a proxy gives up after 60 s
and CVAT stores all the same). Repeating it would double everything. So before a batch is sent
again, the job is read: annotations of the batch that appeared there mean that it is done.
"""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from threading import Lock
from typing import Any

from lsl_core.cvat.annotations.changing import Action, change_job, named_in
from lsl_core.cvat.annotations.content import KINDS, Key, content_key, key_of, kind_of
from lsl_core.cvat.annotations.reading import job_entries, unless_cut
from lsl_core.cvat.connection.errors import is_server_error, may_have_happened, seconds_to_wait
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.push.edits import Edits
from lsl_core.cvat.push.journal import Batch, BatchState, Journal, Part
from lsl_core.errors import CvatAuth, CvatDenied, CvatError, CvatUnreachable
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
    entries: Iterable[tuple[int, Json]], action: Action, part: Part
) -> Iterator[Batch]:
    """Cut annotations into batches of one job each, bounded in number and in bytes.

    They are made one at a time.

    Args:
        entries: tags, shapes and tracks, each after its job, those of a job side by side.
        action: what is done with them.
        part: the push or its undoing.
    """
    for job_id, members in groupby(entries, itemgetter(0)):
        for group in in_groups(entry for _, entry in members):
            yield Batch(0, job_id, action, part, group)


def in_groups(entries: Iterable[Json]) -> Iterator[tuple[Json, ...]]:
    """Cut annotations into groups that CVAT takes in a second or two, one at a time."""
    group: list[Json] = []
    numbers = 0
    for entry in entries:
        size = _size(entry)
        if group and (len(group) >= _BATCH_SHAPES or numbers + size > _BATCH_NUMBERS):
            yield tuple(group)
            group, numbers = [], 0
        group.append(entry)
        numbers += size
    if group:
        yield tuple(group)


def _size(entry: Json) -> int:
    """Return how many numbers an annotation has, the keyframes of a track among them."""
    nested = (*(entry.get("shapes") or ()), *(entry.get("elements") or ()))
    return len(entry.get("points") or ()) + sum(map(_size, nested))


class Sender:
    """Sends what is left of one push, or of its undoing.

    Args:
        session: who sends.
        journal: where it is written down.
        push_id: of which push.
        known: what was there before the push; it is never taken for its own.
        settle_s: how long to wait for a batch whose answer was lost.
    """

    def __init__(
        self,
        session: CvatSession,
        journal: Journal,
        push_id: str,
        *,
        known: Iterable[Key],
        settle_s: float = SETTLE_S,
    ) -> None:
        self._session, self._journal, self._push_id = session, journal, push_id
        # ids side by side: a set of keys would take ten times as much
        self._taken = {kind: array("q") for kind in KINDS}
        self._take(known)
        self._take(key for key, _ in journal.created(push_id))
        self._lock = Lock()
        self._settle_s = settle_s
        self._edits = Edits(session, ())
        self.kept: set[Key] = set()  # not deleted, since a person edited them

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
        total, left = (sum(len(b.entries) for b in some) for some in (batches, waiting))
        progress.start(doing, total=total, unit="shapes")
        progress.advance(total - left)
        creates, deletes = (
            [b for b in waiting if b.action is action] for action in (Action.CREATE, Action.DELETE)
        )
        self._send_side_by_side(creates, progress)
        self._edits = Edits(self._session, deletes)
        self._send_side_by_side(deletes, progress)

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
                        running[pool.submit(self._send, batch)] = len(batch.entries)
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    count = running.pop(future)
                    future.result()
                    progress.advance(count)

    def _send(self, batch: Batch) -> None:
        """Bring one batch to its end: stored, or refused for good."""
        if batch.state is BatchState.SENDING and self._is_stored(batch, settle_s=self._settle_s):
            return
        batch = replace(batch, entries=tuple(batch.entries))  # unpacked once, for all tries
        for pause in (*_RETRY_WAITS_S, None):
            if batch.action is Action.DELETE:
                batch = self._without_edited(batch)
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

    def _change(self, batch: Batch) -> list[int]:
        """Send a batch once; return the ids that CVAT gave, in the order of its entries."""
        if not batch.entries:
            return []
        entries = [self._for_the_wire(batch.action, entry) for entry in batch.entries]
        return change_job(self._session, batch.job_id, batch.action, entries)

    def _for_the_wire(self, action: Action, entry: Json) -> Json:
        left_out = {"id"} if action is Action.CREATE else set()
        if not self._session.server.keeps_score:
            left_out.add("score")
        sent = {key: value for key, value in entry.items() if key not in left_out}
        if action is Action.CREATE:
            for nested in ("shapes", "elements"):  # keyframes of a track, parts of a skeleton
                if sent.get(nested):
                    sent[nested] = [self._for_the_wire(action, part) for part in sent[nested]]
        return sent

    def _done(self, batch: Batch, ids: Sequence[int | None]) -> None:
        made = zip(batch.entries, ids, strict=False)  # a delete brings no ids
        with self._lock:
            self._take((kind_of(entry), id_) for entry, id_ in made if id_ is not None)
        self._journal.mark_done(self._push_id, batch, ids)

    def _take(self, keys: Iterable[Key]) -> None:
        for kind, number in keys:
            self._taken[kind].append(number)

    def _is_stored(self, batch: Batch, *, settle_s: float) -> bool:
        """Ask the server whether a batch without an answer was stored; note it if so.

        Looks until the server had time enough to finish what it may still be doing. The last look
        begins after that: what is stored while an answer is on its way is not in it.
        """
        if batch.action is Action.DELETE:
            return False  # deleting once more is harmless
        until = (batch.sent or 0.0) + settle_s
        pause = 0.2
        while True:
            asked = time.time()
            alike = unless_cut(partial(self._alike, batch))
            with self._lock:
                keys = self._find(batch, alike)
                found = [key for key in keys if key is not None]
                if len(found) >= max(1, _FOUND_SHARE * len(batch.entries)):
                    self._take(found)
                    ids = [None if key is None else key[1] for key in keys]
                    self._journal.mark_done(self._push_id, batch, ids)
                    return True
            if asked >= until:
                return False
            time.sleep(min(pause, max(0.0, until - time.time())))
            pause = min(pause * 2, 5.0)

    def _alike(self, batch: Batch) -> dict[str, list[Key]]:
        """Return what its job holds, by content, that is like an entry of a batch."""
        alike: dict[str, list[Key]] = {content_key(entry): [] for entry in batch.entries}
        for entry in job_entries(self._session, batch.job_id):
            if (content := content_key(entry)) in alike:
                alike[content].append(key_of(entry))
        return alike

    def _find(self, batch: Batch, alike: Mapping[str, list[Key]]) -> list[Key | None]:
        """Return what is there with the content of each entry of a batch, None for what is gone."""
        taken = {(kind, number) for kind, ids in self._taken.items() for number in ids}
        free = {
            content: [key for key in keys if key not in taken] for content, keys in alike.items()
        }
        found: list[Key | None] = []
        for entry in batch.entries:
            keys = free[content_key(entry)]
            found.append(keys.pop(0) if keys else None)
        return found

    def _without_edited(self, batch: Batch) -> Batch:
        """Return the batch without what a person edited since it was planned."""
        edited = self._edits.among(batch)
        with self._lock:
            self.kept.update(edited)
        return replace(batch, entries=tuple(e for e in batch.entries if key_of(e) not in edited))

    def _refused(self, batch: Batch, error: CvatError) -> None:
        """Try a refused batch again without what CVAT names, and that by frame.

        When it names nobody, all of it by frame: one bad frame does not stop the others.
        """
        named = named_in(error, batch.entries)
        good = tuple(e for i, e in enumerate(batch.entries) if named and i not in named)
        by_frame: dict[int, list[Json]] = defaultdict(list)
        for i, entry in enumerate(batch.entries):
            if i in named or not named:
                by_frame[int(entry["frame"])].append(entry)
        if not good and len(by_frame) <= 1:
            self._journal.mark_failed(batch.id, error.message)
            return
        parts = [
            replace(batch, id=0, entries=tuple(entries), state=BatchState.PLANNED, sent=None)
            for entries in (good, *by_frame.values())
            if entries
        ]
        for part in self._journal.split(self._push_id, batch, parts):
            self._send(part)

"""One writer at a time, on any store.

Everybody who wants to write puts a file of their own under `locks/`, then looks who else is there.
Two who come at once see each other and both step back, wait a little and try again: both may lose,
both can never win. Nothing but "what is written is listed" is asked of the store.

Reading needs no lock: what snapshots point at is never changed, and what a prune moves is found
again. Only a restore that takes hours must not lose the snapshot that it reads: so long readers put
a file under `reading/`, a prune one under `pruning/`, and whoever sees the other steps back.
"""

from __future__ import annotations

import getpass
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from lsl_core.backups.store import Store
from lsl_core.errors import Locked, LslError
from lsl_core.workspace.processes import is_running

#: A lock is refreshed this often, and counts as left behind when it was not for so long.
_REFRESH_S = 300.0
_STALE = timedelta(minutes=30)
#: Attempts when several want the lock at the same instant.
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock: user, machine and process, for what, since when, last heard of when."""

    user: str
    host: str
    pid: int
    purpose: str
    since: str
    seen: str

    @property
    def text(self) -> str:
        """Return who it is, for people."""
        return f"{self.user} on {self.host} ({self.purpose}, process {self.pid})"


class RepositoryLock:
    """The lock of one repository, as one process sees it. May be taken again by its holder."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = ""
        self._is_held = False

    @property
    def is_held(self) -> bool:
        """Tell whether this object holds the lock."""
        return self._is_held

    @contextmanager
    def hold(self, purpose: str) -> Iterator[None]:
        """Hold the lock while the block runs.

        Raises:
            Locked: when somebody else holds it; says who, and since when.
        """
        if self._is_held:
            yield
            return
        self._key = _take(self._store, purpose)
        self._is_held = True
        try:
            with _kept(self._store, self._key):
                yield
        finally:
            self._is_held = False

    def require(self) -> None:
        """Make sure that the lock is still ours, before something rests on it.

        Raises:
            Locked: when it was taken away, for example while this machine slept.
            ValueError: when it was never taken (a bug).
        """
        if not self.is_held:
            raise ValueError("writing to a repository needs its lock")
        if self._key not in self._store.list("locks"):
            raise Locked(
                f"The lock on the backups in {self._store.location} was taken away.",
                hint="This machine was silent for too long. Run it again.",
            )


@contextmanager
def reading(store: Store, purpose: str) -> Iterator[None]:
    """Keep prunes away while the block reads. Any number may read, and backups go on.

    Where nothing can be written, on a full disk or a copy that is mounted for reading only, the
    block runs all the same: bringing back must not need what a backup needs.

    Raises:
        Locked: a prune is under way.
    """
    try:
        key = _announce(store, "reading", purpose)
    except LslError:
        yield
        return
    with _kept(store, key):
        other = _somebody_else(store, "pruning", key)
        for attempt in range(_ATTEMPTS):
            if other is None:
                break
            # a prune that saw us steps back
            _wait(attempt)
            other = _somebody_else(store, "pruning", key)
        if other is not None:
            raise _in_use(store, other)
        yield


@contextmanager
def without_readers(store: Store, purpose: str) -> Iterator[None]:
    """Run the block, which removes what somebody may read, while nobody does.

    Raises:
        Locked: somebody reads; says who, and since when.
    """
    key = _announce(store, "pruning", purpose)
    with _kept(store, key):
        other = _somebody_else(store, "reading", key)
        if other is not None:
            raise _in_use(store, other)
        yield


def holders(store: Store) -> list[Holder]:
    """Return who holds the lock, left-behind ones too."""
    found = store.read_many([*store.list("locks")])
    return [holder for data in found.values() if (holder := _parse(data)) is not None]


def break_locks(store: Store) -> int:
    """Remove all locks. Only for somebody who knows that nothing is running; returns how many."""
    keys = [key for folder in ("locks", "reading", "pruning") for key in store.list(folder)]
    for key in keys:
        store.delete(key)
    return len(keys)


def _take(store: Store, purpose: str) -> str:
    for attempt in range(_ATTEMPTS):
        mine = _holder(purpose)
        key = _announce(store, "locks", purpose)
        try:
            other = _somebody_else(store, "locks", key)
        except BaseException:
            # what cannot be decided must not look like a lock that is held
            store.delete(key)
            raise
        if other is None:
            return key
        store.delete(key)
        if _is_older(other, mine):
            break
        # both came at once: whoever waits less is alone next time
        _wait(attempt)
    assert other is not None
    raise _in_use(store, other)


def _announce(store: Store, folder: str, purpose: str) -> str:
    """Write down who we are, in a file of our own; return its key."""
    key = f"{folder}/{uuid.uuid4().hex}"
    store.write(key, _as_bytes(_holder(purpose)))
    return key


def _holder(purpose: str) -> Holder:
    now = _now()
    return Holder(user_name(), socket.gethostname(), os.getpid(), purpose, now, now)


@contextmanager
def _kept(store: Store, key: str) -> Iterator[None]:
    """Renew what was announced while the block runs, and take it away at its end."""
    done = threading.Event()
    refresh = threading.Thread(target=_refresh, args=(store, key, done), daemon=True)
    refresh.start()
    try:
        yield
    finally:
        done.set()
        # a refresh under way would put the file back after it was removed
        refresh.join(timeout=60)
        store.delete(key)


def _refresh(store: Store, key: str, done: threading.Event) -> None:
    while not done.wait(_REFRESH_S):
        try:
            holder = json.loads(store.read(key))
            store.write(key, _as_bytes(Holder(**{**holder, "seen": _now()})))
        except (LslError, OSError, ValueError):
            # `require` tells the writer when the lock is gone; a full disk passes
            continue


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0.02, 0.1) * (attempt + 1))  # noqa: S311 - no secret


def _in_use(store: Store, other: Holder) -> Locked:
    return Locked(
        f"The backups in {store.location} are in use by {other.text} since {_minute(other.since)}.",
        hint="Wait for it to finish. If nothing runs there any more: lsl backup unlock",
    )


def _is_older(other: Holder, mine: Holder) -> bool:
    try:
        ahead = datetime.fromisoformat(mine.since) - datetime.fromisoformat(other.since)
    except ValueError:
        return True
    return abs(ahead) > timedelta(seconds=2)


def _somebody_else(store: Store, folder: str, key: str) -> Holder | None:
    """Return another living holder. Files left behind by the dead are removed on the way."""
    others = [name for name in store.list(folder) if name != key]
    for name, data in store.read_many(others).items():
        holder = _parse(data)
        if holder is None:
            return Holder("somebody", "an unknown machine", 0, "unreadable lock", "", "")
        if not _is_left_behind(holder):
            return holder
        # its name is its own, so this can remove no other lock
        store.delete(name)
    return None


def _is_left_behind(holder: Holder) -> bool:
    if holder.host == socket.gethostname() and not is_running(holder.pid):
        return True
    return datetime.now(UTC) - datetime.fromisoformat(holder.seen) > _STALE


def _parse(data: bytes) -> Holder | None:
    try:
        holder = Holder(**json.loads(data))
        datetime.fromisoformat(holder.seen)
    except (ValueError, TypeError):
        return None
    return holder


def _as_bytes(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ") + " UTC" if moment else "an unknown time"


def user_name() -> str:
    """Return who runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"

"""One writer at a time, on any store.

Everybody who wants to write puts a file of their own under `locks/`, then looks who else is there.
Two who come at once see each other and both step back, wait a little and try again: both may lose,
both can never win. Nothing but "what is written is listed" is asked of the store.
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
        done = threading.Event()
        refresh = threading.Thread(target=self._refresh, args=(done, self._key), daemon=True)
        refresh.start()
        try:
            yield
        finally:
            done.set()
            # a refresh under way would put the file back after it was removed
            refresh.join(timeout=60)
            self._is_held = False
            self._store.delete(self._key)

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

    def _refresh(self, done: threading.Event, key: str) -> None:
        while not done.wait(_REFRESH_S):
            try:
                holder = json.loads(self._store.read(key))
                self._store.write(key, _as_bytes(Holder(**{**holder, "seen": _now()})))
            except (LslError, OSError, ValueError):
                # `require` tells the writer when the lock is gone; a full disk passes
                continue


def holders(store: Store) -> list[Holder]:
    """Return who holds the lock, left-behind ones too."""
    found = store.read_many([*store.list("locks")])
    return [holder for data in found.values() if (holder := _parse(data)) is not None]


def break_locks(store: Store) -> int:
    """Remove all locks. Only for somebody who knows that nothing is running; returns how many."""
    keys = store.list("locks")
    for key in keys:
        store.delete(key)
    return len(keys)


def _take(store: Store, purpose: str) -> str:
    key = f"locks/{uuid.uuid4().hex}"
    now = _now()
    mine = Holder(user_name(), socket.gethostname(), os.getpid(), purpose, now, now)
    other: Holder | None = None
    for attempt in range(_ATTEMPTS):
        store.write(key, _as_bytes(mine))
        try:
            other = _somebody_else(store, key)
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
        time.sleep(random.uniform(0.02, 0.1) * (attempt + 1))  # noqa: S311 - no secret
    assert other is not None
    raise Locked(
        f"The backups in {store.location} are in use by {other.text} since {_minute(other.since)}.",
        hint="Wait for it to finish. If nothing runs there any more: lsl backup unlock",
    )


def _is_older(other: Holder, mine: Holder) -> bool:
    try:
        ahead = datetime.fromisoformat(mine.since) - datetime.fromisoformat(other.since)
    except ValueError:
        return True
    return abs(ahead) > timedelta(seconds=2)


def _somebody_else(store: Store, key: str) -> Holder | None:
    """Return another living holder. Locks left behind by the dead are removed on the way."""
    others = [name for name in store.list("locks") if name != key]
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

"""Which blob lies where.

On disk an index file lists some packs and, for each, its blobs in order. In memory all of them are
one sorted table; with its source 80 bytes a blob, 80 MB for a million images.

A pack that no readable index lists (the index is damaged, or a kill came between pack and index)
is walked and hashed when something is not found otherwise: a lost index loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsl_core.backups.packs import LENGTH, MAGIC, blob_id, decode_blob, pack_key, walk
from lsl_core.backups.sealing import Sealer
from lsl_core.backups.store import Store
from lsl_core.errors import Damaged

_log = logging.getLogger(__name__)

_ON_DISK = np.dtype([("id", "V32"), ("length", "<u4")])
_ROW = np.dtype([("id", ">u8", 4), ("pack", "<u4"), ("offset", "<u4"), ("length", "<u4")])

#: Listed in place of a blob that cannot be read, so that those after it keep their places.
UNREADABLE = bytes(32)

#: Blobs that were just written are kept in a dictionary, ten times their size, up to so many.
_MOST_FRESH = 4096

#: Rows of an index file when all are written anew: 9 MB.
_ROWS_PER_FILE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where the sealed bytes of a blob lie: pack by name, offset and length in bytes."""

    pack: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class PackTable:
    """One pack as an index lists it: its name, and id and sealed length of each blob in order."""

    name: str
    rows: NDArray[np.void]

    @classmethod
    def of(cls, name: str, blobs: Iterable[tuple[bytes, int]]) -> PackTable:
        """Make a table of (id, sealed length)."""
        return cls(name, np.array([*blobs], _ON_DISK))

    @property
    def size(self) -> int:
        """Return the bytes of the whole pack."""
        return int(len(MAGIC) + len(self.rows) * LENGTH.size + self.rows["length"].sum(dtype=int))

    def without(self, blobs: set[bytes]) -> PackTable:
        """Return this table with some blobs listed as unreadable."""
        ids = (id_.tobytes() for id_ in self.rows["id"])
        kept = (UNREADABLE if blob in blobs else blob for blob in ids)
        return PackTable.of(self.name, zip(kept, self.rows["length"].tolist(), strict=True))

    def united(self, other: PackTable) -> PackTable:
        """Return the table of a pack that is listed twice: what either can read."""
        if len(self.rows) != len(other.rows):
            return max(self, other, key=lambda table: len(table.rows))
        rows = self.rows.copy()
        unread = np.array([id_.tobytes() == UNREADABLE for id_ in rows["id"]], bool)
        rows[unread] = other.rows[unread]
        return PackTable(self.name, rows)

    def places(self) -> Iterator[tuple[bytes, Place]]:
        """Yield every blob that can be read, and where it lies."""
        offset = len(MAGIC)
        for id_, length in zip(self.rows["id"], self.rows["length"].tolist(), strict=True):
            blob = id_.tobytes()
            if blob != UNREADABLE:
                yield blob, Place(self.name, offset + LENGTH.size, length)
            offset += LENGTH.size + length


class Index:
    """The places of all blobs, and of those that were just written.

    damaged: index files that could not be read. unsaved: packs that were walked, for the next
    index that is written.
    """

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._tables: dict[str, PackTable] = {}
        self._packs: list[str] = []
        self._rows = np.empty(0, _ROW)
        self._fresh: dict[bytes, Place] = {}
        self._is_loaded = False
        self._has_walked = False
        self.damaged: list[str] = []
        self.unsaved: list[PackTable] = []

    def forget(self) -> None:
        """Read everything anew when it is next asked for."""
        self._is_loaded = False

    def find(self, blob: bytes) -> Place | None:
        """Return the place of a blob, or None when it is not in the repository."""
        self.load()
        place = self._find(blob)
        if place is None and not self._has_walked:
            self._walk_unlisted()
            place = self._find(blob)
        return place

    def _find(self, blob: bytes) -> Place | None:
        if (fresh := self._fresh.get(blob)) is not None:
            return fresh
        wanted = np.frombuffer(blob, ">u8")
        at = int(np.searchsorted(self._rows["id"][:, 0], wanted[0]))
        while at < len(self._rows) and self._rows["id"][at, 0] == wanted[0]:
            row = self._rows[at]
            if (row["id"] == wanted).all():
                return Place(self._packs[row["pack"]], int(row["offset"]), int(row["length"]))
            at += 1
        return None

    def add(self, table: PackTable) -> None:
        """Take in a pack that was just stored."""
        self._list(table)
        self._fresh.update(table.places())
        if len(self._fresh) > max(_MOST_FRESH, len(self._rows) // 4):
            self._sort()

    def tables(self) -> dict[str, PackTable]:
        """Return every pack that is listed, by name."""
        self.load()
        return dict(self._tables)

    def load(self) -> None:
        """Read all index files, once."""
        if self._is_loaded:
            return
        self._tables, self._fresh, self.damaged, self.unsaved = {}, {}, [], []
        for key, data in self._store.read_many([*self._store.list("index")]).items():
            try:
                found = _open(key, data, self._sealer)
            except Damaged:
                _log.warning("%s is damaged; its packs will be read instead", key)
                self.damaged.append(key)
            else:
                for table in found:
                    self._list(table)
        self._sort()
        self._is_loaded, self._has_walked = True, False

    def _sort(self) -> None:
        """Make the sorted table of all that is listed; what was fresh is in it."""
        self._packs = [*self._tables]
        made = [_located(number, table) for number, table in enumerate(self._tables.values())]
        rows = np.concatenate([np.empty(0, _ROW), *made])
        self._rows = rows[np.argsort(rows["id"][:, 0], kind="stable")]
        self._fresh = {}

    def _list(self, table: PackTable) -> None:
        # a pack that was damaged and is stored again is listed twice
        known = self._tables.get(table.name)
        self._tables[table.name] = table if known is None else known.united(table)

    def _walk_unlisted(self) -> None:
        self._has_walked = True
        for name in self.unlisted():
            blobs = []
            for stored in walk(self._store.read(pack_key(name))):
                try:
                    blob = blob_id(decode_blob(stored, self._sealer))
                except Damaged:
                    blob = UNREADABLE
                blobs.append((blob, len(stored)))
            table = PackTable.of(name, blobs)
            self.add(table)
            self.unsaved.append(table)

    def unlisted(self) -> dict[str, int]:
        """Return name and size of packs that are there and that no readable index lists."""
        self.load()
        there = {key.rpartition("/")[2]: size for key, size in self._store.list("packs").items()}
        return {name: size for name, size in there.items() if name not in self._tables}

    def rewrite(self, tables: Mapping[str, PackTable]) -> list[str]:
        """Store an index of exactly these packs.

        Returns:
            The index files that it replaces; whoever asked removes them when nothing else
            needs them.
        """
        old = [*self._store.list("index")]
        fresh: set[str] = set()
        held: list[PackTable] = []
        for table in tables.values():
            held.append(table)
            if sum(len(one.rows) for one in held) >= _ROWS_PER_FILE:
                fresh.add(write_index(self._store, self._sealer, held)[0])
                held = []
        if held:
            fresh.add(write_index(self._store, self._sealer, held)[0])
        return [key for key in old if key not in fresh]


def _located(number: int, table: PackTable) -> NDArray[np.void]:
    rows = np.empty(len(table.rows), _ROW)
    rows["id"] = np.frombuffer(table.rows["id"].tobytes(), ">u8").reshape(-1, 4)
    rows["pack"] = number
    rows["length"] = table.rows["length"]
    ends = np.cumsum(table.rows["length"].astype(np.int64) + LENGTH.size)
    rows["offset"] = len(MAGIC) + ends - table.rows["length"]
    return rows


def write_index(store: Store, sealer: Sealer, tables: Sequence[PackTable]) -> tuple[str, int]:
    """Store an index file that lists these packs; return its key and size."""
    head = [{"pack": table.name, "blobs": len(table.rows)} for table in tables]
    body = b"".join(table.rows.tobytes() for table in tables)
    data = sealer.seal(json.dumps(head).encode() + b"\n" + body, "index")
    key = f"index/{hashlib.sha256(data).hexdigest()}"
    store.write(key, data)
    return key, len(data)


def _open(key: str, data: bytes, sealer: Sealer) -> list[PackTable]:
    if hashlib.sha256(data).hexdigest() != key.rpartition("/")[2]:
        raise Damaged(f"{key} differs from what was written.")
    head, _, body = sealer.open(data, "index").partition(b"\n")
    rows = np.frombuffer(body, _ON_DISK)
    found, start = [], 0
    for entry in json.loads(head):
        found.append(PackTable(entry["pack"], rows[start : start + entry["blobs"]]))
        start += entry["blobs"]
    return found

"""Which blob lies where.

On disk an index file lists some packs and, for each, its blobs in order. In memory all of them are
one sorted table of 48 bytes a blob, so that a million images need 48 MB.

A pack that no readable index lists (the index is damaged, or a kill came between pack and index)
is walked and hashed when something is not found otherwise: a lost index loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where the sealed bytes of a blob lie: pack by name, offset and length in bytes."""

    pack: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PackTable:
    """One pack as an index lists it: name, and (id, sealed length) of each blob in order."""

    name: str
    blobs: tuple[tuple[bytes, int], ...]


class Index:
    """The places of all blobs, and of those that were just written."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._packs: list[str] = []
        self._rows = np.empty(0, _ROW)
        self._fresh: dict[bytes, Place] = {}
        self._is_loaded = False
        self._has_walked = False
        self.damaged: list[str] = []

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
        offset = len(MAGIC)
        for blob, length in table.blobs:
            self._fresh[blob] = Place(table.name, offset + LENGTH.size, length)
            offset += LENGTH.size + length

    def load(self) -> None:
        """Read all index files, once."""
        if self._is_loaded:
            return
        self._packs, self._fresh, self.damaged = [], {}, []
        parts = [np.empty(0, _ROW)]
        for key, data in self._store.read_many([*self._store.list("index")]).items():
            try:
                parts += self._rows_of(open_index(key, data, self._sealer))
            except Damaged:
                _log.warning("%s is damaged; its packs will be read instead", key)
                self.damaged.append(key)
        rows = np.concatenate(parts)
        self._rows = rows[np.argsort(rows["id"][:, 0], kind="stable")]
        self._is_loaded, self._has_walked = True, False

    def _rows_of(self, tables: Iterable[tuple[str, NDArray[np.void]]]) -> list[NDArray[np.void]]:
        made = []
        for name, listed in tables:
            rows = np.empty(len(listed), _ROW)
            rows["id"] = np.frombuffer(listed["id"].tobytes(), ">u8").reshape(-1, 4)
            rows["pack"] = len(self._packs)
            rows["length"] = listed["length"]
            steps = np.cumsum(listed["length"].astype(np.int64) + LENGTH.size)
            rows["offset"] = len(MAGIC) + steps - listed["length"]
            self._packs.append(name)
            made.append(rows)
        return made

    def _walk_unlisted(self) -> None:
        self._has_walked = True
        for name in self.unlisted():
            for offset, stored in walk(self._store.read(pack_key(name))):
                try:
                    blob = blob_id(decode_blob(stored, self._sealer))
                except Damaged:
                    continue
                self._fresh.setdefault(blob, Place(name, offset, len(stored)))

    def unlisted(self) -> list[str]:
        """Return packs that are there and that no readable index lists."""
        self.load()
        known = {*self._packs, *(place.pack for place in self._fresh.values())}
        there = (key.rpartition("/")[2] for key in self._store.list("packs"))
        return sorted(name for name in there if name not in known)

    def listed(self) -> set[str]:
        """Return the packs that some index lists."""
        self.load()
        return set(self._packs) | {place.pack for place in self._fresh.values()}


def index_bytes(tables: Sequence[PackTable], sealer: Sealer) -> bytes:
    """Return an index file that lists these packs."""
    head = [{"pack": table.name, "blobs": len(table.blobs)} for table in tables]
    blobs = [blob for table in tables for blob in table.blobs]
    rows = np.array(blobs, _ON_DISK).tobytes()
    return sealer.seal(json.dumps(head).encode() + b"\n" + rows, "index")


def open_index(key: str, data: bytes, sealer: Sealer) -> list[tuple[str, NDArray[np.void]]]:
    """Return name and rows (id, length) of each pack that an index file lists.

    Raises:
        Damaged: when the file is not what was written.
    """
    if hashlib.sha256(data).hexdigest() != key.rpartition("/")[2]:
        raise Damaged(f"{key} differs from what was written.")
    head, _, body = sealer.open(data, "index").partition(b"\n")
    rows = np.frombuffer(body, _ON_DISK)
    found, start = [], 0
    for entry in json.loads(head):
        found.append((entry["pack"], rows[start : start + entry["blobs"]]))
        start += entry["blobs"]
    return found

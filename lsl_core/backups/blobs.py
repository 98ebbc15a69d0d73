"""Reading and writing blobs, and runs of bytes made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from lsl_core.backups import packs
from lsl_core.backups.index import Index, PackTable, Place, write_index
from lsl_core.backups.pieces import cut
from lsl_core.backups.sealing import Sealer
from lsl_core.backups.snapshot import Content
from lsl_core.backups.store import Store
from lsl_core.errors import Damaged

#: More pieces than this are listed in blobs of their own, so that a snapshot stays small.
_LISTED_INLINE = 16
#: Blobs that lie side by side are fetched together, up to this many bytes.
_FETCH = 4 * 1024 * 1024
#: An index is written at least this often, so that a long backup that is killed is not in vain.
_PACKS_PER_INDEX = 64


class BlobReader:
    """Reads blobs, each checked against its name."""

    def __init__(self, store: Store, sealer: Sealer, index: Index) -> None:
        self._store = store
        self._sealer = sealer
        self._index = index

    def stream(self, content: Content) -> Iterator[bytes]:
        """Yield the bytes of a run, piece by piece; about 8 MB are held at a time.

        Raises:
            Damaged: when a piece is missing or is not what was written.
        """
        names: Iterable[bytes] = (bytes.fromhex(name) for name in content.pieces)
        for _ in range(content.depth):
            names = _names_in(self._blobs(names))
        return self._blobs(names)

    def read(self, content: Content) -> bytes:
        """Return a whole run; for runs that fit into memory."""
        return b"".join(self.stream(content))

    def names(self, content: Content) -> Iterator[bytes]:
        """Yield the name of every blob that a run needs, those that list others too."""
        level = [bytes.fromhex(name) for name in content.pieces]
        yield from level
        for _ in range(content.depth):
            level = list(_names_in(self._blobs(level)))
            yield from level

    def _blobs(self, names: Iterable[bytes]) -> Iterator[bytes]:
        group: list[tuple[bytes, Place]] = []
        for name in names:
            place = self._place(name)
            if group and not _follows(group, place):
                yield from self._fetch(group)
                group = []
            group.append((name, place))
        if group:
            yield from self._fetch(group)

    def _place(self, name: bytes) -> Place:
        place = self._index.find(name)
        if place is None:
            raise Damaged(
                f"A piece of a backup is missing ({name.hex()[:10]}).",
                hint="Run: lsl backup verify. It names what is still whole.",
            )
        return place

    def _fetch(self, group: list[tuple[bytes, Place]]) -> Iterator[bytes]:
        first, last = group[0][1], group[-1][1]
        length = last.offset + last.length - first.offset
        try:
            data = self._store.read(packs.pack_key(first.pack), first.offset, length)
        except FileNotFoundError:
            yield from self._fetch_moved([name for name, _ in group])
            return
        for name, place in group:
            start = place.offset - first.offset
            yield self._decode(name, data[start : start + place.length], place)

    def _fetch_moved(self, names: list[bytes]) -> Iterator[bytes]:
        """Look again: a prune may have moved them since the index was read."""
        self._index.forget()
        for name in names:
            place = self._place(name)
            try:
                data = self._store.read(packs.pack_key(place.pack), place.offset, place.length)
            except FileNotFoundError as error:
                raise Damaged(
                    f"Pack {place.pack[:10]} is missing.",
                    hint="Run: lsl backup verify. It names what is still whole.",
                ) from error
            yield self._decode(name, data, place)

    def _decode(self, name: bytes, stored: bytes, place: Place) -> bytes:
        try:
            data = packs.decode_blob(stored, self._sealer)
        except Damaged:
            data = None
        if data is None or packs.blob_id(data) != name:
            raise Damaged(
                f"A piece of a backup is damaged ({name.hex()[:10]} in pack {place.pack[:10]}).",
                hint="Run: lsl backup verify. It names what is still whole.",
            )
        return data


def _follows(group: list[tuple[bytes, Place]], place: Place) -> bool:
    first, last = group[0][1], group[-1][1]
    follows = place.pack == last.pack and place.offset == last.offset + last.length + 4
    return follows and place.offset + place.length - first.offset <= _FETCH


def _names_in(blobs: Iterable[bytes]) -> Iterator[bytes]:
    for blob in blobs:
        for start in range(0, len(blob), 32):
            yield blob[start : start + 32]


class BlobWriter:
    """Writes blobs that the repository does not have yet; `flush` makes them safe.

    added_bytes: what was stored so far, packs and indexes. stored: names of the packs.
    """

    def __init__(self, store: Store, sealer: Sealer, index: Index) -> None:
        self._store = store
        self._sealer = sealer
        self._index = index
        self._pack = bytearray(packs.MAGIC)
        self._blobs: dict[bytes, int] = {}
        self._tables: list[PackTable] = []
        self.added_bytes = 0
        self.stored: set[str] = set()

    def put(self, data: bytes) -> bytes:
        """Store a blob unless it is there; return its name."""
        name = packs.blob_id(data)
        if name not in self._blobs and self._index.find(name) is None:
            self._append(name, packs.encode_blob(data, self._sealer))
        return name

    def put_stream(self, blocks: Iterable[bytes], *, text: bool) -> Content:
        """Store a run of bytes of any length."""
        digest, size, names = hashlib.sha256(), 0, bytearray()
        for piece in cut(blocks, text=text):
            digest.update(piece)
            size += len(piece)
            names += self.put(piece)
        depth = 0
        while len(names) > 32 * _LISTED_INLINE:
            names = bytearray().join(self.put(part) for part in cut([bytes(names)], text=False))
            depth += 1
        pieces = tuple(names[at : at + 32].hex() for at in range(0, len(names), 32))
        return Content(size=size, sha256=digest.hexdigest(), pieces=pieces, depth=depth)

    def keep(self, name: bytes, stored: bytes) -> None:
        """Store a blob again as it lies, in a pack of this writer."""
        if name not in self._blobs:
            self._append(name, stored)

    def _append(self, name: bytes, stored: bytes) -> None:
        self._pack += packs.LENGTH.pack(len(stored)) + stored
        self._blobs[name] = len(stored)
        if len(self._pack) >= packs.FULL_PACK:
            self._store_pack()

    def flush(self) -> None:
        """Store what is held: first the pack, then the index that lists it."""
        self._store_pack()
        self._store_index()

    def _store_pack(self) -> None:
        if not self._blobs:
            return
        table = PackTable.of(hashlib.sha256(self._pack).hexdigest(), self._blobs.items())
        self._store.write(packs.pack_key(table.name), self._pack)
        self._index.add(table)
        self._tables.append(table)
        self.stored.add(table.name)
        self.added_bytes += len(self._pack)
        self._pack, self._blobs = bytearray(packs.MAGIC), {}
        if len(self._tables) >= _PACKS_PER_INDEX:
            self._store_index()

    def _store_index(self) -> None:
        tables = [*self._index.unsaved, *self._tables]
        if not tables:
            return
        self.added_bytes += write_index(self._store, self._sealer, tables)[1]
        self._tables, self._index.unsaved = [], []

"""Which blobs the files of snapshots need; what the rest is measured, checked and pruned by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lsl_core.backups.archives import read_recipe
from lsl_core.backups.blobs import BlobReader
from lsl_core.backups.snapshot import Snapshot, StoredFile


def blobs_of(reader: BlobReader, file: StoredFile) -> Iterator[bytes]:
    """Yield the name of every blob that a file needs; some more than once.

    Raises:
        Damaged: when what says so cannot be read.
    """
    yield from reader.names(file.content)
    if file.kind == "archive":
        around, members = read_recipe(reader, file)
        yield from reader.names(around)
        for member in members:
            yield from reader.names(member.content)


def needed_blobs(reader: BlobReader, snapshots: Iterable[Snapshot]) -> set[bytes]:
    """Return the names of all blobs that these snapshots need.

    Raises:
        Damaged: when what says so cannot be read.
    """
    needed: set[bytes] = set()
    seen: set[str] = set()
    for snapshot in snapshots:
        for file in snapshot.files:
            # equal content has equal needs; most files of a daily backup are yesterday's
            if file.content.sha256 not in seen or not file.content.size:
                seen.add(file.content.sha256)
                needed.update(blobs_of(reader, file))
    return needed

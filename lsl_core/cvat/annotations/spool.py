"""Annotations on disk: a task and a plan of any size take no memory.

A mask takes 2 kB as a dictionary. 50,000 of them wait in a file without a name, which the system
removes with the last of its readers.
"""

from __future__ import annotations

import os
import pickle
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from tempfile import TemporaryFile
from typing import Any

Json = dict[str, Any]

#: Annotations of one group that are written together, at most.
_TOGETHER = 256


class Spool(Collection[Json]):
    """Annotations in the order they were added, or group by group; read when they are needed.

    A group is a frame, or whatever else `append` is told: a job.
    """

    def __init__(self, entries: Iterable[Json] = ()) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - closed by __del__
        self._blocks: list[tuple[int, int]] = []  # where, and how many bytes
        self._of: dict[int, list[int]] = defaultdict(list)  # blocks of a group
        self._begun: list[Json] = []  # of one group, not written yet
        self._group = 0  # of these
        self._counts: Counter[int] = Counter()  # of what is written
        self.add(entries)

    def __del__(self) -> None:
        self._file.close()

    def add(self, entries: Iterable[Json], group: int | None = None) -> None:
        """Append annotations; those of a group that come together are read back together."""
        for entry in entries:
            self.append(entry, group)

    def append(self, entry: Json, group: int | None = None) -> None:
        """Append an annotation to a group, that of its frame when none is named."""
        group = entry["frame"] if group is None else group
        if self._begun and (group != self._group or len(self._begun) >= _TOGETHER):
            self._write()
        self._group = group
        self._begun.append(entry)

    @property
    def counts(self) -> Mapping[int, int]:
        """How many annotations each group has."""
        self._write()
        return self._counts

    @property
    def groups(self) -> Mapping[int, Collection[Json]]:
        """The annotations of each group, in the order they were added; read anew each time."""
        return _Groups(self)

    def of(self, group: int) -> Iterator[Json]:
        """Yield the annotations of a group, in the order they were added."""
        self._write()
        for block in self._of.get(group, ()):
            yield from self._read(block)

    def pairs(self) -> Iterator[tuple[int, Json]]:
        """Yield each annotation after the number of its group, group by group."""
        for group in self.counts:
            yield from ((group, entry) for entry in self.of(group))

    def __len__(self) -> int:
        return self._counts.total() + len(self._begun)

    def __iter__(self) -> Iterator[Json]:
        block = 0
        while block < len(self._blocks) or self._begun:
            self._write()
            yield from self._read(block)
            block += 1

    def __contains__(self, entry: object) -> bool:
        return any(entry == one for one in self)

    def _write(self) -> None:
        if not self._begun:
            return
        data = pickle.dumps(self._begun, pickle.HIGHEST_PROTOCOL)
        self._counts[self._group] += len(self._begun)
        self._of[self._group].append(len(self._blocks))
        self._blocks.append((self._file.tell(), len(data)))
        self._file.write(data)
        self._file.flush()
        self._begun = []

    def _read(self, block: int) -> list[Json]:
        place, size = self._blocks[block]
        found: list[Json] = pickle.loads(os.pread(self._file.fileno(), size, place))  # noqa: S301
        return found


class _Groups(Mapping[int, Collection[Json]]):
    """The groups of a spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def __getitem__(self, group: int) -> Collection[Json]:
        if group not in self._spool.counts:
            raise KeyError(group)
        return _Group(self._spool, group)

    def __iter__(self) -> Iterator[int]:
        return iter(self._spool.counts)

    def __len__(self) -> int:
        return len(self._spool.counts)


class _Group(Collection[Json]):
    """The annotations of one group of a spool."""

    def __init__(self, spool: Spool, group: int) -> None:
        self._spool, self._group = spool, group

    def __len__(self) -> int:
        return self._spool.counts[self._group]

    def __iter__(self) -> Iterator[Json]:
        return self._spool.of(self._group)

    def __contains__(self, entry: object) -> bool:
        return any(entry == one for one in self)

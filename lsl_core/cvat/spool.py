"""Shapes on disk: a task and a plan of any size take no memory.

A mask takes 2 kB as a dictionary. 50,000 of them wait in a file without a name, which the system
removes with the last of its readers.
"""

from __future__ import annotations

import os
import pickle
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from tempfile import TemporaryFile
from typing import Any

Json = dict[str, Any]

#: Shapes of one frame that are written together, at most.
_TOGETHER = 256


class Spool(Collection[Json]):
    """Shapes in the order they were added, or frame by frame; read when they are needed."""

    def __init__(self, shapes: Iterable[Json] = ()) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - closed by __del__
        self._blocks: list[tuple[int, int]] = []  # where, and how many bytes
        self._of: dict[int, list[int]] = defaultdict(list)  # blocks of a frame
        self._begun: list[Json] = []  # of one frame, not written yet
        self._counts: Counter[int] = Counter()  # of what is written
        self.add(shapes)

    def __del__(self) -> None:
        self._file.close()

    def add(self, shapes: Iterable[Json]) -> None:
        """Append shapes; those of a frame that come together are read back together."""
        for shape in shapes:
            self.append(shape)

    def append(self, shape: Json) -> None:
        """Append a shape."""
        begun = self._begun
        if begun and (shape["frame"] != begun[0]["frame"] or len(begun) >= _TOGETHER):
            self._write()
        self._begun.append(shape)

    @property
    def counts(self) -> Mapping[int, int]:
        """How many shapes each frame has."""
        self._write()
        return self._counts

    @property
    def by_frame(self) -> Mapping[int, Sequence[Json]]:
        """The shapes of each frame, in the order they were added; read anew each time."""
        return _ByFrame(self)

    def of(self, frame: int) -> list[Json]:
        """Return the shapes of a frame, in the order they were added."""
        self._write()
        return [shape for block in self._of.get(frame, ()) for shape in self._read(block)]

    def __len__(self) -> int:
        return self._counts.total() + len(self._begun)

    def __iter__(self) -> Iterator[Json]:
        block = 0
        while block < len(self._blocks) or self._begun:
            self._write()
            yield from self._read(block)
            block += 1

    def __contains__(self, shape: object) -> bool:
        return any(shape == one for one in self)

    def _write(self) -> None:
        if not self._begun:
            return
        data = pickle.dumps(self._begun, pickle.HIGHEST_PROTOCOL)
        frame = self._begun[0]["frame"]
        self._counts[frame] += len(self._begun)
        self._of[frame].append(len(self._blocks))
        self._blocks.append((self._file.tell(), len(data)))
        self._file.write(data)
        self._file.flush()
        self._begun = []

    def _read(self, block: int) -> list[Json]:
        place, size = self._blocks[block]
        found: list[Json] = pickle.loads(os.pread(self._file.fileno(), size, place))  # noqa: S301
        return found


class _ByFrame(Mapping[int, Sequence[Json]]):
    """The frames of a spool that have shapes."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def __getitem__(self, frame: int) -> Sequence[Json]:
        if frame not in self._spool.counts:
            raise KeyError(frame)
        return self._spool.of(frame)

    def __iter__(self) -> Iterator[int]:
        return iter(self._spool.counts)

    def __len__(self) -> int:
        return len(self._spool.counts)

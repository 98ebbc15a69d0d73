"""Shapes on disk: a plan of any size takes no memory.

A mask takes 2 kB as a dictionary. 50,000 of them wait in a file without a name, which the system
removes with the last of its readers.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Collection, Iterable, Iterator
from tempfile import TemporaryFile
from typing import Any

Json = dict[str, Any]


class Spool(Collection[Json]):
    """Shapes with points in arrays, in the order they were added; read when they are needed."""

    def __init__(self, shapes: Iterable[Json] = ()) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - closed by __del__
        self._blocks: list[tuple[int, int, int]] = []  # where, bytes of text, bytes of points
        self._count = 0
        self.add(shapes)

    def __del__(self) -> None:
        self._file.close()

    def add(self, shapes: Iterable[Json]) -> None:
        """Append shapes; they are read back together, so a frame's are enough at a time."""
        members = list(shapes)
        if not members:
            return
        arrays = [shape["points"] for shape in members]
        heads = [
            {**shape, "points": [points.typecode, len(points)]}
            for shape, points in zip(members, arrays, strict=True)
        ]
        text = json.dumps(heads).encode()
        numbers = b"".join(points.tobytes() for points in arrays)
        self._blocks.append((self._file.tell(), len(text), len(numbers)))
        self._file.write(text + numbers)
        self._file.flush()
        self._count += len(members)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Json]:
        for place, text, numbers in self._blocks:
            data = memoryview(os.pread(self._file.fileno(), text + numbers, place))
            at = text
            for shape in json.loads(bytes(data[:text])):
                code, count = shape["points"]
                points = array(code)
                end = at + count * points.itemsize
                points.frombytes(data[at:end])
                at = end
                yield {**shape, "points": points}

    def __contains__(self, shape: object) -> bool:
        return any(shape == one for one in self)

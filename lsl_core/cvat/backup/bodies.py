"""Annotations of a job as a document: brought into order without ever being whole in memory.

A job may hold hundreds of thousands of shapes; as Python objects they take twenty times the room of
their text. So the answer goes to a file, is read one entry at a time, and is written in the order
of its ids: what memory holds is one entry, and 24 bytes for each.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from typing import IO, Any

from lsl_core.cvat.connection.entries import entries_of
from lsl_core.cvat.connection.transport import Transport
from lsl_core.errors import CvatRequestFailed, CvatUnreachable
from lsl_core.workspace.files import file_of

#: What annotations consist of, in the order in which a document names them.
KINDS = ("shapes", "tags", "tracks")
#: Above this a document lies in a temporary file.
_IN_MEMORY = 4 * 1024 * 1024
_BLOCK = 64 * 1024
_ATTEMPTS = 3


def as_bytes(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the bytes to store of a JSON value: the same for the same, so that it lies once."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


class _Spool(tempfile.SpooledTemporaryFile[bytes]):
    """A file that closes when it is let go: whoever reads documents need not think of files."""

    def __del__(self) -> None:
        self.close()


def spool(data: bytes = b"") -> IO[bytes]:
    """Return a file of our own, in memory as long as it is small; it goes when it is let go."""
    file = _Spool(max_size=_IN_MEMORY)
    file.write(data)
    file.seek(0)
    return file


class Bodies:
    """Documents by path, all in one temporary file: a unit of any size takes no memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __del__
        self._places: dict[str, tuple[int, int]] = {}

    def __del__(self) -> None:
        self._file.close()

    @property
    def paths(self) -> list[str]:
        """Which documents are there."""
        return [*self._places]

    def add(self, path: str, body: IO[bytes]) -> None:
        """Take in a document."""
        body.seek(0)
        start = self._file.tell()
        shutil.copyfileobj(body, self._file, _BLOCK)
        self._file.flush()
        self._places[path] = start, self._file.tell()

    def open(self, path: str) -> IO[bytes]:
        """Return a document to be read from front to end, whoever else reads."""
        return file_of(self._blocks(*self._places[path]))

    def _blocks(self, start: int, end: int) -> Iterator[bytes]:
        for at in range(start, end, _BLOCK):
            yield os.pread(self._file.fileno(), min(_BLOCK, end - at), at)


def job_body(transport: Transport, job_id: int) -> tuple[IO[bytes], dict[str, int]]:
    """Return the annotations of a job as a document, sorted by id, and how many of each kind.

    Raises:
        CvatError: when they cannot be read, or are no JSON.
    """
    path = f"/api/jobs/{job_id}/annotations/"
    answer = _download(transport, path)
    try:
        return sorted_body(answer)
    except ValueError as error:
        raise CvatRequestFailed(
            f"The server gave an answer that is no JSON (while reading {path}).",
            hint="Check that the address is that of CVAT and not of something before it.",
        ) from error
    finally:
        answer.close()


def _download(transport: Transport, path: str) -> IO[bytes]:
    """Return the body of an answer; one that was cut short is asked for again."""
    for attempt in range(_ATTEMPTS):
        answer = spool()
        try:
            transport.download(path, answer, doing=f"reading {path}")
        except CvatUnreachable:
            answer.close()
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        answer.seek(0)
        return answer
    raise AssertionError("unreachable")


def sorted_body(answer: IO[bytes]) -> tuple[IO[bytes], dict[str, int]]:
    """Return annotations as a document with the entries of each kind by id, and their numbers.

    Args:
        answer: a JSON object with lists of "tags", "shapes" and "tracks", each entry with an "id".

    Raises:
        ValueError: when it is none.
    """
    heap = spool()
    places = {kind: array("q") for kind in KINDS}  # id, offset, length; id, offset, length; …
    at = 0
    for kind, entry in entries_of(answer):
        if kind in places:
            data = as_bytes(entry)
            heap.write(data)
            places[kind].extend((_id_of(entry), at, len(data)))
            at += len(data)
    body = spool()
    for number, kind in enumerate(KINDS):
        body.write(b'%s"%s":[' % (b"," if number else b"{", kind.encode()))
        found = places[kind]
        order = sorted(range(0, len(found), 3), key=found.__getitem__)
        for rank, place in enumerate(order):
            heap.seek(found[place + 1])
            body.write((b"," if rank else b"") + heap.read(found[place + 2]))
        body.write(b"]")
    body.write(b"}")
    body.seek(0)
    heap.close()
    return body, {kind: len(found) // 3 for kind, found in places.items()}


def _id_of(entry: Any) -> int:  # noqa: ANN401 - any JSON value
    found = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(found, int) or abs(found) >= 2**63:
        raise ValueError("an entry without an id")
    return found

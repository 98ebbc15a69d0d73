"""Cutting a run of bytes into pieces, so that equal stretches of it are stored once.

Text (annotations, manifests) is cut where its content says so: a piece ends after a byte where
the gear hash of the last 32 bytes is small. An edit moves the cuts beside it and no others.
Pieces are short, since edits are scattered: with about seven shapes in a piece, changing one shape
in a hundred changes seven pieces in a hundred. Everything else is cut at fixed lengths, which an
image below that length never sees.

Source: W. Xia et al., "FastCDC", USENIX ATC 2016, section 3 (gear hash, least and most length).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

#: Bytes of text in a piece: at least, on average beyond that, at most.
MIN_TEXT = 1024
MEAN_TEXT = 4096
MAX_TEXT = 32 * 1024

#: Bytes of anything else in a piece.
FIXED = 4 * 1024 * 1024

_BLOCK = 512 * 1024
_TEXT_SUFFIXES = (".json", ".jsonl", ".xml", ".txt", ".csv", ".yaml", ".yml", ".svg", ".pcd")
_THRESHOLD = np.uint32(2**32 // MEAN_TEXT)
_GEAR = np.frombuffer(hashlib.shake_256(b"LSL gear table 1").digest(1024), "<u4")


def is_text(name: str) -> bool:
    """Tell by its name whether a file is worth cutting by content."""
    return name.lower().endswith(_TEXT_SUFFIXES)


def blocks_of(source: IO[bytes]) -> Iterator[bytes]:
    """Yield what a file holds, in blocks."""
    while block := source.read(_BLOCK):
        yield block


def cut(blocks: Iterable[bytes], *, text: bool) -> Iterator[bytes]:
    """Cut a stream into pieces; joined they are the stream. No bytes give no pieces."""
    return _cut_by_content(blocks) if text else _cut_at(blocks, FIXED)


def _cut_at(blocks: Iterable[bytes], length: int) -> Iterator[bytes]:
    held = bytearray()
    for block in blocks:
        held += block
        while len(held) >= length:
            yield bytes(held[:length])
            del held[:length]
    if held:
        yield bytes(held)


def _cut_by_content(blocks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for block in blocks:
        held += block
        start = 0
        for end in _ends(held):
            yield held[start:end]
            start = end
        held = held[start:]
    if held:
        yield held


def _ends(data: bytes) -> Iterator[int]:
    """Yield where the pieces of `data` end; the rest needs more bytes to be decided."""
    if len(data) < MIN_TEXT:
        return
    found = np.flatnonzero(_gear_hash(np.frombuffer(data, np.uint8)) < _THRESHOLD) + 1
    start = 0
    while True:
        at = int(np.searchsorted(found, start + MIN_TEXT))
        end = int(found[at]) if at < len(found) else len(data) + MAX_TEXT
        end = min(end, start + MAX_TEXT)
        if end > len(data):
            return
        yield end
        start = end


def _gear_hash(data: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return, at each byte, the sum of `gear[byte] << age` over the last 32 bytes, modulo 2**32.

    Doubling the window: hash over 2n bytes is the hash over n plus that of n bytes ago << n.
    """
    total = _GEAR[data]
    age = 1
    while age < 32:
        total[age:] += total[:-age] << np.uint32(age)
        age *= 2
    return total

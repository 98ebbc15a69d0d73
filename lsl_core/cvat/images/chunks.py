"""Chunks of images, unpacked while they come: one image in memory at a time."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator

try:
    from isal.isal_zlib import crc32
except ImportError:  # a machine that it has no wheel for; the same sum
    from zlib import crc32

from lsl_core.cvat.connection.entries import Body

#: The header before each member of a zip archive (APPNOTE.TXT 4.3.7); what ends one is longer.
_HEADER = struct.Struct("<6xHH4xIIIHH")
_MEMBER, _LISTING = b"PK\x03\x04", b"PK\x01\x02"
#: Flags: encrypted; sizes come after the data, which cannot be read from the front then.
_UNREADABLE = 0x1 | 0x8
_STORED, _DEFLATED = 0, 8


def members_of(body: Body) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each member of a zip archive, read from front to end.

    CVAT stores the images of a chunk with their sizes before them, in the order of the frames.

    Raises:
        BadZipFile: for anything else, for a checksum that does not fit, and for a cut archive.
    """
    while (head := _whole(body, _HEADER.size)).startswith(_MEMBER):
        flags, method, crc, packed, size, name_bytes, extra = _HEADER.unpack(head)
        if flags & _UNREADABLE or method not in (_STORED, _DEFLATED):
            raise zipfile.BadZipFile(f"a member with flags {flags} and method {method}")
        name = _whole(body, name_bytes + extra)[:name_bytes].decode("utf-8", "replace")
        data = _whole(body, packed)
        if method == _DEFLATED:
            data = _inflated(data, name)
        if len(data) != size or crc32(data) != crc:
            raise zipfile.BadZipFile(f"{name} is damaged")
        yield name, data
    if not head.startswith(_LISTING):
        raise zipfile.BadZipFile("no list of members at the end")
    while body.read(1 << 16):
        pass  # read to its end, so that the connection can be used again


def _inflated(data: bytes, name: str) -> bytes:
    try:
        return zlib.decompress(data, -zlib.MAX_WBITS)
    except zlib.error as error:
        raise zipfile.BadZipFile(f"{name} is damaged") from error


def _whole(body: Body, count: int) -> bytes:
    data = body.read(count)
    if len(data) != count:
        raise zipfile.BadZipFile("it ends too early")
    return data

"""Zip archives taken apart, so that an image in ten of them is stored once.

An archive is the contents of its members and the bytes around them (headers, the directory at its
end). The first are stored as they are without compression, the second as one run of their own, and
a recipe says how they go together. Put together again, they are the archive to the last bit:

- a member stored without compression is its content;
- a deflated member is compressed again, when that was seen to give the same bytes (it does when
  the archive was made by Python's zipfile, as CVAT's are);
- any other member is kept as its compressed bytes, and costs the repository more.

Names inside an archive are data. They name no file here; names that would leave a folder elsewhere
are refused, and so are members that overlap or inflate beyond reason.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from lsl_core.backups.blobs import BlobReader, BlobWriter
from lsl_core.backups.pieces import blocks_of, is_text
from lsl_core.backups.snapshot import Content, StoredFile
from lsl_core.errors import Damaged
from lsl_core.workspace.files import atomic_path

_BLOCK = 512 * 1024
_LOCAL_HEADER = struct.Struct("<4s22xHH")
#: More than this, and more than so many times the archive, is a bomb. JSON reaches about 30 times.
_LARGE = 256 * 1024 * 1024
_BOMB_RATIO = 250

How = Literal["stored", "deflate", "raw"]


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive.

    size, crc: of its content. gap: bytes around members since the end of the one before.
    how: "stored" and "deflate" keep the content, "raw" the deflated bytes.
    """

    name: str
    size: int
    crc: int
    gap: int
    how: How
    content: Content


@dataclass(frozen=True, slots=True)
class _Region:
    """Where the bytes of a member lie in the archive: start and end."""

    info: zipfile.ZipInfo
    start: int
    end: int


def put_archive(writer: BlobWriter, name: str, path: Path) -> StoredFile:
    """Take an archive apart and store it; every member is read and checked on the way.

    Raises:
        Damaged: when it is cut short, a checksum is wrong, or it was made to do harm.
    """
    try:
        with path.open("rb") as file:
            regions = _regions(file, path.stat().st_size, name)
            ends = [0, *(region.end for region in regions)]
            lines = [
                _put_member(writer, file, region, gap=region.start - end)
                for region, end in zip(regions, ends, strict=False)
            ]
            around = writer.put_stream(_around(file, regions), text=True)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Damaged(
            f"{name} is no whole archive.",
            hint="The download was cut, or the server made it wrong. Run the backup again.",
            detail=repr(error),
        ) from error
    head = json.dumps({"around": around.model_dump()}).encode() + b"\n"
    recipe = writer.put_stream([head, *lines], text=True)
    return StoredFile(
        name=name, kind="archive", size=path.stat().st_size, sha256=digest,
        content=recipe, num_members=len(lines),
    )  # fmt: skip


def _regions(file: BinaryIO, size: int, name: str) -> list[_Region]:
    """Return where the members lie, in the order of their bytes."""
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        directory = archive.start_dir
    total = sum(info.file_size for info in infos)
    if total > max(_LARGE, _BOMB_RATIO * size):
        raise _refused(name, f"its {size:,} bytes would become {total:,}")
    regions, end = [], 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        file.seek(info.header_offset)
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(30))
        start = info.header_offset + 30 + name_length + extra_length
        if signature != b"PK\x03\x04" or start + info.compress_size > directory:
            raise zipfile.BadZipFile(f"no member at {info.header_offset}")
        if info.header_offset < end:
            raise _refused(name, "its members overlap")
        _check_member(info, name)
        end = start + info.compress_size
        regions.append(_Region(info, start, end))
    return regions


def _check_member(info: zipfile.ZipInfo, name: str) -> None:
    parts = re.split(r"[\\/]", info.orig_filename)
    if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", parts[0]) or "\0" in parts[-1]:
        raise _refused(name, f'it holds a file named "{info.orig_filename[:80]}"')
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused(name, f'"{info.orig_filename[:80]}" is encrypted or oddly compressed')
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise zipfile.BadZipFile("two sizes for a stored member")


def _refused(name: str, why: str) -> Damaged:
    return Damaged(
        f"{name} was not saved: {why}.",
        hint="CVAT makes no such archives. Find out where it came from.",
    )


def _put_member(writer: BlobWriter, file: BinaryIO, region: _Region, *, gap: int) -> bytes:
    """Store the content of a member; return its line of the recipe."""
    info, how = region.info, _how(file, region)
    blocks = _slice(file, region)
    if how == "stored":
        blocks = _checked(blocks, info)
    elif how == "deflate":
        blocks = _inflate(blocks)
    content = writer.put_stream(blocks, text=how != "raw" and is_text(info.orig_filename))
    entry = {
        "name": info.orig_filename, "size": info.file_size, "crc": info.CRC, "gap": gap,
        "how": how, "bytes": content.size, "sha256": content.sha256, "depth": content.depth,
        # an image is mostly one piece, which is named like the whole
        "pieces": [] if content.pieces == (content.sha256,) else content.pieces,
    }  # fmt: skip
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _how(file: BinaryIO, region: _Region) -> How:
    if region.info.compress_type == zipfile.ZIP_STORED:
        return "stored"
    return "deflate" if _is_our_deflate(file, region) else "raw"


def _slice(file: BinaryIO, region: _Region) -> Iterator[bytes]:
    return _between(file, region.start, region.end)


def _between(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end:
        block = file.read(min(_BLOCK, end - start))
        if not block:
            raise EOFError("the archive ends early")
        start += len(block)
        yield block


def _around(file: BinaryIO, regions: list[_Region]) -> Iterator[bytes]:
    """Yield every byte that belongs to no member's content."""
    end = 0
    for region in regions:
        yield from _between(file, end, region.start)
        end = region.end
    file.seek(end)
    yield from blocks_of(file)


def _checked(blocks: Iterable[bytes], info: zipfile.ZipInfo) -> Iterator[bytes]:
    crc = size = 0
    for block in blocks:
        crc = zlib.crc32(block, crc)
        size += len(block)
        if size > info.file_size:
            break
        yield block
    if crc != info.CRC or size != info.file_size:
        raise zipfile.BadZipFile(f"wrong checksum of {info.orig_filename}")


def _inflate(blocks: Iterable[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for block in blocks:
        held = block
        while held and not inflate.eof:
            if out := inflate.decompress(held, _BLOCK):
                yield out
            held = inflate.unconsumed_tail
    # a stream of few input bytes may still hold output
    while not inflate.eof and (out := inflate.decompress(b"", _BLOCK)):
        yield out
    if not inflate.eof or inflate.unused_data:
        raise EOFError("a deflated member ends early")


def _deflate(blocks: Iterable[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
    for block in blocks:
        if out := deflate.compress(block):
            yield out
    yield deflate.flush()


def _is_our_deflate(file: BinaryIO, region: _Region) -> bool:
    """Tell whether compressing the content again gives the bytes that are there; check it too."""
    seen = hashlib.sha256()
    for block in _slice(file, region):
        seen.update(block)
    again = hashlib.sha256()
    # the file position moves between blocks, so the slice must not be shared
    with_checks = _checked(_inflate(_slice(file, region)), region.info)
    for block in _deflate(with_checks):
        again.update(block)
    return again.digest() == seen.digest()


def read_recipe(reader: BlobReader, file: StoredFile) -> tuple[Content, Iterator[Member]]:
    """Return the bytes around the members, and the members in the order of the archive.

    Raises:
        Damaged: when the recipe cannot be read.
    """
    lines = _lines(reader.stream(file.content))
    around = Content.model_validate(json.loads(next(lines))["around"])
    return around, (_member(json.loads(line)) for line in lines)


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for block in blocks:
        *whole, held = (held + block).split(b"\n")
        yield from whole


def _member(entry: dict[str, object]) -> Member:
    content = Content.model_validate(
        {
            "size": entry["bytes"],
            "sha256": entry["sha256"],
            "pieces": entry["pieces"] or ([entry["sha256"]] if entry["bytes"] else []),
            "depth": entry["depth"],
        }
    )
    named = {key: entry[key] for key in ("name", "size", "crc", "gap", "how")}
    return Member(**named, content=content)  # type: ignore[arg-type]


def member_bytes(reader: BlobReader, member: Member) -> Iterator[bytes]:
    """Yield the content of a member."""
    blocks = reader.stream(member.content)
    return _inflate(blocks) if member.how == "raw" else blocks


def rebuild(reader: BlobReader, file: StoredFile, path: Path) -> bool:
    """Put an archive together again at `path`; tell whether it is the same to the last bit.

    It is, unless this machine's zlib deflates differently from the one that saved it. Then the
    archive is written anew: same members, same order, names, kinds of compression and contents.

    Raises:
        Damaged: when a piece is missing or damaged. Nothing is left at `path`.
    """
    with atomic_path(path) as part:
        digest = hashlib.sha256()
        with part.open("wb") as out:
            for block in _as_it_was(reader, file):
                digest.update(block)
                out.write(block)
        is_same = digest.hexdigest() == file.sha256
        if not is_same:
            _write_anew(reader, file, part)
    return is_same


def _as_it_was(reader: BlobReader, file: StoredFile) -> Iterator[bytes]:
    content, members = read_recipe(reader, file)
    around = _Taken(reader.stream(content))
    for member in members:
        yield from around.take(member.gap)
        blocks = reader.stream(member.content)
        yield from _deflate(blocks) if member.how == "deflate" else blocks
    yield from around.rest()


class _Taken:
    """A stream that is taken in measured parts."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._held = b""

    def take(self, length: int) -> Iterator[bytes]:
        while length:
            self._held = self._held or next(self._blocks, b"")
            if not self._held:
                raise Damaged("The recipe of an archive is longer than its bytes.")
            part, self._held = self._held[:length], self._held[length:]
            length -= len(part)
            yield part

    def rest(self) -> Iterator[bytes]:
        yield self._held
        yield from self._blocks


def _write_anew(reader: BlobReader, file: StoredFile, path: Path) -> None:
    content, members = read_recipe(reader, file)
    around = reader.read(content)
    old = _directory(around)
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for member in members:
            info = old[member.name]
            with archive.open(info, "w", force_zip64=member.size > 2**31) as out:
                for block in member_bytes(reader, member):
                    out.write(block)


def _directory(around: bytes) -> dict[str, zipfile.ZipInfo]:
    """Read names, dates and kinds of compression from the directory in the bytes around members."""
    at = around.index(b"PK\x01\x02")
    end = around.rindex(b"PK\x05\x06")
    # an archive of nothing but a directory: zipfile takes the missing members for a cut-off front
    with zipfile.ZipFile(io.BytesIO(around[at:end] + around[end:])) as archive:
        found = {}
        for info in archive.infolist():
            fresh = zipfile.ZipInfo(info.orig_filename, info.date_time)
            fresh.compress_type, fresh.external_attr = info.compress_type, info.external_attr
            found[info.orig_filename] = fresh
        return found

"""Files that are whole or not there at all."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lsl_core.errors import DiskFull, UserInput, WorkspaceError

#: Begins the name of a folder of `Drafts`. Its owner has died when nobody touched it for so long.
_WAITING, _ABANDONED_S = ".part-", 3600.0


@contextmanager
def atomic_path(path: Path, *, is_durable: bool = True) -> Iterator[Path]:
    """Give a temporary file beside `path` that takes its place when the block ends well.

    On any error the temporary file goes and `path` stays as it was.

    Args:
        path: of the file.
        is_durable: have the bytes on disk (fsync) before the name is. Without, a power cut may
            leave a file of this name that is damaged.

    Raises:
        DiskFull: when the disk has no room.
    """
    part = _part_beside(path)
    try:
        with _disk_full_told(path):
            yield part
            if is_durable:
                with part.open("rb") as written:
                    os.fsync(written.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _part_beside(path: Path) -> Path:
    prefix = f".{path.name[:80]}."
    try:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
    except FileNotFoundError:  # cheaper than to look for the folder each time
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
    os.close(handle)
    return Path(name)


@contextmanager
def _disk_full_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(
                f"There is no space left to write {path.name}.",
                hint=f"Free space under {path.parent} and run it again; nothing was changed.",
            ) from error
        raise


class Drafts:
    """Files that are written one by one and take their places together, each whole or not at all.

    They wait in a folder of their own, until `keep` or `drop`; what a process that died left there
    goes an hour later. The disk is waited for once they are all written, which spares most of the
    waiting.

    Args:
        folder: below which their places are; made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        self._waiting = Path(tempfile.mkdtemp(prefix=_WAITING, dir=folder))
        self._parts: list[tuple[Path, Path]] = []

    def add(self, path: Path, data: bytes) -> None:
        """Write the bytes of a file that goes to `path`.

        Raises:
            DiskFull: when the disk has no room.
        """
        part = self._waiting / str(len(self._parts))
        with _disk_full_told(path):
            # bare calls: between threads, each call more is a wait more
            file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                rest = memoryview(data)
                while rest:  # a disk that runs full takes a part first and refuses the rest
                    rest = rest[os.write(file, rest) :]
            finally:
                os.close(file)
        self._parts.append((part, path))

    def keep(self) -> None:
        """Put all files in their places; their bytes are on disk (fsync) before."""
        # a disk that has all of them to do is quicker than one that is given one after the other
        for step in (_begin_to_store, os.fsync):
            for part, path in self._parts:
                with _disk_full_told(path):
                    written = os.open(part, os.O_RDONLY)
                    try:
                        step(written)
                    finally:
                        os.close(written)
        for part, path in self._parts:
            try:
                part.replace(path)
            except FileNotFoundError:  # cheaper than to look for the folder each time
                path.parent.mkdir(parents=True, exist_ok=True)
                part.replace(path)
        self.drop()

    def drop(self) -> None:
        """Remove what was not kept."""
        shutil.rmtree(self._waiting, ignore_errors=True)
        self._parts.clear()


def _begin_to_store(file: int) -> None:
    """Let the disk begin with the bytes of an open file, where there is a call for it."""
    if hasattr(os, "posix_fadvise"):  # Linux stores what it is told to forget
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def _remove_abandoned(folder: Path) -> None:
    for waiting in folder.glob(f"{_WAITING}*"):
        with suppress(FileNotFoundError):  # another process removed it as well
            if time.time() - waiting.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(waiting, ignore_errors=True)


def write_atomic(path: Path, data: bytes, *, is_durable: bool = True) -> None:
    """Write bytes to a file that is either old or new, never half; see `atomic_path`."""
    with atomic_path(path, is_durable=is_durable) as part:
        part.write_bytes(data)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write a JSON file atomically, UTF-8, readable."""
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON file.

    Raises:
        WorkspaceError: when it is missing or no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise WorkspaceError(f"{path} is missing.") from error
    except ValueError as error:
        raise WorkspaceError(
            f"{path} is damaged: it is no JSON.",
            hint="Restore it from a backup, or remove it and import again.",
            detail=str(error),
        ) from error


def known_fields(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of a JSON object that a dataclass has; a newer LSL may write more."""
    known = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in row.items() if name in known}


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`: a hard link, or a copy where links do not go."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        with atomic_path(target) as part:
            shutil.copyfile(source, part)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safe_relative(name: str) -> Path:
    """Turn an image name from a server or a COCO file into a path that stays inside a folder.

    Folders in the name are kept, since two images of a task may differ only in theirs; `..`,
    drive letters and signs that a file system refuses are not.
    """
    parts = [re.sub(r'[\x00-\x1f<>:"|?*]', "_", part) for part in re.split(r"[\\/]+", name)]
    kept = [part[-200:] for part in parts if part not in ("", ".", "..")]
    return Path(*kept) if kept else Path("image")


_NAME = re.compile(r"[\w][\w .\-+]{0,79}")


def check_name(name: str, *, what: str) -> str:
    """Return `name` when it can name a folder on any system, for example a source.

    Raises:
        UserInput: when it cannot.
    """
    if not _NAME.fullmatch(name) or name.endswith((".", " ")):
        raise UserInput(
            f'"{name}" cannot name a {what}.',
            hint="Use up to 80 letters, digits, spaces, - _ + or dots, a letter or digit first.",
        )
    return name


def file_of(blocks: Iterable[bytes]) -> IO[bytes]:
    """Return blocks of bytes as a file that is read once, from front to end."""
    return io.BufferedReader(_Blocks(blocks))


class _Blocks(io.RawIOBase):
    """What `file_of` reads from."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # that is what it is
        while not self._held:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._held = memoryview(block)
        part, self._held = self._held[: len(buffer)], self._held[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

"""Where the files of a repository lie: a local folder, or anything that fsspec reaches.

Both promise the same: a file is whole under its name or not there at all, and a file that `write`
returned from is there for every later `read` and `list`. Keys are made of our own words and of
hex digits, never of names from a server.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from fsspec.config import conf
from fsspec.core import url_to_fs

from lsl_core.errors import BackupError, DiskFull
from lsl_core.workspace.files import atomic_path

#: Where storing an object is one act: it appears whole, or not at all.
_ATOMIC_PUT = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory"})


class Store(Protocol):
    """Files by key, such as `packs/3f/3fa1…`."""

    @property
    def location(self) -> str:
        """Return where it lies, for people."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of a file, or a part of them.

        Raises:
            FileNotFoundError: when there is no such file.
        """

    def read_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return several small files; those that are gone are left out."""

    def write(self, key: str, data: bytes | bytearray) -> None:
        """Store a file, in place of an older one.

        Raises:
            DiskFull: when there is no room. Nothing is left behind.
        """

    def list(self, prefix: str) -> dict[str, int]:
        """Return key and size in bytes of every file under a folder such as `packs`."""

    def delete(self, key: str) -> None:
        """Remove a file, if it is there."""

    def free_bytes(self) -> int | None:
        """Return the room that is left, or None when nobody knows."""


def open_store(location: str | Path) -> Store:
    """Return the store at a folder or an fsspec URL.

    Raises:
        BackupError: when the URL names nothing that fsspec knows, or its library is missing.
    """
    text = str(location)
    if text.startswith("file://"):
        return LocalStore(Path(text.removeprefix("file://")))
    if "://" not in text:
        return LocalStore(Path(text))
    return UrlStore(text)


class LocalStore:
    """A folder. Bytes reach the disk before their name, and the name before `write` returns."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().resolve()

    @property
    def location(self) -> str:
        """Return the folder."""
        return str(self._root)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of a file, or a part of them."""
        with self._speaking(), (self._root / key).open("rb") as file:
            file.seek(start)
            return file.read() if length is None else file.read(length)

    def read_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return several small files; those that are gone are left out."""
        found = {}
        for key in keys:
            try:
                found[key] = self.read(key)
            except FileNotFoundError:
                continue
        return found

    def write(self, key: str, data: bytes | bytearray) -> None:
        """Store a file: temporary file, fsync, rename, fsync of the folder."""
        path = self._root / key
        try:
            with self._speaking():
                with atomic_path(path) as part:
                    part.write_bytes(data)
                _sync_folder(path.parent)
        except DiskFull as error:
            # it names the file, which says nothing to people
            raise _disk_full(self.location, self.free_bytes(), len(data)) from error
        except FileNotFoundError as error:
            # no folder can be made there, as on a share that went away
            raise _in_words(error, self.location) from error

    def list(self, prefix: str) -> dict[str, int]:
        """Return key and size of every whole file under a folder."""
        with self._speaking():
            return dict(self._walk(self._root / prefix, prefix))

    def _walk(self, folder: Path, at: str) -> Iterator[tuple[str, int]]:
        if not folder.is_dir():
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                key = f"{at}/{entry.name}" if at else entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(Path(entry.path), key)
                elif not entry.name.startswith("."):
                    # somebody may take a file away, such as a lock, while we look
                    try:
                        size = entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue
                    yield key, size

    def delete(self, key: str) -> None:
        """Remove a file, if it is there."""
        with self._speaking():
            (self._root / key).unlink(missing_ok=True)

    def free_bytes(self) -> int | None:
        """Return what the file system has left for us."""
        if not hasattr(os, "statvfs") or not self._root.exists():
            return None
        stats = os.statvfs(self._root)
        return stats.f_bavail * stats.f_frsize

    def _speaking(self) -> AbstractContextManager[None]:
        return _os_errors(self.location)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; systems without such a call need none."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class UrlStore:
    """Any file system of fsspec, such as `s3://bucket/backups` or `memory://backups`.

    Where storing an object is one act, that act takes the place of temporary file, fsync and
    rename. Elsewhere a file is sent under a name of its own and then moved. Either way its size is
    asked for before `write` returns, so that what is written next may rely on it.
    """

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - fsspec's own
        self._url = url
        try:
            self._fs, self._root = url_to_fs(url, **_configured(url), **options)
        except (ImportError, ValueError, TypeError) as error:
            # a TypeError: the library behind the URL wants an option, or knows none of that name
            raise BackupError(
                f"{url} cannot be used for backups: {error}.",
                hint="Name a folder, or a URL that fsspec knows, such as s3://bucket/backups.",
            ) from error
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else self._fs.protocol
        self._puts_whole = not _ATOMIC_PUT.isdisjoint(protocols)
        self._is_webdav = "webdav" in protocols

    @property
    def location(self) -> str:
        """Return the URL, without what might be a password."""
        scheme, _, rest = self._url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of a file, or a part of them."""
        end = None if length is None else start + length
        with self._speaking():
            return bytes(self._fs.cat_file(self._path(key), start=start, end=end))

    def read_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return several small files, asked for at once where the store can."""
        with self._speaking():
            # `cat` would take a bracket in the folder's name for a pattern
            paths = [self._path(key) for key in keys]
            found = self._fs.cat_ranges(paths, None, None, on_error="return")
        read = {}
        for key, data in zip(keys, found, strict=True):
            if isinstance(data, FileNotFoundError):
                continue
            if isinstance(data, Exception):
                with self._speaking():
                    raise data
            read[key] = bytes(data)
        return read

    def write(self, key: str, data: bytes | bytearray) -> None:
        """Store a file and ask for its size."""
        path = self._path(key)
        with self._speaking():
            if self._puts_whole:
                self._fs.pipe_file(path, bytes(data))
            else:
                part = f"{path}.{uuid.uuid4().hex}.part"
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._fs.pipe_file(part, bytes(data))
                self._move(part, path)
            self._fs.invalidate_cache()
            size = self._fs.info(path)["size"]
        if size != len(data):
            raise BackupError(
                f"{self.location} kept {size:,} of {len(data):,} bytes.",
                hint="Check the store, then run the backup again; older snapshots are whole.",
            )

    def _move(self, part: str, path: str) -> None:
        """Give a file its name, in place of an older one."""
        if self._is_webdav:
            # its `mv` copies, then deletes, and refuses when there is an older one
            self._fs.client.move(part, path, overwrite=True)
        else:
            self._fs.mv(part, path)

    def list(self, prefix: str) -> dict[str, int]:
        """Return key and size of every whole file under a folder."""
        base = self._fs._strip_protocol(self._path(""))
        with self._speaking():
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(self._path(prefix), detail=True)
            except FileNotFoundError:
                return {}
        sizes = {
            path.removeprefix(base).strip("/"): int(info["size"]) for path, info in found.items()
        }
        return {key: size for key, size in sizes.items() if not key.endswith(".part")}

    def delete(self, key: str) -> None:
        """Remove a file, if it is there."""
        with self._speaking():
            try:
                self._fs.rm_file(self._path(key))
            except FileNotFoundError:
                return

    def free_bytes(self) -> int | None:
        """Return None: object stores do not say."""
        return None

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            with _os_errors(self.location):
                yield
        except (FileNotFoundError, BackupError, DiskFull):
            raise
        except Exception as error:
            # every library behind fsspec has errors of its own
            raise BackupError(
                f"{self.location} does not answer as it should.",
                hint="Check the address, your rights there and the network, then try again.",
                detail=repr(error),
            ) from error


def _configured(url: str) -> dict[str, Any]:
    """Return what fsspec's own configuration says in a form that its library cannot take.

    JSON has no pairs, and WebDAV's library takes name and password as nothing else.
    """
    auth = conf.get(url.partition("://")[0], {}).get("auth")
    return {"auth": tuple(auth)} if isinstance(auth, list) else {}


@contextmanager
def _os_errors(location: str) -> Iterator[None]:
    """Say in words what the system answers; that a file is not there goes through as it is."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _in_words(error, location) from error


def _in_words(error: OSError, location: str) -> BackupError | DiskFull:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(location)
    return BackupError(
        f"{location} cannot be used: {error.strerror or error}.",
        hint="Check that the place exists and that you may read and write there.",
        detail=repr(error),
    )


def _disk_full(location: str, free: int | None = None, needed: int = 0) -> DiskFull:
    room = "" if free is None else f": {needed / 1e3:,.0f} kB to write, {free / 1e3:,.0f} kB free"
    return DiskFull(
        f"There is no space left in {location}{room}.",
        hint="Free space there, or run: lsl backup prune. Older snapshots are whole.",
    )

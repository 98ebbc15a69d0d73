"""Kills, full disks, several writers and hostile names: older snapshots stay what they were.

LSL_KILLS says at how many random points a process is killed; 20 without it.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest
from backup_helpers import project, save, save_archive, shapes, write_archive
from fsspec.implementations.memory import MemoryFileSystem

from lsl_core.backups import Repository, State, Subject, Tier, check, plan_prune, prune, verify
from lsl_core.backups import blobs as blobs_module
from lsl_core.backups import packs as packs_module
from lsl_core.backups.locking import reading, without_readers
from lsl_core.backups.store import LocalStore
from lsl_core.errors import BackupError, DiskFull, Locked

KILLS = int(os.environ.get("LSL_KILLS", "20"))

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


class DeadlyStore(LocalStore):
    """A folder whose process dies at the n-th change: before it, half way, or after it."""

    def __init__(self, root: Path, *, at: int, how: str) -> None:
        super().__init__(root)
        self.left = at
        self.how = how

    def _change(self, key: str, data: bytes | bytearray, do: Callable[[], None]) -> None:
        self.left -= 1
        if self.left == 0 and self.how == "half way":
            path = self._root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / f".{path.name}.x.part").write_bytes(data[: len(data) // 2])
        if self.left == 0 and self.how != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        do()
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, key: str, data: bytes | bytearray) -> None:
        self._change(key, data, lambda: LocalStore.write(self, key, data))

    def delete(self, key: str) -> None:
        self._change(key, b"", lambda: LocalStore.delete(self, key))


def content(number: int) -> bytes:
    return random.Random(number % 4).randbytes(30_000) + random.Random(number + 100).randbytes(
        30_000
    )


def a_day(repository: Repository) -> None:
    """Back up, verify, forget the oldest, prune, back up again."""
    save(repository, project(3), a=content(3), b=content(13))
    with repository.lock("care"):
        verify(repository)
        repository.forget(repository.snapshots()[-1:])
        prune(repository)
    save(repository, project(4), a=content(4))


def day_that_dies(folder: Path, *, at: int, how: str) -> int:
    """Live a day in a process that is killed; return its exit code, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            a_day(Repository.open(DeadlyStore(folder, at=at, how=how)))
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def changes_of_a_day(folder: Path) -> int:
    store = DeadlyStore(folder, at=0, how="before")
    a_day(Repository.open(store))
    return -store.left


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "FULL_PACK", 40_000)
    monkeypatch.setattr(blobs_module, "_PACKS_PER_INDEX", 2)


@needs_fork
@pytest.mark.usefixtures("small_packs")
@pytest.mark.timeout(600)
def test_a_kill_at_any_point_leaves_older_snapshots_whole(tmp_path: Path) -> None:
    base = Repository.create(tmp_path / "base")
    for number in range(3):
        save(base, project(number), a=content(number), b=content(number + 10))
    before = {one.id: one for one in base.snapshots()}
    oldest = base.snapshots()[-1].id
    neighbour = tmp_path / "neighbour"
    neighbour.write_bytes(b"not ours")

    shutil.copytree(tmp_path / "base", tmp_path / "counted")
    changes = changes_of_a_day(tmp_path / "counted")
    assert changes > 30
    shutil.rmtree(tmp_path / "counted")

    rng = random.Random(1)
    for kill in range(KILLS):
        folder = tmp_path / "killed"
        shutil.copytree(tmp_path / "base", folder)
        at, how = rng.randint(1, changes), rng.choice(["before", "half way", "after"])
        assert day_that_dies(folder, at=at, how=how) == -signal.SIGKILL

        repository = Repository.open(folder)
        found = {one.id: one for one in repository.snapshots(forgotten=True)}
        assert set(before) - set(found) <= {oldest}
        for one in found.values():
            number = one.subject.id
            assert repository.read(one, "a") == content(number), f"kill {kill} {how} change {at}"
        assert not check(repository).damaged
        # and life goes on: the lock of the dead is taken over, the next prune leaves no rest
        save(repository, project(9), a=content(9))
        with repository.lock("after"):
            prune(repository)
            assert verify(repository).is_good
        assert repository.index.unlisted() == {}
        shutil.rmtree(folder)
    assert neighbour.read_bytes() == b"not ours"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "neighbour"]


class SmallDisk(LocalStore):
    """A folder with room for so many bytes."""

    room = 10**9

    def write(self, key: str, data: bytes | bytearray) -> None:
        with self._speaking():
            if sum(self.list("").values()) + len(data) > self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
        super().write(key, data)


def test_a_full_disk_is_named_and_costs_no_older_snapshot(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "r")
    repository = Repository.create(disk)
    old = save(repository, a=content(1))
    disk.room = 100_000
    with pytest.raises(DiskFull, match=f"no space left in {tmp_path / 'r'}") as caught:
        save(repository, project(2), a=content(2))
    assert "Older snapshots are whole" in caught.value.hint
    assert repository.snapshots() == [old]
    assert repository.read(old, "a") == content(1)

    disk.room = 10**9
    assert save(repository, project(2), a=content(2)).state is State.OK
    with repository.lock("test"):
        repository.forget([old])
        disk.room = sum(disk.list("").values())
        with pytest.raises(DiskFull):
            prune(repository)
        disk.room = 10**9
        assert verify(repository).is_good
        prune(repository)
        assert verify(repository).is_good
    assert repository.read(repository.snapshot("latest"), "a") == content(2)


def test_a_prune_waits_for_whoever_restores_and_a_restore_for_a_prune(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "r")
    repository, other = Repository.create(disk), Repository.open(tmp_path / "r")
    old, new = save(repository, a=content(1)), save(repository, a=content(2))
    with repository.lock("test"):
        repository.forget([old])
        with reading(other.store, "restore"), reading(other.store, "drill"):
            with pytest.raises(Locked, match=r"in use by .* \((restore|drill), process"):
                prune(repository)
            assert other.read(old, "a") == content(1)
            assert save(repository, a=content(3)).state is State.OK  # backups go on
        refused = pytest.raises(Locked, match="prune")
        with without_readers(disk, "prune"), refused, reading(other.store, "restore"):
            pytest.fail("it was let in")
        disk.room = 0  # a full disk, or one that is mounted for reading only, is read all the same
        with reading(disk, "restore"):
            assert repository.read(new, "a") == content(2)
        disk.room = 10**9
        prune(repository)
    assert disk.list("reading") == disk.list("pruning") == {}
    assert old.id not in {one.id for one in repository.snapshots(forgotten=True)}


def test_a_reader_that_died_keeps_no_prune_away(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "r")
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    now = datetime.now(UTC).isoformat(timespec="seconds")
    left = {"user": "ana", "host": socket.gethostname(), "pid": int(dead.stdout),
            "purpose": "restore", "since": now, "seen": now}  # fmt: skip
    repository.store.write("reading/left", json.dumps(left).encode())
    with repository.lock("test"):
        prune(repository)
    assert repository.store.list("reading") == {}


def test_several_writers_at_once_take_turns_or_are_told(tmp_path: Path) -> None:
    Repository.create(tmp_path / "r")
    told: list[str] = []

    def write(number: int) -> None:
        repository = Repository.open(tmp_path / "r")
        for turn in range(4):
            try:
                save(repository, project(number), a=content(10 * number + turn))
            except Locked as error:
                told.append(str(error))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    repository = Repository.open(tmp_path / "r")
    found = repository.snapshots()
    assert len(found) + len(told) == 16
    assert sorted(one.sequence for one in found) == list(range(1, len(found) + 1))
    assert all("in use by" in line for line in told)
    with repository.lock("test"):
        assert verify(repository).is_good


def test_a_lock_that_was_left_behind_elsewhere_gives_way_after_half_an_hour(
    tmp_path: Path,
) -> None:
    repository = Repository.create(tmp_path / "r")
    lock = (
        '{{"user": "ana", "host": "elsewhere", "pid": 7, "purpose": "backup",'
        ' "since": "2026-01-01T00:00:00+00:00", "seen": "{}"}}'
    )
    seen = datetime.now(UTC) - timedelta(minutes=10)
    repository.store.write("locks/" + "a" * 32, lock.format(seen.isoformat()).encode())
    with (
        pytest.raises(Locked, match=r"ana on elsewhere .* since 2026-01-01 00:00 UTC"),
        repository.lock("x"),
    ):
        pass
    seen -= timedelta(minutes=21)
    repository.store.write("locks/" + "a" * 32, lock.format(seen.isoformat()).encode())
    save(repository, a=b"a")
    assert repository.lock_holders() == []


def test_a_writer_whose_lock_was_taken_away_writes_no_snapshot(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "r")

    def slept() -> None:
        with repository.lock("x"), repository.record(project(), Tier.FULL) as draft:
            draft.add("a", b"a")
            repository.unlock()

    with pytest.raises(Locked, match="taken away"):
        slept()
    assert repository.snapshots() == []


def test_a_clock_that_goes_back_changes_no_order(tmp_path: Path) -> None:
    times = [datetime(2026, 11, 20, tzinfo=UTC) - timedelta(days=n) for n in range(40)]
    left = iter(times)
    repository = Repository.create(tmp_path / "r", clock=lambda: next(left))
    saved = [save(repository, a=content(n)) for n in range(5)]
    assert repository.snapshots() == saved[::-1]
    assert repository.snapshot("latest") == saved[-1]
    assert all(one.finished >= one.started for one in saved)


@pytest.mark.parametrize(
    "name", ["road_signs", "road_markings", "../../x", "🔩🔩", "a/b", "C:\\x", "", ".", "x" * 5000]
)
def test_names_are_data_and_become_no_path(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "deep" / "er" / "repository"
    repository = Repository.create(inside)
    subject = Subject(url="http://../../x", kind="task", id=3, name=name, organisation=name)
    with repository.lock(name), repository.record(subject, Tier.FULL, reason=name) as draft:
        draft.add(name, b"content")
        draft.add_json(f"{name}.json", {name: name})
    snapshot = repository.snapshot("latest")
    assert snapshot.subject.name == name
    assert repository.read(snapshot, name) == b"content"
    key = re.compile(r"config(\.copy)?\.json|(packs/[0-9a-f]{2}|index|snapshots)/[0-9a-f]{64}")
    assert all(key.fullmatch(found) for found in repository.store.list(""))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(inside) for path in files)


class SlowMoveFileSystem(MemoryFileSystem):
    """A file system that cannot store an object in one act, such as WebDAV."""

    protocol = "slowmove"
    broken = False

    def mv(self, path1: str, path2: str, **options: object) -> None:
        if self.broken:
            raise ConnectionResetError("gone")
        super().mv(path1, path2, **options)


def test_a_store_without_atomic_writes_gets_whole_files_by_moving_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fsspec.register_implementation("slowmove", SlowMoveFileSystem, clobber=True)
    repository = Repository.create("slowmove://r")
    saved = save(repository, a=content(1))
    monkeypatch.setattr(SlowMoveFileSystem, "broken", True)
    with pytest.raises(BackupError, match="cannot be used"):
        save(repository, a=content(2))
    assert not any(key.endswith(".part") for key in repository.store.list(""))
    monkeypatch.setattr(SlowMoveFileSystem, "broken", False)
    repository = Repository.open("slowmove://r")
    repository.unlock()
    assert repository.snapshots() == [saved]
    assert repository.read(saved, "a") == content(1)


def test_a_place_that_is_no_place_is_named() -> None:
    with pytest.raises(BackupError, match="nosuch://x cannot be used"):
        Repository.create("nosuch://x")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackupError, match="file/below cannot be used: Not a directory"):
        Repository.create(tmp_path / "file" / "below")


def test_a_folder_without_backups_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="There are no backups"):
        Repository.open(tmp_path)
    Repository.create(tmp_path)
    with pytest.raises(BackupError, match="already holds backups"):
        Repository.create(tmp_path)


def test_a_reader_finds_what_a_prune_moved_meanwhile(tmp_path: Path) -> None:
    writer = Repository.create(tmp_path / "r")
    first = save(writer, a=content(1))
    save(writer, b=content(2))
    reader = Repository.open(tmp_path / "r")
    assert reader.read(first, "a") == content(1)
    with writer.lock("test"):
        assert plan_prune(writer).rewrite
        prune(writer)
    assert reader.read(first, "a") == content(1)


def test_an_interrupted_backup_is_not_in_vain(tmp_path: Path, small_packs: None) -> None:
    repository = Repository.create(tmp_path / "r")
    path = write_archive(tmp_path / "a.zip", images=40, objects=shapes(500))

    def interrupted() -> None:
        with repository.lock("x"), repository.record(project(), Tier.FULL) as draft:
            draft.add_archive("task.zip", path)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert repository.snapshots() == []
    again = save_archive(Repository.open(tmp_path / "r"), path)
    assert again.added_bytes < 0.4 * path.stat().st_size

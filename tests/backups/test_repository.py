from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from backup_helpers import project, save, save_archive, shapes, write_archive

from lsl_core.backups import Repository, State, Tier
from lsl_core.errors import BackupError, CvatError, Locked, RunCancelled, SnapshotMissing


@pytest.fixture(params=["folder", "url"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "there") if request.param == "folder" else f"memory://{tmp_path}"


def test_what_was_saved_is_read_back_after_opening_anew(location: str) -> None:
    snapshot = save(Repository.create(location), notes=b"hello", empty=b"")

    repository = Repository.open(location)
    assert repository.snapshot("latest") == snapshot == repository.snapshot(snapshot.short_id)
    assert repository.read(snapshot, "notes") == b"hello"
    assert repository.read(snapshot, "empty") == b""
    with pytest.raises(SnapshotMissing, match="has no"):
        repository.read(snapshot, "other")


def test_the_same_bytes_are_stored_once(location: str) -> None:
    repository = Repository.create(location)
    first = save(repository, project(1), a=b"x" * 100_000)
    second = save(repository, project(2), b=b"x" * 100_000)

    assert first.added_bytes > 0
    assert second.added_bytes == 0
    assert repository.read(second, "b") == b"x" * 100_000


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_comes_back_to_the_last_bit(
    repository: Repository, tmp_path: Path, method: int
) -> None:
    path = write_archive(tmp_path / "a.zip", objects=shapes(300), method=method)
    snapshot = save_archive(repository, path)

    assert repository.extract(snapshot, "task.zip", tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == path.read_bytes()
    assert len([*repository.members(snapshot, "task.zip")]) == 7


def test_a_snapshot_that_lacks_something_is_partial(repository: Repository) -> None:
    with repository.lock("test"), repository.record(project(), Tier.FULL) as draft:
        draft.lack("issues", "The server refused: 403.")
    assert draft.snapshot is not None
    assert draft.snapshot.state is State.PARTIAL
    assert draft.snapshot.missing[0].why == "The server refused: 403."


def test_a_failure_is_recorded_with_its_reason(repository: Repository) -> None:
    with (
        repository.lock("test"),
        pytest.raises(CvatError),
        repository.record(project(), Tier.FULL),
    ):
        raise CvatError("The server is gone.")
    (snapshot,) = repository.snapshots()
    assert snapshot.state is State.FAILED
    assert snapshot.missing[0].why == "The server is gone."


def test_a_cancelled_backup_leaves_no_snapshot(repository: Repository) -> None:
    with (
        repository.lock("test"),
        pytest.raises(RunCancelled),
        repository.record(project(), Tier.FULL),
    ):
        raise RunCancelled("stop")
    assert repository.snapshots() == []


def test_writing_needs_the_lock(repository: Repository) -> None:
    with pytest.raises(ValueError, match="lock"), repository.record(project(), Tier.FULL):
        pass


def test_a_second_writer_is_told_who_writes_and_since_when(
    repository: Repository, location: str
) -> None:
    first = Repository.create(location)
    second = Repository.open(location)
    with (
        first.lock("hourly backup"),
        pytest.raises(Locked, match=r"hourly backup, process \d+.*since 20"),
        second.lock("prune"),
    ):
        pass
    with second.lock("prune"):
        pass


def test_forgotten_snapshots_come_back_until_a_prune(repository: Repository) -> None:
    snapshot = save(repository, a=b"a")
    with repository.lock("test"):
        repository.forget([snapshot])
        assert repository.snapshots() == []
        repository.undelete(repository.snapshots(forgotten=True))
    assert repository.snapshots() == [snapshot]


def test_a_protected_snapshot_is_not_forgotten(repository: Repository) -> None:
    snapshot = save(repository, a=b"a")
    with repository.lock("test"):
        snapshot = repository.protect(snapshot, note="golden set")
        with pytest.raises(BackupError, match="protected"):
            repository.forget([snapshot])
    assert repository.snapshot("latest").marks.note == "golden set"

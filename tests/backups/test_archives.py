from __future__ import annotations

import random
import zipfile
import zlib
from pathlib import Path

import pytest
from backup_helpers import jpeg, project, save_archive, shapes, write_archive

from lsl_core.backups import Repository, State, Tier, frame_names, read_frames, task_folders
from lsl_core.backups import archives as module
from lsl_core.errors import Damaged, SnapshotMissing


def write(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_an_archive_of_another_compressor_comes_back_to_the_last_bit(
    repository: Repository, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("annotations.json", b"[1, 2, 3, 5, 8] " * 5000)
    snapshot = save_archive(repository, path)

    assert [one.how for one in repository.members(snapshot, "task.zip")] == ["raw"]
    assert repository.extract(snapshot, "task.zip", tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == path.read_bytes()
    assert repository.read_member(snapshot, "task.zip", "annotations.json")[:8] == b"[1, 2, 3"


def test_with_another_zlib_the_archive_has_the_same_members_and_bytes(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_archive(tmp_path / "a.zip", objects=shapes(300))
    snapshot = save_archive(repository, path)
    monkeypatch.setattr(
        module, "_deflate", lambda blocks: iter([zlib.compress(b"".join(blocks), 1)[2:-4]])
    )

    assert not repository.extract(snapshot, "task.zip", tmp_path / "b.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.zip") as new:
        assert new.testzip() is None
        for before, after in zip(old.infolist(), new.infolist(), strict=True):
            assert (after.filename, after.compress_type, after.date_time, after.CRC) == (
                before.filename, before.compress_type, before.date_time, before.CRC,
            )  # fmt: skip


def test_odd_archives_come_back_to_the_last_bit(repository: Repository, tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.zip", {})
    odd = write(tmp_path / "odd.zip", {"Ünïcode/🔩.json": b"{}", "leer.txt": b"", "ordner/": b""})
    with zipfile.ZipFile(odd, "a") as archive:
        archive.comment = b"a comment"
    front = tmp_path / "front.zip"
    front.write_bytes(b"something before" + odd.read_bytes())
    for path in (empty, odd, front):
        snapshot = save_archive(repository, path)
        assert repository.extract(snapshot, "task.zip", tmp_path / "back.zip")
        assert (tmp_path / "back.zip").read_bytes() == path.read_bytes()


def test_changing_one_shape_in_a_hundred_stores_little(
    repository: Repository, tmp_path: Path
) -> None:
    objects = shapes(2000)
    first = save_archive(repository, write_archive(tmp_path / "1.zip", objects=objects))
    rng = random.Random(1)
    for at, fresh in zip(rng.sample(range(2000), 20), shapes(20, seed=9), strict=True):
        objects[at] = fresh
    second = save_archive(repository, write_archive(tmp_path / "2.zip", objects=objects))
    assert second.added_bytes < 0.2 * first.added_bytes
    assert second.files[0].sha256 != first.files[0].sha256


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "data/../../x", "..\\x", "C:\\x", "data\\..\\..\\x"]
)
def test_an_archive_that_would_leave_its_folder_is_refused(
    repository: Repository, tmp_path: Path, name: str
) -> None:
    with pytest.raises(Damaged, match="was not saved"):
        save_archive(repository, write(tmp_path / "a.zip", {"task.json": b"{}", name: b"x"}))
    assert repository.snapshots()[0].state is State.FAILED


def test_a_bomb_is_refused_before_it_goes_off(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGE", 1 << 20)
    path = write(tmp_path / "a.zip", {"a.json": bytes(1 << 22)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(Damaged, match="would become 4,194,304"):
        save_archive(repository, path)


def test_a_bomb_that_lies_about_its_size_is_refused(repository: Repository, tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"a.json": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    size = (1 << 20).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(Damaged, match="no whole archive"):
        save_archive(repository, path)


def test_members_that_overlap_are_refused(repository: Repository, tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"a": b"a" * 100, "b": b"b" * 100})
    data = path.read_bytes()
    at = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: at + 42] + bytes(4) + data[at + 46 :])
    with pytest.raises(Damaged, match="overlap"):
        save_archive(repository, path)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_cut_archive_is_refused(
    repository: Repository, tmp_path: Path, part: float, method: int
) -> None:
    path = write_archive(tmp_path / "a.zip", objects=shapes(100), method=method)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(Damaged, match="no whole archive"):
        save_archive(repository, path)


def test_an_archive_with_a_flipped_bit_is_refused_or_is_the_same_archive(
    repository: Repository, tmp_path: Path
) -> None:
    data = write_archive(tmp_path / "a.zip", objects=shapes(50), images=2).read_bytes()
    rng = random.Random(3)
    refused = 0
    for _ in range(40):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path = tmp_path / "flipped.zip"
        path.write_bytes(flipped)
        try:
            snapshot = save_archive(repository, path)
        except Damaged:
            refused += 1
            continue
        # a bit of a date or of an unused field: zip has no checksum there, ours keeps it
        repository.extract(snapshot, "task.zip", tmp_path / "back.zip")
        assert (tmp_path / "back.zip").read_bytes() == flipped
    assert refused > 25


def test_the_images_of_an_archive_are_found_by_frame(
    repository: Repository, tmp_path: Path
) -> None:
    lines = b'{"version": "1.1"}\n{"type": "images"}\n' + b"".join(
        b'{"name": "%d", "extension": ".jpg"}\n' % number for number in (7, 3)
    )
    entries = {"project.json": b"{}"}
    for task in range(2):
        entries |= {
            f"task_{task}/data/3.jpg": jpeg(3), f"task_{task}/data/7.jpg": jpeg(7),
            f"task_{task}/data/manifest.jsonl": lines, f"task_{task}/task.json": b"{}",
        }  # fmt: skip
    with repository.lock("test"), repository.record(project(), Tier.FULL) as draft:
        draft.add_archive("project.zip", write(tmp_path / "a.zip", entries))
    snapshot = repository.snapshot("latest")

    assert task_folders(repository, snapshot, "project.zip") == ["task_0/", "task_1/"]
    assert frame_names(repository, snapshot, "project.zip", "task_1/") == ["7.jpg", "3.jpg"]
    found = read_frames(repository, snapshot, "project.zip", [1, 0], "task_1/")
    assert found == {0: jpeg(7), 1: jpeg(3)}
    with pytest.raises(SnapshotMissing, match="2 frames, and no frame 2"):
        read_frames(repository, snapshot, "project.zip", [2], "task_1/")

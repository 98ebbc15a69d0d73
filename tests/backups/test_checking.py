from __future__ import annotations

import random
from pathlib import Path

import pytest
from backup_helpers import project, save, save_archive, shapes, write_archive

from lsl_core.backups import Repository, Tier, check, plan_prune, prune, verify
from lsl_core.errors import BackupError, Damaged


def _files(repository: Repository) -> list[Path]:
    return sorted(path for path in Path(repository.location).rglob("*") if path.is_file())


def test_a_whole_repository_is_found_whole(repository: Repository, tmp_path: Path) -> None:
    save_archive(repository, write_archive(tmp_path / "a.zip", objects=shapes(100)))
    assert check(repository).is_good
    with repository.lock("test"):
        report = verify(repository)
    assert report.is_good
    assert repository.snapshot("latest").is_verified


@pytest.mark.parametrize("place", range(12))
def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path, place: int) -> None:
    rng = random.Random(place)
    repository = Repository.create(tmp_path / "repository")
    for number in range(2):
        path = write_archive(tmp_path / f"{number}.zip", objects=shapes(100, seed=number))
        save_archive(repository, path, project(number))
    files = _files(repository)
    victim = files[place % len(files)]
    data = bytearray(victim.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    victim.write_bytes(data)

    repository = Repository.open(tmp_path / "repository")
    with repository.lock("test"):
        report = verify(repository)
    assert not report.is_good


def test_damage_names_the_snapshots_it_touches_and_those_that_are_whole(
    repository: Repository, tmp_path: Path
) -> None:
    hurt = save(repository, project(1), a=b"a" * 5000)
    whole = save(repository, project(2), b=b"b" * 5000)
    place = repository.index.find(bytes.fromhex(hurt.files[0].content.pieces[0]))
    assert place is not None
    pack = tmp_path / "repository" / "packs" / place.pack[:2] / place.pack
    pack.write_bytes(pack.read_bytes()[:-4] + b"oops")

    with repository.lock("test"):
        report = verify(repository)
    assert set(report.damaged) == {hurt.id}
    assert report.whole == (whole.id,)
    assert repository.read(whole, "b") == b"b" * 5000
    with pytest.raises(Damaged, match="lsl backup verify"):
        repository.read(hurt, "a")


def test_the_next_backup_heals_what_verify_found_damaged(
    repository: Repository, tmp_path: Path
) -> None:
    first = save(repository, a=b"a" * 5000)
    (pack,) = (tmp_path / "repository" / "packs").rglob("??*/*")
    pack.write_bytes(bytes(pack.stat().st_size))
    with repository.lock("test"):
        assert not verify(repository).is_good
    save(repository, a=b"a" * 5000)

    assert repository.read(first, "a") == b"a" * 5000
    with repository.lock("test"):
        assert not verify(repository).damaged


def test_a_lost_index_loses_nothing(repository: Repository, tmp_path: Path) -> None:
    first = save(repository, a=b"a" * 5000)
    for path in (tmp_path / "repository" / "index").iterdir():
        path.write_bytes(b"rubbish")
    repository = Repository.open(tmp_path / "repository")

    assert repository.read(first, "a") == b"a" * 5000
    assert not check(repository).is_good
    second = save(repository, a=b"a" * 5000, b=b"b" * 5000)
    assert repository.read(second, "b") == b"b" * 5000


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("data/1.jpg", b"\xff\xd8\xff cut", "cut off"),
        ("data/1.png", b"no image at all, but long enough" * 9, "no image"),
        ("annotations.json", b'[{"shapes": ', "cannot be opened"),
    ],
)
def test_verify_opens_what_cvat_made(
    repository: Repository, name: str, data: bytes, told: str
) -> None:
    with repository.lock("test"):
        with repository.record(project(), Tier.FULL) as draft:
            draft.add(name, data)
        report = verify(repository)
    assert told in report.damaged[repository.snapshot("latest").id][0]


def test_prune_removes_what_only_forgotten_snapshots_need(repository: Repository) -> None:
    rng = random.Random(1)
    shared, gone, stays = (rng.randbytes(200_000) for _ in range(3))
    old = save(repository, a=shared, b=gone)
    new = save(repository, a=shared, c=stays)
    with repository.lock("test"):
        repository.forget([old])
        plan = plan_prune(repository)
        assert repository.read(old, "b") == gone  # a dry run changes nothing
        prune(repository)
    assert plan.frees_bytes >= 200_000
    assert "Remove full snapshot" in plan.lines[0]
    stored = sum(repository.store.list("packs").values())
    assert 400_000 <= stored < 410_000
    assert repository.snapshots(forgotten=True) == [new]
    assert repository.read(new, "a") == shared
    assert repository.read(new, "c") == stays
    assert check(repository).is_good


def test_small_packs_become_one_and_pruning_again_changes_nothing(
    repository: Repository,
) -> None:
    saved = [save(repository, a=bytes([number]) * 3000) for number in range(5)]
    with repository.lock("test"):
        prune(repository)
    after = repository.store.list("")
    with repository.lock("test"):
        prune(repository)
    assert repository.store.list("") == after
    assert len(repository.store.list("packs")) == 1
    assert [repository.read(one, "a")[0] for one in saved] == [0, 1, 2, 3, 4]


def test_nothing_is_pruned_while_a_snapshot_cannot_be_read(
    repository: Repository, tmp_path: Path
) -> None:
    hurt = save(repository, a=b"a" * 3000)
    save(repository, b=b"b" * 3000)
    (tmp_path / "repository" / "snapshots" / hurt.id).write_bytes(b"rubbish")
    before = repository.store.list("packs")
    with repository.lock("test"):
        with pytest.raises(BackupError, match="Nothing was pruned"):
            prune(repository)
        assert repository.store.list("packs") == before
        prune(repository, give_up=[hurt.id])
    assert check(repository).is_good


def test_a_prune_removes_no_snapshot_that_nobody_saw_in_its_plan(repository: Repository) -> None:
    old, later, new = (save(repository, a=bytes([number]) * 3000) for number in range(3))
    with repository.lock("test"):
        repository.forget([old])
        seen = plan_prune(repository)
        repository.forget([later])
        with pytest.raises(BackupError, match=f"{later.short_id} would go too"):
            prune(repository, seen=seen)
        assert len(repository.snapshots(forgotten=True)) == 3
        repository.undelete([later])
        prune(repository, seen=seen)
    assert repository.snapshots(forgotten=True) == [new, repository.snapshot(later.id)]


def test_damaged_marks_keep_a_snapshot(repository: Repository, tmp_path: Path) -> None:
    one = save(repository, a=b"a")
    with repository.lock("test"):
        repository.protect(one)
    (tmp_path / "repository" / "marks" / one.id).write_bytes(b"rubbish")
    assert repository.snapshot("latest").marks.protected

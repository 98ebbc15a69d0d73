from __future__ import annotations

import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from backup_helpers import project, save, save_archive, write_archive

from lsl_core.backups import (
    Passphrase,
    RandomKey,
    Repository,
    check,
    key_from_keyring,
    make_key_file,
    prune,
    read_key_file,
    verify,
)
from lsl_core.errors import BackupError, UserInput


def _all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_an_encrypted_repository_does_all_that_a_plain_one_does(tmp_path: Path) -> None:
    key = make_key_file(tmp_path / "key")
    repository = Repository.create(tmp_path / "r", key=key)
    path = write_archive(tmp_path / "a.zip")
    old = save(repository, secret=b"gone")
    save_archive(repository, path, project(1, "TopSecretProject"))

    repository = Repository.open(tmp_path / "r", key=read_key_file(tmp_path / "key"))
    with repository.lock("test"):
        assert verify(repository).is_good
        repository.forget([old])
        prune(repository)
    assert check(repository).is_good
    assert repository.extract(repository.snapshot("latest"), "task.zip", tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == path.read_bytes()


def test_nothing_on_disk_tells_what_is_inside(tmp_path: Path) -> None:
    key = RandomKey(bytes(range(32)))
    repositories = [Repository.create(tmp_path / name, key=key) for name in ("a", "b")]
    for repository in repositories:
        save(repository, project(1, "TopSecretProject"), a=b"the same words, twice " * 99)
    for folder in (tmp_path / "a", tmp_path / "b"):
        stored = _all_bytes(folder)
        for word in (b"TopSecret", b"the same words", b"annotations", key.value):
            assert word not in stored
    names = [{p.name for p in (tmp_path / n).rglob("*") if len(p.name) == 64} for n in "ab"]
    assert names[0]
    assert names[0].isdisjoint(names[1])  # equal content, other names


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (RandomKey(b"a" * 32), RandomKey(b"b" * 32)),
        (RandomKey(b"a" * 32), None),
        (RandomKey(b"a" * 32), Passphrase("a")),
        (Passphrase("correct horse"), Passphrase("correct house")),
    ],
    ids=["another key", "no key", "a passphrase", "another passphrase"],
)
def test_the_wrong_key_gives_one_clear_line(
    tmp_path: Path, right: RandomKey | Passphrase, wrong: RandomKey | Passphrase | None
) -> None:
    Repository.create(tmp_path / "r", key=right)
    Repository.open(tmp_path / "r", key=right)
    with pytest.raises(BackupError) as caught:
        Repository.open(tmp_path / "r", key=wrong)
    assert "\n" not in str(caught.value)
    assert "key" in caught.value.message or "passphrase" in caught.value.message


def test_one_of_two_damaged_configs_costs_nothing(tmp_path: Path) -> None:
    key = RandomKey(b"a" * 32)
    saved = save(Repository.create(tmp_path / "r", key=key), a=b"a")
    (tmp_path / "r" / "config.json").write_bytes(b"rubbish")

    repository = Repository.open(tmp_path / "r", key=key)
    assert repository.read(saved, "a") == b"a"
    assert "config.json" in check(repository).problems[0]


def test_a_key_file_is_for_its_owner_and_is_never_overwritten(tmp_path: Path) -> None:
    key = make_key_file(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    with pytest.raises(UserInput, match="exists"):
        make_key_file(tmp_path / "key")
    assert read_key_file(tmp_path / "key") == key
    (tmp_path / "key").write_text("no key")
    with pytest.raises(UserInput, match="holds no backup key"):
        read_key_file(tmp_path / "key")


def test_keys_do_not_show_when_they_are_printed() -> None:
    assert "horse" not in repr(Passphrase("correct horse"))
    assert "aaa" not in repr(RandomKey(b"a" * 32))


def test_a_keyring_keeps_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[tuple[str, str], str] = {}
    ring = SimpleNamespace(
        get_password=lambda service, name: kept.get((service, name)),
        set_password=lambda service, name, value: kept.update({(service, name): value}),
    )
    monkeypatch.setitem(sys.modules, "keyring", ring)
    with pytest.raises(UserInput, match="no key for here"):
        key_from_keyring("here")
    key = key_from_keyring("here", make=True)
    assert key_from_keyring("here") == key
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(UserInput, match="no keyring"):
        key_from_keyring("here")

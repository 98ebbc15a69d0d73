from __future__ import annotations

import errno
import os
import resource
import time
from pathlib import Path

import pytest

from lsl_core.errors import DiskFull, UserInput, WorkspaceError
from lsl_core.workspace.files import (
    Drafts,
    atomic_path,
    check_name,
    link_or_copy,
    read_json,
    safe_relative,
    write_atomic,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    write_atomic(path, b"old")

    def write_half() -> None:
        with atomic_path(path) as part:
            part.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="no space left"), atomic_path(tmp_path / "big"):
        raise OSError(errno.ENOSPC, "no space")
    assert list(tmp_path.iterdir()) == []


def test_drafts_take_their_places_together(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    drafts.add(tmp_path / "a" / "one", b"1")
    drafts.add(tmp_path / "two", b"2")
    assert not (tmp_path / "two").exists()
    drafts.keep()
    drafts.drop()
    assert (tmp_path / "a" / "one").read_bytes() == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "two"]


def test_dropped_drafts_leave_nothing(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    drafts.add(tmp_path / "one", b"1")
    drafts.drop()
    drafts.keep()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_an_hour_later(tmp_path: Path) -> None:
    for age_s in (10, 4000):  # of somebody who still writes, and of one who died
        left = Drafts(tmp_path)
        left.add(tmp_path / "a", b"left")
        (waiting,) = tmp_path.iterdir()
        os.utime(waiting, (time.time() - age_s,) * 2)
        Drafts(tmp_path).drop()
        assert waiting.exists() == (age_s < 3600)
        left.drop()


def test_a_draft_that_finds_no_room_for_its_end_is_no_file(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            drafts.add(tmp_path / "one", bytes(1500))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    drafts.keep()
    assert list(tmp_path.iterdir()) == []


def test_json_that_is_none_says_which_file(tmp_path: Path) -> None:
    path = tmp_path / "source.json"
    path.write_text("{")
    with pytest.raises(WorkspaceError, match="is damaged"):
        read_json(path)
    write_json(path, {"name": "größe"})
    assert read_json(path) == {"name": "größe"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.png", "a/b.png"),
        ("../../etc/passwd", "etc/passwd"),
        ("C:\\images\\a.png", "C_/images/a.png"),
        ("/abs/x.jpg", "abs/x.jpg"),
        ("..", "image"),
        ("weird\x00:name?.png", "weird__name_.png"),
    ],
)
def test_names_from_elsewhere_stay_inside_their_folder(name: str, expected: str) -> None:
    assert safe_relative(name) == Path(expected)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 81, "trailing.", "a\nb"])
def test_names_that_cannot_be_a_folder_are_refused(name: str) -> None:
    with pytest.raises(UserInput, match="cannot name a source"):
        check_name(name, what="source")


def test_a_link_replaces_what_was_there(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "sub" / "b"
    source.write_bytes(b"new")
    link_or_copy(source, target)
    link_or_copy(source, target)
    assert target.read_bytes() == b"new"

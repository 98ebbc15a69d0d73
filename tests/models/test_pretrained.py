"""Pretrained weights on disk: from a folder, from a hub, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lsl_core.errors import (
    DiskFull,
    FormatTooNew,
    HubUnreachable,
    RunCancelled,
    UserInput,
    WeightsDamaged,
    WeightsMissing,
)
from lsl_core.models.foundation import catalogue, store
from lsl_core.models.foundation.catalogue import CHECKPOINTS, DEFAULTS, Checkpoint, Role
from lsl_core.progress import NullProgress
from tests.models.fake_hub import COMMIT, FakeHub, serving

NET = Checkpoint("net", "a net", Role.SEGMENTER, repo="owner/net", licence="MIT", megabytes=1)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue also knows "net"."""
    monkeypatch.setitem(CHECKPOINTS, "net", NET)


@pytest.fixture
def hub(tiny: dict[str, Path], known: None) -> Iterator[FakeHub]:
    with serving(tiny["sam"], {"pytorch_model.bin": b"pickle", "README.md": b"#"}) as hub:
        yield hub


def test_every_checkpoint_of_the_catalogue_is_pinned_to_what_can_be_a_commit_and_a_hash() -> None:
    assert {DEFAULTS[role] for role in Role} <= set(CHECKPOINTS)
    assert all(CHECKPOINTS[name].role is role for role, name in DEFAULTS.items())
    for checkpoint in CHECKPOINTS.values():
        assert checkpoint.revision is None or len(checkpoint.revision) == 40
        assert all(len(digest) == 64 for digest in checkpoint.sha256.values())
        assert checkpoint.licence
    assert CHECKPOINTS["sam2.1-tiny"].sha256["model.safetensors"].startswith("48c14467")


def test_weights_of_a_folder_are_known_by_their_hashes(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    lock = store.pull("mine", tmp_path, source=tiny["sam2"], licence="CC0")
    assert (lock.role, lock.architecture, lock.origin) == (Role.SEGMENTER, "sam2", "folder")
    assert (lock.licence, lock.revision) == ("CC0", "")
    assert set(lock.files) == {"config.json", "model.safetensors"}
    assert store.check(tmp_path / "mine") == lock
    assert store.here(tmp_path) == [lock]
    assert lock.num_bytes == sum((tiny["sam2"] / name).stat().st_size for name in lock.files)
    other = store.pull("other", tmp_path, source=tiny["sam2"])
    assert other.sha256 == lock.sha256
    assert "not stated" in other.licence
    assert store.pull("third", tmp_path, source=tiny["sam"]).sha256 != lock.sha256


def test_a_first_pull_takes_the_newest_commit_and_the_next_the_same(
    hub: FakeHub, tmp_path: Path
) -> None:
    lock = store.pull("net", tmp_path, endpoint=hub.url)
    assert (lock.origin, lock.repo, lock.revision) == ("hub", "owner/net", COMMIT)
    assert lock.licence == "MIT"
    assert set(lock.files) == {"config.json", "model.safetensors"}, "never a pickle"
    assert sorted(p.name for p in (tmp_path / "net").iterdir()) == [
        "config.json", "lsl-lock.json", "model.safetensors",
    ]  # fmt: skip
    hub.commit = "b" * 40
    assert store.pull("net", tmp_path, endpoint=hub.url).revision == COMMIT
    assert store.check(tmp_path / "net").revision == COMMIT


def test_a_pinned_revision_is_what_is_asked_for(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = "c" * 40
    monkeypatch.setitem(CHECKPOINTS, "net", replace(NET, revision=pinned))
    assert store.pull("net", tmp_path, endpoint=hub.url).revision == pinned
    assert any(f"/resolve/{pinned}/model.safetensors" in line for line in hub.asked)


def test_a_file_that_is_not_what_the_hub_states_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    hub.lies["model.safetensors"] = "0" * 64
    with pytest.raises(WeightsDamaged, match="did not come as it is on the hub"):
        store.pull("net", tmp_path, endpoint=hub.url)
    assert list(tmp_path.iterdir()) == [], "nothing half is left"


def test_weights_larger_than_the_disk_are_refused_before_anything_is_downloaded(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.stated_bytes = 10**18
    with pytest.raises(DiskFull, match="no space") as caught:
        store.pull("net", tmp_path, endpoint=hub.url)
    assert "MB under" in caught.value.hint
    assert not any("/resolve/" in line for line in hub.asked)
    assert list(tmp_path.iterdir()) == [], "nothing half is left"


def test_what_is_not_published_under_a_known_name_is_refused(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsDamaged, match=r"not what is published as sam2\.1-tiny") as error:
        store.pull("sam2.1-tiny", tmp_path, source=tiny["sam2"])
    assert "choose another name" in error.value.hint
    monkeypatch.setitem(CHECKPOINTS, "net", NET)
    store.pull("net", tmp_path, source=tiny["sam"])
    monkeypatch.setitem(CHECKPOINTS, "net", replace(NET, sha256={"model.safetensors": "0" * 64}))
    with pytest.raises(WeightsDamaged, match="not what is published"):
        store.check(tmp_path / "net")


def test_a_hub_that_does_not_answer_is_said_with_the_way_around_it(
    known: None, tmp_path: Path
) -> None:
    with pytest.raises(HubUnreachable, match="owner/net could not be had") as error:
        store.pull("net", tmp_path, endpoint="http://127.0.0.1:9")
    assert "lsl models pull net --from FOLDER" in error.value.hint
    assert list(tmp_path.iterdir()) == []


class Stopping(NullProgress):
    """Stops the work when the first megabyte is there."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, str]] = []

    def start(self, step: str, *, total: int, unit: str) -> None:
        self.steps.append((step, total, unit))

    def check(self) -> None:
        raise RunCancelled("Stopped.")


def test_a_stopped_pull_leaves_what_was_there(hub: FakeHub, tmp_path: Path) -> None:
    before = store.pull("net", tmp_path, endpoint=hub.url)
    progress = Stopping()
    with pytest.raises(RunCancelled):
        store.pull("net", tmp_path, endpoint=hub.url, progress=progress)
    assert store.check(tmp_path / "net") == before
    assert [p.name for p in tmp_path.iterdir()] == ["net"]
    assert progress.steps == [("Getting owner/net", 1, "MB")]


def test_a_name_that_nobody_knows_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserInput, match='known as "nothing"') as error:
        store.pull("nothing", tmp_path)
    assert "rf-detr-medium" in error.value.hint
    with pytest.raises(UserInput, match="cannot name a checkpoint"):
        store.pull("../up", tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no config.json"),
        ({"config.json": '{"model_type": "sam"}'}, "no weights as safetensors"),
        ({"config.json": '{"model_type": "sam"}', "model.bin": ""}, "no weights as safetensors"),
        ({"config.json": '{"model_type": "bert"}', "m.safetensors": ""}, 'kind "bert"'),
        ({"config.json": "[]", "m.safetensors": ""}, 'kind "None"'),
    ],
    ids=["empty", "no weights", "pickles", "language", "no configuration"],
)
def test_a_folder_that_is_no_checkpoint_is_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    source, shelf = tmp_path / "source", tmp_path / "shelf"
    source.mkdir()
    for name, text in files.items():
        (source / name).write_text(text)
    with pytest.raises(UserInput, match=message):
        store.pull("mine", shelf, source=source)
    assert list(shelf.iterdir()) == []


def test_a_lock_that_cannot_be_read_or_is_newer_is_said(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    store.pull("mine", tmp_path, source=tiny["sam"])
    path = tmp_path / "mine" / store.LOCK_NAME
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"format_version": 2}))
    with pytest.raises(FormatTooNew):
        store.check(tmp_path / "mine")
    path.write_text("{")
    with pytest.raises(WeightsDamaged, match="cannot be read"):
        store.check(tmp_path / "mine")
    path.unlink()
    with pytest.raises(WeightsMissing, match='"mine" are not here'):
        store.check(tmp_path / "mine")
    assert store.here(tmp_path) == []


def test_the_catalogue_and_the_store_load_without_torch() -> None:
    import subprocess
    import sys

    code = "import sys, lsl_core.models.foundation.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(catalogue.ARCHITECTURES.values()) == set(Role)

"""Scenes drawn by rule, weights trained on them, and trainings that start from such weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lsl_core.errors import ModelError
from lsl_core.models.compact import START
from lsl_core.models.compact.network import CompactNetwork
from lsl_core.models.compact.transform import TRANSFORM_VERSION
from lsl_core.progress import NULL
from lsl_core.training import FitSettings, fit
from lsl_core.training.common.settings import Budget
from lsl_core.training.compact.compact_loop import RECIPES, start_from
from lsl_core.training.examples.procedural import draw_scene
from lsl_core.training.pretrain import pretrain
from lsl_core.types import Mode
from lsl_core.workspace.files import sha256_file
from tests.training.easy import LABELS, easy_samples


def network(mode: Mode = Mode.FSIS, *, num_labels: int = 1, seed: int = 1) -> CompactNetwork:
    torch.manual_seed(seed)
    return CompactNetwork(mode, num_labels=num_labels, width=RECIPES[mode].width)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(tmp_path_factory.mktemp("start"), Budget(2, None))


def test_scenes_have_objects_that_differ_from_the_ground() -> None:
    counts = []
    for seed in range(12):
        pixels, ids = draw_scene(np.random.default_rng(seed))
        assert (pixels.shape, pixels.dtype) == ((224, 224, 3), np.uint8)
        assert (ids.shape, ids.dtype) == ((224, 224), np.int32)
        assert (ids == 0).any(), "some ground is left"
        counts.append(len(np.unique(ids)) - 1)
        assert not np.array_equal(pixels[ids > 0].mean(axis=0), pixels[ids == 0].mean(axis=0))
    assert min(counts) >= 1
    assert max(counts) >= 20, "some scenes are full"


def test_a_seed_draws_the_same_scene_and_another_draws_another() -> None:
    first, again, other = (draw_scene(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_two_steps_on_scenes_write_weights_that_the_seed_decides(
    start: Path, tmp_path: Path
) -> None:
    names = sorted(path.name for path in start.parent.iterdir())
    assert names == ["start.json", "start.safetensors"]
    written, again = load_file(start), load_file(pretrain(tmp_path, Budget(2, None)))
    assert written.keys() == network().state_dict().keys()
    assert all(torch.equal(value, again[name]) for name, value in written.items())


def test_a_network_starts_from_a_file_but_learns_labels_anew(start: Path) -> None:
    given, before, after = load_file(start), network().state_dict(), network()
    start_from(after, start, NULL)
    for name, value in after.state_dict().items():
        source = before if name.startswith("label.") else given
        assert torch.equal(value, source[name]), name
    assert not torch.equal(before["stem.weight"], given["stem.weight"])


def test_the_weights_that_trainings_begin_from_are_those_of_their_card() -> None:
    card = json.loads(START.with_suffix(".json").read_text("utf-8"))
    assert card["weights_sha256"] == sha256_file(START)
    assert card["transform_version"] == TRANSFORM_VERSION
    assert START.stat().st_size < 25 * 2**20
    given, own = load_file(START), network().state_dict()
    assert all(given[name].shape == value.shape for name, value in own.items())
    assert FitSettings(Mode.FSIS).start == START


def test_tensors_of_another_shape_and_unknown_ones_are_left_out(
    start: Path, tmp_path: Path
) -> None:
    given = load_file(start)
    odd = tmp_path / "odd.safetensors"
    changed = {"stem.weight": torch.zeros(3, 3), "unknown": torch.zeros(1)}
    save_file({**given, **changed}, odd)
    before, after = network(Mode.FSOD, num_labels=3), network(Mode.FSOD, num_labels=3)
    start_from(after, odd, NULL)
    assert torch.equal(after.stem.weight, before.stem.weight)
    assert torch.equal(after.level4.first.weight, given["level4.first.weight"])


def test_a_training_starts_from_the_file_that_its_settings_name(start: Path) -> None:
    settings = [
        FitSettings(Mode.FSIS, iterations=1, threads=1, device="cpu", start=s)
        for s in (None, start)
    ]
    scratch, begun = (fit(easy_samples(1), [], settings=s, labels=LABELS).state for s in settings)
    given = load_file(start)["stem.weight"]
    near, far = ((state["stem.weight"] - given).abs().mean() for state in (begun, scratch))
    assert near < far / 10, "one step moves weights little"


@pytest.mark.parametrize("written", [b"no weights", None], ids=["damaged", "missing"])
def test_a_start_that_cannot_be_read_is_said(tmp_path: Path, written: bytes | None) -> None:
    path = tmp_path / "start.safetensors"
    if written is not None:
        path.write_bytes(written)
    with pytest.raises(ModelError, match="cannot start from") as error:
        start_from(network(), path, NULL)
    assert error.value.hint

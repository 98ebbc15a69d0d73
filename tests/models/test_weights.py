import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lsl_core.errors import DeviceMissing, FormatTooNew, UserInput, WeightsDamaged, WeightsMissing
from lsl_core.models import (
    FAMILIES,
    check_mode,
    devices,
    load_model,
    read_card,
    save_model,
    write_card,
)
from lsl_core.models.calibrated import calibrate, raw_floor
from lsl_core.models.compact.network import CompactNetwork
from lsl_core.models.devices import choose_device
from lsl_core.types import Beside, Comparison, Metrics, Mode, ModelCard, Shots, Verdict

CARD = ModelCard(
    id="m1",
    name="washers",
    family="compact",
    mode=Mode.FSIS,
    labels=("washer", "bolt"),
    parent=None,
    support="line 4",
    support_images=9,
    metrics=Metrics(0.5, 0.8, 0.6, {"washer": 0.5, "bolt": 0.5}, 3, 40, "masks"),
    thresholds={"washer": 0.4, "bolt": 0.35},
    window=1024,
    scale=0.7,
    settings={"width": 8, "least_range": 20.0},
    weights_sha256="",
    licence="yours",
    created="2025-01-01T00:00:00+00:00",
    format_version=2,
    comparison=Comparison(Verdict.WORSE, "m0", "AP", 0.6, 0.5, 3, 1),
    curve=((100, 0.3), (200, 0.5)),
    shots=(Shots(2, 0.4, None), Shots(4, 0.5, 0.02)),
    learnt=("aa", "bb"),
    held_out=("cc",),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    state = CompactNetwork(Mode.FSIS, num_labels=2, width=8).state_dict()
    save_model(tmp_path / "m1", CARD, state)
    return tmp_path / "m1"


def test_a_saved_model_loads_with_its_whole_card(folder: Path) -> None:
    card = read_card(folder)
    assert replace(card, weights_sha256="") == CARD
    assert len(card.weights_sha256) == 64
    model = load_model(folder, device="cpu")
    assert model.device == "cpu"
    window = np.zeros((64, 80, 3), np.uint8)
    assert model.predict([window], floor_score=0.9)[0].image_hw == (64, 80)
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "weights.safetensors"]


def test_a_card_of_the_first_format_is_still_read(folder: Path) -> None:
    path = folder / "card.json"
    fields = json.loads(path.read_text()) | {"format_version": 1}
    for later in ("comparison", "curve", "learnt", "held_out", "calibration"):
        del fields[later]
    path.write_text(json.dumps(fields))
    card = read_card(folder)
    assert (card.comparison, card.curve, card.calibration) == (None, (), None)
    assert card.fingerprint == card.weights_sha256


def test_a_calibrated_model_answers_with_chances_above_the_floor(folder: Path) -> None:
    window = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    raw = load_model(folder, device="cpu")
    write_card(folder, replace(raw.card, calibration=(0.5, 1.0)))
    ours = load_model(folder, device="cpu")
    assert ours.card.fingerprint != raw.card.fingerprint
    (plain,) = raw.predict([window], floor_score=raw_floor(0.3, (0.5, 1.0)))
    (found,) = ours.predict([window], floor_score=0.3)
    wanted = calibrate(plain.scores, (0.5, 1.0))
    assert found.scores.tolist() == wanted[wanted >= np.float32(0.3)].tolist()


def test_weights_that_changed_are_refused(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-7] ^= 1
    weights.write_bytes(data)
    with pytest.raises(WeightsDamaged, match='"washers" changed') as error:
        load_model(folder)
    assert error.value.hint


def test_weights_that_are_gone_are_said(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    with pytest.raises(WeightsMissing, match='"washers" are missing'):
        load_model(folder)
    with pytest.raises(WeightsMissing, match="no model in"):
        load_model(folder / "elsewhere")


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"mode": "no such mode"}', "null"], ids=lambda t: t
)
def test_a_card_that_cannot_be_read_is_said(folder: Path, text: str) -> None:
    (folder / "card.json").write_text(text)
    with pytest.raises(WeightsDamaged, match="cannot be read"):
        load_model(folder)


@pytest.mark.parametrize("change", [{"format_version": 3}, {"family": "enormous"}])
def test_a_model_of_a_newer_version_asks_for_an_update(folder: Path, change: dict) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FormatTooNew, match="newer version"):
        load_model(folder)


@pytest.mark.parametrize(
    "change", [{"labels": ["a", "b", "c"]}, {"mode": "fsod"}, {"settings": {}}]
)
def test_weights_of_another_network_are_refused(folder: Path, change: dict) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(WeightsDamaged, match="do not fit"):
        load_model(folder)


def test_a_save_that_stops_leaves_no_model(folder: Path) -> None:
    with pytest.raises(AttributeError):
        save_model(folder, CARD, {"broken": None})
    with pytest.raises(WeightsMissing):
        read_card(folder)


def test_auto_finds_a_device_and_a_missing_one_is_said() -> None:
    assert choose_device("auto").type in ("cuda", "mps", "cpu")
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(UserInput, match='no device "tpu"'):
        choose_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said(folder: Path) -> None:
    with pytest.raises(DeviceMissing, match='no "cuda" device') as error:
        load_model(folder, device="cuda")
    assert "cpu" in error.value.hint


def test_the_number_of_threads_is_followed_or_measured_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, runs = torch.get_num_threads(), []
    monkeypatch.setattr(devices, "_measured", [])
    monkeypatch.setattr(devices.os, "cpu_count", lambda: 2)
    try:
        assert devices.set_threads(1, lambda: runs.append(1)) == torch.get_num_threads() == 1
        assert devices.set_threads(None, lambda: runs.append(1)) == 1, "of OMP_NUM_THREADS"
        assert not runs
        monkeypatch.delenv("OMP_NUM_THREADS")
        found = devices.set_threads(None, lambda: runs.append(1))
        assert found == torch.get_num_threads()
        assert found in {1, 2}
        assert len(runs) == 6
        assert devices.set_threads(None, lambda: runs.append(1)) == found
        assert len(runs) == 6, "folds of a training share one answer"
    finally:
        torch.set_num_threads(before)


def test_a_mode_that_a_family_does_not_learn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in Mode:
        check_mode("compact", mode)
    only_masks = replace(FAMILIES["compact"], modes=(Mode.FSIS,))
    monkeypatch.setitem(FAMILIES, "masks", only_masks)
    with pytest.raises(UserInput, match="not available in this version") as error:
        check_mode("masks", Mode.WSIS)
    assert "fsis" in error.value.hint


def test_a_card_keeps_what_was_compared_by_label(tmp_path) -> None:
    row = Beside("masks", "cell", 0.5, 0.6)
    found = Comparison(Verdict.BETTER, "cells-v1", "AP", 0.5, 0.6, 3, rows=(row,))
    (tmp_path / "m").mkdir()
    write_card(tmp_path / "m", replace(CARD, comparison=found))
    assert read_card(tmp_path / "m").comparison == found
    plain = json.loads((tmp_path / "m" / "card.json").read_text())
    del plain["comparison"]["rows"]  # as versions before this one were kept
    (tmp_path / "m" / "card.json").write_text(json.dumps(plain))
    assert read_card(tmp_path / "m").comparison == replace(found, rows=())

"""Foundation models from tiny random networks, against what transformers itself answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lsl_core.errors import WeightsDamaged, WeightsMissing
from lsl_core.models import load_model, save_model
from lsl_core.models.foundation import embeddings as embeddings_module
from lsl_core.models.foundation import store
from lsl_core.models.foundation.catalogue import ROLES, Role
from lsl_core.models.foundation.detector import Detector
from lsl_core.models.foundation.embeddings import Embeddings
from lsl_core.models.foundation.loading import load_network
from lsl_core.models.foundation.model import Bases, FoundationModel, Tuned, build, open_bases
from lsl_core.models.foundation.pixels import longest_side, prepared
from lsl_core.models.foundation.segmenter import Segmenter, open_segmenter
from lsl_core.types import Mode, ModelCard, SoftMasks
from tests.models.test_weights import CARD
from tests.tiny import NAMES, SIDE

CPU = torch.device("cpu")
LABELS = ("washer", "bolt")


def window(hw: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (*hw, 3), np.uint8)


def folders(shelf: Path, mode: Mode, segmenter: str = "sam2") -> dict[Role, Path]:
    names = {Role.DETECTOR: NAMES["detector"], Role.SEGMENTER: NAMES[segmenter]}
    return {role: shelf / names[role] for role in ROLES[mode]}


def card_of(mode: Mode, segmenter: str = "sam2") -> ModelCard:
    names = {"detector": NAMES["detector"], "segmenter": NAMES[segmenter]}
    settings = {role: names[role] for role in ROLES[mode]}
    return replace(CARD, family="foundation", mode=mode, labels=LABELS, settings=settings)


def tuned_of(mode: Mode, bases: Bases) -> Tuned:
    """Something tuned that finds objects: boxes score about a half."""
    torch.manual_seed(1)
    tuned = Tuned(mode, bases, len(LABELS))
    if tuned.boxes is not None:
        torch.nn.init.constant_(tuned.boxes._network.class_embed.bias, 0.5)
    if tuned.labels is not None:
        torch.nn.init.normal_(tuned.labels.weight, std=3)
    return tuned


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_a_mask_is_what_transformers_draws_in_that_box(shelf: Path, kind: str) -> None:
    folder = shelf / NAMES[kind]
    lock = store.check(folder)
    ours, whole = open_segmenter(folder, lock), load_network(folder, lock)
    pixels, boxes = (
        window((40, 60)),
        torch.tensor([[10.0, 5.0, 40.0, 30.0], [0.0, 0.0, 60.0, 40.0]]),
    )
    size = ours.size_of((40, 60))
    zoom = torch.tensor([size[1] / 60, size[0] / 40] * 2)
    with torch.no_grad():
        features = [level[0] for level in ours.encode([pixels])]
        found = ours.decode(ours.decoder, features, ours.prompt(boxes, (40, 60)))
        asked = whole(
            prepared([pixels], [size], SIDE, CPU),
            input_boxes=(boxes * zoom)[None],
            multimask_output=False,
        )
    assert found.shape == (2, ours.grid, ours.grid)
    assert torch.allclose(found, asked.pred_masks[0, :, 0], atol=1e-5)


def test_a_detector_behind_its_encoder_answers_as_the_whole(shelf: Path) -> None:
    folder = shelf / NAMES["detector"]
    lock = store.check(folder)
    ours, whole = Detector.open(folder, lock), load_network(folder, lock)
    windows = [window((40, 60)), window((64, 64), 1)]
    with torch.no_grad():
        found = ours.head(ours.encode(windows)[0])
        asked = whole(prepared(windows, [(SIDE, SIDE)] * 2, SIDE, CPU))
    assert torch.allclose(found.logits, asked.logits, atol=1e-5)
    assert torch.allclose(found.pred_boxes, asked.pred_boxes, atol=1e-5)


def test_a_detector_for_other_labels_begins_with_the_class_heads_it_has(shelf: Path) -> None:
    folder = shelf / NAMES["detector"]
    detector = Detector.open(folder, store.check(folder))
    published = detector.head._network.class_embed.weight
    head = detector.head.for_labels(5)._network
    assert torch.equal(head.class_embed.weight, published[[0, 1, 2, 0, 1]])
    assert {h.out_features for h in head.model.enc_out_class_embed} == {5}
    assert all(p.requires_grad for p in head.parameters())
    assert not any(p.requires_grad for p in detector.head.parameters())
    assert detector.head._network.config.num_labels == 3


def test_pixels_are_prepared_as_the_processor_of_sam_does() -> None:
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    theirs = SamImageProcessorPil(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}
    )
    for hw in ((40, 60), (200, 90), (SIDE, SIDE)):
        pixels = window(hw)
        asked = theirs(pixels, return_tensors="pt")["pixel_values"][0]
        ours = prepared([pixels], [longest_side(hw, SIDE)], SIDE, CPU)[0]
        # PIL rounds to whole grey levels, of which one is about 0.02
        assert (ours - asked).abs().max() < 0.03


class Counted:
    """An encoder that counts the windows it has seen."""

    def __init__(self, sha256: str = "a") -> None:
        self.sha256, self.device, self.seen = sha256, CPU, 0

    def encode(self, windows: Sequence[NDArray[np.uint8]]) -> list[torch.Tensor]:
        self.seen += len(windows)
        return [torch.stack([torch.full((2, 2, 2), float(w.mean())) for w in windows])] * 2


def test_a_window_is_encoded_once_however_often_it_is_asked_for() -> None:
    encoder, kept = Counted(), Embeddings()
    windows = [window((20, 20), seed) for seed in (1, 2, 1)]
    first = kept.embed(encoder, windows)
    assert encoder.seen == 2
    again = kept.embed(encoder, [windows[1].copy()])
    assert encoder.seen == 2
    assert torch.equal(again[0][1], first[1][1])
    kept.embed(encoder, [windows[1].reshape(10, 40, 3)])
    kept.embed(Counted("b"), windows[:1])
    assert encoder.seen == 3, "the same bytes in another shape are another window"


def test_embeddings_on_disk_serve_another_process_and_damaged_ones_are_made_again(
    tmp_path: Path,
) -> None:
    encoder, windows = Counted(), [window((20, 20), seed) for seed in (1, 2)]
    before = Embeddings(tmp_path).embed(encoder, windows)
    after = Embeddings(tmp_path).embed(encoder, windows)
    assert encoder.seen == 2
    assert torch.equal(before[1][0], after[1][0])
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    Embeddings(tmp_path).embed(encoder, windows)
    assert encoder.seen == 4


def test_embeddings_stay_within_their_bytes(tmp_path: Path) -> None:
    encoder = Counted()
    size = sum(level.nbytes for level in Embeddings().embed(encoder, [window((9, 9))])[0])
    kept = Embeddings(tmp_path, memory_bytes=2 * size, disk_bytes=600)
    windows = [window((20, 20), seed) for seed in range(6)]
    for one in windows:
        kept.embed(encoder, [one])
    assert len(kept._kept) == 2
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 600
    seen = encoder.seen
    kept.embed(encoder, windows[-1:])
    assert encoder.seen == seen, "the newest stays"


@pytest.mark.parametrize("segmenter", ["sam", "sam2"])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_saved_model_loads_from_its_workspace_and_answers_as_before(
    shelf: Path, tmp_path: Path, mode: Mode, segmenter: str
) -> None:
    bases = open_bases(folders(shelf, mode, segmenter), CPU)
    tuned, card = tuned_of(mode, bases), card_of(mode, segmenter)
    (tmp_path / "pretrained").symlink_to(shelf)
    folder = tmp_path / "models" / "m1"
    folder.mkdir(parents=True)
    save_model(folder, card, {**tuned.state_dict(), **bases.hashes()})
    loaded = load_model(folder, device="cpu")
    windows = [window((50, 70)), window((64, 64), 1), window((8, 5), 2)]
    before = FoundationModel(card, bases, tuned).predict(windows, floor_score=0.05)
    found = loaded.predict(windows, floor_score=0.05)
    assert loaded.predict([], floor_score=0.05) == []
    assert sum(len(f) for f in found) > 0
    for old, new, pixels in zip(before, found, windows, strict=True):
        h, w = pixels.shape[:2]
        assert new.image_hw == (h, w)
        assert np.array_equal(old.boxes, new.boxes)
        assert (np.diff(new.scores) <= 0).all()
        assert (new.scores >= 0.05).all()
        assert (new.boxes >= 0).all()
        assert (new.boxes <= (w, h, w, h)).all()
        if mode is Mode.FSOD:
            assert new.masks is None
            continue
        assert isinstance(new.masks, SoftMasks)
        assert np.array_equal(old.masks.values, new.masks.values)
        ends = new.masks.crops[:, :2] + new.masks.crops[:, 2:]
        assert (new.masks.crops[:, :2] >= 0).all()
        assert (ends <= (w, h)).all()


@pytest.fixture
def model_folder(shelf: Path, tmp_path: Path) -> Path:
    """A model for boxes in a workspace with a shelf of its own."""
    bases = open_bases(folders(shelf, Mode.FSOD), CPU)
    store.pull(NAMES["detector"], tmp_path / "pretrained", source=shelf / NAMES["detector"])
    folder = tmp_path / "models" / "m1"
    folder.mkdir(parents=True)
    state = {**tuned_of(Mode.FSOD, bases).state_dict(), **bases.hashes()}
    save_model(folder, card_of(Mode.FSOD), state)
    return folder


def test_a_model_without_its_pretrained_weights_says_how_to_get_them(
    model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "pretrained").rename(tmp_path / "elsewhere")
    with pytest.raises(WeightsMissing, match='"tiny-detr" are not here') as error:
        load_model(model_folder, device="cpu")
    assert error.value.hint == "Get them: lsl models pull tiny-detr --from FOLDER"
    (tmp_path / "elsewhere").rename(model_folder / "pretrained")
    assert load_model(model_folder, device="cpu").device == "cpu", "carried along, they are found"


def test_a_model_refuses_other_weights_than_those_it_was_tuned_from(
    model_folder: Path, tiny: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    network = load_network(tiny["detector"], store.check(tmp_path / "pretrained" / "tiny-detr"))
    network.class_embed.bias.data += 1
    network.save_pretrained(other)
    store.pull("tiny-detr", tmp_path / "pretrained", source=other)
    with pytest.raises(WeightsDamaged, match="tuned from other weights") as error:
        load_model(model_folder, device="cpu")
    assert ".lsl/pretrained/tiny-detr" in error.value.hint


def test_pretrained_weights_that_changed_are_never_loaded(
    model_folder: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "pretrained" / "tiny-detr" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.unlink()  # it may be a link to where it came from
    weights.write_bytes(data)
    with pytest.raises(WeightsDamaged, match="changed since it was put here"):
        load_model(model_folder, device="cpu")
    weights.unlink()
    with pytest.raises(WeightsMissing, match="safetensors of the weights tiny-detr"):
        load_model(model_folder, device="cpu")


def test_a_model_whose_card_does_not_fit_its_weights_is_refused(shelf: Path) -> None:
    bases = open_bases(folders(shelf, Mode.FSOD), CPU)
    state = {**tuned_of(Mode.FSOD, bases).state_dict(), **bases.hashes()}
    with pytest.raises(WeightsDamaged, match="do not fit its description"):
        build(replace(card_of(Mode.FSOD), labels=("one",)), state, bases)


def test_weights_of_another_kind_than_wanted_are_refused(shelf: Path) -> None:
    with pytest.raises(WeightsDamaged, match="are a segmenter, not a detector"):
        open_bases({Role.DETECTOR: shelf / NAMES["sam"]}, CPU)


def test_weights_without_all_tensors_are_refused(shelf: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = shelf / NAMES["sam"]
    state = load_file(source / "model.safetensors")
    state.pop("mask_decoder.iou_token.weight")
    (tmp_path / "half").mkdir()
    save_file(state, tmp_path / "half" / "model.safetensors", {"format": "pt"})
    (tmp_path / "half" / "config.json").write_bytes((source / "config.json").read_bytes())
    store.pull("half", tmp_path, source=tmp_path / "half")
    with pytest.raises(WeightsDamaged, match="do not fit their own configuration") as error:
        open_bases({Role.SEGMENTER: tmp_path / "half"}, CPU)
    assert "iou_token" in error.value.detail


def test_two_thresholds_and_two_calls_encode_a_window_once(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bases = open_bases(folders(shelf, Mode.FSIS), CPU)
    model = FoundationModel(card_of(Mode.FSIS), bases, tuned_of(Mode.FSIS, bases))
    seen: list[int] = []
    for encoder in (bases.detector, bases.segmenter):
        encode = encoder.encode
        monkeypatch.setattr(
            encoder, "encode", lambda w, encode=encode: seen.append(len(w)) or encode(w)
        )
    pixels = window((50, 70))
    many = model.predict([pixels], floor_score=0.05)[0]
    few = model.predict([pixels], floor_score=float(many.scores.max()))[0]
    assert seen == [1, 1]
    assert 0 < len(few) <= len(many)


def test_the_detector_and_its_frozen_parts_stay_as_published(shelf: Path) -> None:
    bases = open_bases(folders(shelf, Mode.FSIS), CPU)
    segmenter = bases.segmenter
    assert isinstance(segmenter, Segmenter)
    decoder = segmenter.tunable()
    assert not any(p.requires_grad for p in segmenter.decoder.parameters())
    frozen = {n.split(".")[0] for n, p in decoder.named_parameters() if not p.requires_grad}
    assert frozen == {"conv_s0", "conv_s1"}, "the encoder of SAM 2 uses them once a window"
    assert embeddings_module.TRANSFORM_VERSION in FoundationModel.transform_version

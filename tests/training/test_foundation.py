"""Tuning tiny random networks through the whole path: fit, save, load, predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lsl_core.errors import OutOfGpuMemory, UserInput, WeightsMissing
from lsl_core.models import load_model, save_model
from lsl_core.models.foundation.catalogue import ROLES, Role
from lsl_core.models.foundation.detector import Detector
from lsl_core.models.foundation.embeddings import Embeddings
from lsl_core.models.foundation.model import Bases, Tuned, open_bases
from lsl_core.models.foundation.segmenter import Sam2
from lsl_core.training import FitSettings, Fitted, Sample, fit
from lsl_core.training.foundation import lessons
from lsl_core.training.foundation.lessons import Lessons, Window, lesson_loss
from lsl_core.types import CropMasks, Instances, Mode
from tests.tiny import NAMES
from tests.training.easy import HW, LABELS, easy_samples
from tests.training.test_fit import Heard

CPU = torch.device("cpu")
_NAME_OF = {Role.DETECTOR: NAMES["detector"], Role.SEGMENTER: NAMES["sam2"]}


def settings(shelf: Path, mode: Mode, iterations: int = 2, **fields: object) -> FitSettings:
    bases = tuple(shelf / _NAME_OF[role] for role in ROLES[mode])
    return FitSettings(
        mode, family="foundation", iterations=iterations, threads=1, device="cpu",
        **{"bases": bases, **fields},
    )  # fmt: skip


def samples_for(mode: Mode, count: int = 2, seed: int = 0) -> list[Sample]:
    return easy_samples(count, seed=seed, with_masks=mode in (Mode.FSIS, Mode.FSIS_SEGONLY))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many windows each kind of encoder has seen."""
    seen = {"detector": 0, "segmenter": 0}
    for name, kind in (("detector", Detector), ("segmenter", Sam2)):
        encode = kind.encode

        def counting(self, windows, *, encode=encode, name=name):
            seen[name] += len(windows)
            return encode(self, windows)

        monkeypatch.setattr(kind, "encode", counting)
    return seen


@pytest.mark.parametrize("mode", list(Mode))
def test_each_mode_is_fitted_saved_loaded_and_answers_as_before(
    shelf: Path, tmp_path: Path, counted: dict[str, int], mode: Mode
) -> None:
    heard = Heard()
    fitted = fit(
        samples_for(mode), easy_samples(1, seed=5), settings=settings(shelf, mode, 6),
        labels=LABELS, progress=heard,
    )  # fmt: skip
    card = fitted.card
    assert card.metrics is not None
    assert card.metrics.kind == ("boxes" if mode is Mode.FSOD else "masks")
    assert set(card.thresholds) == set(LABELS)
    assert 5 <= card.settings["iterations"] <= 6, "held-out images may end it a check earlier"
    assert "tiny-sam2: of a test" in card.licence or "tiny-detr: of a test" in card.licence
    assert heard.steps["Training"] == 6
    # two images to learn, each as it is and mirrored, and one to measure, again and again
    assert max(counted.values()) <= 5

    (tmp_path / "pretrained").symlink_to(shelf)
    folder = tmp_path / "models" / "m1"
    folder.mkdir(parents=True)
    named = fitted.named(model_id="m1", name="easy", support="toy", parent=None)
    save_model(folder, named, fitted.state)
    stored = (folder / "weights.safetensors").stat().st_size
    bases = sum((shelf / _NAME_OF[r] / "model.safetensors").stat().st_size for r in ROLES[mode])
    assert stored < bases, "only what was tuned"
    pixels = easy_samples(1, seed=5)[0].pixels()
    found = load_model(folder, device="cpu").predict([pixels], floor_score=0.02)[0]
    before = fitted.model(replace(card, calibration=None)).predict([pixels], floor_score=0.02)[0]
    assert len(found) <= len(before)
    if card.calibration is None:
        assert np.array_equal(found.boxes, before.boxes)
    assert found.image_hw == HW


def test_only_what_a_mode_tunes_is_kept(shelf: Path) -> None:
    kept = {}
    for mode in Mode:
        fitted = fit(samples_for(mode), [], settings=settings(shelf, mode), labels=LABELS)
        kept[mode] = {name.split(".")[0] for name in fitted.state}
        kept[mode] |= {name for name in fitted.state if name.startswith("base.")}
        assert not any("backbone" in name or "vision_encoder" in name for name in fitted.state)
    both = {"base", "base.detector", "base.segmenter"}
    assert kept == {
        Mode.FSOD: {"boxes", "base", "base.detector"},
        Mode.WSIS: {"boxes", *both},
        Mode.FSIS: {"boxes", "masks", *both},
        Mode.FSIS_SEGONLY: {"masks", "labels", "base", "base.segmenter"},
    }


def test_a_second_training_on_the_same_images_needs_no_encoder(
    shelf: Path, tmp_path: Path, counted: dict[str, int]
) -> None:
    ours = settings(shelf, Mode.FSIS, 8, embeddings=tmp_path)
    fit(samples_for(Mode.FSIS), [], settings=ours, labels=LABELS)
    seen = dict(counted)
    assert 0 < seen["detector"] <= 4
    assert seen["segmenter"] <= 4
    fit(samples_for(Mode.FSIS), [], settings=ours, labels=LABELS)
    assert counted == seen


def loss_after(shelf: Path, mode: Mode, steps: int) -> tuple[float, float]:
    """Return the loss on one window before and after steps on it."""
    torch.manual_seed(0)
    folders = {role: shelf / _NAME_OF[role] for role in ROLES[mode]}
    bases = open_bases(folders, CPU)
    tuned = Tuned(mode, bases, len(LABELS)).train()
    drawer = lessons_of(shelf, mode, bases, samples_for(mode, 1))
    lesson = drawer.draw()
    optimiser = torch.optim.AdamW(tuned.parameters(), 2e-2)
    losses = []
    for _ in range(steps + 1):
        rng = np.random.default_rng(0)
        loss = lesson_loss(tuned, lesson, segmenter=bases.segmenter, rng=rng)
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return losses[0], losses[-1]


def lessons_of(shelf: Path, mode: Mode, bases: Bases, samples: list[Sample]) -> Lessons:
    rng = np.random.default_rng(0)
    return Lessons(samples, settings(shelf, mode), bases, Embeddings(), rng)


@pytest.mark.parametrize(
    ("mode", "steps"), [(Mode.FSOD, 12), (Mode.FSIS, 12), (Mode.FSIS_SEGONLY, 90)]
)
def test_what_is_tuned_learns_a_window(shelf: Path, mode: Mode, steps: int) -> None:
    before, after = loss_after(shelf, mode, steps)
    assert after < 0.85 * before


def test_a_mirrored_window_shows_the_same_objects_on_the_other_side() -> None:
    sample = easy_samples(1)[0]
    window = Window(sample.pixels(), sample.instances)
    turned = window.mirrored()
    assert np.array_equal(turned.pixels, window.pixels[:, ::-1])
    for i, (x, y, w, h) in enumerate(turned.drawn.masks.crops.tolist()):
        whole = np.zeros(HW, bool)
        ox, oy, ow, oh = sample.instances.masks.crops[i].tolist()
        whole[oy : oy + oh, ox : ox + ow] = sample.instances.masks.crop(i)
        part = whole[:, ::-1][y : y + h, x : x + w]
        assert np.array_equal(part, turned.drawn.masks.crop(i))
    assert np.allclose(turned.mirrored().drawn.boxes, sample.instances.boxes)
    assert (turned.drawn.boxes[:, 2] > turned.drawn.boxes[:, 0]).all()


def test_windows_without_objects_teach_the_detector_and_harm_no_mask(shelf: Path) -> None:
    blank = Sample("blank", lambda: np.full((*HW, 3), 40, np.uint8), Instances.empty(HW))
    empty = Instances.empty(HW, masks=CropMasks.empty())
    drawn = Sample("no masks", blank.pixels, empty)
    for mode in Mode:
        folders = {role: shelf / _NAME_OF[role] for role in ROLES[mode]}
        bases = open_bases(folders, CPU)
        tuned = Tuned(mode, bases, len(LABELS)).train()
        lesson = lessons_of(shelf, mode, bases, [drawn]).draw()
        rng = np.random.default_rng(0)
        loss = lesson_loss(tuned, lesson, segmenter=bases.segmenter, rng=rng)
        loss.backward()
        assert torch.isfinite(loss)


def test_a_device_too_small_halves_the_batch_and_goes_on(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def small(self, windows, *, encode=Detector.encode):
        sizes.append(len(windows))
        if len(windows) > 1:
            raise RuntimeError("CUDA error: out of memory")
        return encode(self, windows)

    monkeypatch.setattr(Detector, "encode", small)
    heard = Heard()
    fitted = fit(
        samples_for(Mode.FSOD, 4), [], settings=settings(shelf, Mode.FSOD, 3), labels=LABELS,
        progress=heard,
    )  # fmt: skip
    assert sizes[:3] == [4, 2, 1]
    assert fitted.card.settings["iterations"] == 3
    assert sum("smaller batches" in note for note in heard.notes) == 2
    monkeypatch.setattr(lessons, "BATCH", 1)
    monkeypatch.setattr(Detector, "encode", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(OutOfGpuMemory, match="too small to train"):
        fit(samples_for(Mode.FSOD), [], settings=settings(shelf, Mode.FSOD), labels=LABELS)


def test_a_stopped_training_keeps_its_best_and_a_killed_one_goes_on(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lsl_core.training.common import loop

    def train(heard: Heard) -> Fitted:
        return fit(
            samples_for(Mode.FSOD), [], settings=settings(shelf, Mode.FSOD, 8), labels=LABELS,
            progress=heard, checkpoint=tmp_path / "c.safetensors",
        )  # fmt: skip

    stopped = train(Heard(stop_after=3))
    assert stopped.stopped
    assert stopped.card.settings["iterations"] == 3
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(loop, "WORTH", 1.0)
    with pytest.raises(Exception, match="Stopped"):
        train(Heard(stop_after=3))
    heard = Heard()
    assert train(heard).card.settings["iterations"] == 8
    assert heard.notes == ["Going on at step 3, where the training was stopped."]


def test_weights_that_a_mode_is_not_made_of_are_refused(shelf: Path, tmp_path: Path) -> None:
    def refused(mode: Mode, *names: str) -> str:
        bases = tuple(shelf / name for name in names)
        with pytest.raises(UserInput) as error:
            fit(samples_for(mode), [], settings=settings(shelf, mode, bases=bases), labels=LABELS)
        return str(error.value)

    assert 'mode "wsis" is made of a detector and a segmenter' in refused(Mode.WSIS, "tiny-detr")
    assert 'mode "fsod" is made of a detector.' in refused(Mode.FSOD, "tiny-sam")
    assert "made of a segmenter" in refused(Mode.FSIS_SEGONLY, "tiny-sam", "tiny-sam2")
    gone = settings(shelf, Mode.FSOD, bases=(tmp_path / "rf-detr-medium",))
    with pytest.raises(WeightsMissing) as error:
        fit(samples_for(Mode.FSOD), [], settings=gone, labels=LABELS)
    assert error.value.hint == "Get them: lsl models pull rf-detr-medium"

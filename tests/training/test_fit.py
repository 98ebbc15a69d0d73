"""Training for a fixed number of steps on images that are learnt in seconds."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lsl_core.errors import (
    DeviceMissing,
    EmptySupport,
    LabelMismatch,
    ModelError,
    RunCancelled,
    UserInput,
)
from lsl_core.models import load_model, save_model
from lsl_core.models.compact import START
from lsl_core.models.compact.model import CompactModel, build
from lsl_core.progress import NullProgress
from lsl_core.training import FitSettings, Fitted, Sample, fit
from lsl_core.training.common import loop
from lsl_core.training.common.loop import check_loss
from lsl_core.types import CropMasks, Instances, Mode, SoftMasks
from tests.training.easy import HW, LABELS, easy_sample, easy_samples

CPU = torch.device("cpu")


class Heard(NullProgress):
    """Progress that remembers, and stops the work at a step if told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.metrics: dict[str, list[tuple[int, float]]] = {}
        self.notes: list[str] = []
        self.steps: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self._step = ""
        self._stop_after = stop_after
        self._checks = 0

    def start(self, step: str, *, total: int, unit: str) -> None:
        self._step = step
        self.steps[step], self.done[step] = total, 0

    def advance(self, count: int = 1) -> None:
        self.done[self._step] += count

    def metric(self, name: str, value: float, *, at: int) -> None:
        self.metrics.setdefault(name, []).append((at, value))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def check(self) -> None:
        self._checks += 1
        if self._stop_after is not None and self._checks > self._stop_after:
            raise RunCancelled("Stopped.")


def settings(mode: Mode, iterations: int, **fields: object) -> FitSettings:
    given = {"minutes": None, "threads": 1, "device": "cpu", "start": None, **fields}
    return FitSettings(mode, iterations=iterations, **given)


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def masks(heard: Heard) -> Fitted:
    return fit(
        easy_samples(4),
        easy_samples(2, seed=5),
        settings=settings(Mode.FSIS, 60),
        labels=LABELS,
        progress=heard,
    )


def model_of(fitted: Fitted) -> CompactModel:
    return build(fitted.card, fitted.state, CPU)


def test_masks_are_learnt_in_sixty_steps(masks: Fitted) -> None:
    assert masks.metrics is not None
    assert masks.metrics.kind == "masks"
    assert masks.metrics.ap50 >= 0.75
    assert masks.metrics.num_images == 2
    assert all(0.05 <= t <= 0.95 for t in masks.card.thresholds.values())
    assert set(masks.card.thresholds) == set(LABELS)


def test_the_loss_falls_and_every_step_is_reported(masks: Fitted, heard: Heard) -> None:
    losses = [value for _, value in heard.metrics["loss"]]
    assert np.mean(losses[-2:]) < 0.6 * losses[0]
    assert [at for at, _ in heard.metrics["loss"]] == [10, 20, 30, 40, 50, 60]
    assert heard.done == heard.steps == {"Reading images": 4, "Training": 60, "Measuring": 2}
    assert heard.metrics["ap50"] == [(60, masks.metrics.ap50)]
    assert [at for at, _ in heard.metrics["ap"]] == [24, 33, 42, 51, 60, 60]


def test_a_ring_keeps_its_hole(masks: Fitted) -> None:
    sample = easy_samples(1, seed=9)[0]
    found = model_of(masks).predict([sample.pixels()], floor_score=0.05)[0]
    found = found.above(0.3).binary()
    rings = np.flatnonzero(found.class_ids == 0)
    assert len(rings) >= 3
    for i in rings:
        background = np.pad(~found.masks.crop(i), 1, constant_values=True).astype(np.uint8)
        parts = cv2.connectedComponents(background)[0] - 1
        assert parts >= 2, "outside, and the hole"


def test_masks_are_soft_and_boxes_lie_around_what_is_likely(masks: Fitted) -> None:
    sample = easy_samples(1, seed=9)[0]
    found = model_of(masks).predict([sample.pixels()], floor_score=0.05)[0]
    assert isinstance(found.masks, SoftMasks)
    assert found.image_hw == HW
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores >= 0.05).all()
    values = found.masks.values
    assert ((values > 30) & (values < 220)).any(), "probabilities, not yes or no"
    sure = found.above(0.3)
    for i, (x1, y1, x2, y2) in enumerate(sure.boxes.astype(int)):
        x, y, w, h = sure.masks.crops[i]
        assert x <= x1 < x2 <= x + w
        assert y <= y1 < y2 <= y + h
        crop = sure.masks.crop(i)[y1 - y : y2 - y, x1 - x : x2 - x] >= 128
        assert crop.any(axis=0)[[0, -1]].all()
        assert crop.any(axis=1)[[0, -1]].all()


def test_a_saved_model_answers_as_before(masks: Fitted, tmp_path) -> None:
    card = masks.named(model_id="m1", name="easy", support="toy", parent=None)
    card = save_model(tmp_path, card, masks.state)
    loaded = load_model(tmp_path, device="cpu")
    assert loaded.card == card
    assert (card.id, card.name, card.support, card.support_images) == ("m1", "easy", "toy", 4)
    pixels = easy_samples(1, seed=9)[0].pixels()
    before = model_of(masks).predict([pixels], floor_score=0.1)[0]
    after = loaded.predict([pixels], floor_score=0.1)[0]
    assert np.array_equal(before.boxes, after.boxes)
    assert np.array_equal(before.scores, after.scores)
    assert np.array_equal(before.masks.values, after.masks.values)


def test_windows_of_any_size_in_one_batch_answer_as_alone(masks: Fitted) -> None:
    pixels = easy_samples(1, seed=9)[0].pixels()
    windows = [pixels, pixels[:97, :131], pixels, pixels[:5, :3]]
    model = model_of(masks)
    together = model.predict(windows, floor_score=0.1)
    for window, found in zip(windows, together, strict=True):
        alone = model.predict([window], floor_score=0.1)[0]
        assert found.image_hw == window.shape[:2]
        assert len(found) == len(alone)
        assert np.allclose(found.boxes, alone.boxes, atol=1)
        h, w = window.shape[:2]
        ends = found.masks.crops[:, :2] + found.masks.crops[:, 2:]
        assert (found.masks.crops[:, :2] >= 0).all()
        assert (ends <= (w, h)).all()


def test_no_window_at_all_gives_nothing(masks: Fitted) -> None:
    assert model_of(masks).predict([], floor_score=0.1) == []


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    first, again, other = (
        fit(easy_samples(2), [], settings=settings(Mode.FSIS, 2, seed=s), labels=LABELS).state
        for s in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_boxes_are_learnt_in_twenty_steps() -> None:
    fitted = fit(
        easy_samples(4, with_masks=False),
        easy_samples(2, seed=5, with_masks=False),
        settings=settings(Mode.FSOD, 20, start=START),
        labels=LABELS,
    )
    assert fitted.metrics.kind == "boxes"
    assert fitted.metrics.ap50 >= 0.7
    found = model_of(fitted).predict([easy_samples(1)[0].pixels()], floor_score=0.1)[0]
    assert found.masks is None
    assert (found.boxes >= 0).all()
    assert (found.boxes <= np.array([HW[1], HW[0]] * 2)).all()


def test_masks_are_learnt_from_boxes_in_twenty_steps() -> None:
    fitted = fit(
        easy_samples(4, with_masks=False),
        easy_samples(2, seed=5),
        settings=settings(Mode.WSIS, 20, start=START),
        labels=LABELS,
    )
    assert fitted.metrics.kind == "masks"
    assert fitted.metrics.ap50 >= 0.6


def test_semantic_masks_are_learnt_as_connected_parts_and_judged_by_their_pixels() -> None:
    heard = Heard()
    fitted = fit(
        easy_samples(4),
        easy_samples(2, seed=5),
        settings=settings(Mode.FSIS_SEGONLY, 40),
        labels=LABELS,
        progress=heard,
    )
    assert fitted.metrics.kind == "masks"
    assert fitted.metrics.ap50 >= 0.7
    assert [at for at, _ in heard.metrics["iou"]] == [16, 22, 28, 34, 40, 40]
    assert heard.metrics["iou"][-1] == (40, fitted.metrics.headline[1])
    assert not {"ap", "ap50", "ap75"} & set(heard.metrics)


def test_boxes_can_be_learnt_from_masks_and_large_images_are_cut() -> None:
    fitted = fit(
        easy_samples(2),
        [],
        settings=settings(Mode.FSOD, 1, window=96, overlap=32),
        labels=LABELS,
    )
    assert fitted.metrics is None
    assert fitted.card.window == 96
    assert fitted.card.settings["overlap"] == 32


def test_a_budget_of_minutes_ends_the_training() -> None:
    quick = FitSettings(Mode.FSIS, minutes=0.01, threads=1, device="cpu")
    fitted = fit(easy_samples(2), [], settings=quick, labels=LABELS)
    assert 1 <= fitted.card.settings["iterations"] < 200


def test_a_stopped_training_stops() -> None:
    with pytest.raises(RunCancelled):
        fit(
            easy_samples(2),
            [],
            settings=settings(Mode.FSIS, 500),
            labels=LABELS,
            progress=Heard(stop_after=4),
        )


def test_a_training_stopped_late_keeps_what_it_reached() -> None:
    fitted = fit(
        easy_samples(2),
        easy_samples(1, seed=5),
        settings=settings(Mode.FSIS, 20),
        labels=LABELS,
        progress=Heard(stop_after=2 + 12),
    )
    assert fitted.stopped
    assert fitted.card.settings["iterations"] == 12
    assert fitted.metrics is not None


def train_sixteen(checkpoint: Path, heard: Heard, *, seed: int = 0) -> Fitted:
    return fit(
        easy_samples(2),
        [],
        settings=settings(Mode.FSIS, 16, seed=seed),
        labels=LABELS,
        progress=heard,
        checkpoint=checkpoint,
    )


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of a training that ended at step 3."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    checkpoint = tmp_path / "training.safetensors"
    with pytest.raises(RunCancelled):
        train_sixteen(checkpoint, Heard(stop_after=2 + 3))
    return checkpoint


def test_a_killed_training_goes_on_to_the_same_weights(killed: Path, tmp_path: Path) -> None:
    heard = Heard()
    whole = train_sixteen(tmp_path / "none.safetensors", Heard())
    resumed = train_sixteen(killed, heard)
    assert heard.notes == ["Going on at step 3, where the training was stopped."]
    assert all(torch.equal(whole.state[name], resumed.state[name]) for name in whole.state)
    assert not list(tmp_path.iterdir()), "a training that ended leaves no checkpoint"


@pytest.mark.parametrize("damage", ["other", "broken"])
def test_a_checkpoint_of_another_training_or_a_broken_one_is_not_used(
    killed: Path, damage: str
) -> None:
    if damage == "broken":
        killed.write_bytes(killed.read_bytes()[:200])
    heard = Heard(stop_after=2 + 5)
    fitted = train_sixteen(killed, heard, seed=1 if damage == "other" else 0)
    assert fitted.stopped
    assert fitted.card.settings["iterations"] == 5
    assert heard.notes == []


def test_a_training_ends_when_the_held_out_images_bring_no_more() -> None:
    heard = Heard()
    fitted = fit(
        easy_samples(2),
        [Sample("blank", lambda: np.full((*HW, 3), 40, np.uint8), Instances.empty(HW))],
        settings=settings(Mode.FSIS_SEGONLY, 20),
        labels=LABELS,
        progress=heard,
    )
    assert fitted.card.settings["iterations"] == 14, "nothing to find at 40, 55 and 70 %"
    assert heard.notes[0].startswith("Ended at step 14: best on the held-out images at step ")


def test_one_image_is_learnt_without_a_figure() -> None:
    fitted = fit(easy_samples(1), [], settings=settings(Mode.FSIS, 1), labels=LABELS)
    assert fitted.metrics is None


def test_a_label_without_an_example_is_said_and_never_found() -> None:
    heard = Heard()
    fitted = fit(
        easy_samples(2),
        [],
        settings=settings(Mode.FSIS, 1),
        labels=(*LABELS, "never"),
        progress=heard,
    )
    assert heard.notes == ['"never" has no example: it will never be found.']
    assert fitted.card.labels == (*LABELS, "never")


def test_an_image_in_both_sets_is_refused() -> None:
    samples = easy_samples(2)
    with pytest.raises(UserInput, match="learnt from and measured on"):
        fit(samples, samples[:1], settings=settings(Mode.FSIS, 1), labels=LABELS)


def test_boxes_are_refused_where_masks_are_needed() -> None:
    samples = easy_samples(2, with_masks=False)
    with pytest.raises(LabelMismatch, match="boxes only"):
        fit(samples, [], settings=settings(Mode.FSIS, 1), labels=LABELS)


def test_an_empty_source_is_refused() -> None:
    blank = Sample("blank.png", lambda: np.zeros((*HW, 3), np.uint8), Instances.empty(HW))
    with pytest.raises(EmptySupport, match="Nothing is drawn"):
        fit([blank], [], settings=settings(Mode.FSIS, 1), labels=LABELS)


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    check_loss(3.2, 7)
    with pytest.raises(ModelError, match="step 7") as error:
        check_loss(float("nan"), 7)
    assert error.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    asked = FitSettings(Mode.FSIS, minutes=None, iterations=1, device="cuda")
    with pytest.raises(DeviceMissing, match='no "cuda" device'):
        fit(easy_samples(2), [], settings=asked, labels=LABELS)


def test_an_image_without_objects_and_an_object_without_pixels_do_no_harm() -> None:
    blank = Sample("blank.png", lambda: np.full((*HW, 3), 40, np.uint8), Instances.empty(HW))
    odd = easy_sample("odd.png", np.random.default_rng(3))
    n = len(odd.instances)
    crops = [odd.instances.masks.crop(i) if i else np.zeros((3, 3), bool) for i in range(n)]
    places = [tuple(crop[:2]) for crop in odd.instances.masks.crops.tolist()]
    drawn = Instances(
        odd.instances.boxes,
        odd.instances.scores,
        odd.instances.class_ids,
        CropMasks.from_crops(crops, places),
        HW,
    )
    samples = [Sample("odd.png", odd.pixels, drawn), blank]
    fitted = fit(samples, [], settings=settings(Mode.FSIS, 3), labels=LABELS)
    assert fitted.card.settings["iterations"] == 3


def test_who_watches_sees_the_held_out_images_at_every_check_and_no_other() -> None:
    samples, seen = easy_samples(3), []

    def watch(name, window, *, part, drawn, found) -> None:
        assert part.shape == (window.height, window.width, 3)
        assert drawn.image_hw == found.image_hw == (window.height, window.width)
        seen.append(name)

    heard, small = Heard(), settings(Mode.FSOD, 6)
    fit(samples[:2], samples[2:], settings=small, labels=LABELS, progress=heard, watch=watch)
    # the checks, and once more when it has ended; of the last check "ap" is told twice
    assert seen == [samples[2].name] * len(heard.metrics["ap"])
    assert len(seen) > 2
    seen.clear()
    fit(samples[:2], [], settings=small, labels=LABELS, watch=watch)
    assert seen == []

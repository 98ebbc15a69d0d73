"""Folds: images that were left out once, files of folds that are done, and the figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lsl_core.errors import RunCancelled, UserInput
from lsl_core.models.compact import START
from lsl_core.training import FitSettings, Fitted, Sample, fit, read_found, write_found
from lsl_core.training.scoring import folds
from lsl_core.training.scoring.folds import num_folds, split_folds
from lsl_core.training.scoring.score import evaluate, evaluate_folds
from lsl_core.types import Instances, Mode, Shots, SoftMasks
from tests.training.easy import LABELS, easy_samples
from tests.training.test_fit import Heard, settings
from tests.training.test_gate import squares
from tests.training.test_samples import sample

#: Of the model itself; each of two folds has a quarter of them.
STEPS = 24


def train(
    samples: list[Sample], *, count: int = 2, checkpoint: Path | None = None, heard: Heard
) -> Fitted:
    asked = settings(Mode.FSIS, STEPS, folds=count, start=START)
    return fit(samples, [], settings=asked, labels=LABELS, progress=heard, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def fitted(heard: Heard) -> Fitted:
    return train(easy_samples(4), heard=heard)


@pytest.mark.parametrize(("images", "expected"), [(0, 0), (1, 0), (2, 2), (3, 3), (40, 3)])
def test_the_number_of_folds_follows_the_images(images: int, expected: int) -> None:
    assert num_folds(images) == expected


def test_every_image_is_left_out_once_and_never_learnt_there() -> None:
    samples = [sample(f"{n}.png", [n % 2, 0]) for n in range(7)]
    parts = split_folds(samples, 3)
    assert sorted(s.name for _, out in parts for s in out) == [s.name for s in samples]
    for learnt, out in parts:
        assert sorted(s.name for s in (*learnt, *out)) == [s.name for s in samples]
    again = split_folds(samples[::-1], 3)
    assert [[s.name for s in out] for _, out in again] == [[s.name for s in o] for _, o in parts]


def test_two_images_with_a_rare_label_are_left_out_in_different_folds() -> None:
    samples = [sample(f"{n}.png", [0, 1] if n in (2, 3) else [0]) for n in range(6)]
    rare = {samples[2].name, samples[3].name}
    for learnt, _ in split_folds(samples, 3):
        assert rare & {s.name for s in learnt}


def test_a_fold_that_leaves_nothing_to_learn_is_left_away() -> None:
    samples = [sample("a", [0, 1]), sample("b", []), sample("c", [])]
    assert all(any(len(s.instances) for s in learnt) for learnt, _ in split_folds(samples, 3))
    assert len(split_folds(samples, 3)) == 2


def test_the_figure_is_that_of_images_left_out_and_has_a_spread(fitted: Fitted) -> None:
    metrics = fitted.metrics
    assert (metrics.folds, metrics.num_images) == (2, 4)
    assert metrics.ap50 >= 0.3
    assert metrics.spread is not None
    assert set(metrics.label_spread) == set(LABELS)
    assert fitted.card.support_images == 4
    assert {one.fold for one in fitted.seen} == {1, 2}
    assert f"± {metrics.spread:.3f}" in metrics.words
    assert "4 images with" in metrics.evidence
    assert "each left out once (2 folds)" in metrics.evidence


def test_the_model_learns_every_image_for_the_steps_that_were_asked_for(
    fitted: Fitted, heard: Heard
) -> None:
    assert fitted.card.settings["iterations"] == STEPS
    assert heard.steps["Training"] == STEPS
    for number in (1, 2):
        assert heard.steps[f"Training, fold {number} of 2"] == 6, "half of the steps, together"
        assert heard.steps[f"Reading images, fold {number} of 2"] == 2
    plain = settings(Mode.FSIS, STEPS, start=START)
    alone = fit(easy_samples(4), [], settings=plain, labels=LABELS)
    assert all(torch.equal(alone.state[name], fitted.state[name]) for name in alone.state)


def test_the_curve_of_the_folds_is_told_and_their_losses_are_not(
    fitted: Fitted, heard: Heard
) -> None:
    assert [at for at, _ in heard.metrics["loss"]] == [10, 20, STEPS]
    assert [at for at, _ in heard.metrics["ap"]] == [3, 4, 5, 6]
    assert heard.metrics["ap"][-1] == (6, fitted.metrics.ap)


def test_minutes_are_the_time_of_everything() -> None:
    asked = FitSettings(Mode.FSIS, minutes=3.0, folds=3)
    each, own = asked.of_fold(10), asked.after_folds()
    assert each.minutes * 3 + own.minutes == pytest.approx(3.0)
    assert own.minutes == pytest.approx(2.0)
    assert (each.iterations, each.folds, own.folds) == (None, 0, 0)


def test_without_a_budget_the_folds_have_half_of_the_steps_that_the_images_are_worth() -> None:
    asked = FitSettings(Mode.FSIS, folds=4)
    own = asked.after_folds().budget(10).iterations
    assert asked.of_fold(10).iterations * 4 == own / 2


def test_a_training_stopped_in_a_fold_goes_on_after_the_folds_that_were_done(
    tmp_path: Path, fitted: Fitted
) -> None:
    checkpoint, stopped, again = tmp_path / "t.safetensors", Heard(stop_after=2 + 6 + 3), Heard()
    with pytest.raises(RunCancelled):
        train(easy_samples(4), checkpoint=checkpoint, heard=stopped)
    assert [path.name for path in tmp_path.iterdir()] == ["t.fold1.safetensors"]
    result = train(easy_samples(4), checkpoint=checkpoint, heard=again)
    assert "Training, fold 1 of 2" not in again.steps
    assert "Training, fold 2 of 2" in again.steps
    assert result.metrics == fitted.metrics
    assert len(again.metrics["ap"]) == 4, "the curve of a fold that was done is kept"
    assert not list(tmp_path.iterdir()), "a training that ended leaves nothing"


def test_folds_of_another_training_or_broken_files_are_not_used(tmp_path: Path) -> None:
    checkpoint = tmp_path / "t.safetensors"
    with pytest.raises(RunCancelled):
        train(easy_samples(4), checkpoint=checkpoint, heard=Heard(stop_after=2 + 6 + 3))
    other = Heard(stop_after=2 + 4)
    with pytest.raises(RunCancelled):
        train(easy_samples(4, seed=3), checkpoint=checkpoint, heard=other)
    assert "Training, fold 1 of 2" in other.steps


def test_what_was_found_is_read_as_it_was_written(tmp_path: Path, fitted: Fitted) -> None:
    path = tmp_path / "found.safetensors"
    boxes = replace(squares(3), masks=None)
    found = {f"{one.name}/x": list(one.found) for one in fitted.seen} | {"boxes": [boxes]}
    write_found(path, found, {"why": "test"})
    read, facts = read_found(path)
    assert facts == {"why": "test"}
    assert set(read) == set(found)
    for name, windows in found.items():
        for ours, theirs in zip(windows, read[name], strict=True):
            assert ours.image_hw == theirs.image_hw
            assert np.array_equal(ours.boxes, theirs.boxes)
            assert np.array_equal(ours.scores, theirs.scores)
            if isinstance(ours.masks, SoftMasks):
                assert np.array_equal(ours.masks.values, theirs.masks.values)
                assert np.array_equal(ours.masks.crops, theirs.masks.crops)
            else:
                assert theirs.masks is None
    path.write_bytes(path.read_bytes()[:99])
    assert read_found(path) is None


def test_a_label_counts_in_the_folds_that_have_it() -> None:
    both = Instances.concat([squares(4), squares(4, shift=3, class_id=1)])
    parts = [([squares(4)], [squares(4)]), ([both], [squares(4)])]
    mean = evaluate_folds(parts, ("a", "b"))
    assert mean.per_label == {"a": pytest.approx(1), "b": 0}
    assert mean.ap == pytest.approx(0.5), "labels weigh alike, whatever fold they are in"
    assert mean.spread == pytest.approx(np.std([1, 0.5], ddof=1), abs=1e-6)
    assert mean.label_spread == {"a": pytest.approx(0)}
    assert (mean.folds, mean.num_images) == (2, 2)
    assert evaluate([squares(4)], [squares(4)], ("a",)).spread is None


def test_a_fold_without_objects_says_nothing() -> None:
    empty = Instances.empty(squares(1).image_hw)
    mean = evaluate_folds([([squares(4)], [squares(4)]), ([empty], [squares(2)])], ("a",))
    assert mean.ap == pytest.approx(1)
    assert mean.spread is None


def test_the_mean_curve_goes_as_far_back_as_every_fold() -> None:
    curves = [((4, 0.2), (8, 0.4)), ((10, 0.6),)]
    assert folds._mean_curve(curves) == ((9, 0.5),)
    assert folds._mean_curve([]) == ()


def test_fewer_images_are_within_each_other_and_show_every_label_first() -> None:
    learnt = [sample(f"{n}.png", [1] if n == 6 else [0]) for n in range(8)]
    quarter, half = folds.fewer(learnt)
    assert [s.name for s in quarter] == ["0.png", "6.png"]
    assert [s.name for s in half[:2]] == ["0.png", "6.png"]
    assert len({s.name for s in half}) == 4
    assert [len(part) for part in folds.fewer(learnt[:3])] == [1, 2]
    assert folds.fewer(learnt[:1]) == []


def test_a_curve_over_shots_is_in_the_card_and_the_model_is_the_same(
    tmp_path: Path, fitted: Fitted
) -> None:
    asked = settings(Mode.FSIS, STEPS, folds=2, shots=True, start=START)
    samples, heard, again = easy_samples(4), Heard(), Heard(stop_after=2 + 6 + 1 + 6 + 3)
    with pytest.raises(RunCancelled):
        fit(
            samples, [], settings=asked, labels=LABELS, progress=again,
            checkpoint=tmp_path / "t.safetensors",
        )  # fmt: skip
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["t.fold1.safetensors", "t.fold1of1.safetensors"]
    result = fit(
        samples, [], settings=asked, labels=LABELS, progress=heard,
        checkpoint=tmp_path / "t.safetensors",
    )  # fmt: skip
    assert "Training, fold 1 of 2, 1 of its images" not in heard.steps, "it was done"
    assert heard.steps["Training, fold 2 of 2, 1 of its images"] == 6
    assert [point.num_images for point in result.card.shots] == [1, 2]
    assert result.card.shots[-1].figure == pytest.approx(result.metrics.ap, abs=0.01)
    assert all(point.spread is not None for point in result.card.shots)
    assert result.metrics == fitted.metrics
    assert all(torch.equal(fitted.state[name], result.state[name]) for name in fitted.state)
    assert not list(tmp_path.iterdir())
    assert fitted.card.shots == ()


def test_a_curve_over_shots_shares_the_minutes_and_needs_folds() -> None:
    asked = FitSettings(Mode.FSIS, minutes=5.0, folds=3, shots=True)
    assert asked.of_fold(10).minutes * 9 + asked.after_folds().minutes == pytest.approx(5.0)
    assert asked.after_folds().minutes == pytest.approx(2.0)
    with pytest.raises(UserInput, match="made by folds"):
        FitSettings(Mode.FSIS, shots=True)


def test_points_of_the_curve_over_shots_are_those_that_all_folds_have() -> None:
    points = folds._over_shots([[(1, 0.2), (2, 0.4)], [(2, 0.6)]])
    assert points == (Shots(2, 0.5, pytest.approx(0.1414, abs=1e-4)),)
    assert points[0].words == "2 images 0.50 ± 0.14"
    assert folds._over_shots([[(1, 0.25)]])[0].words == "1 image 0.25"

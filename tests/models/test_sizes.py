"""The size of an object as evidence of its label."""

from dataclasses import replace

import numpy as np
import pytest

from lsl_core.models.compact.sizes import told_by_size
from lsl_core.training import FitSettings, Sample, fit
from lsl_core.training.examples.tiles import LEAST_SPREAD, label_sizes
from lsl_core.training.scoring.score import evaluate
from lsl_core.types import Instances, Mode

HW = (200, 200)
SIZES = ((np.log(20), 0.4), (np.log(60), 0.4))


def squares(*sides: float, at: float = 50) -> np.ndarray:
    return np.array([[at, at, at + side, at + side] for side in sides], np.float32)


def sample(boxes: np.ndarray, ids: list[int]) -> Sample:
    drawn = Instances(boxes, np.ones(len(ids), np.float32), np.array(ids, np.int32), None, HW)
    return Sample("a.png", lambda: np.zeros((*HW, 3), np.uint8), drawn)


def test_size_decides_where_the_network_cannot() -> None:
    chances = np.full((2, 3), 0.5, np.float32)
    told = told_by_size(chances, squares(20, 60, np.sqrt(20 * 60)), SIZES, HW)
    assert told[:, 0] == pytest.approx(told[::-1, 1])
    assert told[0, 0] > 0.9
    assert told[:, 2] == pytest.approx(0.5)


def test_what_the_network_sees_still_counts() -> None:
    sure = np.array([[0.01], [0.99]], np.float32)
    told = told_by_size(sure, squares(30), SIZES, HW)
    assert 0.5 < told[1, 0] < 0.99


def test_chances_stay_where_size_says_nothing() -> None:
    chances = np.array([[0.3, 0.8], [0.7, 0.2]], np.float32)
    alike = ((3.0, 0.4), (3.0, 0.4))
    assert told_by_size(chances, squares(20, 60), alike, HW) == pytest.approx(chances)
    assert told_by_size(chances, squares(20, 60), (), HW) is chances
    cut = squares(20, 60, at=0)
    assert told_by_size(chances, cut, SIZES, HW) == pytest.approx(chances)


def test_sizes_beyond_all_that_was_drawn_stay_numbers() -> None:
    huge, wide = np.array([[0, 0, 9e6, 9e6]], np.float32) + 2, (10**7, 10**7)
    told = told_by_size(np.full((2, 1), 0.5, np.float32), huge, SIZES, wide)
    assert told.sum() == pytest.approx(1)


def test_sizes_are_those_of_whole_objects() -> None:
    cut = sample(np.concatenate([squares(20, 20), squares(90, at=0)]), [0, 0, 0])
    (mean, spread), _ = label_sizes([cut], 2)
    assert mean == pytest.approx(np.log(20))
    assert spread == pytest.approx(LEAST_SPREAD * np.sqrt(1.5))


def test_few_examples_make_no_label_narrow() -> None:
    boxes = np.concatenate([squares(10, 90), squares(30)])
    (_, wide), (one, narrow), (none, any_size) = label_sizes([sample(boxes, [0, 0, 1])], 3)
    assert one == pytest.approx(np.log(30))
    assert narrow == pytest.approx(LEAST_SPREAD * np.sqrt(2))
    assert wide > narrow
    assert none == pytest.approx(np.log(boxes[:, 2:] - boxes[:, :2]).mean())
    assert any_size > narrow


def test_there_is_nothing_to_tell_with_one_label_or_no_whole_object() -> None:
    assert label_sizes([sample(squares(20, 30), [0, 0])], 1) == ()
    assert label_sizes([sample(squares(20, 60, at=0), [0, 1])], 2) == ()


def discs(name: str, seed: int) -> Sample:
    """Grey discs that differ in nothing but their size."""
    rng = np.random.default_rng(seed)
    pixels, boxes, ids = rng.normal(40, 5, (240, 240, 3)), [], []
    v, u = np.mgrid[0:240, 0:240]
    for y in range(40, 240, 80):
        for x in range(40, 240, 80):
            label = int(rng.integers(2))
            radius = (13, 23)[label] * rng.uniform(0.9, 1.1)
            pixels[np.hypot(u - x, v - y) <= radius] += 120
            boxes.append([x - radius, y - radius, x + radius, y + radius])
            ids.append(label)
    ready = np.clip(pixels, 0, 255).astype(np.uint8)
    drawn = Instances(
        np.array(boxes, np.float32), np.ones(len(ids), np.float32), np.array(ids, np.int32), None,
        (240, 240),
    )  # fmt: skip
    return Sample(name, lambda: ready, drawn)


def test_labels_that_differ_by_size_alone_are_told_apart_by_it() -> None:
    labels = ("small", "large")
    settings = FitSettings(Mode.FSOD, device="cpu", threads=1, first_pass=True)
    fitted = fit([discs("a", 1), discs("b", 2)], [], settings=settings, labels=labels)
    assert len(fitted.card.sizes) == 2
    test = [discs(str(seed), seed) for seed in range(3, 7)]

    def ap50(card) -> float:
        model = fitted.model(card)
        found = model.predict([s.pixels() for s in test], floor_score=0.02)
        return evaluate([s.instances for s in test], found, labels).ap50

    assert ap50(fitted.card) > ap50(replace(fitted.card, sizes=())) + 0.02

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest

from lsl_core.errors import EmptySupport, LabelMismatch, UserInput
from lsl_core.training import FitSettings, Sample, check_support, split_support, support_notes
from lsl_core.types import CropMasks, Instances, Mode

HW = (50, 60)


def sample(name: str, ids: list[int], *, with_masks: bool = True, filled: bool = True) -> Sample:
    n = len(ids)
    crops = [np.full((9, 9), filled) for _ in ids]
    masks = CropMasks.from_crops(crops, [(2, 3)] * n) if with_masks else None
    boxes = np.tile(np.array([[2, 3, 11, 12]], np.float32), (n, 1))
    drawn = Instances(boxes, np.ones(n, np.float32), np.array(ids, np.int32), masks, HW)
    return Sample(name, lambda: np.zeros((*HW, 3), np.uint8), drawn)


CASES = {
    "masks": ([sample("a", [0, 1])], Mode.FSIS, nullcontext()),
    "boxes for boxes": ([sample("a", [0], with_masks=False)], Mode.FSOD, nullcontext()),
    "masks for boxes": ([sample("a", [0])], Mode.FSOD, nullcontext()),
    "no images": ([], Mode.FSIS, pytest.raises(EmptySupport, match="no images")),
    "nothing drawn": (
        [sample("a", []), sample("b", [])],
        Mode.FSIS,
        pytest.raises(EmptySupport, match="Nothing is drawn on the 2 images"),
    ),
    "boxes for masks": (
        [sample("a.png", [0], with_masks=False)],
        Mode.FSIS,
        pytest.raises(LabelMismatch, match=r'"fsis" learns from masks, but a\.png has boxes only'),
    ),
    "masks without area": (
        [sample("a.png", [0], filled=False)],
        Mode.FSIS,
        pytest.raises(LabelMismatch, match=r"The masks of a\.png have no area"),
    ),
    "unknown label": (
        [sample("a.png", [2])],
        Mode.FSIS,
        pytest.raises(LabelMismatch, match="not among x, y"),
    ),
}


@pytest.mark.parametrize(("samples", "mode", "outcome"), CASES.values(), ids=CASES.keys())
def test_a_support_set_is_taken_or_refused_with_a_next_step(
    samples: list[Sample], mode: Mode, outcome: AbstractContextManager
) -> None:
    with outcome as error:
        check_support(samples, mode=mode, labels=("x", "y"))
    if error is not None:
        assert error.value.hint


def test_a_source_without_labels_is_refused() -> None:
    with pytest.raises(EmptySupport, match="no label"):
        check_support([sample("a", [])], mode=Mode.FSIS, labels=())


def test_labels_with_few_examples_are_named() -> None:
    notes = support_notes([sample("a", [0, 0, 2])], ("many", "none", "one"))
    assert notes == (
        '"none" has no example: it will never be found.',
        '"one" has one example only: expect little of it.',
    )


@pytest.mark.parametrize("count", [0, 1])
def test_a_source_with_one_image_cannot_be_split(count: int) -> None:
    with pytest.raises(EmptySupport, match="needs two at least") as error:
        split_support([sample(str(i), [0]) for i in range(count)])
    assert "one more image" in error.value.hint


def test_the_split_is_the_same_for_the_same_seed_whatever_the_order() -> None:
    samples = [sample(f"{i:02d}", [0]) for i in range(12)]
    train, held = split_support(samples, seed=3)
    again, held_again = split_support(samples[::-1], seed=3)
    assert [s.name for s in train] == [s.name for s in again]
    assert [s.name for s in held] == [s.name for s in held_again]
    assert (len(train), len(held)) == (9, 3)
    assert {s.name for s in train}.isdisjoint(s.name for s in held)


def test_the_only_example_of_a_label_is_kept_for_training() -> None:
    samples = [sample("rare", [0, 1]), *(sample(str(i), [0]) for i in range(3))]
    for seed in range(8):
        train, _ = split_support(samples, seed=seed)
        assert "rare" in {s.name for s in train}


BAD_SETTINGS = {
    "unknown family": ({"mode": Mode.FSIS, "family": "huge"}, 'no model family "huge"'),
    "no time": ({"mode": Mode.FSIS, "minutes": 0}, "needs some time"),
    "no steps": ({"mode": Mode.FSIS, "iterations": 0}, "needs some time"),
}


@pytest.mark.parametrize(("fields", "text"), BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_settings_that_cannot_work_are_refused(fields: dict, text: str) -> None:
    with pytest.raises(UserInput, match=text) as error:
        FitSettings(**fields)
    assert error.value.hint


def test_the_budget_without_a_word_grows_with_the_images() -> None:
    free = FitSettings(Mode.FSIS)
    one, ten, many = (free.budget(count) for count in (1, 10, 500))
    assert one.iterations < ten.iterations < many.iterations == 2000
    assert ten.seconds is None
    assert ten.share(ten.iterations // 2, 1e9) == 0.5


def test_whichever_budget_ends_first_ends_the_training() -> None:
    both = FitSettings(Mode.FSIS, minutes=1, iterations=100).budget(3)
    assert both.share(10, 30) == 0.5
    assert both.share(90, 30) == 0.9
    assert both.share(10, 61) == 1

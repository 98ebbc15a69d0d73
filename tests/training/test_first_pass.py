"""Models whose heads are solved for: no step of training, some seconds."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lsl_core.errors import RunCancelled, UserInput
from lsl_core.models import load_model, save_model
from lsl_core.models.compact import START
from lsl_core.training import FitSettings, Fitted, fit
from lsl_core.training.compact import first_pass as first_pass_module
from lsl_core.training.compact.first_pass import Rows, logistic, ridge
from lsl_core.types import MODES, Geometry, Mode, SoftMasks
from tests.training.easy import LABELS, easy_samples
from tests.training.test_fit import Heard


@pytest.fixture(scope="module", autouse=True)
def few_batches() -> Iterator[None]:
    """A third of the usual crops: enough for shapes this easy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_pass_module, "BATCHES", 8)
        yield


def first_pass(mode: Mode, *, folds: int = 0, heard: Heard | None = None) -> Fitted:
    boxes_only = MODES[mode].learns_from is Geometry.BOXES
    return fit(
        easy_samples(3, with_masks=not boxes_only),
        [] if folds else easy_samples(2, seed=5, with_masks=mode is not Mode.FSOD),
        settings=FitSettings(mode, device="cpu", threads=1, first_pass=True, folds=folds),
        labels=LABELS,
        progress=heard or Heard(),
    )


@pytest.fixture(scope="module")
def masks() -> Fitted:
    return first_pass(Mode.FSIS)


def test_objects_are_found_without_a_step_of_training(masks: Fitted) -> None:
    assert masks.metrics.kind == "masks"
    assert masks.metrics.ap50 >= 0.4
    assert masks.card.settings["iterations"] == 0
    assert masks.card.is_first_pass
    assert masks.card.curve == ()


@pytest.mark.parametrize("mode", [Mode.FSOD, Mode.WSIS])
def test_boxes_teach_boxes_and_masks(mode: Mode) -> None:
    found = first_pass(mode)
    assert found.metrics.kind == MODES[mode].gives.value
    assert found.metrics.ap50 >= 0.3


def test_pixels_get_their_labels() -> None:
    found = first_pass(Mode.FSIS_SEGONLY)
    assert found.metrics.headline[0] == "IoU"
    assert found.metrics.headline[1] >= 0.4


def test_a_first_pass_is_an_ordinary_model(masks: Fitted, tmp_path: Path) -> None:
    card = masks.named(model_id="m-first1", name="m", support="easy", parent=None)
    save_model(tmp_path, card, masks.state)
    model = load_model(tmp_path, device="cpu")
    assert model.card.is_first_pass
    found = model.predict([easy_samples(1, seed=9)[0].pixels()], floor_score=0.05)[0]
    assert isinstance(found.masks, SoftMasks)
    assert len(found) >= 5


def test_only_heads_differ_from_the_weights_that_it_began_from(masks: Fitted) -> None:
    from safetensors.torch import load_file

    start = load_file(START)
    changed = {
        n for n, v in start.items() if n in masks.state and not torch.equal(v, masks.state[n])
    }
    assert changed
    assert all(name.startswith(("heads.", "label.")) for name in changed)


def test_the_same_images_give_the_same_heads(masks: Fitted) -> None:
    again = first_pass(Mode.FSIS)
    assert all(torch.equal(again.state[name], value) for name, value in masks.state.items())


def test_folds_measure_it_as_they_measure_a_training() -> None:
    heard = Heard()
    found = first_pass(Mode.FSIS, folds=3, heard=heard)
    assert (found.metrics.folds, found.metrics.num_images) == (3, 3)
    assert found.metrics.spread is not None
    assert heard.metrics["ap"] == [(0, found.metrics.ap)]


def test_a_first_pass_can_be_stopped() -> None:
    with pytest.raises(RunCancelled):
        first_pass(Mode.FSIS, heard=Heard(stop_after=6))


@pytest.mark.parametrize("unfit", [{"family": "foundation"}, {"start": None}])
def test_without_weights_of_our_own_there_is_no_first_pass(unfit: dict) -> None:
    with pytest.raises(UserInput, match="first pass"):
        FitSettings(Mode.FSIS, first_pass=True, **unfit)


def rows(count: int, seed: int = 0) -> Rows:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, generator=draw, dtype=torch.float64)
    x[:, -1] = 1
    return Rows(x, torch.zeros(count, 1).double(), torch.ones(count).double())


def test_ridge_regression_finds_the_map_and_weights_count() -> None:
    wanted = torch.tensor([[2.0], [-1.0], [0.5]]).double()
    given = rows(400)
    wrong = replace(
        given,
        wanted=torch.cat([given.features[:300] @ wanted, torch.full((100, 1), 9.0).double()]),
        weight=torch.cat([torch.ones(300), torch.zeros(100)]).double(),
    )
    assert torch.allclose(ridge(wrong, torch.zeros(3, 1).double()), wanted, atol=0.02)


def test_logistic_regression_finds_the_chances_and_never_diverges() -> None:
    wanted = torch.tensor([1.5, -1.0, 0.5]).double()
    given = rows(2000)
    chances = torch.sigmoid(given.features @ wanted)
    found = logistic(given, chances, torch.zeros(3).double())
    assert torch.allclose(found, wanted, atol=0.05)
    far = logistic(given, chances, torch.tensor([8.0, 8.0, -8.0]).double())
    assert torch.allclose(torch.sigmoid(given.features @ far), chances, atol=0.1)


def test_without_evidence_the_heads_stay_as_they_came() -> None:
    nothing = replace(rows(50), features=torch.zeros(50, 3).double())
    before = torch.tensor([[1.0], [2.0], [3.0]]).double()
    assert torch.allclose(ridge(nothing, before), before)
    assert torch.allclose(logistic(nothing, torch.ones(50).double(), before[:, 0]), before[:, 0])

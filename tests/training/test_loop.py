"""The loop of one training, apart from what is trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lsl_core.errors import ModelError, OutOfGpuMemory
from lsl_core.progress import NullProgress
from lsl_core.training.common.loop import Loop
from lsl_core.training.common.settings import Budget


class Notes(NullProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


class SmallDevice:
    """Gives batches, and has memory for one of at most two rows."""

    def __init__(self, rows: int, *, fits: int = 2) -> None:
        self.rows, self.fits = rows, fits

    def draw(self) -> tuple[Tensor, Tensor]:
        if self.rows > self.fits:
            raise RuntimeError("CUDA error: out of memory")
        return torch.ones(self.rows, 3), torch.ones(self.rows, 1)

    def shrink(self) -> bool:
        self.rows //= 2
        return self.rows > 0


def loop_of(device: SmallDevice, notes: Notes) -> Loop:
    def loss(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.mse_loss(network(batch[0]), batch[1])

    return Loop(nn.Linear(3, 1), loss, Budget(4, None), notes, shrink=device.shrink)


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_no_step_is_lost() -> None:
    device, notes = SmallDevice(8), Notes()
    loop = loop_of(device, notes)
    loop.run(device.draw, rng=None)
    assert (device.rows, loop.iteration) == (2, 4)
    assert len(notes.lines) == 2
    assert "smaller batches" in notes.lines[0]


def test_a_device_too_small_for_a_single_row_is_said_with_what_to_do() -> None:
    device = SmallDevice(2, fits=0)
    with pytest.raises(OutOfGpuMemory, match="too small to train") as error:
        loop_of(device, Notes()).run(device.draw, rng=None)
    assert "smaller windows" in error.value.hint


def test_another_error_of_the_device_is_not_taken_for_too_little_memory() -> None:
    def broken() -> tuple[Tensor, Tensor]:
        raise RuntimeError("cuDNN error: bad parameter")

    with pytest.raises(RuntimeError, match="bad parameter"):
        loop_of(SmallDevice(1), Notes()).run(broken, rng=None)


@pytest.mark.parametrize("good", [3, 5])
def test_a_broken_loss_keeps_the_best_weights_where_some_were_chosen_and_no_checkpoint(
    good: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsl_core.training.common.loop.SAVE_EVERY", 0)
    checkpoint, notes, steps = tmp_path / "c.safetensors", Notes(), []

    def loss(network: nn.Module, batch: Tensor) -> Tensor:
        steps.append(1)
        broken = len(steps) > good
        return network(batch).sum() * (float("nan") if broken else 1)

    chosen = []

    def score(state: dict[str, Tensor]) -> float:
        assert checkpoint.exists()
        chosen.append(state)
        return 0.5

    loop = Loop(nn.Linear(3, 1), loss, Budget(10, None), notes, score=score)  # checked at step 4
    rng = np.random.default_rng(0)
    if good < 4:
        with pytest.raises(ModelError, match="at step 3: the loss is no number") as error:
            loop.run(lambda: torch.ones(1, 3), rng=rng, checkpoint=checkpoint)
        assert "--seed 1" in error.value.hint
    else:
        kept = loop.run(lambda: torch.ones(1, 3), rng=rng, checkpoint=checkpoint)
        assert kept is chosen[0]
        assert "at step 5" in notes.lines[-1]
        assert "of step 4 are kept" in notes.lines[-1]
    assert not checkpoint.exists()

"""The loop of one training, apart from what is trained."""

import pytest
import torch
from torch import Tensor, nn

from lsl_core.errors import OutOfGpuMemory
from lsl_core.progress import NullProgress
from lsl_core.training.loop import Loop
from lsl_core.training.settings import Budget


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

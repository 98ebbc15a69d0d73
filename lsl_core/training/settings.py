"""What a person chooses about a training."""

from __future__ import annotations

from dataclasses import dataclass

from lsl_core.errors import UserInput
from lsl_core.models import check_mode
from lsl_core.types import Mode, SlideWindows


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to train.

    mode: what is learnt from what. family: which kind of network. minutes: longest time for the
    training steps, or None. iterations: most training steps, or None; whichever of the two ends
    first ends the training, and the learning rate falls over it. Loading, the held-out score and
    the thresholds come on top, some seconds. seed: the same seed, iterations and threads give
    the same weights on a CPU. window, overlap: how large images are cut, pixels, the same for
    prediction. device: "auto", "cuda", "mps" or "cpu". threads: of the CPU; None measures
    whether more than one is faster now.
    """

    mode: Mode
    family: str = "compact"
    minutes: float | None = 2.0
    iterations: int | None = None
    seed: int = 0
    window: int = 1024
    overlap: int = 150
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        check_mode(self.family, self.mode)
        if self.minutes is None and self.iterations is None:
            raise UserInput(
                "Training needs an end.", hint="Give the minutes, the iterations, or both."
            )
        if (self.minutes is not None and self.minutes <= 0) or (
            self.iterations is not None and self.iterations < 1
        ):
            raise UserInput(
                "Training needs some time.", hint="Give more than 0 minutes and iterations."
            )

    @property
    def slide(self) -> SlideWindows:
        """How images are cut for training."""
        return SlideWindows(self.window, self.window, self.overlap)

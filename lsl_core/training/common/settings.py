"""What a person chooses about a training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from lsl_core.errors import BadThreshold, UserInput
from lsl_core.models import check_mode
from lsl_core.models.compact import START
from lsl_core.training.examples.samples import Sample
from lsl_core.training.examples.tiles import windows_of
from lsl_core.types import OBJECT_THRESHOLD, Instances, Mode, SlideWindows, Window

#: Steps where nobody says how many, how many more each image is worth, and the most. Weights that
#: were trained before need fewer.
STEPS = {"compact": (400, 60, 2000), "foundation": (100, 20, 600)}
#: What all folds together cost, the training of the model itself being 1.
FOLDS_COST = 0.5
#: Parts of a fold's images that are learnt alone as well, for the curve over shots.
FEWER = (0.25, 0.5)


@dataclass(frozen=True, slots=True)
class Budget:
    """When a training ends: after steps, seconds, or whichever comes first."""

    iterations: int | None
    seconds: float | None

    @property
    def total(self) -> int:
        """What progress counts to: steps where they are limited, else seconds."""
        return self.iterations or math.ceil(self.seconds or 0)

    def share(self, iteration: int, seconds: float) -> float:
        """Return how much is used, 1 when it is gone."""
        used = iteration / self.iterations if self.iterations else 0.0
        return min(max(used, seconds / self.seconds if self.seconds else 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to train.

    mode: what is learnt from what. family: which kind of network. minutes: longest time for the
    training steps, or None. iterations: most training steps, or None; whichever of the two ends
    first ends the training, and the learning rate falls over it. Without either, as many steps as
    the support set is worth (`budget`). Loading, the held-out score and the thresholds come on
    top, some seconds. seed: the same
    seed, iterations and threads give the same weights on a CPU. window, overlap: how large
    images are cut, pixels, the same for prediction. object_threshold: share of an object, in
    [0, 1], that a window must show for the object to be learnt there. device: "auto", "cuda",
    "mps" or "cpu". threads: of the CPU; None measures whether more than one is faster now.
    start: a file of weights to begin from where they fit, those of procedural images by default
    (`lsl_core.training.pretrain`); None begins from noise; compact models only.
    bases: folders of the pretrained weights that a foundation model is tuned from. embeddings:
    folder where what their encoders made of windows is kept for other trainings, or None.
    folds: parts of the support set that are left out in turn where there are no held-out images;
    0 for none. With folds, `minutes` is the time of everything: a third goes to the folds;
    `iterations` are the model's own, and the folds have half as many together. shots: whether each
    fold learns fewer of its images as well, with the same budget each time, to see what more images
    bring. first_pass: whether to solve for the heads in seconds instead of training; compact models
    only.
    """

    mode: Mode
    family: str = "compact"
    minutes: float | None = None
    iterations: int | None = None
    seed: int = 0
    window: int = 1024
    overlap: int = 150
    object_threshold: float = OBJECT_THRESHOLD
    device: str = "auto"
    threads: int | None = None
    start: Path | None = START
    bases: tuple[Path, ...] = ()
    embeddings: Path | None = None
    folds: int = 0
    shots: bool = False
    first_pass: bool = False

    def __post_init__(self) -> None:
        check_mode(self.family, self.mode)
        if self.first_pass and (self.family != "compact" or self.start is None):
            raise UserInput(
                "Only compact models have a first pass, from weights to begin from.",
                hint="Train without --first-pass.",
            )
        if self.shots and not self.folds:
            raise UserInput(
                "A curve over shots is made by folds.",
                hint="Label two images or more, and measure on these images, not on others.",
            )
        if (self.minutes is not None and self.minutes <= 0) or (
            self.iterations is not None and self.iterations < 1
        ):
            raise UserInput(
                "Training needs some time.", hint="Give more than 0 minutes and iterations."
            )

        if not 0 <= self.object_threshold <= 1:
            raise BadThreshold(
                f"An object threshold of {self.object_threshold} is not between 0 and 1.",
                hint=f"Try --object-threshold {OBJECT_THRESHOLD}",
            )

    def budget(self, num_images: int) -> Budget:
        """Return when the training ends.

        Args:
            num_images: of the support set. More images have more to teach; how many steps each
                is worth was chosen, not measured.
        """
        seconds = None if self.minutes is None else self.minutes * 60
        if self.iterations is None and seconds is None:
            few, an_image, most = STEPS[self.family]
            return Budget(min(few + an_image * num_images, most), None)
        return Budget(self.iterations, seconds)

    def of_fold(self, num_images: int) -> FitSettings:
        """Return the settings of one training of one fold of a support set."""
        steps = self.budget(num_images).iterations
        share = FOLDS_COST / self.folds
        own = self.after_folds()
        return replace(
            own,
            minutes=own.minutes and own.minutes * share,
            iterations=steps and max(1, round(steps * share)),
        )

    def after_folds(self) -> FitSettings:
        """Return the settings of the model's own training."""
        if not self.folds:
            return self
        whole = 1 + FOLDS_COST * (1 + len(FEWER) * self.shots)
        return replace(self, minutes=self.minutes and self.minutes / whole, folds=0, shots=False)

    @property
    def slide(self) -> SlideWindows:
        """How images are cut for training."""
        return SlideWindows(self.window, self.window, self.overlap)

    def windows_of(self, sample: Sample) -> list[tuple[Window, Instances]]:
        """Cut an image, and what was drawn on it, for training."""
        return windows_of(sample, self.slide, least_visible=self.object_threshold)

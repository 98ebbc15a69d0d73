"""What comes out of a training loop, whatever the family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lsl_core.models.base import Model
from lsl_core.models.compact.sizes import Sizes
from lsl_core.types import ModelCard

#: Of weights that nothing but the images of the one who trains went into.
OWN_LICENCE = "trained on your images: yours"


@dataclass(frozen=True, slots=True)
class Trained:
    """Weights on the CPU, the factor images are resized by, what rebuilds the network.

    model: makes the model that answers with these weights, for measuring. stopped: somebody ended
    it before its time. licence: what may be done with the weights. sizes: as in the card.
    """

    state: dict[str, Tensor]
    scale: float
    settings: dict[str, float | int | str | bool]
    iterations: int
    model: Callable[[ModelCard], Model]
    stopped: bool = False
    licence: str = OWN_LICENCE
    sizes: Sizes = ()


#: How good a training is on held-out images, in [0, 1]; None where it only looks, and these images
#: shall choose nothing.
Score = Callable[[Trained], float | None]

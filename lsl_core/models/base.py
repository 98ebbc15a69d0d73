"""What every model can do, whatever its family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lsl_core.types import Instances, ModelCard


class Model(Protocol):
    """A trained network, ready to answer.

    card: what is known about it. transform_version: changes when the same weights would answer
    differently, because pixels are prepared or outputs are read in another way; part of every
    cache key. device: where it runs, for people.
    """

    @property
    def card(self) -> ModelCard:
        """What is known about the model."""

    @property
    def transform_version(self) -> str:
        """Version of preparing pixels and reading outputs."""

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda:0", "mps"."""

    def predict(
        self, windows: Sequence[NDArray[np.uint8]], *, floor_score: float
    ) -> list[Instances]:
        """Find objects in each window.

        Args:
            windows: (h, w, 3) uint8 RGB, sizes may differ; none is changed.
            floor_score: lowest score that is kept, in [0, 1].

        Returns:
            One `Instances` a window, in its pixels, highest score first, with `SoftMasks` where
            the mode gives masks. One thread at a time.

        Raises:
            torch.cuda.OutOfMemoryError: when the windows do not fit on the device together.
        """

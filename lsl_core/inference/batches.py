"""As many windows at once as the device can hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import OutOfGpuMemory
from lsl_core.models.base import Model
from lsl_core.models.memory import free_memory, is_out_of_memory
from lsl_core.progress import Progress
from lsl_core.types import Instances

Pixels = NDArray[np.uint8]

#: Windows of 1024×1024 at a time. On a processor two at once leave its caches: 74 ms of one core
#: each instead of 55; several small ones share the overhead of a call.
_AT_ONCE = {"cuda": 16, "mps": 4, "cpu": 1}
_MOST = 64


class Batches:
    """Runs a model on lists of windows; after an out-of-memory on half as many, from then on.

    Args:
        model: predicts.
        floor_score: lowest score that is kept.
        size: windows at a time; None chooses by device and size of the windows.
        progress: told when the number shrinks.
    """

    def __init__(
        self, model: Model, *, floor_score: float, size: int | None, progress: Progress
    ) -> None:
        self._model = model
        self._floor_score = floor_score
        self._size = size
        self._progress = progress

    def size(self, window: Pixels) -> int:
        """Return how many windows like this one to give to the model at once."""
        if self._size is None:
            at_once = _AT_ONCE.get(self._model.device.split(":")[0], 1)
            area: int = max(1, window.shape[0] * window.shape[1])
            return max(1, min(_MOST, at_once * 1024 * 1024 // area))
        return self._size

    def predict(self, windows: Sequence[Pixels]) -> list[Instances]:
        """Find objects in each window.

        Raises:
            OutOfGpuMemory: when even one window does not fit.
        """
        found: list[Instances] = []
        while len(found) < len(windows):
            size = min(self._size or len(windows), len(windows) - len(found))
            batch = windows[len(found) : len(found) + size]
            answers = self._try(batch)
            if answers is None:
                # outside of the handler, whose traceback holds on to the memory
                self._shrink(batch)
                continue
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers for {len(batch)} windows")
            found += answers
        return found

    def _try(self, batch: Sequence[Pixels]) -> list[Instances] | None:
        try:
            return self._model.predict(batch, floor_score=self._floor_score)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _shrink(self, batch: Sequence[Pixels]) -> None:
        free_memory()
        device = self._model.device
        if len(batch) == 1:
            height, width = batch[0].shape[:2]
            raise OutOfGpuMemory(
                f"Even one window of {width}×{height} pixels does not fit in the memory "
                f"of {device}.",
                hint="Use smaller windows, close other programs on the device, or choose the "
                'device "cpu".',
            )
        self._size = len(batch) // 2
        self._progress.note(
            f"{len(batch)} windows at a time do not fit in the memory of {device}; "
            f"going on with {self._size}."
        )


def power_of_two(most: int) -> int:
    """Return the largest power of two that is no more.

    Batches of many sizes leave free memory in pieces of many sizes, which the next seldom fits:
    a small model held 648 MB after batches of 1 to 13 windows, 490 after 1, 2, 4 and 8.
    """
    return 1 << (most.bit_length() - 1)

"""A model in a process of its own, so that its Python takes no turns with that of callers.

Between any two operations of a network a thread needs Python's lock, which threads that decode
images and write answers hold for up to 5 ms (docs/decisions/0113). So the process decodes small
images and writes their answers itself, one after the other (docs/decisions/0120).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import ModelError
from lsl_core.inference.batches import Batches
from lsl_core.models import load_model, transform_version
from lsl_core.models.memory import free_memory, is_out_of_memory
from lsl_core.progress import NULL
from lsl_core.serve.looking import Answer, Looks, Question
from lsl_core.types import Instances

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

#: Windows that one process looks at; starting the next takes a quarter of a second. What windows
#: of many sizes leave free is in pieces, so that memory would grow (docs/decisions/0114).
_WINDOWS = 2000


class ModelProcess:
    """A `Model` that another process has loaded; a new one follows one that died or worked long.

    Args:
        folder: of the model.
        device: as for `load_model`; on a processor it computes with one thread.
        looks: what `answers` does beside the model.
        batch_size: windows at a time in `answers`; None chooses by device.

    Raises:
        ModelError, FormatTooNew: see `load_model`.
    """

    def __init__(
        self, folder: Path, device: str, looks: Looks, *, batch_size: int | None = None
    ) -> None:
        self.card = looks.card
        self.transform_version = transform_version(self.card.family)
        self._asked = folder, device, looks, batch_size
        self.device = self._start()

    def predict(
        self, windows: Sequence[NDArray[np.uint8]], *, floor_score: float
    ) -> list[Instances]:
        """Find objects in each window; see `Model.predict`.

        Raises:
            MemoryError: when the windows do not fit on the device together.
            ModelError: when the process died of them.
        """
        found: list[Instances] = self._told("predict", windows, floor_score)
        self._num_seen += len(windows)
        return found

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer questions together; see `Looks.answers`, and `predict` for the errors."""
        answers: list[Answer]
        answers, num_seen = self._told("answers", questions)
        self._num_seen += num_seen
        return answers

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def _told(self, *asked: object) -> Any:  # noqa: ANN401 - what the other side says
        """Ask the process and return its answer."""
        if self._num_seen >= _WINDOWS:
            self.close()
            self._start()
        try:
            self._pipe.send(asked)
            answer = self._pipe.recv()
        except (OSError, EOFError) as error:
            self.close()
            self._start()
            raise ModelError(
                "The process of the model ended and was started again.",
                hint="Send the image again; should it end again, memory may be short.",
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _start(self) -> str:
        """Start the process and wait until it has the model; return its device."""
        context = _context()
        self._num_seen = 0
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(*self._asked, theirs), name="model", daemon=True
        )
        self._process.start()
        theirs.close()  # or nobody would notice that it ended
        try:
            answer: str | Exception = self._pipe.recv()
        except (OSError, EOFError) as error:
            raise ModelError(
                "The process of the model ended while it was loaded.",
                hint="Memory may be short: close other programs, and start the service again.",
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def _context() -> ForkServerContext | SpawnContext:
    """Return how processes are made: copies of one that has torch, where that is safe."""
    if sys.platform != "linux":  # Apple's libraries break in a copy, Windows makes none
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lsl_core.models.compact.model"])
    return context


def _work(
    folder: Path, device: str, looks: Looks, batch_size: int | None, pipe: Connection
) -> None:
    """Load the model, and answer until nobody is there to ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides when this ends
    from lsl_core.models.devices import use_threads  # loads torch

    use_threads(1)
    try:
        model = load_model(folder, device=device)
    except Exception as error:
        pipe.send(error)
        return
    batches = Batches(model, floor_score=looks.floor_score, size=batch_size, progress=NULL)
    pipe.send(model.device)
    with contextlib.suppress(OSError, EOFError):
        while True:
            what, *asked = pipe.recv()
            if what == "predict":
                windows, floor_score = asked
                pipe.send(_tried(partial(model.predict, windows, floor_score=floor_score)))
            else:
                (questions,) = asked
                pipe.send(_tried(partial(looks.answers, questions, batches)))


def _tried(work: Callable[[], object]) -> object:
    """Return what comes of it, or what went wrong."""
    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            return error
        short = MemoryError(str(error))  # of torch's own, the other side may have no class
    free_memory()
    return short

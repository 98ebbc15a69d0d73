"""A model version that answers many callers at once."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from lsl_core.errors import TooLate
from lsl_core.geometry.drawable import Drawing
from lsl_core.inference.batches import Pixels
from lsl_core.inference.cache import PredictionCache
from lsl_core.inference.parts import joined, parts_of
from lsl_core.models import load_model, read_card, transform_version
from lsl_core.models.base import Model
from lsl_core.serve.answers import cvat_answer
from lsl_core.serve.apart import ModelProcess
from lsl_core.serve.batching import Batching
from lsl_core.serve.looking import FLOOR_SCORE, MAX_PIXELS, DetectSettings, Looks, Question
from lsl_core.serve.room import Room
from lsl_core.types import Instances, ModelCard, SlideWindows
from lsl_core.workspace.images import decode_rgb

#: Bytes of decoded images at a time; further callers wait for room, so memory stays bounded.
DECODED_BYTES = 1024 * 1024 * 1024
#: Seconds a caller waits. CVAT gives up after 120, and then nobody hears the reason.
TIMEOUT_S = 100.0
#: Bytes of the largest file that may be a small image, see `Looks.answers`.
_SMALL_BYTES = 4 * 1024 * 1024


class Detector:
    """One loaded model version; every method may be called from any number of threads.

    Concurrent callers share batches (see `Batching`); `predict` and `detect` look at the same image
    once, however many ask for it and at whatever thresholds.

    Args:
        model: loaded; nobody else uses it.
        looks: what is around it; as for a model without a cache when None.
        batch_size: windows at a time; None chooses by device.
        copies: further copies of the model, which work beside it.
    """

    def __init__(
        self,
        model: Model,
        looks: Looks | None = None,
        *,
        batch_size: int | None = None,
        copies: Sequence[Model] = (),
    ) -> None:
        self._model = model
        self._looks = looks or Looks(model.card, model.transform_version)
        self._apart = [one for one in (model, *copies) if isinstance(one, ModelProcess)]
        self._batching = Batching(
            (model, *copies), floor_score=self._looks.floor_score, size=batch_size
        )
        self._flights: dict[str, Future[Instances]] = {}
        self._lock = threading.Lock()
        self._room = Room(DECODED_BYTES)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        device: str = "auto",
        cache: PredictionCache | None = None,
        floor_score: float = FLOOR_SCORE,
        batch_size: int | None = None,
        max_pixels: int = MAX_PIXELS,
        at_once: int = 1,
    ) -> Self:
        """Load the model of a folder with card.json and weights.safetensors.

        Args:
            folder: of the model.
            device: "auto", "cuda", "mps" or "cpu".
            cache: see `Looks`, as the next.
            floor_score: lowest score that is kept.
            batch_size: windows at a time; None chooses by device.
            max_pixels: of an image.
            at_once: more than 1 loads the model in a process of its own, and on a processor in so
                many, each with one thread: they serve many callers faster than one with many.

        Raises:
            ModelError, FormatTooNew: see `load_model`.
        """
        card = read_card(folder)
        version = transform_version(card.family)
        looks = Looks(card, version, cache=cache, floor_score=floor_score, max_pixels=max_pixels)
        if at_once == 1:
            return cls(load_model(folder, device=device), looks, batch_size=batch_size)
        model = ModelProcess(folder, device, looks, batch_size=batch_size)
        more = at_once - 1 if model.device == "cpu" else 0
        copies = [ModelProcess(folder, device, looks, batch_size=batch_size) for _ in range(more)]
        return cls(model, looks, batch_size=batch_size, copies=copies)

    @property
    def card(self) -> ModelCard:
        """What is known about the model."""
        return self._model.card

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self._model.device

    def detect(
        self,
        image: bytes | Pixels,
        settings: DetectSettings | None = None,
        *,
        name: str = "The image",
        timeout_s: float = TIMEOUT_S,
    ) -> Instances:
        """Return the objects of an image that the settings show, masks binary.

        The same objects as a preview at the same settings shows, and as a push would draw.

        Args:
            image: bytes of an image file, or (h, w, 3) uint8 RGB pixels.
            settings: what to show; the defaults when None.
            name: of the image, for error texts.
            timeout_s: how long to wait, seconds.

        Raises:
            UserInput: when the bytes are no whole image, or an unknown label is wanted.
            TooLarge: when the image has too many pixels.
            TooBusy, TooLate: when there is no answer in time.
            ModelError: when it does not fit on the device.
        """
        settings = settings or DetectSettings()
        self._looks.wanted(settings)
        found = self.predict(image, slide=settings.slide, name=name, timeout_s=timeout_s)
        return self._looks.shown(found, settings)

    def answer(
        self, image: bytes, settings: DetectSettings, drawing: Drawing, *, timeout_s: float
    ) -> bytes:
        """Return what `detect` finds as the JSON text that CVAT expects; see there for the errors.

        A small image is decoded, looked at and put into words in a process of the model, together
        with others that wait. A large one is decoded here, so that its windows go to all of them.
        """
        ends_at = time.monotonic() + timeout_s
        if self._apart and self.device == "cpu" and len(image) <= _SMALL_BYTES:
            asked = self._batching.ask(Question(image, settings, drawing), timeout_s=timeout_s)
            (answer,) = _waited(asked, timeout_s)
            if answer is not None:
                return answer
        left_s = max(0.0, ends_at - time.monotonic())
        found = self.detect(image, settings, timeout_s=left_s)
        return cvat_answer(found, self.card.labels, drawing)

    def predict(
        self,
        image: bytes | Pixels,
        *,
        slide: SlideWindows | None = None,
        name: str = "The image",
        timeout_s: float = TIMEOUT_S,
    ) -> Instances:
        """Return everything found on an image, masks soft; see `detect` for the errors."""
        sha256 = _sha256(image)
        key = self._looks.key(sha256, slide)
        stored = self._looks.stored(key)
        if stored is not None:
            return stored
        with self._lock:
            flight = self._flights.get(key)
            is_first = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not is_first:
            return _waited(flight, timeout_s)
        try:
            found = self._look(image, slide, name, timeout_s)
            self._looks.keep(key, found, name=name, sha256=sha256)
        except BaseException as error:
            flight.set_exception(error)
            raise
        else:
            flight.set_result(found)
            return found
        finally:
            with self._lock:
                del self._flights[key]

    @contextmanager
    def decoded(
        self, image: bytes | Pixels, *, name: str = "The image", timeout_s: float = TIMEOUT_S
    ) -> Iterator[Pixels]:
        """Give the pixels of an image, (h, w, 3) uint8 RGB, while there is room for them.

        Raises:
            UserInput: when the bytes are no whole image.
            TooLarge: when it has too many pixels; then nothing was decoded.
            TooBusy: when other images take all the room for too long.
        """
        if isinstance(image, np.ndarray):
            yield image
            return
        height, width = self._looks.size_of(image, name)
        with self._room.taken(height * width * 3, timeout_s=timeout_s):
            yield decode_rgb(image, name=name)

    def close(self) -> None:
        """Answer what waits, then stop."""
        self._batching.close()
        for model in self._apart:
            model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(
        self, image: bytes | Pixels, slide: SlideWindows | None, name: str, timeout_s: float
    ) -> Instances:
        ends_at = time.monotonic() + timeout_s
        with self.decoded(image, name=name, timeout_s=timeout_s) as pixels:
            parts = parts_of(pixels, slide)
            left_s = max(0.0, ends_at - time.monotonic())
            answer = self._batching.submit([shown for _, shown in parts], timeout_s=left_s)
            found = _waited(answer, left_s)
            image_hw = (pixels.shape[0], pixels.shape[1])
        windows = [window for window, _ in parts]
        return joined(windows, found, image_hw=image_hw, mode=self.card.mode)


def _sha256(image: bytes | Pixels) -> str:
    if isinstance(image, bytes):
        return hashlib.sha256(image).hexdigest()
    of_size = hashlib.sha256(repr(image.shape).encode())
    of_size.update(np.ascontiguousarray(image).data)
    return of_size.hexdigest()


T = TypeVar("T")


def _waited(future: Future[T], timeout_s: float) -> T:
    try:
        return future.result(timeout_s)
    except FutureTimeout as error:
        raise TooLate(
            f"No answer within {timeout_s:.0f} s.", hint="Send it again, or fewer at once."
        ) from error

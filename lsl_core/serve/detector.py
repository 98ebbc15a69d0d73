"""A model version that answers many callers at once."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from PIL import Image

from lsl_core.errors import (
    BadThreshold,
    DiskFull,
    LabelMismatch,
    TooLarge,
    TooLate,
    UserInput,
)
from lsl_core.geometry.drawable import without_holes
from lsl_core.inference.batches import Pixels
from lsl_core.inference.cache import PredictionCache, cache_key
from lsl_core.inference.parts import joined, parts_of
from lsl_core.models import load_model
from lsl_core.models.base import Model
from lsl_core.serve.apart import ModelProcess
from lsl_core.serve.batching import Batching
from lsl_core.serve.room import Room
from lsl_core.types import (
    Hw,
    ImageRef,
    Instances,
    ModelCard,
    Prediction,
    SlideWindows,
    View,
)
from lsl_core.windows import check
from lsl_core.workspace.images import decode_rgb

_LOG = logging.getLogger(__name__)

#: Lowest score that is computed and kept, so that a threshold is a view and not a model call.
FLOOR_SCORE = 0.05
#: Pixels of the largest image that is decoded, unless another limit is asked for.
MAX_PIXELS = 150_000_000
#: Bytes of decoded images at a time; further callers wait for room, so memory stays bounded.
DECODED_BYTES = 1024 * 1024 * 1024
#: Seconds a caller waits. CVAT gives up after 120, and then nobody hears the reason.
TIMEOUT_S = 100.0

# Sizes are read here and judged by our own limit; Pillow decodes nothing.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """What a caller wants to see of what the model found.

    threshold: lowest score in [0, 1] for all labels; None takes the model's own, one a label.
    mask_threshold: lowest probability in (0, 1] of a pixel of a mask. slide: windows, None shows
    the model the image whole. labels: names that are wanted, None for all. fill_holes: whether
    holes in masks are filled; they are kept as the model sees them otherwise.
    """

    threshold: float | None = None
    mask_threshold: float = 0.5
    slide: SlideWindows | None = None
    labels: tuple[str, ...] | None = None
    fill_holes: bool = False

    def __post_init__(self) -> None:
        for name, value, lowest in (
            ("threshold", self.threshold, 0.0),
            ("mask_threshold", self.mask_threshold, 1 / 255),
        ):
            if value is not None and not (math.isfinite(value) and lowest <= value <= 1):
                raise BadThreshold(f"A {name} of {value} is not between 0 and 1.", hint="Try 0.5.")
        if self.slide is not None:
            check(self.slide)


class Detector:
    """One loaded model version; every method may be called from any number of threads.

    Concurrent callers share batches (see `Batching`); the same image is looked at once, however
    many ask for it and at whatever thresholds.

    Args:
        model: loaded; nobody else uses it.
        cache: keeps what was found, by content; None keeps nothing.
        floor_score: lowest score that is kept.
        batch_size: windows at a time; None chooses by device.
        max_pixels: larger images are refused before they are decoded.
        copies: further copies of the model, which work beside it.
    """

    def __init__(
        self,
        model: Model,
        *,
        cache: PredictionCache | None = None,
        floor_score: float = FLOOR_SCORE,
        batch_size: int | None = None,
        max_pixels: int = MAX_PIXELS,
        copies: Sequence[Model] = (),
    ) -> None:
        self._model = model
        self._apart = [one for one in (model, *copies) if isinstance(one, ModelProcess)]
        self._cache = cache
        self._floor_score = floor_score
        self._max_pixels = max_pixels
        self._batching = Batching((model, *copies), floor_score=floor_score, size=batch_size)
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
            cache: see the class, as the others.
            floor_score: lowest score that is kept.
            batch_size: windows at a time.
            max_pixels: of an image.
            at_once: more than 1 loads the model in a process of its own, and on a processor in so
                many, each with one thread: they serve many callers faster than one with many.

        Raises:
            ModelError, FormatTooNew: see `load_model`.
        """
        if at_once == 1:
            model, copies = load_model(folder, device=device), []
        else:
            model = ModelProcess(folder, device)
            more = at_once - 1 if model.device == "cpu" else 0
            copies = [ModelProcess(folder, device) for _ in range(more)]
        return cls(
            model,
            copies=copies,
            cache=cache,
            floor_score=floor_score,
            batch_size=batch_size,
            max_pixels=max_pixels,
        )

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
        wanted = self._wanted(settings.labels)
        found = self.predict(image, slide=settings.slide, name=name, timeout_s=timeout_s)
        card = self.card
        thresholds = tuple(
            card.thresholds.get(label, 0.5) if settings.threshold is None else settings.threshold
            for label in card.labels
        )
        if wanted is not None:
            found = found.take(np.isin(found.class_ids, wanted))
        shown = View(thresholds, settings.mask_threshold).of(found)
        return without_holes(shown) if settings.fill_holes else shown

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
        key = cache_key(
            weights_sha256=self.card.fingerprint,
            image_sha256=sha256,
            slide=slide,
            transform_version=self._model.transform_version,
            floor_score=self._floor_score,
        )
        stored = self._cache.get(key) if self._cache else None
        if stored is not None:
            return stored.instances
        with self._lock:
            flight = self._flights.get(key)
            is_first = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not is_first:
            return _waited(flight, timeout_s)
        try:
            found = self._look(image, slide, name, timeout_s)
            self._keep(key, ImageRef(None, 0, name, found.image_hw, sha256), found)
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
        height, width = self._size_of(image, name)
        with self._room.taken(height * width * 3, timeout_s=timeout_s):
            yield decode_rgb(image, name=name)

    def _size_of(self, data: bytes, name: str) -> Hw:
        try:
            with Image.open(BytesIO(data)) as image:
                width, height = image.size
        except Exception as error:  # Pillow's readers raise all kinds for damaged files
            raise UserInput(
                f"{name} is no image that can be read.", hint="Send a PNG or JPEG file."
            ) from error
        if width * height > self._max_pixels:
            raise TooLarge(
                f"{name} has {width}×{height} pixels; at most {self._max_pixels:,} are taken.",
                hint="Send parts of it, or raise the limit of the service.",
            )
        return height, width

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

    def _keep(self, key: str, ref: ImageRef, found: Instances) -> None:
        if self._cache is None:
            return
        try:
            self._cache.put(key, Prediction(ref, self.card.id, found, self._floor_score))
        except (DiskFull, OSError) as error:
            # the answer is right all the same
            _LOG.warning("a prediction was not kept: %s", error)

    def _wanted(self, labels: Sequence[str] | None) -> list[int] | None:
        if labels is None:
            return None
        unknown = [label for label in labels if label not in self.card.labels]
        if unknown:
            raise LabelMismatch(
                f'The model "{self.card.name}" has no label "{unknown[0]}".',
                hint=f"Its labels: {', '.join(self.card.labels)}.",
            )
        return [self.card.labels.index(label) for label in labels]


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

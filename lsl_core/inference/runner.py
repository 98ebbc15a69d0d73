"""Predictions of many images: read ahead, share batches, join, keep."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from operator import length_hint

import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import DiskFull, LslError, RunCancelled
from lsl_core.inference.ahead import Ahead
from lsl_core.inference.batches import Batches
from lsl_core.inference.cache import DamagedEntry, PredictionCache, cache_key
from lsl_core.inference.parts import in_window, parts_of
from lsl_core.models.base import Model
from lsl_core.progress import NULL, Progress
from lsl_core.types import (
    MODES,
    ImageRef,
    Instances,
    ModelCard,
    Prediction,
    SlideWindows,
    SoftMasks,
    Window,
)
from lsl_core.windows import check, stitch

Pixels = NDArray[np.uint8]
ReadPixels = Callable[[], Pixels]

#: How many bytes of decoded images may wait for the device.
AHEAD_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FailedImage:
    """An image that could not be looked at, and why, in a sentence for people."""

    ref: ImageRef
    reason: str


@dataclass(slots=True, eq=False)
class _Read:
    """What the background thread made of an image: a stored prediction, pixels, or a reason."""

    ref: ImageRef
    key: str
    stored: Prediction | None = None
    pixels: Pixels | None = None
    reason: str = ""
    note: str = ""


@dataclass(slots=True, eq=False)
class _Job:
    """An image on its way: its windows, and what was found in them so far."""

    ref: ImageRef
    key: str
    outcome: Prediction | FailedImage | None
    parts: list[tuple[Window, Instances]] = field(default_factory=list)
    num_windows: int = 0


def predict_images(
    load: Callable[[], Model],
    *,
    card: ModelCard,
    transform_version: str,
    images: Iterable[tuple[ImageRef, ReadPixels]],
    slide: SlideWindows | None,
    floor_score: float = 0.05,
    cache: PredictionCache,
    batch_size: int | None = None,
    progress: Progress = NULL,
) -> Iterator[Prediction | FailedImage]:
    """Predict images one after the other, each yielded as soon as it is done, in their order.

    Images are read in one background thread, a bounded number of bytes ahead, and not at all when
    the cache has their prediction. Windows of neighbouring images share a batch; no window waits
    for a batch to fill while no image is ready. Stopping keeps what is done: it is in the cache.

    Args:
        load: gives the model; called when the first image is not in the cache.
        card: of that model.
        transform_version: of that model.
        images: what to look at, and how to read its pixels (h, w, 3) RGB; both are used in the
            background thread.
        slide: windows; None shows the model each image whole.
        floor_score: lowest score that is kept.
        cache: where predictions are looked up and kept.
        batch_size: windows at a time; None chooses by device.
        progress: told images; asked before each batch whether to stop.

    Raises:
        UserInput: when the windows are no use.
        OutOfGpuMemory: when even one window does not fit on the device.
        RunCancelled: when somebody asked to stop.
    """
    if slide is not None:
        check(slide)
    return _Runner(
        load, card, transform_version, slide, floor_score, cache, batch_size, progress
    ).run(images)


@dataclass(slots=True, eq=False)
class _Runner:
    load: Callable[[], Model]
    card: ModelCard
    transform_version: str
    slide: SlideWindows | None
    floor_score: float
    cache: PredictionCache
    batch_size: int | None
    progress: Progress
    batches: Batches | None = None
    jobs: deque[_Job] = field(default_factory=deque)
    waiting: deque[tuple[_Job, Window, Pixels]] = field(default_factory=deque)
    is_keeping: bool = True

    def run(
        self, images: Iterable[tuple[ImageRef, ReadPixels]]
    ) -> Iterator[Prediction | FailedImage]:
        self.progress.start("Predicting", total=length_hint(images), unit="images")
        with Ahead(self._read_all(images), max_bytes=AHEAD_BYTES) as ahead:
            while not (ahead.is_over and not self.jobs):
                self.progress.check()
                self._fill(ahead)
                if self.waiting:
                    self._predict_batch()
                    self._complete()
                yield from self._finished()

    def _read_all(
        self, images: Iterable[tuple[ImageRef, ReadPixels]]
    ) -> Iterator[tuple[Callable[[], _Read], int]]:
        """Look up each image, and say how to decode it; runs in the background thread."""
        for ref, read_pixels in images:
            read = _Read(ref, self._key(ref))
            try:
                read.stored = self.cache.read(read.key)
            except DamagedEntry as error:
                read.note = f"{ref.name} is predicted again: {error}."
            height, width = ref.image_hw
            size = height * width * 3 if read.stored is None else _mask_bytes(read.stored)
            yield partial(_decoded, read, read_pixels), size

    def _key(self, ref: ImageRef) -> str:
        return cache_key(
            weights_sha256=self.card.fingerprint,
            image_sha256=ref.sha256,
            slide=self.slide,
            transform_version=self.transform_version,
            floor_score=self.floor_score,
        )

    def _fill(self, ahead: Ahead[_Read]) -> None:
        """Take images until there is a batch of windows, or none is ready."""
        while not self.waiting or len(self.waiting) < self._batch_size():
            read = ahead.take(wait=not self.waiting)
            if read is None:
                return
            self._begin(read)
            if not self.waiting:
                return  # something is finished without the model

    def _batch_size(self) -> int:
        if self.batches is None:
            model = self.load()
            self.batches = Batches(
                model, floor_score=self.floor_score, size=self.batch_size, progress=self.progress
            )
        return self.batches.size(self.waiting[0][2])

    def _begin(self, read: _Read) -> None:
        if read.note:
            self.progress.note(read.note)
        job = _Job(read.ref, read.key, None)
        self.jobs.append(job)
        if read.stored is not None:
            # the same bytes may be another frame, and weights may have another name
            job.outcome = replace(read.stored, image=read.ref, model_id=self.card.id)
        elif read.pixels is None:
            job.outcome = FailedImage(read.ref, read.reason)
        else:
            parts = parts_of(read.pixels, self.slide)
            job.num_windows = len(parts)
            self.waiting += [(job, window, shown) for window, shown in parts]

    def _predict_batch(self) -> None:
        size = self._batch_size()
        assert self.batches is not None
        batch = [self.waiting.popleft() for _ in range(min(size, len(self.waiting)))]
        answers = self.batches.predict([pixels for _, _, pixels in batch])
        for (job, window, _), found in zip(batch, answers, strict=True):
            job.parts.append((window, in_window(window, found)))

    def _complete(self) -> None:
        """Join and keep every image whose windows were all looked at."""
        for job in self.jobs:
            if job.outcome is None and len(job.parts) == job.num_windows:
                found = stitch(
                    job.parts,
                    image_hw=job.ref.image_hw,
                    semantic=MODES[self.card.mode].semantic,
                )
                job.outcome = Prediction(job.ref, self.card.id, found, self.floor_score)
                job.parts.clear()
                self._keep(job.key, job.outcome)

    def _finished(self) -> Iterator[Prediction | FailedImage]:
        while self.jobs and (outcome := self.jobs[0].outcome) is not None:
            self.jobs.popleft()
            self.progress.advance()
            yield outcome
            self.progress.check()

    def _keep(self, key: str, prediction: Prediction) -> None:
        if not self.is_keeping:
            return
        try:
            if not self.cache.put(key, prediction):
                self.progress.note(
                    f"{prediction.image.name} has more objects than the cache holds."
                )
        except (DiskFull, OSError) as error:
            self.is_keeping = False
            reason = error.message if isinstance(error, DiskFull) else str(error)
            self.progress.note(f"Predictions are not kept from here on: {reason}")


def _mask_bytes(prediction: Prediction) -> int:
    masks = prediction.instances.masks
    if masks is None:
        return 0
    return masks.values.nbytes if isinstance(masks, SoftMasks) else masks.runs.nbytes


def _decoded(read: _Read, read_pixels: ReadPixels) -> _Read:
    """Read the pixels that are needed, or say why not: one bad image must not stop the others."""
    if read.stored is not None:
        return read
    try:
        pixels = read_pixels()
    except RunCancelled:
        raise
    except LslError as error:
        read.reason = str(error)
        return read
    except (OSError, ValueError, MemoryError) as error:
        read.reason = f"{read.ref.name} cannot be read: {error or type(error).__name__}."
        return read
    height, width = read.ref.image_hw
    if pixels.shape != (height, width, 3):
        shape = "×".join(str(side) for side in pixels.shape[1::-1])
        read.reason = f"{read.ref.name} is {shape} pixels large, not {width}×{height} as expected."
        return read
    read.pixels = pixels
    return read

"""Looking at images: what may be asked, what was found before, what is shown of it.

There are no threads here and nobody waits: `detector` and `apart` look with this.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image

from lsl_core.errors import (
    BadThreshold,
    DiskFull,
    LabelMismatch,
    LslError,
    TooLarge,
    UserInput,
)
from lsl_core.geometry.drawable import Drawing, without_holes
from lsl_core.inference.batches import Batches, Pixels, power_of_two
from lsl_core.inference.cache import PredictionCache, cache_key
from lsl_core.inference.parts import joined, parts_of
from lsl_core.serve.answers import cvat_answer
from lsl_core.types import (
    Hw,
    ImageRef,
    Instances,
    ModelCard,
    Prediction,
    SlideWindows,
    View,
    Window,
)
from lsl_core.windows import check, plan
from lsl_core.workspace.images import decode_rgb

_LOG = logging.getLogger(__name__)

#: Lowest score that is computed and kept, so that a threshold is a view and not a model call.
FLOOR_SCORE = 0.05
#: Pixels of the largest image that is decoded, unless another limit is asked for.
MAX_PIXELS = 150_000_000
#: Pixels of the largest image that is answered together with others, all decoded at a time.
_SMALL_PIXELS = 2048 * 2048

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


@dataclass(frozen=True, slots=True)
class Question:
    """An image file, what is wanted of it, and how CVAT shall draw that."""

    image: bytes
    settings: DetectSettings
    drawing: Drawing


#: CVAT's JSON, what went wrong, or None: the image is large and wants to be looked at in parts.
Answer = bytes | Exception | None


@dataclass(slots=True)
class _Unseen:
    """A small image that was not looked at before. asked: numbers of the questions about it."""

    sha256: str
    image_hw: Hw
    window: Window
    shown: Pixels
    asked: list[int] = field(default_factory=list)


class Looks:
    """What is around a model: the images it saw before, the limits, the words of its answers.

    Safe for several threads; processes get copies.

    Args:
        card: of the model.
        transform_version: of the model.
        cache: keeps what was found, by content; None keeps nothing.
        floor_score: lowest score that is kept.
        max_pixels: larger images are refused before they are decoded.
    """

    def __init__(
        self,
        card: ModelCard,
        transform_version: str,
        *,
        cache: PredictionCache | None = None,
        floor_score: float = FLOOR_SCORE,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.card, self.floor_score = card, floor_score
        self._transform_version, self._cache = transform_version, cache
        self._max_pixels = max_pixels

    def key(self, sha256: str, slide: SlideWindows | None) -> str:
        """Return what a look at an image is found by."""
        return cache_key(
            weights_sha256=self.card.fingerprint,
            image_sha256=sha256,
            slide=slide,
            transform_version=self._transform_version,
            floor_score=self.floor_score,
        )

    def stored(self, key: str) -> Instances | None:
        """Return what was found before, masks soft."""
        stored = self._cache.get(key) if self._cache else None
        return stored.instances if stored else None

    def keep(self, key: str, found: Instances, *, name: str, sha256: str) -> None:
        """Store what was found; a full disk is no reason to have no answer."""
        if self._cache is None:
            return
        ref = ImageRef(None, 0, name, found.image_hw, sha256)
        try:
            self._cache.put(key, Prediction(ref, self.card.id, found, self.floor_score))
        except (DiskFull, OSError) as error:
            _LOG.warning("a prediction was not kept: %s", error)

    def size_of(self, data: bytes, name: str) -> Hw:
        """Return the size that an image file says it has.

        Raises:
            UserInput: when it is none.
            TooLarge: when it has too many pixels.
        """
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

    def wanted(self, settings: DetectSettings) -> list[int] | None:
        """Return the class ids that are wanted, None for all.

        Raises:
            LabelMismatch: when the model lacks one of the labels.
        """
        labels = self.card.labels
        if settings.labels is None:
            return None
        unknown = [label for label in settings.labels if label not in labels]
        if unknown:
            raise LabelMismatch(
                f'The model "{self.card.name}" has no label "{unknown[0]}".',
                hint=f"Its labels: {', '.join(labels)}.",
            )
        return [labels.index(label) for label in settings.labels]

    def shown(self, found: Instances, settings: DetectSettings) -> Instances:
        """Return the objects that the settings show, masks binary; see `wanted` for the errors."""
        wanted = self.wanted(settings)
        thresholds = tuple(
            self.card.thresholds.get(label, 0.5)
            if settings.threshold is None
            else settings.threshold
            for label in self.card.labels
        )
        if wanted is not None:
            found = found.take(np.isin(found.class_ids, wanted))
        shown = View(thresholds, settings.mask_threshold).of(found)
        return without_holes(shown) if settings.fill_holes else shown

    def answers(self, questions: Sequence[Question], batches: Batches) -> tuple[list[Answer], int]:
        """Answer questions together, each as if it was alone.

        Args:
            questions: of small images; None answers one about a large one.
            batches: look at what was not seen before.

        Returns:
            The answers, and how many images were looked at.
        """
        answers: list[Answer] = [None] * len(questions)
        unseen: dict[str, _Unseen] = {}
        for i, question in enumerate(questions):
            try:
                sha256 = hashlib.sha256(question.image).hexdigest()
                key = self.key(sha256, question.settings.slide)
                found = self.stored(key)
                if found is not None:
                    answers[i] = self._words(found, question)
                    continue
                image = unseen.get(key) or self._small(question, sha256)
                if image is not None:
                    unseen[key] = image
                    image.asked.append(i)
            except Exception as error:
                answers[i] = _sent(error)
        for key, image, found in self._looked_at(unseen, batches):
            self.keep(key, found, name="The image", sha256=image.sha256)
            for i in image.asked:
                try:
                    answers[i] = self._words(found, questions[i])
                except Exception as error:
                    answers[i] = _sent(error)
        return answers, len(unseen)

    def _words(self, found: Instances, question: Question) -> bytes:
        shown = self.shown(found, question.settings)
        return cvat_answer(shown, self.card.labels, question.drawing)

    def _small(self, question: Question, sha256: str) -> _Unseen | None:
        """Return an image that is one window and soon decoded; None for others."""
        slide = question.settings.slide
        hw = self.size_of(question.image, "The image")
        if hw[0] * hw[1] > _SMALL_PIXELS or len(list(plan(hw, slide))) > 1:
            return None
        pixels = decode_rgb(question.image, name="The image")
        parts = parts_of(pixels, slide)
        if len(parts) > 1:  # it was turned as its file says
            return None
        ((window, shown),) = parts
        return _Unseen(sha256, (pixels.shape[0], pixels.shape[1]), window, shown)

    def _looked_at(
        self, unseen: dict[str, _Unseen], batches: Batches
    ) -> Iterator[tuple[str, _Unseen, Instances]]:
        left = list(unseen.items())
        while left:
            size = power_of_two(min(batches.size(left[0][1].shown), len(left)))
            some, left = left[:size], left[size:]
            found = batches.predict([image.shown for _, image in some])
            for (key, image), shown in zip(some, found, strict=True):
                whole = joined(
                    [image.window], [shown], image_hw=image.image_hw, mode=self.card.mode
                )
                yield key, image, whole


def _sent(error: Exception) -> Exception:
    """Return an error as another process can read it; a bug of ours leaves its traceback here."""
    if isinstance(error, LslError):
        return error
    _LOG.error("an image was not answered", exc_info=error)
    return RuntimeError(repr(error))

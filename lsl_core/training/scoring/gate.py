"""Whether a new version may take the place of its parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lsl_core.models.base import Model
from lsl_core.models.memory import enough_memory
from lsl_core.progress import Progress
from lsl_core.training.examples.samples import Sample
from lsl_core.training.examples.tiles import windows_of
from lsl_core.training.scoring.score import evaluate
from lsl_core.training.scoring.seen import Seen
from lsl_core.types import (
    MODES,
    Beside,
    Comparison,
    Geometry,
    Instances,
    Metrics,
    ModelCard,
    SlideWindows,
    Verdict,
    Window,
)
from lsl_core.windows import cut

#: Lowest score that counts when a model is measured.
MEASURE_FLOOR = 0.02


class Watch(Protocol):
    """Somebody who looks at every window that is measured."""

    def __call__(
        self,
        name: str,
        window: Window,
        *,
        part: NDArray[np.uint8],
        drawn: Instances,
        found: Instances,
    ) -> None:
        """Look at a window of an image: its pixels, RGB, what was drawn and what was found."""


def measure(
    model: Model,
    samples: Sequence[Sample],
    slide: SlideWindows,
    progress: Progress,
    *,
    watch: Watch | None = None,
) -> list[Seen]:
    """Predict the windows of labelled images; return what was drawn and what was found."""
    progress.start("Measuring", total=len(samples), unit="images")
    seen = []
    for sample in samples:
        progress.check()
        pixels = sample.pixels()
        truth, found = [], []
        for window, drawn in windows_of(sample, slide):
            truth.append(drawn)
            part = cut(pixels, window)
            with enough_memory("look at a window of these images"):
                found += model.predict([part], floor_score=MEASURE_FLOOR)
            if watch is not None:
                watch(sample.name, window, part=part, drawn=drawn, found=found[-1])
        seen.append(Seen(sample.name, tuple(truth), tuple(found)))
        progress.advance()
    return seen


def compare(
    child: tuple[ModelCard, Sequence[Instances]],
    parent: tuple[ModelCard, Sequence[Instances]],
    truth: Sequence[Instances],
    *,
    num_images: int,
    num_seen: int,
) -> Comparison:
    """Compare two versions on the same held-out images.

    Only labels that both know count, and boxes where one of the two has no masks.

    Args:
        child: its card, and what it found on each window.
        parent: the same of the version before.
        truth: what people drew there; class ids are the child's.
        num_images: how many images these windows are of.
        num_seen: how many of them the parent learnt from.
    """
    (card, ours), (before_card, theirs) = child, parent
    shared = [label for label in card.labels if label in before_card.labels]
    if not shared or not any(len(t) for t in truth):
        return Comparison(Verdict.UNKNOWN, before_card.id, "AP", 0, 0, num_images, num_seen)
    drawn = [t.relabelled(card.labels, shared) for t in truth]
    ours = [f.relabelled(card.labels, shared) for f in ours]
    theirs = [f.relabelled(before_card.labels, shared) for f in theirs]
    semantic = MODES[card.mode].semantic and MODES[before_card.mode].semantic
    after = evaluate(drawn, ours, shared, semantic=semantic)
    before = evaluate(drawn, theirs, shared, semantic=semantic)
    figure, was, now = _figures(before, after)
    rows = _rows(before, after)
    if before.kind == after.kind == Geometry.MASKS.value and not semantic:
        boxes = [[replace(one, masks=None) for one in of] for of in (drawn, theirs, ours)]
        rows += _rows(evaluate(boxes[0], boxes[1], shared), evaluate(boxes[0], boxes[2], shared))
    verdict = Beside("", "", was, now).verdict
    return Comparison(verdict, before_card.id, figure, was, now, num_images, num_seen, rows)


def _rows(before: Metrics, after: Metrics) -> tuple[Beside, ...]:
    """Return the figure of all labels and of each, where both have it."""
    if before.kind != after.kind:
        return ()
    kind = "pixels" if after.iou else after.kind
    was, now = (of.iou or of.per_label for of in (before, after))
    labels = [Beside(kind, label, was[label], now[label]) for label in now if label in was]
    return Beside(kind, "", before.headline[1], after.headline[1]), *labels


def _figures(before: Metrics, after: Metrics) -> tuple[str, float, float]:
    """Return the name of the figure that both have, and its values."""
    if before.kind == after.kind:
        name, now = after.headline
        return name, before.headline[1], now
    was = before.ap if before.box_ap is None else before.box_ap
    now = after.ap if after.box_ap is None else after.box_ap
    return "box AP", was, now

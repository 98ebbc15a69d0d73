"""Training: check the support set, run the loop, measure on held-out images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from torch import Tensor

from lsl_core.errors import UserInput
from lsl_core.models.base import Model
from lsl_core.models.calibrated import calibrate
from lsl_core.progress import NULL, Progress
from lsl_core.training.calibration import fit_calibration
from lsl_core.training.compact_loop import train_compact
from lsl_core.training.correcting import best_thresholds
from lsl_core.training.foundation_loop import train_foundation
from lsl_core.training.gate import Watch, measure
from lsl_core.training.samples import Sample, check_support, support_notes
from lsl_core.training.score import evaluate
from lsl_core.training.settings import FitSettings
from lsl_core.training.trained import Trained
from lsl_core.types import MODES, Instances, Metrics, ModelCard

#: Which loop trains which family.
_LOOPS = {"compact": train_compact, "foundation": train_foundation}


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came out of a training; nothing of it is on disk yet.

    state: weights, on the CPU. card: complete but for its id, name, parent, support and the hash.
    model: makes the model that answers with these weights, from a card. truth, found: what people
    drew and what the model found, a window of the measured images each. stopped: somebody stopped
    it before its end; this is the best until then.
    """

    state: dict[str, Tensor]
    card: ModelCard
    model: Callable[[ModelCard], Model]
    truth: tuple[Instances, ...] = ()
    found: tuple[Instances, ...] = ()
    stopped: bool = False

    @property
    def metrics(self) -> Metrics | None:
        """What the model reached on the held-out images, None when there were none."""
        return self.card.metrics

    def named(self, *, model_id: str, name: str, support: str, parent: str | None) -> ModelCard:
        """Return the card for `save_model`.

        Args:
            model_id: unique in the workspace.
            name: what people call it.
            support: name of the source that it learnt from.
            parent: id of the version before.
        """
        return replace(self.card, id=model_id, name=name, support=support, parent=parent)


def fit(
    samples: Sequence[Sample],
    held_out: Sequence[Sample],
    *,
    settings: FitSettings,
    labels: tuple[str, ...],
    progress: Progress = NULL,
    checkpoint: Path | None = None,
    watch: Watch | None = None,
) -> Fitted:
    """Train a model on labelled images and measure it on others.

    Args:
        samples: images to learn from.
        held_out: images that only measure and choose the thresholds; see `split_support`.
            Without any there is no score, and the images that were learnt choose the thresholds.
        settings: mode, budget, seed.
        labels: names in the order of class ids.
        progress: hears "loss", "learning_rate" and "ap…", or "iou" of a semantic mode. Stopped
            early, nothing is kept; stopped later, the best so far is.
        checkpoint: file from which the same training, killed, goes on.
        watch: sees the held-out images each time that they are measured.

    Raises:
        EmptySupport: when there is nothing to learn from.
        LabelMismatch: when what was drawn does not fit the mode.
        ModelError: when the training diverges.
        RunCancelled: when somebody stopped it.
    """
    check_support(samples, mode=settings.mode, labels=labels)
    _check_apart(samples, held_out)
    for note in support_notes(samples, labels):
        progress.note(note)
    began = time.monotonic()

    def model_of(trained: Trained) -> Model:
        return trained.model(_card(trained, settings, labels, len(samples)))

    def score(trained: Trained) -> float:
        """Return the figure of the held-out images that decides, and tell it."""
        looked = measure(model_of(trained), held_out, settings.slide, NULL, watch=watch)
        semantic = MODES[settings.mode].semantic
        name, value = evaluate(*looked, labels, semantic=semantic).headline
        progress.metric(name.lower(), value, at=trained.iterations)
        return value

    train, told = _LOOPS[settings.family], score if held_out else None
    trained = train(samples, settings, labels, progress, score=told, checkpoint=checkpoint)
    listener = NULL if trained.stopped else progress  # who stopped it was heard
    seen_by = watch if held_out else None  # what was learnt shows nothing
    looked = measure(
        model_of(trained), held_out or samples, settings.slide, listener, watch=seen_by
    )
    card = _card(trained, settings, labels, len(samples))
    card, found = _judged(card, *looked, is_held_out=bool(held_out))
    if card.metrics is not None:
        for name, value in _figures(card.metrics).items():
            progress.metric(name, value, at=trained.iterations)
    card = replace(card, train_seconds=round(time.monotonic() - began, 1))
    seen = (tuple(looked[0]), tuple(found))
    return Fitted(trained.state, card, trained.model, *seen, trained.stopped)


def _figures(metrics: Metrics) -> dict[str, float]:
    """Return what is told of a training that ended."""
    if metrics.iou:  # average precision says nothing of objects that are only connected pixels
        return {"iou": metrics.headline[1]}
    return {"ap": metrics.ap, "ap50": metrics.ap50, "ap75": metrics.ap75}


def _judged(
    card: ModelCard, truth: list[Instances], found: list[Instances], *, is_held_out: bool
) -> tuple[ModelCard, list[Instances]]:
    """Return the card with thresholds and, from held-out images, figures and calibration.

    What was found comes back with calibrated scores.
    """
    semantic, calibration = MODES[card.mode].semantic, None
    if is_held_out and not semantic:
        calibration = fit_calibration(truth, found, card.labels)
    if calibration is not None:
        found = [replace(f, scores=calibrate(f.scores, calibration)) for f in found]
    metrics = evaluate(truth, found, card.labels, semantic=semantic) if is_held_out else None
    thresholds = best_thresholds(truth, found, card.labels)
    return replace(card, thresholds=thresholds, metrics=metrics, calibration=calibration), found


def _check_apart(samples: Sequence[Sample], held_out: Sequence[Sample]) -> None:
    known = {s.name for s in samples}
    if any(s.name in known for s in held_out):
        raise UserInput(
            "The same image is to be learnt from and measured on.",
            hint="Choose another source to measure on, or let LSL split this one.",
        )


def _card(
    trained: Trained, settings: FitSettings, labels: tuple[str, ...], num_images: int
) -> ModelCard:
    return ModelCard(
        id="",
        name="",
        family=settings.family,
        mode=settings.mode,
        labels=labels,
        parent=None,
        support="",
        support_images=num_images,
        metrics=None,
        thresholds={},
        window=settings.window,
        scale=trained.scale,
        settings={
            **trained.settings,
            "overlap": settings.overlap,
            "seed": settings.seed,
            "iterations": trained.iterations,
        },
        weights_sha256="",
        licence=trained.licence,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )

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
from lsl_core.training.common.settings import FitSettings
from lsl_core.training.common.trained import Trained
from lsl_core.training.compact.compact_loop import train_compact
from lsl_core.training.compact.first_pass import train_first_pass
from lsl_core.training.examples.samples import Sample, check_support, support_notes
from lsl_core.training.foundation.foundation_loop import train_foundation
from lsl_core.training.scoring.calibration import fit_calibration
from lsl_core.training.scoring.correcting import best_thresholds
from lsl_core.training.scoring.folds import Curve, Left, forget, leave_out
from lsl_core.training.scoring.gate import Watch, measure
from lsl_core.training.scoring.score import evaluate, evaluate_folds
from lsl_core.training.scoring.seen import Seen, side_by_side
from lsl_core.types import MODES, Metrics, ModelCard

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
    seen: tuple[Seen, ...] = ()
    stopped: bool = False

    @property
    def metrics(self) -> Metrics | None:
        """What it reached on images that were not learnt, None when there were none."""
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
            Without any, the folds of the settings do; without those there is no score, and the
            images that were learnt choose the thresholds.
        settings: mode, budget, seed, folds.
        labels: names in the order of class ids.
        progress: hears "loss", "learning_rate" and "ap…", or "iou" of a semantic mode. Stopped
            early, nothing is kept; stopped later, the best so far is.
        checkpoint: file from which the same training, killed, goes on.
        watch: sees the images that are not learnt each time that they are measured.

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

    def look(trained: Trained, at: Sequence[Sample]) -> list[Seen]:
        return measure(model_of(trained), at, settings.slide, NULL, watch=watch)

    def figure(seen: Sequence[Seen]) -> tuple[str, float]:
        semantic = MODES[settings.mode].semantic
        return evaluate(*side_by_side(seen), labels, semantic=semantic).headline

    def score(trained: Trained) -> float:
        """Return the figure of the held-out images that decides, and tell it."""
        name, value = figure(look(trained, held_out))
        progress.metric(name.lower(), value, at=trained.iterations)
        return value

    train = train_first_pass if settings.first_pass else _LOOPS[settings.family]
    left = Left()
    if settings.folds and not held_out:
        left = leave_out(
            samples, settings, labels, train=train, look=look, figure=figure, progress=progress,
            checkpoint=checkpoint,
        )  # fmt: skip
        settings = settings.after_folds()
    told = score if held_out else None
    trained = train(samples, settings, labels, progress, score=told, checkpoint=checkpoint)
    if checkpoint is not None:
        forget(checkpoint)
    listener = NULL if trained.stopped else progress  # who stopped it was heard
    seen = left.seen or measure(
        model_of(trained), held_out or samples, settings.slide, listener,
        watch=watch if held_out else None,  # what was learnt shows nothing
    )  # fmt: skip
    card = _card(trained, settings, labels, len(samples))
    card, seen = _judged(card, seen, is_honest=bool(held_out or left.seen))
    _tell(card.metrics, left.curve or ((trained.iterations, 0.0),), progress)
    card = replace(card, shots=left.shots, train_seconds=round(time.monotonic() - began, 1))
    return Fitted(trained.state, card, trained.model, tuple(seen), trained.stopped)


def _tell(metrics: Metrics | None, curve: Curve, progress: Progress) -> None:
    """Say the curve of the folds, and the figures at its end."""
    if metrics is None:
        return
    figures = _figures(metrics)
    for at, value in curve[:-1]:
        progress.metric(next(iter(figures)), value, at=at)
    for name, value in figures.items():
        progress.metric(name, value, at=curve[-1][0])


def _figures(metrics: Metrics) -> dict[str, float]:
    """Return what is told of a training that ended; what its curve is of comes first."""
    if metrics.iou:  # average precision says nothing of objects that are only connected pixels
        return {"iou": metrics.headline[1]}
    return {"ap": metrics.ap, "ap50": metrics.ap50, "ap75": metrics.ap75}


def _judged(
    card: ModelCard, seen: Sequence[Seen], *, is_honest: bool
) -> tuple[ModelCard, list[Seen]]:
    """Return the card with thresholds and, from images not learnt, figures and calibration.

    What was found comes back with calibrated scores.
    """
    semantic, calibration = MODES[card.mode].semantic, None
    if is_honest and not semantic:
        calibration = fit_calibration(*side_by_side(seen), card.labels)
    if calibration is not None:
        seen = [_calibrated(one, calibration) for one in seen]
    metrics = None
    if is_honest:
        folds = [[one for one in seen if one.fold == n] for n in sorted({s.fold for s in seen})]
        parts = [side_by_side(fold) for fold in folds]
        metrics = evaluate_folds(parts, card.labels, semantic=semantic)
    thresholds = best_thresholds(*side_by_side(seen), card.labels)
    card = replace(card, thresholds=thresholds, metrics=metrics, calibration=calibration)
    return card, list(seen)


def _calibrated(seen: Seen, calibration: tuple[float, float]) -> Seen:
    found = (replace(f, scores=calibrate(f.scores, calibration)) for f in seen.found)
    return replace(seen, found=tuple(found))


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
        sizes=trained.sizes,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )

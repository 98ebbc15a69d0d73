"""Folds: how good a model is where no image can be spared to measure it on.

The support set is cut into parts. Each part is left out once, a shorter training learns the
others, and what it finds on the part left out is kept. All images are measured that way by models
that had not learnt them, and the model itself learns every image.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Protocol

import numpy as np

from lsl_core.progress import Progress
from lsl_core.training.common.settings import FEWER, FitSettings
from lsl_core.training.common.trained import Score, Trained
from lsl_core.training.examples.samples import Sample, fingerprint, has_labels
from lsl_core.training.examples.tiles import windows_of
from lsl_core.training.scoring.seen import Seen, read_found, write_found
from lsl_core.types import Shots

#: Parts, where there are as many images: each model learns two thirds of them.
FOLDS = 3

#: (step, figure of the images left out), in the order of steps.
Curve = tuple[tuple[int, float], ...]
#: Predicts images: what was drawn and found on them.
Look = Callable[[Trained, Sequence[Sample]], list[Seen]]
#: Name and value of the figure that decides.
Figure = Callable[[Sequence[Seen]], tuple[str, float]]


class Train(Protocol):
    """A training loop, such as `train_compact`."""

    def __call__(
        self,
        samples: Sequence[Sample],
        settings: FitSettings,
        labels: tuple[str, ...],
        progress: Progress,
        *,
        score: Score | None = None,
        checkpoint: Path | None = None,
    ) -> Trained:
        """Train and return what came out."""
        ...


@dataclass(frozen=True, slots=True)
class Left:
    """What the folds found: each image that was left out, the mean curve, and that over shots."""

    seen: tuple[Seen, ...] = ()
    curve: Curve = ()
    shots: tuple[Shots, ...] = ()


def num_folds(num_images: int) -> int:
    """Return how many folds a support set is worth; 0 for one image, which nothing can measure."""
    return 0 if num_images < 2 else min(FOLDS, num_images)


def split_folds(
    samples: Sequence[Sample], count: int, *, seed: int = 0
) -> list[tuple[list[Sample], list[Sample]]]:
    """Return for each fold what is learnt and what is left out.

    Every image is left out once, if anything is drawn on the others. Labels are spread, so that
    what is learnt has an example of each wherever the images allow.
    """
    ordered = sorted(samples, key=lambda s: s.name)
    has, rng = has_labels(ordered), np.random.default_rng(seed)  # (images, labels)

    def worth(order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, int]:
        parts = np.array_split(order, count)
        learnt = sum(int(has[np.setdiff1d(order, part)].any(0).sum()) for part in parts)
        return learnt, sum(int(has[part].any(0).sum()) for part in parts)

    best = max((rng.permutation(len(ordered)) for _ in range(64)), key=worth)
    folds = []
    for part in np.array_split(best, count):
        out = [ordered[i] for i in sorted(part)]
        rest = [ordered[i] for i in sorted(np.setdiff1d(best, part))]
        if any(len(s.instances) for s in rest):
            folds.append((rest, out))
    return folds


def fewer(learnt: Sequence[Sample]) -> list[list[Sample]]:
    """Return parts of a fold's images, each within the next one; none is all of them or empty.

    The first images are those that show labels which the images before them do not.
    """
    has, rest, order = has_labels(learnt), list(range(len(learnt))), list[int]()
    known = np.zeros(has.shape[1], bool)
    while (gains := (has[rest] & ~known).sum(axis=1)).any():
        order.append(rest.pop(int(gains.argmax())))
        known |= has[order[-1]]
    order += rest
    counts = sorted({round(len(learnt) * part) for part in FEWER} - {0, len(learnt)})
    return [[learnt[i] for i in order[:count]] for count in counts]


def leave_out(
    samples: Sequence[Sample],
    settings: FitSettings,
    labels: tuple[str, ...],
    *,
    train: Train,
    look: Look,
    figure: Figure,
    progress: Progress,
    checkpoint: Path | None,
) -> Left:
    """Train once for each fold and predict what it left out, if asked also from fewer images.

    A fold that is done is kept beside the checkpoint: stopped or killed, the same training goes
    on with the next one. `forget` removes these files.

    Args:
        samples: the support set, at least two images.
        settings: of the model itself; the folds' own are `settings.of_fold`.
        labels: names in the order of class ids.
        train: the loop.
        look: predicts images with what it made.
        figure: says how good that is.
        progress: hears steps and notes; stops the work.
        checkpoint: file of the model's own training, or None.

    Raises:
        RunCancelled: when somebody stopped it.
    """
    each, seen, curves = settings.of_fold(len(samples)), [], []
    reached: list[list[tuple[int, float]]] = []

    def once(
        learnt: Sequence[Sample], out: Sequence[Sample], which: str, path: Path | None
    ) -> tuple[list[Seen], Curve]:
        """Train and predict, unless that is done; note what it reached with how many images."""
        key = fingerprint(learnt, each, labels)
        kept = None if path is None else _kept(path, key, out, each)
        if kept is None:
            watch = _Watch(look, figure, out)
            heard = _OfFold(progress, which)
            trained = train(learnt, each, labels, heard, score=watch, checkpoint=path)
            if trained.stopped:
                progress.check()
            kept = look(trained, out), watch.curve
            if path is not None:
                found = {one.name: one.found for one in kept[0]}
                write_found(path, found, {"done": key, "curve": kept[1]})
        reached[-1].append((len(learnt), figure(kept[0])[1]))
        return kept

    folds = split_folds(samples, settings.folds)
    for number, (learnt, out) in enumerate(folds, 1):
        reached.append([])
        which = f"fold {number} of {len(folds)}"
        for part in fewer(learnt) if settings.shots else ():
            path = checkpoint and _path(checkpoint, f"{number}of{len(part)}")
            once(part, out, f"{which}, {len(part)} of its images", path)
        found, curve = once(learnt, out, which, checkpoint and _path(checkpoint, str(number)))
        seen += [replace(one, fold=number) for one in found]
        curves.append(curve)
    return Left(tuple(seen), _mean_curve(curves), _over_shots(reached) if settings.shots else ())


def forget(checkpoint: Path) -> None:
    """Remove what folds kept beside a checkpoint."""
    for path in checkpoint.parent.glob(f"{glob.escape(checkpoint.stem)}.fold*"):
        path.unlink(missing_ok=True)


def _path(checkpoint: Path, which: str) -> Path:
    return checkpoint.with_name(f"{checkpoint.stem}.fold{which}{checkpoint.suffix}")


def _kept(
    path: Path, key: str, out: Sequence[Sample], settings: FitSettings
) -> tuple[list[Seen], Curve] | None:
    """Return what a fold found that was done before; None when it is to be done."""
    read = read_found(path)
    if read is None or read[1].get("done") != key:
        return None
    found, facts = read
    if set(found) != {s.name for s in out}:
        return None
    seen = [
        Seen(
            s.name, tuple(drawn for _, drawn in windows_of(s, settings.slide)), tuple(found[s.name])
        )
        for s in out
    ]
    return seen, tuple((int(at), float(value)) for at, value in facts["curve"])


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean of the folds' curves, as far back from the end as all of them go."""
    shortest = min((len(curve) for curve in curves), default=0)
    rows = zip(*(curve[len(curve) - shortest :] for curve in curves), strict=True)
    return tuple(
        (round(fmean(at for at, _ in row)), round(fmean(value for _, value in row), 4))
        for row in rows
    )


def _over_shots(reached: Sequence[Sequence[tuple[int, float]]]) -> tuple[Shots, ...]:
    """Return the mean over folds of (images, figure), as many points as all of them have."""
    shortest = min((len(fold) for fold in reached), default=0)
    points = []
    for row in zip(*(fold[len(fold) - shortest :] for fold in reached), strict=True):
        values = [value for _, value in row]
        spread = round(stdev(values), 4) if len(values) > 1 else None
        points.append(Shots(round(fmean(n for n, _ in row)), round(fmean(values), 4), spread))
    return tuple(points)


class _Watch:
    """Follows a fold on the images it left out, and chooses nothing by them.

    Args:
        look: predicts them.
        figure: says how good that is.
        out: these images.
    """

    def __init__(self, look: Look, figure: Figure, out: Sequence[Sample]) -> None:
        self.curve: Curve = ()
        self._look, self._figure, self._out = look, figure, out

    def __call__(self, trained: Trained) -> None:
        """Add a point to the curve."""
        _, value = self._figure(self._look(trained, self._out))
        self.curve = (*self.curve, (trained.iterations, value))


class _OfFold:
    """A progress that names the fold in every step.

    Notes are said by the model's own training again, and a curve of its loss is not one of others.

    Args:
        progress: hears the steps.
        fold: what to name.
    """

    def __init__(self, progress: Progress, fold: str) -> None:
        self._progress, self._fold = progress, fold
        self.advance, self.check = progress.advance, progress.check

    def start(self, step: str, *, total: int, unit: str) -> None:
        """Begin a step of the fold."""
        self._progress.start(f"{step}, {self._fold}", total=total, unit=unit)

    def metric(self, name: str, value: float, *, at: int) -> None:
        """Tell what it costs and nothing else: each fold begins at step 0 again."""
        if name == "seconds":
            self._progress.metric(f"{name}, {self._fold}", value, at=at)

    def note(self, text: str) -> None:
        """Leave it out."""

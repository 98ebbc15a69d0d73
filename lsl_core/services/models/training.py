"""Training a model on a source, and holding it against its parent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsl_core.errors import RunCancelled
from lsl_core.models import FAMILIES, check_mode, save_model
from lsl_core.progress import NULL, Progress
from lsl_core.services.models import pretrained
from lsl_core.services.models.gating import compared, keep_found
from lsl_core.services.models.learning_sets import LearningSet, learning_set
from lsl_core.services.models.training_pictures import Album, trainings
from lsl_core.services.models.versions import admit, claim, get_model, in_use, slug
from lsl_core.types import OBJECT_THRESHOLD, Mode, ModelCard, Verdict
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import check_name

if TYPE_CHECKING:
    from lsl_core.training import FitSettings, Fitted

__all__ = ["DEFAULT_FAMILY", "DEFAULT_MINUTES", "families", "modes", "run_train", "train"]

#: Minutes of training steps when nothing else is asked for: what ten images are worth on a CPU.
DEFAULT_MINUTES = 2.0
#: Days in which a training that was killed can go on; then the next one removes what it kept.
KEPT_DAYS = 30
#: What is trained when nobody chooses: needs no download and no GPU.
DEFAULT_FAMILY = "compact"


def modes() -> tuple[Mode, ...]:
    """Return the modes that models can be trained for."""
    return FAMILIES[DEFAULT_FAMILY].modes


def families() -> dict[str, str]:
    """Return the families of models, by name, with a line about each."""
    return {name: family.title for name, family in FAMILIES.items()}


def train(
    workspace: Workspace,
    *,
    source: str,
    name: str | None = None,
    mode: Mode | None = None,
    valid: str | None = None,
    minutes: float | None = DEFAULT_MINUTES,
    iterations: int | None = None,
    family: str = DEFAULT_FAMILY,
    bases: Sequence[str] = (),
    object_threshold: float = OBJECT_THRESHOLD,
    seed: int = 0,
    folds: int | None = None,
    shots: bool = False,
    first_pass: bool = False,
    keep_anyway: bool = False,
    progress: Progress = NULL,
) -> ModelCard:
    """Train a new version of a model on a source, keep it, and use it unless it is worse.

    It is measured beside the version in use, its parent, on images that neither learnt. A worse one
    is kept, but `get_model` goes on giving the parent.

    Args:
        workspace: where source and model are.
        source: name of the source to learn from.
        name: of the model; the source's own when None. A name that exists gets a new version.
        mode: what is learnt; the workspace's when None.
        valid: name of the source to measure on, or None.
        minutes: longest time for the training steps, those of the folds among them, or None.
        iterations: most training steps, or None.
        family: "compact", or "foundation" to tune pretrained weights.
        bases: names of these weights; of a kind that is not named, the default is taken.
        object_threshold: share of an object, in [0, 1], that a window of a large image must show
            for the object to be learnt there.
        seed: decides what is random; another one gives another training of the same images.
        folds: without `valid`, parts of the source that are left out in turn to measure on; None
            chooses by the number of images, 0 holds a quarter of the images out instead.
        shots: whether the folds learn fewer images as well, for a curve over shots in the card; out
            of the same minutes, or in two thirds more time.
        first_pass: whether to solve for the heads in seconds instead of training; the version takes
            the place of a trained one only where it is better.
        keep_anyway: whether to use the new version even when it is worse.
        progress: told the steps, the loss and the figures.

    Raises:
        UserInput: when a source does not exist or cannot be learnt from; says why.
        ModelError: when the training diverges, or pretrained weights are not here.
        RunCancelled: when somebody stopped it; what it had reached is kept, unless it had hardly
            begun. A training that was killed goes on when it is started again.
    """
    name = check_name(name or source, what="model")
    mode = mode or workspace.settings().mode
    check_mode(family, mode)
    weights = pretrained.folders(workspace, mode, bases) if family == "foundation" else ()
    parent = in_use(workspace, name)
    images = learning_set(
        workspace, source, valid=valid, mode=mode, parent=parent, hold_out=folds in (0, 1)
    )
    heard = _Heard(progress)
    settings = _settings(workspace, mode, family, weights, minutes, iterations)
    settings = replace(
        settings,
        object_threshold=object_threshold,
        seed=seed,
        folds=_folds(folds, images),
        shots=shots,
        first_pass=first_pass,
    )
    album = Album(trainings(workspace, name), images.labels)
    fitted = _fit(workspace, name, images, settings, heard, album)
    model_id = claim(workspace, name, first_pass=first_pass)
    card = replace(
        fitted.named(
            model_id=model_id, name=name, support=source, parent=parent.id if parent else None
        ),
        curve=tuple(heard.curve),
        learnt=images.hashes_of(images.learnt),
        held_out=images.hashes_of(images.held_out),
    )
    if parent is not None and fitted.metrics is not None and not fitted.stopped:
        card = replace(card, comparison=compared(workspace, card, parent, fitted, images, progress))
    keep_found(workspace, model_id, fitted, images)
    album.move(workspace.models / model_id)
    card = save_model(workspace.models / model_id, card, fitted.state)
    admit(workspace, card, keep_anyway=keep_anyway)
    if fitted.stopped:
        raise RunCancelled("Cancelled.", hint=f"{card.id} is kept: the best until then.")
    return card


def _settings(
    workspace: Workspace,
    mode: Mode,
    family: str,
    weights: tuple[Path, ...],
    minutes: float | None,
    iterations: int | None,
) -> FitSettings:
    from lsl_core.training import FitSettings  # loads torch, seconds: only those who train wait

    return FitSettings(
        mode=mode,
        family=family,
        minutes=minutes,
        iterations=iterations,
        device=workspace.settings().inference.device,
        bases=weights,
        embeddings=workspace.embeddings if weights else None,
    )


def _folds(wanted: int | None, images: LearningSet) -> int:
    """Return how many folds measure; none where images are held out, or there is only one."""
    from lsl_core.training import num_folds  # loads torch, seconds: only those who train wait

    usual = num_folds(len(images.learnt))
    if images.held_out or not usual:
        return 0
    return usual if wanted is None else min(wanted, len(images.learnt))


def _fit(
    workspace: Workspace,
    name: str,
    images: LearningSet,
    settings: FitSettings,
    progress: Progress,
    watch: Album,
) -> Fitted:
    """Train on the images; a training of the same name that was killed goes on."""
    from lsl_core.training import fit  # loads torch, seconds: only those who train wait

    checkpoint = workspace.data / "trainings" / f"{slug(name)}.safetensors"
    _forget_old(checkpoint.parent)
    return fit(
        images.learnt,
        images.held_out,
        settings=settings,
        labels=images.labels,
        progress=progress,
        checkpoint=None if settings.first_pass else checkpoint,
        watch=watch,
    )


def _forget_old(folder: Path) -> None:
    """Remove checkpoints and folds of trainings, of any name, that nobody went on with."""
    for path in folder.glob("*.safetensors"):
        with suppress(FileNotFoundError):  # a training beside this one ended
            if time.time() - path.stat().st_mtime > KEPT_DAYS * 86_400:
                path.unlink()


#: Figures of the held-out images that make the curve of a card.
_CURVES = ("ap", "iou")


class _Heard:
    """A progress that also keeps the curve of the held-out figure.

    Args:
        progress: hears everything as well.
    """

    def __init__(self, progress: Progress) -> None:
        self.curve: list[tuple[int, float]] = []
        self.start, self.advance = progress.start, progress.advance
        self.note, self.check = progress.note, progress.check
        self._metric = progress.metric

    def metric(self, name: str, value: float, *, at: int) -> None:
        """Record a figure."""
        if name in _CURVES:
            self.curve.append((at, round(value, 4)))
        self._metric(name, value, at=at)


def run_train(workspace: Workspace, *, progress: Progress, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Train in the worker; see `train`.

    Where no version is in use yet, a first pass comes first, so that there is something to look at
    while the training goes on.
    """
    arguments["mode"] = Mode(arguments["mode"])
    is_compact = arguments.get("family", DEFAULT_FAMILY) == DEFAULT_FAMILY
    if is_compact and in_use(workspace, arguments.get("name") or arguments["source"]) is None:
        first = train(
            workspace, progress=progress, **arguments | {"first_pass": True, "shots": False}
        )
        progress.note(f"{first.id} can be looked at while the training goes on.")
    card = train(workspace, progress=progress, **arguments)
    figures = card.metrics
    return {
        "model": card.id,
        "ap": figures.ap if figures else None,
        "ap50": figures.ap50 if figures else None,
        "verdict": card.comparison.verdict.value if card.comparison else Verdict.FIRST.value,
        "in_use": get_model(workspace, card.name).id == card.id,
        "seconds": card.train_seconds,
    }

"""Models: training one on a source, finding, removing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lsl_core.errors import LabelMismatch, LslError
from lsl_core.models import (
    FAMILIES,
    check_mode,
    load_model,
    save_model,
)
from lsl_core.progress import NULL, Progress
from lsl_core.services import sourcing
from lsl_core.services.sourcing import Source
from lsl_core.services.versions import (
    choices,
    current_ids,
    draws_masks,
    get_model,
    lineage,
    list_models,
    make_current,
    remove_model,
    rename_model,
)
from lsl_core.types import (
    MODES,
    Comparison,
    Geometry,
    Instances,
    Metrics,
    Mode,
    ModelCard,
    SlideWindows,
    Verdict,
)
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import check_name
from lsl_core.workspace.images import Pixels, read_rgb

if TYPE_CHECKING:
    from lsl_core.training import Fitted, Sample

__all__ = [
    "DEFAULT_MINUTES",
    "Metrics",
    "ModelCard",
    "choices",
    "current_ids",
    "draws_masks",
    "get_model",
    "lineage",
    "list_models",
    "make_current",
    "modes",
    "remove_model",
    "rename_model",
    "run_train",
    "train",
]

#: Minutes of training steps when nothing else is asked for: what ten images are worth on a CPU.
DEFAULT_MINUTES = 2.0
_FAMILY = "compact"


def modes() -> tuple[Mode, ...]:
    """Return the modes that models can be trained for."""
    return FAMILIES[_FAMILY].modes


def train(
    workspace: Workspace,
    *,
    source: str,
    name: str | None = None,
    mode: Mode | None = None,
    valid: str | None = None,
    minutes: float | None = DEFAULT_MINUTES,
    iterations: int | None = None,
    keep_anyway: bool = False,
    progress: Progress = NULL,
) -> ModelCard:
    """Train a new version of a model on a source, keep it, and use it unless it is worse.

    It is measured beside the version in use, its parent, on the same held-out images. A worse one
    is kept, but `get_model` goes on giving the parent.

    Args:
        workspace: where source and model are.
        source: name of the source to learn from.
        name: of the model; the source's own when None. A name that exists gets a new version.
        mode: what is learnt; the workspace's when None.
        valid: name of the source to measure on; without one a quarter of the images is held out.
        minutes: longest time for the training steps, or None.
        iterations: most training steps, or None.
        keep_anyway: whether to use the new version even when it is worse.
        progress: told the steps, the loss and the figures.

    Raises:
        UserInput: when a source does not exist or cannot be learnt from; says why.
        ModelError: when the training diverges.
        RunCancelled: when somebody stopped it; what it had reached is kept, unless it had hardly
            begun. A training that was killed goes on when it is started again.
    """
    name = check_name(name or source, what="model")
    settings = workspace.settings()
    mode = mode or settings.mode
    check_mode(_FAMILY, mode)
    support = sourcing.load_source(workspace, source)
    measured = sourcing.load_source(workspace, valid) if valid else None
    if measured is not None:
        measured = _with_labels(measured, support.labels.names)
    # torch takes seconds to load, so only those who train wait for it
    from lsl_core.training import FitSettings, Sample, fit

    def samples(of: Source) -> list[Sample]:
        return [Sample(n, read, found) for n, read, found in _drawn(of, mode)]

    parent = _parent(workspace, name)
    learnt, held_out = samples(support), samples(measured) if measured else []
    if measured is None and len(learnt) > 1:
        learnt, held_out = _split(learnt, support, parent)
    heard = _Heard(progress)
    fitted = fit(
        learnt,
        held_out,
        settings=FitSettings(
            mode=mode,
            family=_FAMILY,
            minutes=minutes,
            iterations=iterations,
            device=settings.inference.device,
        ),
        labels=support.labels.names,
        progress=heard,
        checkpoint=workspace.data / "trainings" / f"{_slug(name)}.safetensors",
    )
    model_id = _claim(workspace, name)
    hashes = {i.ref.name: i.ref.sha256 for of in (support, measured) if of for i in of.images}
    card = replace(
        fitted.named(
            model_id=model_id, name=name, support=source, parent=parent.id if parent else None
        ),
        curve=tuple(heard.curve),
        learnt=tuple(sorted(hashes[sample.name] for sample in learnt)),
        held_out=tuple(sorted(hashes[sample.name] for sample in held_out)),
    )
    if parent is not None and held_out and not fitted.stopped:
        card = replace(
            card, comparison=_compared(workspace, card, parent, fitted, held_out, progress)
        )
    card = save_model(workspace.models / model_id, card, fitted.state)
    _gate(workspace, card, keep_anyway=keep_anyway)
    if fitted.stopped:
        progress.check()
    return card


def _gate(workspace: Workspace, card: ModelCard, *, keep_anyway: bool) -> None:
    """Put a new version in use, unless it is worse than its parent."""
    worse = card.comparison is not None and card.comparison.verdict is Verdict.WORSE
    if not worse or keep_anyway:
        make_current(workspace, card.id, why="worse, kept anyway" if worse else "trained")
    elif not choices(workspace, card.name):
        make_current(workspace, str(card.parent), why=f"{card.id} was worse")


def _parent(workspace: Workspace, name: str) -> ModelCard | None:
    """Return the version in use of a name, None where there is none yet."""
    known = any(card.name == name for card in list_models(workspace))
    return get_model(workspace, name) if known else None


def _split(
    samples: list[Sample], source: Source, parent: ModelCard | None
) -> tuple[list[Sample], list[Sample]]:
    """Split into images to learn from and to measure on, as the parent's were where it can be.

    What the parent was measured on stays unlearnt, so that both are measured fairly. New images
    join it until a quarter is held out.
    """
    from lsl_core.training import split_support  # loads torch, seconds: only those who train wait

    hashes = {image.ref.name: image.ref.sha256 for image in source.images}
    known = set() if parent is None else {*parent.learnt, *parent.held_out}
    before = set() if parent is None else set(parent.held_out)
    held_out = [s for s in samples if hashes[s.name] in before]
    rest = [s for s in samples if hashes[s.name] not in before]
    if not held_out or not rest:
        return split_support(samples)
    fresh = [s for s in rest if hashes[s.name] not in known]
    missing = round(len(samples) / 4) - len(held_out)
    if missing > 0 and len(fresh) > 1:
        _, more = split_support(fresh, share=min(0.5, missing / len(fresh)))
        held_out += more
    names = {s.name for s in held_out}
    return [s for s in samples if s.name not in names], held_out


def _compared(
    workspace: Workspace,
    card: ModelCard,
    parent: ModelCard,
    fitted: Fitted,
    held_out: Sequence[Sample],
    progress: Progress,
) -> Comparison:
    """Measure the parent on what the new version was measured on."""
    from lsl_core.training import compare, measure  # loads torch: only those who train wait

    try:
        model = load_model(
            workspace.models / parent.id, device=workspace.settings().inference.device
        )
    except LslError as error:
        progress.note(f"Not compared with {parent.id}: {error.message}")
        return Comparison(Verdict.UNKNOWN, parent.id, "AP", 0, 0, len(held_out))
    slide = SlideWindows(card.window, card.window, int(card.settings["overlap"]))
    _, theirs = measure(model, held_out, slide, progress)
    result = compare(
        (card, fitted.found),
        (parent, theirs),
        fitted.truth,
        num_images=len(held_out),
        num_seen=len(set(card.held_out) & set(parent.learnt)),
    )
    progress.note(
        f"{result.figure} {result.after:.3f}, parent {parent.id} {result.before:.3f}: "
        f"{result.verdict}"
    )
    return result


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
    """Train in the worker; see `train`."""
    arguments["mode"] = Mode(arguments["mode"])
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


def _claim(workspace: Workspace, name: str) -> str:
    """Make the folder of the next version of a name; return its id."""
    slug = _slug(name)
    number = sum(card.name == name for card in list_models(workspace)) + 1
    while True:
        model_id = f"{slug}-v{number}"
        try:
            (workspace.models / model_id).mkdir(parents=True)
        except FileExistsError:  # an older version went to the trash, or two trainings end at once
            number += 1
        else:
            return model_id


def _slug(name: str) -> str:
    return re.sub(r"[^\w.\-]+", "-", name)


def _drawn(source: Source, mode: Mode) -> list[tuple[str, Callable[[], Pixels], Instances]]:
    """Return name, pixels and objects of each image, as the mode learns from them.

    Raises:
        LabelMismatch: when the mode learns from masks and boxes were drawn.
    """
    needs_masks = MODES[mode].learns_from is Geometry.MASKS
    drawn: list[tuple[str, Callable[[], Pixels], Instances]] = []
    for image in source.images:
        boxes = int((~image.has_mask).sum())
        if needs_masks and boxes:
            raise LabelMismatch(
                f'{image.ref.name} has {boxes} objects drawn as boxes, but the mode "{mode}" '
                "learns from masks.",
                hint=f'Choose "{Mode.WSIS}" to learn masks from boxes or "{Mode.FSOD}" to learn '
                "boxes, or draw masks or polygons in CVAT.",
            )
        objects = image.instances if needs_masks else replace(image.instances, masks=None)
        drawn.append((image.ref.name, _reader(image.path), objects))
    return drawn


def _reader(path: Path) -> Callable[[], Pixels]:
    return lambda: read_rgb(path)


def _with_labels(source: Source, labels: Sequence[str]) -> Source:
    """Return the source with class ids in the order of other labels.

    Raises:
        LabelMismatch: when it has objects of a label that is not among them.
    """
    place = np.array([labels.index(n) if n in labels else -1 for n in source.labels.names])
    images = []
    for image in source.images:
        class_ids = place[image.instances.class_ids].astype(np.int32)
        if (class_ids < 0).any():
            unknown = sorted(set(source.labels.names) - set(labels))
            raise LabelMismatch(
                f'"{source.info.name}" has labels that the training source lacks: '
                f"{', '.join(unknown)}.",
                hint="Measure on a source with the same labels, or leave --valid out.",
            )
        images.append(replace(image, instances=replace(image.instances, class_ids=class_ids)))
    return replace(source, images=tuple(images))

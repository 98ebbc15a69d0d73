"""Models: training one on a source, finding, removing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lsl_core.errors import LabelMismatch, UserInput
from lsl_core.models import FAMILIES, check_mode, read_card, save_model
from lsl_core.progress import NULL, Progress
from lsl_core.services import sourcing
from lsl_core.services.sourcing import Source
from lsl_core.types import MODES, Geometry, Instances, Metrics, Mode, ModelCard
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import check_name
from lsl_core.workspace.images import Pixels, read_rgb

__all__ = [
    "DEFAULT_MINUTES",
    "Metrics",
    "ModelCard",
    "get_model",
    "list_models",
    "modes",
    "remove_model",
    "run_train",
    "train",
]

#: Minutes of training steps when nothing else is asked for: what ten images are worth on a CPU.
DEFAULT_MINUTES = 2.0
_FAMILY = "compact"


def modes() -> tuple[Mode, ...]:
    """Return the modes that models can be trained for."""
    return FAMILIES[_FAMILY].modes


def list_models(workspace: Workspace) -> list[ModelCard]:
    """Return every model, newest first."""
    cards = [read_card(path.parent) for path in workspace.models.glob("*/card.json")]
    return sorted(cards, key=lambda card: (card.created, card.id), reverse=True)


def get_model(workspace: Workspace, name: str) -> ModelCard:
    """Return a model by its id, or the newest version of that name.

    Raises:
        UserInput: when there is none; names those that there are.
    """
    cards = list_models(workspace)
    for card in cards:
        if card.id == name:
            return card
    for card in cards:
        if card.name == name:
            return card
    known = ", ".join(dict.fromkeys(card.name for card in cards)) or "none yet"
    raise UserInput(
        f'There is no model "{name}".',
        hint=f"Models here: {known}. Train one: lsl auto-label --train SOURCE",
    )


def draws_masks(workspace: Workspace, name: str) -> bool:
    """Return whether a model gives masks; one that was removed since counts as one that does."""
    try:
        return MODES[get_model(workspace, name).mode].gives is Geometry.MASKS
    except UserInput:
        return True


def remove_model(workspace: Workspace, name: str) -> Path:
    """Move a model to the trash and return where it lies now.

    Raises:
        UserInput: when there is none.
    """
    card = get_model(workspace, name)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    target = workspace.trash / "models" / f"{stamp} {card.id}"
    target.parent.mkdir(parents=True, exist_ok=True)
    (workspace.models / card.id).rename(target)
    return target


def train(
    workspace: Workspace,
    *,
    source: str,
    name: str | None = None,
    mode: Mode | None = None,
    valid: str | None = None,
    minutes: float | None = DEFAULT_MINUTES,
    iterations: int | None = None,
    progress: Progress = NULL,
) -> ModelCard:
    """Train a new version of a model on a source and keep it.

    Args:
        workspace: where source and model are.
        source: name of the source to learn from.
        name: of the model; the source's own when None. A name that exists gets a new version.
        mode: what is learnt; the workspace's when None.
        valid: name of the source to measure on; without one a quarter of the images is held out.
        minutes: longest time for the training steps, or None.
        iterations: most training steps, or None.
        progress: told the steps, the loss and the figures.

    Raises:
        UserInput: when a source does not exist or cannot be learnt from; says why.
        ModelError: when the training diverges.
        RunCancelled: when somebody stopped it; no model is kept then.
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
    from lsl_core.training import FitSettings, Sample, fit, split_support

    def samples(of: Source) -> list[Sample]:
        return [Sample(n, read, found) for n, read, found in _drawn(of, mode)]

    learnt = samples(support)
    held_out = samples(measured) if measured else []
    if measured is None:
        learnt, held_out = split_support(learnt)
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
        progress=progress,
    )
    model_id, parent = _next_version(workspace, name)
    card = fitted.named(model_id=model_id, name=name, support=source, parent=parent)
    return save_model(workspace.models / model_id, card, fitted.state)


def run_train(workspace: Workspace, *, progress: Progress, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Train in the worker; see `train`."""
    arguments["mode"] = Mode(arguments["mode"])
    card = train(workspace, progress=progress, **arguments)
    figures = card.metrics
    return {
        "model": card.id,
        "ap": figures.ap if figures else None,
        "ap50": figures.ap50 if figures else None,
        "seconds": card.train_seconds,
    }


def _next_version(workspace: Workspace, name: str) -> tuple[str, str | None]:
    """Claim the folder of the next version of a name; return its id and that of its parent."""
    cards = [card for card in list_models(workspace) if card.name == name]
    slug = re.sub(r"[^\w.\-]+", "-", name)
    number = len(cards) + 1
    while True:
        model_id = f"{slug}-v{number}"
        try:
            (workspace.models / model_id).mkdir(parents=True)
        except FileExistsError:  # an older version went to the trash, or two trainings end at once
            number += 1
        else:
            return model_id, cards[0].id if cards else None


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

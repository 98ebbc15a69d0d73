"""What a training learns from, and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lsl_core.errors import LabelMismatch
from lsl_core.services import sourcing
from lsl_core.services.sourcing import Source
from lsl_core.types import MODES, Geometry, Mode, ModelCard
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import Pixels, read_rgb

if TYPE_CHECKING:
    from lsl_core.training import Sample

__all__ = ["LearningSet", "learning_set"]


@dataclass(frozen=True, slots=True)
class LearningSet:
    """Images of a training.

    labels: names in the order of class ids. learnt: images to learn from. held_out: images that
    only measure. hashes: SHA-256 of each image by its name.
    """

    labels: tuple[str, ...]
    learnt: list[Sample]
    held_out: list[Sample]
    hashes: dict[str, str]

    def hashes_of(self, samples: Sequence[Sample]) -> tuple[str, ...]:
        """Return the hashes of some of the images, sorted."""
        return tuple(sorted(self.hashes[sample.name] for sample in samples))


def learning_set(
    workspace: Workspace,
    source: str,
    *,
    valid: str | None,
    mode: Mode,
    parent: ModelCard | None,
    hold_out: bool,
) -> LearningSet:
    """Read a source, and on request hold images out of it when no other source measures.

    Args:
        workspace: where the sources are.
        source: name of the one to learn from.
        valid: name of the one to measure on, or None.
        mode: what is learnt.
        parent: version to compare with; what it was measured on stays unlearnt.
        hold_out: whether a quarter of the images is held out where `valid` is None.

    Raises:
        UserInput: when a source does not exist.
        LabelMismatch: when what was drawn does not fit the mode, or the other source.
    """
    support = sourcing.load_source(workspace, source)
    learnt, held_out = _samples(support, mode), []
    sources = [support]
    if valid:
        sources.append(_with_labels(sourcing.load_source(workspace, valid), support.labels.names))
        held_out = _samples(sources[1], mode)
    hashes = {image.ref.name: image.ref.sha256 for of in sources for image in of.images}
    if hold_out and not valid and len(learnt) > 1:
        learnt, held_out = _split(learnt, hashes, parent)
    return LearningSet(support.labels.names, learnt, held_out, hashes)


def _split(
    samples: list[Sample], hashes: dict[str, str], parent: ModelCard | None
) -> tuple[list[Sample], list[Sample]]:
    """Split into images to learn from and to measure on, as the parent's were where it can be.

    What the parent was measured on stays unlearnt, so that both are measured fairly. New images
    join it until a quarter is held out.
    """
    from lsl_core.training import split_support  # loads torch, seconds: only those who train wait

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


def _samples(source: Source, mode: Mode) -> list[Sample]:
    """Return the images of a source with their objects, as the mode learns from them.

    Raises:
        LabelMismatch: when the mode learns from masks and boxes were drawn.
    """
    from lsl_core.training import Sample  # loads torch, seconds: only those who train wait

    needs_masks = MODES[mode].learns_from is Geometry.MASKS
    samples = []
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
        samples.append(Sample(image.ref.name, _reader(image.path), objects))
    return samples


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

"""A new version beside the one in use: on images that neither of the two learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lsl_core.errors import LslError
from lsl_core.models import load_model
from lsl_core.progress import Progress
from lsl_core.services.models.learning_sets import LearningSet
from lsl_core.services.models.training_pictures import Compared, keep_changes
from lsl_core.types import Comparison, Instances, ModelCard, SlideWindows, Verdict
from lsl_core.windows import plan
from lsl_core.workspace import Workspace

if TYPE_CHECKING:
    from lsl_core.training import Fitted, Seen

__all__ = ["compared", "keep_found"]

#: What the folds of a version found on the images they left out, beside its weights.
_FOUND_NAME = "folds.safetensors"


def keep_found(workspace: Workspace, model_id: str, fitted: Fitted, images: LearningSet) -> None:
    """Keep what folds found: the next version is measured on the same images."""
    from lsl_core.training import write_found  # loads torch: only those who train wait

    left_out = [one for one in fitted.seen if one.fold]
    if left_out:
        found = {images.hashes[one.name]: one.found for one in left_out}
        write_found(workspace.models / model_id / _FOUND_NAME, found, {})


def compared(
    workspace: Workspace,
    card: ModelCard,
    parent: ModelCard,
    fitted: Fitted,
    images: LearningSet,
    progress: Progress,
) -> Comparison:
    """Compare a new version with its parent, like with like.

    On images that were held out, by what the two models find there. With folds, the model learnt
    every image: on images that the folds of both left out, by what these folds found; where there
    are none, on images that the parent never learnt.
    """
    from lsl_core.training import compare, side_by_side  # loads torch: only those who train wait

    seen, theirs = list(fitted.seen), _found_by_folds(workspace, parent)
    if not seen[0].fold:
        seen, theirs = seen, _found_by_model(workspace, parent, card, seen, images, progress)
    elif shared := [one for one in seen if _fits(theirs.get(images.hashes[one.name]), one)]:
        seen = shared
    else:
        seen = [one for one in seen if images.hashes[one.name] not in parent.learnt]
        theirs = _found_by_model(workspace, parent, card, seen, images, progress)
    if not theirs:
        return Comparison(Verdict.UNKNOWN, parent.id, "AP", 0, 0, len(seen))
    truth, ours = side_by_side(seen)
    result = compare(
        (card, ours),
        (parent, [f for one in seen for f in theirs[images.hashes[one.name]]]),
        truth,
        num_images=len(seen),
        num_seen=len(set(card.held_out) & set(parent.learnt)),
    )
    both = _both(card, parent, seen, theirs, images)
    keep_changes(workspace.models / card.id, card.labels, both)
    progress.note(
        f"{result.figure} {result.after:.3f}, parent {parent.id} {result.before:.3f}: "
        f"{result.verdict}"
    )
    return result


def _both(
    card: ModelCard,
    parent: ModelCard,
    seen: Sequence[Seen],
    theirs: Mapping[str, Sequence[Instances]],
    images: LearningSet,
) -> Iterator[Compared]:
    """Give every window with what both versions found there."""
    samples = {sample.name: sample for sample in (*images.learnt, *images.held_out)}
    for one in seen:
        sample = samples[one.name]
        windows = plan(sample.instances.image_hw, _slide(card))
        found = theirs[images.hashes[one.name]]
        for window, drawn, before, after in zip(windows, one.truth, found, one.found, strict=True):
            before_named = before.relabelled(parent.labels, card.labels)
            yield Compared(one.name, sample.pixels, window, drawn, before_named, after)


def _slide(card: ModelCard) -> SlideWindows:
    """Return how images are cut for a version."""
    return SlideWindows(card.window, card.window, int(card.settings["overlap"]))


def _fits(found: Sequence[Instances] | None, seen: Seen) -> bool:
    """Return whether predictions are of the windows that an image was cut into."""
    return found is not None and [f.image_hw for f in found] == [t.image_hw for t in seen.truth]


def _found_by_folds(workspace: Workspace, parent: ModelCard) -> dict[str, list[Instances]]:
    """Return what the folds of a version found, by the hash of the image."""
    from lsl_core.training import read_found  # loads torch: only those who train wait

    kept = read_found(workspace.models / parent.id / _FOUND_NAME)
    return {} if kept is None else kept[0]


def _found_by_model(
    workspace: Workspace,
    parent: ModelCard,
    card: ModelCard,
    seen: Sequence[Seen],
    images: LearningSet,
    progress: Progress,
) -> dict[str, list[Instances]]:
    """Return what a version finds on images, by their hash; nothing when it cannot be asked."""
    from lsl_core.training import measure  # loads torch: only those who train wait

    names = {one.name for one in seen}
    samples = [s for s in (*images.learnt, *images.held_out) if s.name in names]
    if not samples:
        progress.note(f"Not compared with {parent.id}: it learnt every image.")
        return {}
    try:
        device = workspace.settings().inference.device
        model = load_model(workspace.models / parent.id, device=device)
    except LslError as error:
        progress.note(f"Not compared with {parent.id}: {error.message}")
        return {}
    measured = measure(model, samples, _slide(card), progress)
    return {images.hashes[one.name]: list(one.found) for one in measured}

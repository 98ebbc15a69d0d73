"""Labelled images to learn from: checks, and the split into training and held-out images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import EmptySupport, LabelMismatch
from lsl_core.types import MODES, CropMasks, Geometry, Instances, Mode


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled image.

    name: for messages. pixels: gives (h, w, 3) uint8 RGB; called when needed, perhaps often.
    instances: what people drew: `CropMasks`, or None for boxes only.
    """

    name: str
    pixels: Callable[[], NDArray[np.uint8]]
    instances: Instances


def check_support(samples: Sequence[Sample], *, mode: Mode, labels: tuple[str, ...]) -> None:
    """Refuse samples that nothing can be learnt from.

    Raises:
        EmptySupport: when there are no labels, no images, or nothing on them.
        LabelMismatch: when the mode needs masks and boxes were drawn, or a label is not known.
    """
    if not labels:
        raise EmptySupport(
            "There is no label to learn.", hint="Add a label to the task in CVAT, then import it."
        )
    if not any(len(s.instances) for s in samples):
        raise EmptySupport(
            f"Nothing is drawn on the {len(samples)} images to learn from."
            if samples
            else "There are no images to learn from.",
            hint="Label a few images in CVAT, save, and import the task again.",
        )
    for sample in samples:
        ids = sample.instances.class_ids
        if len(ids) and not (ids.min() >= 0 and ids.max() < len(labels)):
            raise LabelMismatch(
                f"{sample.name} holds a label that is not among {', '.join(labels)}.",
                hint="Import the task again, so that labels and shapes fit.",
            )
    if MODES[mode].learns_from is Geometry.MASKS:
        _check_masks(samples, mode)


def _check_masks(samples: Sequence[Sample], mode: Mode) -> None:
    for sample in samples:
        if not len(sample.instances):
            continue
        if not isinstance(sample.instances.masks, CropMasks):
            raise LabelMismatch(
                f'The mode "{mode}" learns from masks, but {sample.name} has boxes only.',
                hint=f'Choose "{Mode.WSIS}" to learn masks from boxes or "{Mode.FSOD}" to learn '
                "boxes, or draw masks or polygons.",
            )
        empty = int(np.count_nonzero(sample.instances.masks.areas() == 0))
        if empty == len(sample.instances):
            raise LabelMismatch(
                f"The masks of {sample.name} have no area.",
                hint="Draw them again in CVAT, or leave the image out.",
            )


def support_notes(samples: Sequence[Sample], labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a person should know about these samples before trusting the model."""
    shots = shots_per_label(samples, len(labels))
    few = {0: "no example: it will never be found", 1: "one example only: expect little of it"}
    return tuple(
        f'"{label}" has {few[count]}.'
        for label, count in zip(labels, shots.tolist(), strict=True)
        if count in few
    )


def shots_per_label(samples: Sequence[Sample], num_labels: int) -> NDArray[np.int64]:
    """Return how many objects of each label there are, (num_labels,)."""
    empty = [np.zeros(0, np.int32)]
    ids = np.concatenate(empty + [s.instances.class_ids for s in samples])
    return np.bincount(ids, minlength=num_labels)


def fingerprint(samples: Sequence[Sample], settings: object, labels: tuple[str, ...]) -> str:
    """Return a name for learning from just these objects with just these settings."""
    digest = hashlib.sha256(repr((settings, labels)).encode())
    for sample in samples:
        drawn = sample.instances
        digest.update(repr((sample.name, drawn.image_hw)).encode())
        digest.update(drawn.boxes.tobytes() + drawn.class_ids.tobytes())
        if isinstance(drawn.masks, CropMasks):
            digest.update(drawn.masks.areas().tobytes())
    return digest.hexdigest()


def split_support(
    samples: Sequence[Sample], *, share: float = 0.25, seed: int = 0
) -> tuple[list[Sample], list[Sample]]:
    """Split into images to train on and images to measure on.

    The same seed splits the same names the same way. The part to train on keeps an example of
    every label, and the part to measure on has as many labels as that allows.

    Args:
        samples: at least two.
        share: of the images that are held out, at least one image.
        seed: chooses which.

    Raises:
        EmptySupport: when there are fewer than two images.
    """
    if len(samples) < 2:
        raise EmptySupport(
            f"{len(samples) or 'No'} labelled image{'' if len(samples) == 1 else 's'}: training "
            "needs two at least, one of them to measure the model on.",
            hint="Label one more image, or choose a second source to measure on.",
        )
    ordered = sorted(samples, key=lambda s: s.name)
    has = has_labels(ordered)
    held = max(1, round(len(ordered) * share))
    rng = np.random.default_rng(seed)
    tries = [rng.permutation(len(ordered)) for _ in range(64)]
    best = max(tries, key=lambda order: _worth(has, order[:held], order[held:]))
    return [ordered[i] for i in sorted(best[held:])], [ordered[i] for i in sorted(best[:held])]


def has_labels(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """Return which labels are on which image, (images, labels)."""
    ids = [sample.instances.class_ids for sample in samples]
    most = max(int(of.max(initial=0)) for of in ids)
    return np.array([np.bincount(of, minlength=most + 1) > 0 for of in ids])


def _worth(
    has: NDArray[np.bool_], held: NDArray[np.int64], kept: NDArray[np.int64]
) -> tuple[int, int]:
    return int(has[kept].any(0).sum()), int(has[held].any(0).sum())

"""What was drawn and what was found on images that a model never learnt, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lsl_core.training.common.checkpoint import read_checkpoint, write_checkpoint
from lsl_core.types import Instances, SoftMasks


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One image that was measured.

    name: of the image. truth, found: what people drew and what the model found, a window each.
    fold: which part it was left out with, 0 where images were held out.
    """

    name: str
    truth: tuple[Instances, ...]
    found: tuple[Instances, ...]
    fold: int = 0


def side_by_side(seen: Sequence[Seen]) -> tuple[list[Instances], list[Instances]]:
    """Return what was drawn and what was found, all windows in a row."""
    return [t for one in seen for t in one.truth], [f for one in seen for f in one.found]


def write_found(
    path: Path, found: Mapping[str, Sequence[Instances]], facts: dict[str, Any]
) -> None:
    """Keep what a model found on each window of some images."""
    tensors: dict[str, Tensor] = {}
    sizes = {name: [i.image_hw for i in windows] for name, windows in found.items()}
    for name, windows in found.items():
        for number, instances in enumerate(windows):
            for column, values in _columns(instances).items():
                tensors[f"{name}/{number}/{column}"] = torch.from_numpy(values.copy())
    write_checkpoint(path, tensors, {**facts, "sizes": sizes})


def read_found(path: Path) -> tuple[dict[str, list[Instances]], dict[str, Any]] | None:
    """Return what `write_found` kept, and the facts; None where there is nothing to read."""
    kept = read_checkpoint(path)
    if kept is None or "sizes" not in kept[1]:
        return None
    tensors, facts = kept
    found = {
        name: [_instances(tensors, f"{name}/{i}", hw) for i, hw in enumerate(sizes)]
        for name, sizes in facts.pop("sizes").items()
    }
    return found, facts


def _columns(instances: Instances) -> dict[str, Any]:
    columns = {name: getattr(instances, name) for name in ("boxes", "scores", "class_ids")}
    if isinstance(instances.masks, SoftMasks):  # what models give, where they give masks
        columns |= {name: getattr(instances.masks, name) for name in ("values", "starts", "crops")}
    return columns


def _instances(tensors: Mapping[str, Tensor], prefix: str, hw: Sequence[int]) -> Instances:
    column = {
        name.rpartition("/")[2]: value.numpy()
        for name, value in tensors.items()
        if name.rpartition("/")[0] == prefix
    }
    masks = None
    if "values" in column:
        masks = SoftMasks(column["values"], column["starts"], column["crops"])
    boxes, scores, class_ids = (column[name] for name in ("boxes", "scores", "class_ids"))
    return Instances(boxes, scores, class_ids, masks, (hw[0], hw[1]))

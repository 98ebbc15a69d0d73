"""From a folder of pretrained weights to a network of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lsl_core.errors import WeightsDamaged
from lsl_core.models.foundation.store import Lock

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_network(folder: Path, lock: Lock) -> PreTrainedModel:
    """Load the network of a checkpoint, frozen, on the CPU, in 32 bits.

    Args:
        folder: that `store.check` has looked at.
        lock: what `store.check` returned.

    Raises:
        WeightsDamaged: when weights and configuration do not fit, or weights are missing.
    """
    # seconds to load, and a compact model needs none of it
    from transformers import RfDetrForObjectDetection, Sam2Model, SamModel
    from transformers.utils import logging

    classes: dict[str, Any] = {
        "rf_detr": RfDetrForObjectDetection,
        "sam": SamModel,
        "sam2": Sam2Model,
        "sam2_video": Sam2Model,
    }
    # what a SAM 2 for videos has more is not used, and no news
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        network, report = classes[lock.architecture].from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise _unfit(lock, str(error)) from error
    lacking = {*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])}
    if lacking:
        raise _unfit(lock, ", ".join(sorted(lacking)))
    network.eval().requires_grad_(False)
    return network  # type: ignore[no-any-return]


def input_side(folder: Path, otherwise: int) -> int:
    """Return the side of the square that a detector looks at, as it was published."""
    path = folder / "preprocessor_config.json"
    size = json.loads(path.read_bytes()).get("size") if path.is_file() else None
    return int(size["height"]) if isinstance(size, dict) and "height" in size else otherwise


def _unfit(lock: Lock, detail: str) -> WeightsDamaged:
    return WeightsDamaged(
        f"The pretrained weights {lock.name} do not fit their own configuration.",
        hint=f"Get them again: lsl models pull {lock.name}",
        detail=detail,
    )

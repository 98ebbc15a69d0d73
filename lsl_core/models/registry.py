"""Which families of models there are. One explicit table; nothing registers itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lsl_core.errors import FormatTooNew, UserInput
from lsl_core.models import foundation
from lsl_core.models.base import Model
from lsl_core.models.calibrated import CalibratedModel
from lsl_core.models.compact.transform import TRANSFORM_VERSION
from lsl_core.models.memory import keep_freed_memory
from lsl_core.models.weights import CARD_FORMAT, read_card
from lsl_core.types import MODES, Mode, ModelCard


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of network.

    title: for people. modes: what it can learn. transform_version: as the model says it, known
    without loading one, for cache keys. load: makes the model of a folder and its card on a device
    ("auto", "cuda", "mps", "cpu"). copies: whether it is small enough for one copy a core.
    """

    title: str
    modes: tuple[Mode, ...]
    transform_version: str
    load: Callable[[Path, ModelCard, str], Model]
    copies: bool = True


def _load_compact(folder: Path, card: ModelCard, device: str) -> Model:
    from lsl_core.models.compact.model import load_compact  # loads torch, seconds: only on use

    return load_compact(folder, card, device)


def _load_foundation(folder: Path, card: ModelCard, device: str) -> Model:
    # loads transformers, more seconds: only on use
    from lsl_core.models.foundation.model import load_foundation

    return load_foundation(folder, card, device)


FAMILIES: dict[str, Family] = {
    "compact": Family(
        "compact: a small network of ours, trained from your images alone",
        tuple(Mode),
        TRANSFORM_VERSION,
        _load_compact,
    ),
    "foundation": Family(
        "foundation: pretrained weights, tuned on your images; wants a GPU",
        tuple(Mode),
        foundation.TRANSFORM_VERSION,
        _load_foundation,
        copies=False,
    ),
}


def load_model(folder: Path, *, device: str = "auto") -> Model:
    """Load a trained model for prediction.

    Args:
        folder: holds card.json and weights.safetensors; the hash of the weights is checked.
        device: "auto", "cuda", "mps" or "cpu".

    Raises:
        WeightsMissing: when a file is not there.
        WeightsDamaged: when the weights do not match the card.
        DeviceMissing: when a device is asked for that this machine lacks.
        FormatTooNew: when a newer version of LSL wrote the model.
    """
    card = read_card(folder)
    if card.format_version > CARD_FORMAT or card.family not in FAMILIES:
        raise FormatTooNew(
            f'The model "{card.name}" was made by a newer version of LSL.',
            hint="Update LSL, or train the model again with this version.",
            detail=f"family {card.family}, format {card.format_version}",
        )
    keep_freed_memory()
    model = FAMILIES[card.family].load(folder, card, device)
    return model if card.calibration is None else CalibratedModel(model)


def check_mode(family: str, mode: Mode) -> None:
    """Refuse a mode that a family cannot learn.

    Raises:
        UserInput: naming the modes that it can.
    """
    if family not in FAMILIES:
        raise UserInput(
            f'There is no model family "{family}".', hint=f"Choose one of: {', '.join(FAMILIES)}."
        )
    if mode not in FAMILIES[family].modes:
        names = ", ".join(FAMILIES[family].modes)
        raise UserInput(
            f'The mode "{mode}" ({MODES[mode].title}) is not available in this version '
            f"for {family} models.",
            hint=f"Choose one of: {names}.",
        )


def transform_version(family: str) -> str:
    """Return how a family prepares pixels and reads outputs, as its models say it.

    Raises:
        FormatTooNew: when this version of LSL does not know the family.
    """
    if family not in FAMILIES:
        raise FormatTooNew(
            f'There is no model family "{family}" in this version of LSL.', hint="Update LSL."
        )
    return FAMILIES[family].transform_version

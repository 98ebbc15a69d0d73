"""A trained model on disk: card.json and weights.safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsl_core.errors import WeightsDamaged, WeightsMissing, WorkspaceError
from lsl_core.types import Beside, Comparison, Metrics, Mode, ModelCard, Shots, Verdict
from lsl_core.workspace.files import (
    atomic_path,
    known_fields,
    read_json,
    sha256_file,
    write_json,
)

if TYPE_CHECKING:
    import torch

CARD_NAME = "card.json"
WEIGHTS_NAME = "weights.safetensors"
#: Version of the card's fields.
CARD_FORMAT = 2

_TRAIN_AGAIN = "Train the model again, or copy its folder from a backup."


def read_card(folder: Path) -> ModelCard:
    """Read the card of a trained model.

    Raises:
        WeightsMissing: when there is no card.
        WeightsDamaged: when it cannot be read.
    """
    path = folder / CARD_NAME
    if not path.is_file():
        raise WeightsMissing(f"There is no model in {folder}.", hint=_TRAIN_AGAIN)
    try:
        fields = known_fields(ModelCard, read_json(path))
        return ModelCard(**fields | _typed(fields))
    except (WorkspaceError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsDamaged(
            f"The description of the model in {folder} cannot be read.",
            hint=_TRAIN_AGAIN,
            detail=repr(error),
        ) from error


def _typed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that JSON keeps as plainer types; format 1 lacks the later ones."""
    metrics, comparison = fields["metrics"], fields.get("comparison")
    calibration = fields.get("calibration")
    return {
        "mode": Mode(fields["mode"]),
        "labels": tuple(fields["labels"]),
        "metrics": None if metrics is None else Metrics(**metrics),
        "comparison": None if comparison is None else _comparison(comparison),
        "curve": tuple((int(at), float(value)) for at, value in fields.get("curve", ())),
        "learnt": tuple(fields.get("learnt", ())),
        "held_out": tuple(fields.get("held_out", ())),
        "calibration": None if calibration is None else (calibration[0], calibration[1]),
        "sizes": tuple((mean, spread) for mean, spread in fields.get("sizes", ())),
        "shots": tuple(Shots(**one) for one in fields.get("shots", ())),
    }


def _comparison(fields: Mapping[str, Any]) -> Comparison:
    rows = tuple(Beside(**row) for row in fields.get("rows", ()))
    return Comparison(**{**fields, "verdict": Verdict(fields["verdict"]), "rows": rows})


def save_model(folder: Path, card: ModelCard, state: Mapping[str, torch.Tensor]) -> ModelCard:
    """Write a trained model; return its card with the hash of the weights.

    The card is written last: a folder without one is no model, so a stopped save leaves nothing
    that loads.
    """
    from safetensors.torch import save_file  # loads torch, seconds: only on use

    (folder / CARD_NAME).unlink(missing_ok=True)
    plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with atomic_path(folder / WEIGHTS_NAME) as part:
        save_file(plain, part)
    sha256 = sha256_file(folder / WEIGHTS_NAME)
    card = dataclasses.replace(card, weights_sha256=sha256, format_version=CARD_FORMAT)
    write_card(folder, card)
    return card


def write_card(folder: Path, card: ModelCard) -> None:
    """Write what is known about a model, in place of what was there."""
    write_json(folder / CARD_NAME, dataclasses.asdict(card))


def load_state(folder: Path, card: ModelCard) -> dict[str, torch.Tensor]:
    """Read the weights that a card describes, on the CPU.

    Raises:
        WeightsMissing: when the file is not there.
        WeightsDamaged: when its hash is not the card's.
    """
    from safetensors.torch import load_file  # loads torch, seconds: only on use

    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise WeightsMissing(
            f'The weights of the model "{card.name}" are missing.', hint=_TRAIN_AGAIN
        )
    if sha256_file(path) != card.weights_sha256:
        raise WeightsDamaged(
            f'The weights of the model "{card.name}" changed since it was trained.',
            hint=_TRAIN_AGAIN,
            detail=f"{path} does not hash to {card.weights_sha256}",
        )
    return dict(load_file(path))

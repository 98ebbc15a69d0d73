"""The compact model, ready to predict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lsl_core.errors import WeightsDamaged
from lsl_core.models.compact import transform
from lsl_core.models.compact.decode import F32, decode
from lsl_core.models.compact.entry import network_input
from lsl_core.models.compact.network import STRIDE, CompactNetwork, fold_norms
from lsl_core.models.devices import choose_device
from lsl_core.models.soft import Frame
from lsl_core.models.weights import load_state
from lsl_core.types import Instances, ModelCard


class CompactModel:
    """A trained compact network and what is known about it.

    Args:
        card: its settings hold `width`, `least_range` and `invert`.
        network: with its weights; becomes the model's own, for prediction.
        device: where it runs.
    """

    transform_version = transform.TRANSFORM_VERSION

    def __init__(self, card: ModelCard, network: CompactNetwork, device: torch.device) -> None:
        self.card = card
        self.device = str(device)
        self._place = device
        self._network = fold_norms(network.to(device))

    def predict(
        self, windows: Sequence[NDArray[np.uint8]], *, floor_score: float
    ) -> list[Instances]:
        """Find objects in each window; see `Model.predict`."""
        shown = [transform.scaled(window, self.card.scale) for window in windows]
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, pixels in enumerate(shown):
            groups[pixels.shape].append(i)
        found: dict[int, Instances] = {}
        for shape, members in groups.items():
            maps = self._answers(self._input([shown[i] for i in members]))
            for row, i in enumerate(members):
                window_hw = (windows[i].shape[0], windows[i].shape[1])
                frame = Frame.of(window_hw, (shape[0], shape[1]), stride=STRIDE)
                of_window = {name: value[row] for name, value in maps.items()}
                found[i] = decode(self.card.mode, of_window, frame, floor_score, self.card.sizes)
        return [found[i] for i in range(len(windows))]

    def _input(self, windows: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        settings = self.card.settings
        least_range, invert = float(settings["least_range"]), bool(settings.get("invert"))
        return network_input(windows, self._place, least_range=least_range, invert=invert)

    def _answers(self, batch: torch.Tensor) -> dict[str, F32]:
        """Return the outputs for (B, 3, h, w), (B, channels, h / 2, w / 2) each."""
        with torch.inference_mode():
            maps = self._network(batch)
            for name in ("heat", "foreground"):
                if name in maps:
                    maps[name] = maps[name].sigmoid()
            for name in ("label", "semantic"):
                if name in maps:
                    maps[name] = maps[name].softmax(1)
            return {name: value.contiguous().cpu().numpy() for name, value in maps.items()}


def build(card: ModelCard, state: Mapping[str, torch.Tensor], device: torch.device) -> CompactModel:
    """Make the model of a card and its weights.

    Raises:
        WeightsDamaged: when the weights do not fit the card.
    """
    try:
        width = int(card.settings["width"])
        network = CompactNetwork(card.mode, num_labels=len(card.labels), width=width)
        network.load_state_dict(dict(state))
    except (RuntimeError, KeyError, ValueError) as error:
        raise WeightsDamaged(
            f'The weights of the model "{card.name}" do not fit its description.',
            hint="Train the model again, or copy its folder from a backup.",
            detail=str(error),
        ) from error
    return CompactModel(card, network, device)


def load_compact(folder: Path, card: ModelCard, device: str) -> CompactModel:
    """Load a saved compact model; see `registry.load_model`."""
    place = choose_device(device)
    return build(card, load_state(folder, card), place)

"""Scores that mean what they say: the chance that an object is right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lsl_core.models.base import Model
from lsl_core.types import Instances, ModelCard

#: Raw scores below this were not looked at when the calibration was fitted.
LEAST_RAW = 0.02
_EDGE = 1e-6


def calibrate(scores: NDArray[np.float32], calibration: tuple[float, float]) -> NDArray[np.float32]:
    """Return the chance of being right at each raw score; the order stays."""
    slope, shift = calibration
    inner = np.clip(scores.astype(np.float64), _EDGE, 1 - _EDGE)
    chances = 1 / (1 + np.exp(-(slope * np.log(inner / (1 - inner)) + shift)))
    return chances.astype(np.float32)


def raw_floor(floor_score: float, calibration: tuple[float, float]) -> float:
    """Return the raw score whose calibrated one is the floor."""
    slope, shift = calibration
    inner = min(max(floor_score, _EDGE), 1 - _EDGE)
    raw = 1 / (1 + math.exp(-(math.log(inner / (1 - inner)) - shift) / slope))
    return max(raw, LEAST_RAW)


class CalibratedModel:
    """A model whose scores are passed through its card's calibration.

    Args:
        model: answers with raw scores; its card has a calibration.
    """

    def __init__(self, model: Model) -> None:
        assert model.card.calibration is not None
        self._model, self._calibration = model, model.card.calibration

    @property
    def card(self) -> ModelCard:
        """What is known about the model."""
        return self._model.card

    @property
    def transform_version(self) -> str:
        """Version of preparing pixels and reading outputs."""
        return self._model.transform_version

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._model.device

    def predict(
        self, windows: Sequence[NDArray[np.uint8]], *, floor_score: float
    ) -> list[Instances]:
        """Find objects in each window; see `Model.predict`."""
        raw = self._model.predict(windows, floor_score=raw_floor(floor_score, self._calibration))
        scored = [replace(r, scores=calibrate(r.scores, self._calibration)) for r in raw]
        return [instances.above(floor_score) for instances in scored]

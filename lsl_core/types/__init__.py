"""The values that every room speaks: frozen, numpy only, checked once when made."""

from lsl_core.types.arrays import Index
from lsl_core.types.cards import (
    Beside,
    Comparison,
    Metrics,
    ModelCard,
    RunPhase,
    RunState,
    Shots,
    Verdict,
)
from lsl_core.types.images import OBJECT_THRESHOLD, ImageRef, Prediction, SlideWindows, Window
from lsl_core.types.instances import Hw, Instances
from lsl_core.types.labels import MODES, Geometry, LabelMap, Mode, ModeTraits
from lsl_core.types.masks import CropMasks, SoftMasks
from lsl_core.types.view import Decision, View

__all__ = [
    "MODES",
    "OBJECT_THRESHOLD",
    "Beside",
    "Comparison",
    "CropMasks",
    "Decision",
    "Geometry",
    "Hw",
    "ImageRef",
    "Index",
    "Instances",
    "LabelMap",
    "Metrics",
    "Mode",
    "ModeTraits",
    "ModelCard",
    "Prediction",
    "RunPhase",
    "RunState",
    "Shots",
    "SlideWindows",
    "SoftMasks",
    "Verdict",
    "View",
    "Window",
]

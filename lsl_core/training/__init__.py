"""From a support set to a trained model and an honest figure of how good it is."""

from lsl_core.training.fit import Fitted, fit
from lsl_core.training.samples import Sample, check_support, split_support, support_notes
from lsl_core.training.score import best_thresholds, evaluate
from lsl_core.training.settings import FitSettings

__all__ = [
    "FitSettings",
    "Fitted",
    "Sample",
    "best_thresholds",
    "check_support",
    "evaluate",
    "fit",
    "split_support",
    "support_notes",
]

"""From a support set to a trained model and an honest figure of how good it is."""

from lsl_core.training.correcting import best_thresholds
from lsl_core.training.fit import Fitted, fit
from lsl_core.training.folds import num_folds
from lsl_core.training.gate import Watch, compare, measure
from lsl_core.training.samples import Sample, check_support, split_support, support_notes
from lsl_core.training.score import evaluate, matches
from lsl_core.training.seen import Seen, read_found, side_by_side, write_found
from lsl_core.training.settings import FitSettings

__all__ = [
    "FitSettings",
    "Fitted",
    "Sample",
    "Seen",
    "Watch",
    "best_thresholds",
    "check_support",
    "compare",
    "evaluate",
    "fit",
    "matches",
    "measure",
    "num_folds",
    "read_found",
    "side_by_side",
    "split_support",
    "support_notes",
    "write_found",
]

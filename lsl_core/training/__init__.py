"""From a support set to a trained model and an honest figure of how good it is."""

from lsl_core.training.common.settings import FitSettings
from lsl_core.training.examples.samples import Sample, check_support, split_support, support_notes
from lsl_core.training.fit import Fitted, fit
from lsl_core.training.scoring.correcting import best_thresholds
from lsl_core.training.scoring.folds import num_folds
from lsl_core.training.scoring.gate import Watch, compare, measure
from lsl_core.training.scoring.score import evaluate, matches
from lsl_core.training.scoring.seen import Seen, read_found, side_by_side, write_found

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

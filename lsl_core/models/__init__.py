"""Networks, their weights on disk, and what they answer. Importing this loads no torch."""

from lsl_core.models.base import Model
from lsl_core.models.current import Choice, CurrentVersions
from lsl_core.models.registry import FAMILIES, Family, check_mode, load_model, transform_version
from lsl_core.models.weights import read_card, save_model, write_card

__all__ = [
    "FAMILIES",
    "Choice",
    "CurrentVersions",
    "Family",
    "Model",
    "check_mode",
    "load_model",
    "read_card",
    "save_model",
    "transform_version",
    "write_card",
]

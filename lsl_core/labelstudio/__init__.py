"""Label Studio: its server, its label configuration, its results.

brush     masks as the bit stream that its brush tool stores
config    which labels and tools a project has
regions   results to objects, and objects to results
server    the part of its REST API that we need
"""

from lsl_core.labelstudio.brush import decode_brush, encode_brush
from lsl_core.labelstudio.config import Control, LabelConfig, config_for, parse_config
from lsl_core.labelstudio.regions import (
    Pointed,
    Shape,
    read_pointed,
    read_regions,
    regions_of,
    tools_for,
)
from lsl_core.labelstudio.server import LabelStudio

__all__ = [
    "Control",
    "LabelConfig",
    "LabelStudio",
    "Pointed",
    "Shape",
    "config_for",
    "decode_brush",
    "encode_brush",
    "parse_config",
    "read_pointed",
    "read_regions",
    "regions_of",
    "tools_for",
]

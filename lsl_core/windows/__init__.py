"""Windows over an image: plan -> cut -> stitch. No model, no files."""

from lsl_core.windows.plan import check, cut, plan
from lsl_core.windows.stitch import STITCH_VERSION, stitch
from lsl_core.windows.whole import enlarge, reduced_hw, shrink

__all__ = ["STITCH_VERSION", "check", "cut", "enlarge", "plan", "reduced_hw", "shrink", "stitch"]

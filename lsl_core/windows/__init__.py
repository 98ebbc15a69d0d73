"""Windows over an image: plan -> cut -> stitch. No model, no files."""

from lsl_core.windows.plan import check, cut, plan

__all__ = ["check", "cut", "plan"]

"""A model as a function of CVAT's Nuclio: what its container runs.

`lsl cvat-serverless` writes a folder with a model, `settings.json`, this code and the modules that
it needs; Nuclio makes an image of the folder and calls `main.handler`.
"""

from lsl_core.serve.nuclio.function import Function

__all__ = ["Function"]

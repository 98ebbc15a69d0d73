"""LSL: label a few images in CVAT, let the model label the rest."""

__version__ = "0.1.0"

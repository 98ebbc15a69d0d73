"""The embedded default: a small network of ours that learns from a few images on a CPU."""

from pathlib import Path

#: Weights that trainings begin from, made by `lsl_core.training.pretrain`; `start.json` beside
#: them is their card.
START = Path(__file__).with_name("start.safetensors")

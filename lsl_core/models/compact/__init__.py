"""The embedded default: a small network of ours that learns from a few images on a CPU."""

"""Memory of devices: whether it was too small, and giving back what is not used. No torch."""

from __future__ import annotations

import sys


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or this machine had no memory left; torch need not be loaded."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # MPS and cuDNN say it in words only (torch 2.13)
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()


def free_memory() -> None:
    """Give memory that torch holds on a GPU, but does not use, back to the device."""
    torch = sys.modules.get("torch")  # only a model that uses it has memory there
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

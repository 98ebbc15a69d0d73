"""Memory of devices: whether it was too small, and giving back what is not used. No torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lsl_core.errors import OutOfGpuMemory


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or this machine had no memory left; torch need not be loaded."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # MPS and cuDNN say it in words only (torch 2.13)
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()


def too_small(purpose: str) -> OutOfGpuMemory:
    """Return the error of a device whose memory is too small to do something."""
    return OutOfGpuMemory(
        f"The memory of the device is too small to {purpose}.",
        hint="Close other programs on it, use smaller windows, a smaller model, or the "
        'device "cpu" (lsl.toml, inference.device).',
    )


@contextmanager
def enough_memory(purpose: str) -> Iterator[None]:
    """Say what could not be done when a device or this machine had no memory left for it.

    Raises:
        OutOfGpuMemory: then.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise too_small(purpose) from error


def free_memory() -> None:
    """Give memory that torch holds on a GPU, but does not use, back to the device."""
    torch = sys.modules.get("torch")  # only a model that uses it has memory there
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

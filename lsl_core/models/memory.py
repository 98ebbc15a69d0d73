"""Memory of devices: whether it was too small, keeping and giving back. No torch."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lsl_core.errors import OutOfGpuMemory

#: Options of glibc's mallopt (malloc.h, glibc 2.36), and what they are set to: blocks beyond this
#: come from the system each time, so much free memory is kept, and all threads share it.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_ARENA_MAX = -3, -1, -8
_BLOCK_BYTES, _KEPT_BYTES, _ARENAS = 64 * 1024**2, 512 * 1024**2, 1


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


def keep_freed_memory() -> None:
    """Have the C library keep what tensors free on a processor for those that come next.

    torch keeps nothing there by itself: every layer of every call took fresh pages, which the
    system fills with zeros first, a fifth of the time of a large window (docs/decisions/0076).
    Threads that run already keep memory of their own. Does nothing where the C library is not
    glibc.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    libc.mallopt(_M_ARENA_MAX, _ARENAS)
    if not libc.mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES):  # older ones take 32 MiB at most
        libc.mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES // 2)
    libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)

"""Where networks run, and on how many threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from lsl_core.errors import DeviceMissing, UserInput

NAMES = ("auto", "cuda", "mps", "cpu")

_measured: list[int] = []  # the number of threads that was fastest, once it is known


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name; "auto" is the fastest that this machine has.

    Raises:
        DeviceMissing: when this machine lacks it.
        UserInput: when there is no such name.
    """
    has = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, present in has.items() if present))
    kind = name.split(":")[0]
    if kind not in has:
        raise UserInput(f'There is no device "{name}".', hint=f"Choose one of: {', '.join(NAMES)}.")
    if not has[kind]:
        raise DeviceMissing(
            f'This machine has no "{name}" device that can be used.',
            hint='Choose "auto" or "cpu", or check the driver of the GPU.',
        )
    return torch.device(name)


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device computes with 16-bit floats, faster than with 32 bits."""
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def use_threads(count: int) -> None:
    """Set how many threads torch computes one operation with, in threads that start from now."""
    torch.set_num_threads(count)


def set_threads(count: int | None, work: Callable[[], object]) -> int:
    """Set how many threads torch computes with; return the number.

    Args:
        count: the number, or None to find out: other programs on the same cores can make two
            threads several times slower than one, since each waits for the other. The number of
            the environment (OMP_NUM_THREADS) is kept; else it is measured, once in a process.
        work: a short piece of the work to come, run a few times when it is measured.
    """
    if count is None and "OMP_NUM_THREADS" in os.environ:
        count = torch.get_num_threads()
    torch.set_num_threads(count or _fastest(work))
    return torch.get_num_threads()


def _fastest(work: Callable[[], object]) -> int:
    """Measure what number of threads is fastest, for this work and all that follows it."""
    cores = os.cpu_count() or 1
    if not _measured:
        seconds = {n: _time(n, work) for n in (1, cores)} if cores > 1 else {1: 0.0}
        _measured.append(min(seconds, key=lambda n: seconds[n]))
    return _measured[0]


def _time(threads: int, work: Callable[[], object]) -> float:
    torch.set_num_threads(threads)
    work()  # the first run also builds the kernels
    began = time.perf_counter()
    for _ in range(2):
        work()
    return time.perf_counter() - began


def describe(device: torch.device) -> str:
    """Return a device in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    if device.type == "mps":
        return "Apple GPU (mps)"
    return f"CPU, {os.cpu_count() or 1} cores; no GPU"

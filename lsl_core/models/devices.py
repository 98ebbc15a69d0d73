"""Where networks run, and on how many threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from lsl_core.errors import DeviceMissing, UserInput

NAMES = ("auto", "cuda", "mps", "cpu")


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
            threads several times slower than one, since each waits for the other.
        work: a short piece of the work to come, run a few times when `count` is None.
    """
    cores = os.cpu_count() or 1
    if count is not None or cores == 1:
        torch.set_num_threads(count or 1)
        return count or 1
    seconds = {n: _time(n, work) for n in (1, cores)}
    best = min(seconds, key=lambda n: seconds[n])
    torch.set_num_threads(best)
    return best


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

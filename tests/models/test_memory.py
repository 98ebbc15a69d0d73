"""Memory that tensors free is there for the next ones."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: Takes and frees 40 MB, then counts the pages that are fetched when they are taken again.
_AGAIN = """
import ctypes, resource, sys, threading
from lsl_core.models.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def fill():
    for _ in range(3):
        place = libc.malloc(40_000_000)
        libc.memset(place, 1, 40_000_000)
        libc.free(place)
        yield resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def count():
    faults = list(fill())
    print(faults[-1] - faults[0])

count()
thread = threading.Thread(target=count)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone is told")
def test_freed_memory_is_used_again_in_every_thread_instead_of_fetched_anew() -> None:
    def faults(how: str) -> list[int]:
        done = subprocess.run(
            [sys.executable, "-c", _AGAIN, how], capture_output=True, text=True, check=True
        )
        return [int(line) for line in done.stdout.split()]

    assert max(faults("kept")) < 500
    assert min(faults("fresh")) > 10_000

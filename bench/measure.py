"""Time, memory and child processes for the benchmarks. Peak memory needs Linux; else it is 0."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
#: All measured processes are forked from one that has only imported what `load_once` says.
_CONTEXT = multiprocessing.get_context("forkserver")
#: A run that takes longer is not repeated, seconds.
_LONG_S = 20.0


@dataclass(frozen=True)
class Cost:
    """Medians of several runs: seconds on the clock, seconds of all cores, MB above the start."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def status_mb(name: str) -> float:
    """Return a size of this process from the kernel, such as VmRSS; 0 where it tells none."""
    return process_mb(os.getpid(), name)


def process_mb(pid: int, name: str) -> float:
    """Return a size of another process, as `status_mb` does of this one."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return 0.0
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(line[1]) / 1024 for line in lines if line and line[0] == f"{name}:"), 0.0)


def process_cpu_s(pid: int) -> float:
    """Return the seconds of all cores that a process used, from the kernel; 0 without Linux."""
    path = Path(f"/proc/{pid}/stat")
    if not path.exists():
        return 0.0
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def with_children(pid: int) -> list[int]:
    """Return a process and all that it started, directly or by others; itself without Linux."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:  # grows while it is read
        found += [child for child, of in parents.items() if of == parent]
    return found


def shared_mb(pids: Sequence[int]) -> float:
    """Return the memory of processes, what several share counted once; 0 without Linux."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def forget_peak() -> None:
    """Let the kernel count the peak of memory anew."""
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def cost(work: Callable[[], Any], *, repeat: int = 5, warm_up: bool = True) -> tuple[Any, Cost]:
    """Run something several times; return its last result and what it cost."""
    result = work() if warm_up else None
    walls, cpus, peaks = [], [], []
    for _ in range(repeat):
        result = None
        gc.collect()
        before = status_mb("VmRSS")
        forget_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        peaks.append(max(0.0, status_mb("VmHWM") - before))
        if walls[-1] > _LONG_S:
            break
    return result, Cost(statistics.median(walls), statistics.median(cpus), max(peaks))


def load_once(modules: Sequence[str]) -> None:
    """Import modules, where they are installed, once for all measured processes, not in each."""
    _CONTEXT.set_forkserver_preload(list(modules))


def apart(
    work: Callable[..., dict[str, Any]], *args: Any, limit_s: float, limit_gb: float
) -> dict[str, Any]:
    """Run a function in a process of its own; {"error": …} when it fails or takes too much."""
    answer, ask = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_child, args=(ask, work, args, limit_gb))
    process.start()
    ask.close()
    try:
        result = answer.recv() if answer.poll(limit_s) else {"error": f"over {limit_s:.0f} s"}
    except EOFError:
        result = {"error": "ended without an answer (memory?)"}
    if process.is_alive():
        process.join(2)
        process.kill()
    process.join()
    return dict(result)


def _child(
    ask: Connection, work: Callable[..., dict[str, Any]], args: Sequence[Any], limit_gb: float
) -> None:
    limit = int(limit_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        ask.send(work(*args))
    except Exception as error:  # one peer must not stop the others
        text = f"{type(error).__name__}: {error}".splitlines()[0][:110]
        is_memory = isinstance(error, MemoryError) or "allocate" in text.lower()
        ask.send({"error": f"over {limit_gb:g} GB ({text})" if is_memory else text})


def table(rows: Sequence[dict[str, Any]], *, first: str = "name") -> None:
    """Print rows under the columns of the first full one."""
    full = next((row for row in rows if "error" not in row), None)
    columns = [first] if full is None else [first, *(k for k in full if k != first)]
    cells = [columns]
    for row in rows:
        if "error" in row:
            cells.append([str(row[first]), str(row["error"])])
        else:
            cells.append([_cell(row.get(column, "")) for column in columns])
    widths = [
        max(len(line[k]) for line in cells if len(line) == len(columns))
        for k in range(len(columns))
    ]
    widths[0] = max(len(line[0]) for line in cells)
    for line in cells:
        if len(line) < len(columns):
            print(f"{line[0]:<{widths[0]}}  {line[1]}", flush=True)
            continue
        rest = "".join(f"  {c:>{w}}" for c, w in zip(line[1:], widths[1:], strict=True))
        print(f"{line[0]:<{widths[0]}}{rest}", flush=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return (
            f"{value:.4f}" if abs(value) < 1 else f"{value:.3g}" if value < 1e3 else f"{value:.0f}"
        )
    return str(value)

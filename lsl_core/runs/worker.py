"""The process that does long work, one run at a time, so that a page may be closed.

    python -m lsl_core.runs.worker WORKSPACE [--stay] [--lane cvat]

One worker a lane: a file lock keeps a second worker of the same workspace from starting.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import time
from pathlib import Path

from filelock import Timeout

from lsl_core.runs.queue import Lane, Queue
from lsl_core.workspace import Workspace

logger = logging.getLogger(__name__)

#: Seconds without work after which a worker that nobody asked to stay goes away.
_IDLE_S = 600.0
_POLL_S = 0.3
#: Asked every so many seconds for work that begins by the clock; "module:function", called with
#: the workspace. While it answers True, the worker stays.
_CLOCK, _CLOCK_S = "lsl_core.services.backups.background:tick", 60.0


def work(workspace: Workspace, *, stay: bool, lane: Lane = Lane.DEVICE) -> int:
    """Do runs until none came for a while, or for ever with `stay`; 0, or 1 when one works."""
    queue = Queue(workspace, lane)
    try:
        with queue.lock.acquire(timeout=2.0):
            queue.pid_file.write_text(str(os.getpid()))
            queue.recover()
            idle_since, asked, is_needed = time.monotonic(), -_CLOCK_S, False
            while stay or is_needed or time.monotonic() - idle_since < _IDLE_S:
                if lane is Lane.DEVICE and time.monotonic() - asked >= _CLOCK_S:
                    asked, is_needed = time.monotonic(), _ask_the_clock(workspace)
                if queue.work_once():
                    idle_since = time.monotonic()
                else:
                    time.sleep(_POLL_S)
    except Timeout:
        return 1
    return 0


def _ask_the_clock(workspace: Workspace) -> bool:
    """Let what begins by the clock begin; a failure there must not stop the other work."""
    module, _, function = _CLOCK.partition(":")
    try:
        return bool(getattr(importlib.import_module(module), function)(workspace))
    except Exception:
        logger.exception("nothing could be begun by the clock")
        return False


def main() -> int:
    """Run the worker from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, prog="lsl_core.runs.worker")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--stay", action="store_true", help="do not end when idle")
    parser.add_argument("--lane", type=Lane, choices=list(Lane), default=Lane.DEVICE)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    return work(Workspace.open(arguments.workspace), stay=arguments.stay, lane=arguments.lane)


if __name__ == "__main__":
    sys.exit(main())

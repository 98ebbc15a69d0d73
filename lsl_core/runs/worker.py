"""The process that does long work, one run at a time, so that a page may be closed.

    python -m lsl_core.runs.worker WORKSPACE [--stay] [--lane cvat]

One worker a lane: a file lock keeps a second worker of the same workspace from starting.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path

from filelock import Timeout

from lsl_core.runs.queue import Lane, Queue
from lsl_core.workspace import Workspace

#: Seconds without work after which a worker that nobody asked to stay goes away.
_IDLE_S = 600.0
_POLL_S = 0.3


def work(workspace: Workspace, *, stay: bool, lane: Lane = Lane.DEVICE) -> int:
    """Do runs until none came for a while, or for ever with `stay`; 0, or 1 when one works."""
    queue = Queue(workspace, lane)
    try:
        with queue.lock.acquire(timeout=2.0):
            queue.pid_file.write_text(str(os.getpid()))
            queue.recover()
            idle_since = time.monotonic()
            while stay or time.monotonic() - idle_since < _IDLE_S:
                if queue.work_once():
                    idle_since = time.monotonic()
                else:
                    time.sleep(_POLL_S)
    except Timeout:
        return 1
    return 0


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

"""Children that push or undo, and are killed; see `pushing_child.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self


class Nursery:
    """A process that starts children which push to a server; it imports everything once."""

    def __init__(self, url: str) -> None:
        script = Path(__file__).with_name("pushing_child.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with self._process:
            pass

    def run(
        self,
        folder: Path,
        task: int,
        seed: int,
        *,
        undo: str = "",
        restore: Path | None = None,
        kill_after_s: float | None = None,
    ) -> float:
        """Let a child push, restore or undo, and kill it after a while; return its seconds."""
        job = {"folder": str(folder), "task": task, "seed": seed, "undo": undo}
        job |= {"restore": str(restore)} if restore else {}
        pid = int(self._ask(json.dumps(job)))
        begun = time.monotonic()
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            os.kill(pid, signal.SIGKILL)  # the nursery has not reaped it before it says so
        status = int(self._ask("reap"))
        assert kill_after_s is not None or status == 0
        return time.monotonic() - begun

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

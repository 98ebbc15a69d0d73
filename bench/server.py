"""The CVAT server that a benchmark talks to: one that is named, or a sandbox of its own.

With LSL_LIVE_URL, LSL_LIVE_USER and LSL_LIVE_PASSWORD it is that server. Without, a sandbox is
started beside, and the CPU seconds that it takes are known too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cvat_sdk import Client, Config
from measure import process_cpu_s

from lsl_core import cvat

_NAMES = ("URL", "USER", "PASSWORD")


@dataclass(frozen=True)
class Server:
    """Where it is, who signs in, and its process when it is ours."""

    url: str
    user: str
    password: str
    pid: int | None = None

    def cpu_s(self) -> float:
        """Return the CPU seconds that the server took so far, 0 when it is not ours."""
        return process_cpu_s(self.pid) if self.pid is not None else 0.0

    def session(self) -> cvat.CvatSession:
        """Sign in as LSL does."""
        login = cvat.PasswordLogin(self.user, self.password)
        return cvat.connect(self.url, login, organisation="")

    def client(self, folder: Path) -> Client:
        """Sign in as the SDK does, with an empty cache.

        It asks the server as often as ours does, not every 5 s, so that waiting is nobody's merit.
        """
        config = Config(cache_dir=folder / "cache", status_check_period=0.1)
        client = Client(self.url, config=config, check_server_version=False)
        client.login((self.user, self.password))
        client.organization_slug = ""
        return client

    def named(self) -> dict[str, str]:
        """Return the environment that names this server to a child process."""
        values = (self.url, self.user, self.password)
        return {
            **os.environ,
            **{f"LSL_LIVE_{name}": value for name, value in zip(_NAMES, values, strict=True)},
        }


def from_environment() -> Server | None:
    """Return the server that the environment names."""
    values = [os.environ.get(f"LSL_LIVE_{name}") for name in _NAMES]
    return Server(*map(str, values)) if all(values) else None


@contextmanager
def some_server(folder: Path) -> Iterator[Server]:
    """Give the server that the environment names, or a sandbox that ends with the block."""
    named = from_environment()
    if named is not None:
        yield named
        return
    words = [sys.executable, "-m", "lsl_core.sandbox", "--folder", str(folder), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r"http://\S+", said)
            if found is None:
                raise RuntimeError(f"the sandbox did not start: {said}")
            yield Server(found[0], "demo", "demo-password", process.pid)
        finally:
            process.terminate()


def run_alone(script: str, words: Sequence[object], server: Server) -> dict[str, float]:
    """Run one way of a benchmark in a process of its own; return its figures."""
    done = subprocess.run(
        [sys.executable, script, *map(str, words)],
        check=True,
        stdout=subprocess.PIPE,
        env=server.named(),
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main_of(
    doc: str,
    ways: Sequence[str],
    *,
    frames: int,
    masks: int,
    alone: Callable[[argparse.Namespace, Path], dict[str, float]],
    compare: Callable[[Server, argparse.Namespace, Path], None],
) -> None:
    """Read the options of a benchmark of ways; compare them, or run one in this process.

    Args:
        doc: what the benchmark is, its first line for `--help`.
        ways: names; all of them when none is asked for.
        frames: of the task, when nothing else is asked for.
        masks: of a frame, when nothing else is asked for.
        alone: runs `given.way[0]` on `given.task` and returns its figures.
        compare: makes the task and asks for each way of `given.way`.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--frames", type=int, default=frames)
    parser.add_argument("--masks", type=int, default=masks)
    parser.add_argument("--way", choices=ways, action="append")
    parser.add_argument("--task", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        # Stays until all are done: ext4 searches long for a free number among those of files that
        # were removed in the last minutes, half a second for 1,000 files.
        print(json.dumps(alone(given, Path(tempfile.mkdtemp()))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TMPDIR"] = name  # of each way
        given.way = given.way or ways
        with some_server(folder / "sandbox") as server:
            compare(server, given, folder)


def told(figures: Mapping[str, float]) -> str:
    """Return figures as one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())

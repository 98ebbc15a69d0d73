"""Run a sandbox until it is stopped: `python -m lsl_core.sandbox --folder F --port P`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from lsl_core.sandbox.base.nuclio import Nuclio
from lsl_core.sandbox.server import DEMO_PASSWORD, DEMO_USER, PortTakenError, Sandbox

#: Where the password comes from: never from the command line, which others can read.
PASSWORD_VARIABLE = "LSL_SANDBOX_PASSWORD"  # noqa: S105 - the variable's name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lsl_core.sandbox",
        description="Run the LSL sandbox, a small CVAT-compatible server, on this computer.",
        epilog=f"The password is read from {PASSWORD_VARIABLE}; without it, {DEMO_PASSWORD!r}.",
    )
    parser.add_argument("--folder", type=Path, required=True, help="where it keeps everything")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--user", default=DEMO_USER, help="the administrator's name")
    parser.add_argument("--cvat-version", default="2.80.0", help="the version to pose as")
    parser.add_argument("--nuclio", help="HOST:PORT whose functions are the AI tools")
    parser.add_argument(
        "--nuclio-direct", action="store_true", help="call functions on their own ports"
    )
    return parser


def _fail(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sandbox until Ctrl-C or SIGTERM.

    Returns:
        The exit code: 0 when stopped, 2 when it could not start.
    """
    given = _parser().parse_args(argv)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    password = os.environ.get(PASSWORD_VARIABLE) or DEMO_PASSWORD
    try:
        nuclio = Nuclio.at(given.nuclio, is_direct=given.nuclio_direct) if given.nuclio else None
        sandbox = Sandbox(
            given.folder,
            port=given.port,
            version=given.cvat_version,
            users={given.user: password},
            nuclio=nuclio,
        ).start()
    except PortTakenError as exc:
        return _fail(f"{exc.strerror}. Choose another with --port, or 0 for a free one.")
    except (OSError, ValueError, RuntimeError) as exc:
        return _fail(f"The sandbox could not start: {exc}")
    sys.stdout.write(f"LSL sandbox (not a real CVAT): {sandbox.url}  user: {given.user}\n")
    sys.stdout.flush()
    stopped.wait()
    sandbox.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

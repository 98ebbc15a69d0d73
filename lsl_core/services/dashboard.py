"""The dashboard and its worker as processes of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

import lsl_core
from lsl_core.errors import UserInput, WorkspaceError
from lsl_core.runs import Queue
from lsl_core.workspace import Workspace

__all__ = ["DEFAULT_PORT", "open_browser", "start_dashboard", "work_here"]

DEFAULT_PORT = 8501
_START_S = 60.0


def start_dashboard(
    workspace: Workspace, *, port: int = DEFAULT_PORT, address: str = "localhost"
) -> tuple[subprocess.Popen[bytes], str]:
    """Start the dashboard of a workspace; return its process and its address.

    A worker is started beside it when none is alive.

    Raises:
        UserInput: when the port is taken.
        WorkspaceError: when the dashboard's files are missing, or it does not start.
    """
    script = Path(lsl_core.__file__).parents[1] / "app.py"
    if not script.is_file():
        raise WorkspaceError(
            "The dashboard's files are missing.", hint="Run LSL from a checkout of its repository."
        )
    if _is_taken(port):
        raise UserInput(f"Port {port} is in use.", hint=f"Choose another: --port {port + 1}")
    Queue(workspace).ensure_worker()
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-m", "streamlit", "run", str(script),
         "--server.port", str(port), "--server.address", address,
         "--server.fileWatcherType", "none"],
        cwd=script.parent,
        env=os.environ | {"LSL_WORKSPACE": str(workspace.root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None,
    )  # fmt: skip
    url = f"http://{address}:{port}"
    _wait_until_up(process, url)
    return process, url


def open_browser(url: str) -> bool:
    """Show an address in the person's browser; False where there is none."""
    return webbrowser.open(url)


def work_here(workspace: Workspace) -> int:
    """Do the runs of a workspace in this process until it is stopped; 1 when another one does."""
    from lsl_core.runs.worker import work

    return work(workspace, stay=True)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_up(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):  # noqa: S310 - http
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    process.terminate()
    raise WorkspaceError(
        "The dashboard did not start.", hint="Run it by hand to see why: streamlit run app.py"
    )

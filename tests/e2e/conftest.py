"""A real browser and real Streamlit servers."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("LSL_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))  # as Streamlit does: the apps share samples


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def browser():
    """Chromium, headless; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).is_file():
        pytest.skip(f"no Chromium at {CHROMIUM} (set LSL_CHROMIUM)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def contexts() -> dict[str, list]:
    """Browser contexts that nobody uses now, by their options.

    They go from test to test: a new one reads and compiles megabytes of Streamlit's scripts again.
    """
    return {}


@pytest.fixture
def new_page(browser, contexts: dict[str, list]) -> Iterator[Callable]:
    """Open pages of 1440 × 900, each in a context of its own.

    A script error in one of them fails the test.
    """
    errors: list[str] = []
    with contextlib.ExitStack() as stack:

        def open_page(**options):
            options = {"viewport": {"width": 1440, "height": 900}} | options
            free = contexts.setdefault(repr(options), [])
            context = free.pop() if free else browser.new_context(**options)
            stack.callback(free.append, context)
            stack.callback(context.clear_cookies)
            page = context.new_page()
            stack.callback(page.close)
            stack.callback(page.evaluate, "localStorage.clear()")
            page.on("pageerror", lambda error: errors.append(str(error)))
            return page

        yield open_page
    assert not errors


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str]]:
    """Start `streamlit run` on a free port; return the address once it answers."""
    servers: list[subprocess.Popen] = []

    def start(app: Path, *arguments: str, **environment: str) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = (tmp_path_factory.mktemp("server") / "log.txt").open("w")
        options = {
            "port": port, "address": "127.0.0.1", "headless": "true", "fileWatcherType": "none",
        }  # fmt: skip
        flags = [f"--server.{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "streamlit", "run", str(app), *flags]
        command += ["--browser.gatherUsageStats=false", *arguments]
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
        with log:
            servers.append(subprocess.Popen(command, stdout=log, stderr=log, env=env))
        _wait(f"http://127.0.0.1:{port}/_stcore/health", servers[-1], Path(log.name))
        return f"http://127.0.0.1:{port}"

    yield start
    for server in servers:
        server.terminate()
        server.wait(timeout=20)


def _wait(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(300):
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(url):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cvat_sdk import Client

from lsl_core.sandbox import Sandbox

# pytest's importlib mode puts no test folder on the path; these tests share sandbox_helpers.py.
sys.path.insert(0, str(Path(__file__).parent))

from sandbox_helpers import Http, draw_images, make_task, quick, signed_in


@pytest.fixture(scope="session")
def stopping() -> Iterator[ThreadPoolExecutor]:
    """Sandboxes on their way out: a graceful stop takes 0.2 s that no test needs to wait for."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def sandbox(tmp_path, stopping: ThreadPoolExecutor) -> Iterator[Sandbox]:
    running = Sandbox(tmp_path / "sandbox").start()
    yield running
    stopping.submit(running.stop)


@pytest.fixture
def client(sandbox: Sandbox, tmp_path) -> Iterator[Client]:
    with signed_in(sandbox.url) as opened:
        yield quick(opened, tmp_path / "cache")


@pytest.fixture
def http(sandbox: Sandbox) -> Http:
    return Http(sandbox.url, sandbox.make_token("demo", kind="login"))


@pytest.fixture
def task(http: Http, tmp_path) -> dict:
    """A task of 6 frames in two jobs, uploaded by one plain multipart call."""
    return make_task(http, draw_images(tmp_path / "images", 6), segment_size=3)

"""A workspace, a sandbox with tasks, and the dashboard on both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from lsl_core.runs import Queue
from lsl_core.sandbox import Sandbox
from lsl_core.services import workspaces
from lsl_core.services.workspaces import Workspace

# pytest's importlib mode puts no test folder on the path; these tests share app_world.py.
sys.path.insert(0, str(Path(__file__).parent))

import app_world

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One server for all pages: starting one takes longer than most tests."""
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspaces.create_workspace(tmp_path / "bolts")


@pytest.fixture
def world(sandbox: Sandbox, workspace: Workspace) -> app_world.World:
    """A workspace that is signed in to the sandbox."""
    return app_world.World.signed_in(sandbox, workspace)


@pytest.fixture
def worker_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do every run where it is submitted, in this process, before the page goes on."""

    def work(queue: Queue) -> None:
        while queue.work_once():
            pass

    monkeypatch.setattr(Queue, "ensure_worker", work)


@pytest.fixture
def open_page(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., AppTest]]:
    """Open a page of the dashboard as a browser does: the frame first, then the page."""
    monkeypatch.setenv("LSL_WORKSPACE", str(workspace.root))
    monkeypatch.chdir(ROOT)
    _keep_navigation(monkeypatch)

    def opened(page: str, **address: object) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        app.run()
        app.switch_page(f"pages/{page}.py")
        for name, value in address.items():
            app.query_params[name] = str(value)
        return app.run()

    yield opened
    st.cache_resource.clear()
    st.cache_data.clear()


def _keep_navigation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let app.py frame every run: AppTest forgets between runs that `st.navigation` took over."""
    prepare = PagesManager.__init__

    def prepared(self: PagesManager, *args: object, **kwargs: object) -> None:
        prepare(self, *args, **kwargs)
        PagesManager.uses_pages_directory = False

    monkeypatch.setattr(PagesManager, "__init__", prepared)

"""Every test has its own home, an empty environment and no way out to the network."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

_MAIN = sys.modules["__main__"]
_KEPT = ("PATH", "LANG", "TZ", "TMPDIR", "CI", "LSL_SHARED", "VIRTUAL_ENV", "SYSTEMROOT")


@pytest.fixture(autouse=True)
def _own_world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name not in _KEPT and not name.startswith(("PYTEST", "COV", "LSL_LIVE")):
            monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # a page under test leaves its script here, and a new process would run it again
    monkeypatch.setitem(sys.modules, "__main__", _MAIN)


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("live"):
        return
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "local"
        if host not in ("127.0.0.1", "localhost", "::1", "local"):
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded exchanges and real images, where there is one."""
    default = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("LSL_SHARED", default))
    if not folder.is_dir():
        pytest.skip("no folder of shared data here (set LSL_SHARED)")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny random networks, by kind: "detector", "sam", "sam2"."""
    from tests.tiny import save_tiny  # loads torch and transformers, seconds: only on use

    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def shelf(tiny: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shelf of pretrained weights that holds them; not to be changed."""
    from lsl_core.models.foundation.store import pull
    from tests.tiny import NAMES

    folder = tmp_path_factory.mktemp("shelf") / "pretrained"
    for kind, source in tiny.items():
        pull(NAMES[kind], folder, source=source, licence="of a test")
    return folder

"""What the service and those who ask for it tell each other in files, across versions of LSL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock

from lsl_core.errors import ServeError, WorkspaceError
from lsl_core.services import workspaces
from lsl_core.services.serving import offers, service
from lsl_core.services.serving.state import LOCK_FILE, SETTINGS_FILE, STATE_FILE, ServiceSettings
from lsl_core.services.workspaces import Workspace
from lsl_core.types import Mode
from lsl_core.workspace.files import write_json

USE = {"requests": 3, "failed": 1, "median_s": 0.1, "p95_s": 0.2, "last_error": "", "new": 1}
ROW = {
    "pid": 4, "host": "127.0.0.1", "port": 8070, "is_nuclio": True, "started": 1.0,
    "written": 2.0, "problems": {}, "from the future": {"a": 1},
    "callers": [{"who": "x", "requests": 3, "last": 1.0, "new": 0}],
    "offers": [
        {"model": "parts", "version": "parts-v1", "since": 1.0, "labels": ["nut"], "new": None,
         "drawing": "mask", "device": "cpu",
         "functions": [{"name": "parts", "is_interactor": False, "port": None, "new": 2,
                        "use": USE | {"last_error_at": None}}]}
    ],
}  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose service holds its lock."""
    made = workspaces.create_workspace(tmp_path / "w", Mode.FSIS)
    made.serve.mkdir(parents=True)
    with FileLock(made.serve / LOCK_FILE):
        yield made


def test_what_another_version_says_beyond_ours_is_left_out(workspace: Workspace) -> None:
    write_json(workspace.serve / STATE_FILE, ROW)
    found = service.state(workspace)
    assert found is not None
    assert found.offers[0].functions[0].requests == 3
    assert found.offers[0].clicks is None  # an older version has no clicks
    assert found.callers == (("x", 3, 1.0),)


@pytest.mark.parametrize("row", [{"pid": 1}, [], "up", ROW | {"offers": [{"model": "parts"}]}])
def test_a_state_that_cannot_be_read_is_one_line_with_a_next_step(
    workspace: Workspace, row: object
) -> None:
    write_json(workspace.serve / STATE_FILE, row)
    with pytest.raises(ServeError, match="another version of LSL") as raised:
        service.state(workspace)
    assert "lsl serve --stop" in str(raised.value)


def test_a_service_of_another_version_is_stopped_all_the_same(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(service, "_is_running", lambda _: sleeping.poll() is None)
    write_json(workspace.serve / STATE_FILE, {"pid": sleeping.pid, "offers": 7})
    assert service.stop(workspace)
    assert sleeping.wait() != 0


def test_a_service_that_hides_its_process_is_not_guessed_at(workspace: Workspace) -> None:
    write_json(workspace.serve / STATE_FILE, {"offers": []})
    with pytest.raises(ServeError, match="which process"):
        service.stop(workspace)


def test_settings_of_another_version_count_as_far_as_they_are_known(workspace: Workspace) -> None:
    path = workspace.serve / SETTINGS_FILE
    write_json(path, asdict(ServiceSettings(port=9000, allow=("10.0.0.0/8",))) | {"new": 1})
    assert service.last_settings(workspace) == ServiceSettings(port=9000, allow=("10.0.0.0/8",))
    write_json(path, {"port": 9000})
    assert service.last_settings(workspace) == ServiceSettings(port=9000)
    write_json(path, [1])
    with pytest.raises(WorkspaceError, match="settings of the service"):
        service.last_settings(workspace)


def test_offers_of_another_version_count_as_far_as_they_are_known(workspace: Workspace) -> None:
    path = workspace.serve / "offers.json"
    offer = offers.Offer("parts", threshold=0.3, deployed=(("parts-v1", 1.0),))
    write_json(path, [asdict(offer) | {"new": 1}])
    assert offers.list_offers(workspace) == [offer]
    write_json(path, [asdict(offer) | {"drawing": "hologram"}])
    with pytest.raises(WorkspaceError, match="What is offered cannot be read"):
        offers.list_offers(workspace)


def test_a_service_that_was_killed_is_told_from_one_that_was_stopped(workspace: Workspace) -> None:
    state = workspace.serve / STATE_FILE
    write_json(state, ROW)
    os.utime(state, (50.0, 50.0))
    assert service.died_at(workspace) is None, "it runs"
    (workspace.serve / LOCK_FILE).rename(workspace.serve / "released")
    assert service.died_at(workspace) == 50.0
    state.unlink()
    assert service.died_at(workspace) is None, "it was stopped"

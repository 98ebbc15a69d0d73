"""A project of its own on the server that LSL_LIVE_URL, _USER and _PASSWORD name; removed after."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsl_core.cvat import CvatSession, Journal, PasswordLogin, connect

# the helpers of the CVAT room draw the same small images and people
sys.path.insert(0, str(Path(__file__).parents[1] / "cvat"))


@pytest.fixture(scope="session")
def live_login() -> tuple[str, PasswordLogin]:
    values = [os.environ.get(f"LSL_LIVE_{name}") for name in ("URL", "USER", "PASSWORD")]
    if not all(values):
        pytest.skip("set LSL_LIVE_URL, LSL_LIVE_USER and LSL_LIVE_PASSWORD to a CVAT server")
    url, user, password = (str(value) for value in values)
    return url, PasswordLogin(user, password)


@pytest.fixture(scope="session")
def session(live_login) -> Iterator[CvatSession]:
    with connect(*live_login, organisation="") as opened:
        yield opened


@pytest.fixture(scope="session")
def project(session) -> Iterator[int]:
    labels = [
        {"name": name, "type": kind, "attributes": []}
        for name, kind in (
            ("cell", "mask"), ("box", "rectangle"), ("outline", "polygon"), ("thing", "any"),
        )
    ]  # fmt: skip
    body = {"name": f"LSL live test {time.time_ns()}", "labels": labels}
    made = session.transport.json("POST", "/api/projects", doing="making a project", body=body)
    yield made["id"]
    session.transport.send("DELETE", f"/api/projects/{made['id']}", doing="removing the project")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "lsl.sqlite")

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsl_core.cvat import (
    CvatSession,
    Journal,
    PasswordLogin,
    PushChoices,
    apply_push,
    connect,
    plan_push,
)
from lsl_core.sandbox import Sandbox

# pytest's importlib mode puts no test folder on the path; these tests share cvat_helpers.py.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        running.add_user("ana", "ana-password")
        running.add_user("ben", "ben-password")
        running.add_organisation("lab", "ana", ["demo"])
        running.add_organisation("field", "ana", ["ben"])
        yield running


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[CvatSession]:
    with connect(sandbox.url, PasswordLogin("demo", "demo-password"), organisation="") as opened:
        yield opened


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "lsl.sqlite")


@pytest.fixture
def push(session, task, journal, tmp_path):
    """Plan and push in one step, with the snapshot beside."""

    def run(found, *, through=None, settle_s=0.5, confirmed_task=None, **choices):
        with_session = through or session
        plan = plan_push(
            with_session,
            task.id,
            found,
            ("cell",),
            choices=PushChoices(**choices),
            journal=journal,
        )
        snapshot = tmp_path / "before.json.gz"
        result = apply_push(
            with_session,
            plan,
            journal,
            snapshot=snapshot,
            confirmed_task=confirmed_task,
            settle_s=settle_s,
        )
        return plan, result

    return run

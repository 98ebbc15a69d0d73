"""The hooks of a deployment: saved before it goes, filled again after."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox

sys.path.insert(0, str(Path(__file__).parents[1] / "cvat"))
from backup_world import backup_world

ROOT = Path(__file__).parents[2]
HOOKS = ROOT / "deploy" / "hooks"


@pytest.fixture
def hook(tmp_path: Path):
    """Run a hook as a deployment does: a bare environment, no terminal."""
    command = tmp_path / "lsl"
    command.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'from lsl_core.cli.main import run; run()' \"$@\"\n"
    )
    command.chmod(0o755)
    (tmp_path / "password").write_text(DEMO_PASSWORD + "\n")

    def call(name: str, url: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT),
            "LSL": str(command), "LSL_WORKSPACE": str(tmp_path / "w"), "CVAT_URL": url,
            "LSL_BACKUPS": str(tmp_path / "backups"), "OMP_NUM_THREADS": "1", **more,
        }  # fmt: skip
        return subprocess.run(
            ["sh", str(HOOKS / name), *arguments], env=env, capture_output=True, text=True,
            check=False, start_new_session=True, timeout=120,
        )  # fmt: skip

    return call


def test_a_deployment_is_saved_before_it_goes_and_fills_the_next_one(hook, tmp_path):
    by_password = {
        "CVAT_USERNAME": DEMO_USER, "CVAT_PASSWORD_FILE": str(tmp_path / "password"),
    }  # fmt: skip
    with backup_world(tmp_path / "old") as world:
        saved = hook("before-delete.sh", world.sandbox.url, **by_password)
    assert saved.returncode == 0, saved.stderr
    name = saved.stdout.splitlines()[-1]
    assert len(name) == 64
    with Sandbox(tmp_path / "new") as fresh:
        fresh.add_user("anna", "anna-password")
        token = fresh.make_token(DEMO_USER)
        back = hook("restore.sh", fresh.url, CVAT_ACCESS_TOKEN=token, LSL_USER_MAP="ana=anna")
    assert back.stdout.count("is now") == 3, back.stderr
    assert back.returncode == 0, back.stderr
    assert DEMO_PASSWORD not in saved.stderr + saved.stdout


def test_a_hook_without_a_server_says_what_is_missing(hook):
    done = hook("before-delete.sh", "")
    assert done.returncode != 0
    assert "CVAT_URL is not set" in done.stderr

"""The suite for real servers runs on the sandbox too, so that it cannot break unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox

REPOSITORY = Path(__file__).parents[2]


def test_the_live_suite_passes(sandbox: Sandbox) -> None:
    login = {"URL": sandbox.url, "USER": DEMO_USER, "PASSWORD": DEMO_PASSWORD}
    asked = ["-m", "live", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/live"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *asked],
        cwd=REPOSITORY,
        env=os.environ | {f"LSL_LIVE_{name}": value for name, value in login.items()},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout

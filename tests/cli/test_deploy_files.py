"""The files of `deploy/`, read by the programs they are written for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"

#: As much of CVAT's own compose file as ours builds upon.
CVAT = """
services:
  cvat_server:
    image: cvat/server
    networks:
      cvat:
        aliases: [cvat-server]
networks:
  cvat:
"""


def _compose() -> list[str]:
    for words in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(words[0])
            and not subprocess.run([*words, "version"], capture_output=True, check=False).returncode
        ):
            return words
    pytest.skip("no docker compose here")


def _config(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    own = folder / "docker-compose.yml"
    own.write_text(CVAT)
    return subprocess.run(
        [*_compose(), "-f", own, "-f", DEPLOY / "compose.backup.yaml", "config"],
        env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_compose_builds_the_scheduler_from_our_own_folder_beside_cvat(tmp_path):
    done = _config(tmp_path, CVAT_ACCESS_TOKEN="secret", LSL_SOURCE=str(DEPLOY.parent))
    assert done.returncode == 0, done.stderr
    service = yaml.safe_load(done.stdout)["services"]["lsl_backup"]
    assert Path(service["build"]["context"]) == DEPLOY.parent
    assert (Path(service["build"]["context"]) / service["build"]["dockerfile"]).is_file()
    assert "cvat" in service["networks"]


def test_compose_says_what_is_not_set(tmp_path):
    done = _config(tmp_path, LSL_SOURCE=str(DEPLOY.parent))
    assert done.returncode != 0
    assert "make a personal access token" in done.stderr


def test_systemd_takes_the_service_and_its_timer(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    units = [tmp_path / path.name for path in (DEPLOY / "systemd").iterdir()]
    for unit in units:
        text = (DEPLOY / "systemd" / unit.name).read_text()
        # the program has to be there, too
        unit.write_text(text.replace("/opt/lsl/.venv/bin/lsl", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    # it reads the units of this machine, too
    assert [line for line in done.stderr.splitlines() if "lsl-backup" in line] == []

"""A repository in a temporary folder, and archives as CVAT makes them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lsl_core.backups import Repository

# pytest's importlib mode puts no test folder on the path; these tests share backup_helpers.py.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repository")

"""Where a training was: tensors and facts in one file, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lsl_core.workspace.files import atomic_path


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a checkpoint; one that exists is replaced at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as part:
        save_file(plain, part, {"facts": json.dumps(facts)})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read a checkpoint; None when there is none, or none that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (FileNotFoundError, SafetensorError, TypeError, KeyError, ValueError):
        return None  # a training that starts over loses minutes, one that fails loses more

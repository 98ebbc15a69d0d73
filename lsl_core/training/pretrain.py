"""Train the network's start on procedural images.

    python -m lsl_core.training.pretrain --steps 9000 --out FOLDER

Writes `start.safetensors` every two minutes: the running average of the weights of a network for
masks with one label, of which a training takes what fits (`FitSettings.start`). At the end
`start.json` says how they came to be.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from lsl_core.models.compact import transform
from lsl_core.models.compact.network import CompactNetwork
from lsl_core.models.devices import use_threads
from lsl_core.progress import NullProgress
from lsl_core.training.common.loop import Loop
from lsl_core.training.common.settings import Budget
from lsl_core.training.compact.compact_loop import BATCH, RECIPES
from lsl_core.training.compact.crops import draw_crop
from lsl_core.training.compact.losses import batch_loss
from lsl_core.training.compact.targets import Targets, make_targets
from lsl_core.training.examples.procedural import draw_scene
from lsl_core.training.examples.tiles import Tile
from lsl_core.types import Mode
from lsl_core.workspace.files import atomic_path, sha256_file, write_json

#: Names of the files.
START_NAME, CARD_NAME = "start.safetensors", "start.json"
#: Seconds between two files.
SAVE_EVERY = 120.0


def pretrain(out: Path, budget: Budget, *, seed: int = 0) -> Path:
    """Train on scenes that are each seen once, and return the file of weights."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = CompactNetwork(Mode.FSIS, num_labels=1, width=RECIPES[Mode.FSIS].width)
    loop = Loop(network, partial(batch_loss, label_weight=0.0), budget, _Printed())
    path, saved = out / START_NAME, -math.inf
    while not loop.is_over():
        loop.step(_batch(rng))
        if time.monotonic() - saved >= SAVE_EVERY or loop.is_over():
            saved = time.monotonic()
            state = {name: v.contiguous() for name, v in loop.average.state_dict().items()}
            with atomic_path(path) as part:
                save_file(state, part)
    write_json(out / CARD_NAME, _card(path, loop.iteration, seed))
    return path


def _card(path: Path, steps: int, seed: int) -> dict[str, Any]:
    return {
        "format_version": 1,
        "made_by": f"python -m lsl_core.training.pretrain --steps {steps} --seed {seed}",
        "learnt_from": (
            f"{steps * BATCH} scenes of lsl_core/training/examples/procedural.py, no photograph"
        ),
        "network": {"mode": Mode.FSIS.value, "width": RECIPES[Mode.FSIS].width},
        "transform_version": transform.TRANSFORM_VERSION,
        "weights_sha256": sha256_file(path),
        "licence": "Apache-2.0",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _batch(rng: np.random.Generator) -> tuple[Tensor, Targets]:
    crops = [draw_crop([_scene(rng)], rng, with_masks=True, mixed=False) for _ in range(BATCH)]
    images = torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2)
    return images, make_targets(crops, 1)


def _scene(rng: np.random.Generator) -> Tile:
    """Draw a scene; objects that others hide are left out."""
    pixels, ids = draw_scene(rng)
    seen = np.unique(ids[ids > 0])
    ids = np.where(ids > 0, np.searchsorted(seen, ids) + 1, 0).astype(np.int32)
    boxes = _boxes(ids, len(seen))
    return Tile(
        transform.levelled(pixels, transform.LEAST_RANGE),
        ids,
        np.zeros(len(seen), np.int32),
        np.bincount(ids.ravel(), minlength=1)[1:].astype(np.float32),
        ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32),
        boxes,
    )


def _boxes(ids: NDArray[np.int32], count: int) -> transform.F32:
    boxes = np.zeros((count, 4), np.float32)
    for i in range(count):
        y, x = np.nonzero(ids == i + 1)
        boxes[i] = x.min(), y.min(), x.max() + 1, y.max() + 1
    return boxes


class _Printed(NullProgress):
    """Print the mean loss of every 200 steps."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._began = time.process_time()

    def metric(self, name: str, value: float, *, at: int) -> None:
        """Print now and then."""
        if name != "loss":
            return
        self._losses.append(value)
        if at % 200 == 0:
            cpu = time.process_time() - self._began
            sys.stdout.write(f"step {at}: loss {np.mean(self._losses):.3f}, {cpu:.0f} CPU-s\n")
            sys.stdout.flush()
            self._losses.clear()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lsl_core.training.pretrain",
        description="Train weights on procedural images, for trainings to start from.",
    )
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of the file")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    use_threads(1)
    budget = Budget(arguments.steps, None)
    sys.stdout.write(f"{pretrain(arguments.out, budget, seed=arguments.seed)}\n")


if __name__ == "__main__":
    main()

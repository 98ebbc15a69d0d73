"""What a compact model costs on one image of 1024×1024, from the file to binary masks.

    python bench/infer.py
    python bench/infer.py --objects 50 200 --scales 1 2 --threads 1

The weights are those that trainings start from, which find objects of any kind; a trained network
is of the same size. Medians of `--repeat` runs. CPU seconds say what it costs on a busy machine,
where milliseconds on the clock do not; with one thread they are what a free core needs.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from free import FreeModel, Pixels, canned
from measure import cost, table
from safetensors.torch import load_file

from lsl_core.models.compact import START, transform
from lsl_core.models.compact.entry import network_input
from lsl_core.models.compact.model import CompactModel
from lsl_core.models.compact.network import CompactNetwork
from lsl_core.models.memory import keep_freed_memory
from lsl_core.types import Instances, Mode
from lsl_core.workspace.images import decode_rgb, encode_rgb

SIDE = 1024
#: Lowest score kept, as when a task is predicted.
FLOOR = 0.05


def discs(count: int) -> Pixels:
    """Draw an image with so many bright discs, none on another, on a noisy ground."""
    rng = np.random.default_rng(count)
    image = rng.normal(60, 6, (SIDE, SIDE, 3))
    cells = int(np.ceil(count**0.5))
    pitch = SIDE / cells
    for i in rng.permutation(cells * cells)[:count]:
        middle = (np.array(divmod(int(i), cells)) + 0.5) * pitch + rng.uniform(-4, 4, 2)
        axes = rng.uniform(10, min(30, pitch / 2 - 6), 2).astype(int).tolist()
        colour = rng.uniform(120, 220, 3).tolist()
        cv2.ellipse(
            image, middle.astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, colour, -1
        )
    return np.clip(image, 0, 255).astype(np.uint8)


def model_of(mode: Mode, scale: float) -> CompactModel:
    """Return a model of one label with the weights that trainings start from."""
    network = CompactNetwork(mode, num_labels=1, width=24)
    wanted, given = network.state_dict(), load_file(START)
    fits = {name: value for name, value in given.items() if name in wanted}
    network.load_state_dict(fits, strict=False)
    settings = {"width": 24, "least_range": transform.LEAST_RANGE}
    card = replace(
        FreeModel(canned(0, SIDE)).card, labels=("a",), mode=mode, scale=scale, settings=settings
    )
    return CompactModel(card, network, torch.device("cpu"))


def measured(mode: Mode, scale: float, count: int, suffix: str, repeat: int) -> dict[str, Any]:
    """Return what every part of the way costs, milliseconds of all cores."""
    model, data = model_of(mode, scale), encode_rgb(discs(count), suffix=suffix)

    def seen() -> Any:
        small = transform.scaled(decode_rgb(data, name="a"), scale)
        return network_input(
            [small], torch.device("cpu"), least_range=transform.LEAST_RANGE, invert=False
        )

    def answered() -> Any:
        return model._answers(levelled)

    def whole() -> Instances:
        (found,) = model.predict([decode_rgb(data, name="a")], floor_score=FLOOR)
        return found.binary()

    levelled, file = cost(seen, repeat=repeat)
    _, network = cost(answered, repeat=repeat)
    found, all_of_it = cost(whole, repeat=repeat)
    rest = all_of_it.cpu_s - file.cpu_s - network.cpu_s
    return {
        "mode": mode.value,
        "scale": scale,
        "drawn": count,
        "found": len(found),
        "read, level": round(1000 * file.cpu_s),
        "network": round(1000 * network.cpu_s),
        "objects, masks": round(1000 * max(rest, 0)),
        "CPU ms": round(1000 * all_of_it.cpu_s),
        "wall ms": round(1000 * all_of_it.wall_s),
        "peak MB": round(all_of_it.peak_mb),
    }


def main() -> None:
    """Read the command line, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0], help="of the card")
    parser.add_argument("--modes", nargs="+", type=Mode, default=[Mode.FSOD, Mode.FSIS])
    parser.add_argument("--suffix", default=".jpg", help="kind of file")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, help="of the CPU; all cores when absent")
    arguments = parser.parse_args()
    keep_freed_memory()  # as every program does that loads a model
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        cv2.setNumThreads(arguments.threads)
    rows = [
        measured(mode, scale, count, arguments.suffix, arguments.repeat)
        for mode in arguments.modes
        for scale in arguments.scales
        for count in arguments.objects
    ]
    table(rows, first="mode")


if __name__ == "__main__":
    main()

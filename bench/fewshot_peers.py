"""Train other people's ways of finding objects as `fewshot.py` trains ours, and measure them alike.

    python bench/fewshot_peers.py --peer unet --mode fsis --train T.json --val V.json \
        --test E.json --images DIR --seconds 150

All see the images at the scale and in the grey levels that compact sees, all networks start from
random weights and have the same CPU seconds on one thread, batches, schedule and running average;
the size of crops and what is done to them is ours but for Cellpose, which has its own. The knobs of
what is found by watershed or flows are chosen on the validation images, Otsu's on the training
images. Only what a peer finds is its own. Cellpose needs `requirements-bench.txt`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import torch
from fewshot import read_coco, report
from peer_networks import Cellpose, RtDetr, Unet
from peer_otsu import Otsu
from peer_training import Peer, Task

from lsl_core.training import evaluate
from lsl_core.types import MODES, Geometry, Mode

PEERS: dict[str, type[Peer]] = {"otsu": Otsu, "rtdetr": RtDetr, "cellpose": Cellpose, "unet": Unet}
#: What each can give.
GIVES = {
    "otsu": {Geometry.BOXES, Geometry.MASKS},
    "rtdetr": {Geometry.BOXES},
    "cellpose": {Geometry.MASKS},
    "unet": {Geometry.MASKS},
}


def run_once(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train with one seed, predict the test images."""
    torch.manual_seed(seed)
    with_masks = MODES[arguments.mode].gives is Geometry.MASKS
    splits = [arguments.train, arguments.val, arguments.test]
    (train, labels), (val, _), (test, _) = (
        read_coco(path, arguments.images, with_masks=with_masks) for path in splits
    )
    wall, cpu = time.perf_counter(), time.process_time()
    peer = PEERS[arguments.peer]()
    peer.fit(Task(train, val, labels, with_masks, arguments.seconds, seed))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found, seconds = [], 0.0
    for sample in test:
        pixels = sample.pixels()
        began = time.process_time()
        found.append(peer.predict(pixels))
        seconds += time.process_time() - began
    return {
        "seed": seed,
        **asdict(evaluate([s.instances for s in test], found, labels)),
        "train_seconds": round(wall, 1),
        "train_cpu_seconds": round(cpu, 1),
        "ms_per_image": round(1000 * seconds / max(len(test), 1), 1),
    }


def main() -> None:
    """Read the command line, train with each seed, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", choices=list(PEERS), required=True)
    parser.add_argument("--mode", type=Mode, choices=[Mode.FSOD, Mode.FSIS], required=True)
    for name in ("train", "val", "test", "images"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=150, help="of one processor, to train")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    if MODES[arguments.mode].gives not in GIVES[arguments.peer]:
        parser.error(f"{arguments.peer} does not give {MODES[arguments.mode].gives.value}")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    report([run_once(arguments, seed) for seed in range(arguments.seeds)])


if __name__ == "__main__":
    main()

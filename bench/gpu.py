"""Windows a second through models on a device, and how busy the device is meanwhile.

    python bench/gpu.py                             # compact and RF-DETR, on CUDA if there is one
    python bench/gpu.py --device cpu --side 1500 --images 1 --width 16 --models compact
    python bench/gpu.py --models compact sam2.1-tiny
    python bench/gpu.py --weights FOLDER             # a trained model, whatever its family

Images are JPEG files of noise and photograph-like structure; reading, cutting, the network,
joining and keeping all take part. Without `--weights` models run on random weights, foundation
models at their full size (`foundation_cost.py`), each without remembering what it encoded before.
Busy is asked of the driver (NVML through `nvidia-smi`) every 100 ms while images are predicted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from free import FreeModel, photo
from measure import status_mb, table

from lsl_core.inference.cache import PredictionCache
from lsl_core.inference.runner import predict_images
from lsl_core.models.base import Model
from lsl_core.types import ImageRef, Instances, Mode, SlideWindows
from lsl_core.windows import plan
from lsl_core.workspace.images import read_rgb, write_rgb


def compact(mode: Mode, width: int, device: str) -> Model:
    """Return the compact model on random weights."""
    import torch

    from lsl_core.models.compact.model import build
    from lsl_core.models.compact.network import CompactNetwork
    from lsl_core.models.compact.transform import LEAST_RANGE
    from lsl_core.models.devices import choose_device

    torch.manual_seed(0)
    base = FreeModel(Instances.empty((64, 64))).card
    settings = {"width": width, "least_range": LEAST_RANGE}
    card = _replaced(base, mode=mode, family="compact", name="random weights", settings=settings)
    network = CompactNetwork(mode, num_labels=len(card.labels), width=width)
    return build(card, network.state_dict(), choose_device(device))


def foundation(name: str, device: str) -> Model:
    """Return a foundation model on random weights, one of `foundation_cost.NETWORKS` or tiny."""
    import torch
    from foundation_cost import NETWORKS, tiny

    from lsl_core.models.devices import choose_device
    from lsl_core.models.foundation import store
    from lsl_core.models.foundation.embeddings import Embeddings
    from lsl_core.models.foundation.model import FoundationModel, Tuned, open_bases

    torch.manual_seed(0)
    mode, make = (Mode.FSOD, tiny) if name == TINY else NETWORKS[name]
    with tempfile.TemporaryDirectory() as folder:
        shelf = Path(folder)
        make().save_pretrained(shelf / "saved")
        lock = store.pull("random", shelf, source=shelf / "saved")
        bases = open_bases({lock.role: shelf / "random"}, choose_device(device))
        card = FreeModel(Instances.empty((64, 64))).card
        card = _replaced(card, mode=mode, family="foundation", name=name)
        tuned = Tuned(mode, bases, len(card.labels))
        return FoundationModel(card, bases, tuned, Embeddings(memory_bytes=0))


def _replaced(card: Any, **changed: Any) -> Any:
    from dataclasses import replace

    return replace(card, **changed)


#: A network that looks at 64 pixels: shows that everything runs, and nothing else.
TINY = "rf-detr-tiny"


class Busy:
    """Asks how busy the CUDA device is, until left."""

    def __init__(self, device: str) -> None:
        self.shares: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._is_on = device.startswith("cuda")

    def __enter__(self) -> Busy:
        if self._is_on:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._is_on:
            self._thread.join()

    def _watch(self) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        with subprocess.Popen(  # one process that keeps answering
            [*command, "--loop-ms=100"], stdout=subprocess.PIPE, text=True
        ) as asked:
            assert asked.stdout is not None
            while not self._stop.is_set():
                line = asked.stdout.readline().strip()
                if line.isdigit():
                    self.shares.append(float(line))
            asked.terminate()


def alone(model: Model, side: int, batch: int, repeat: int) -> float:
    """Return windows a second of the model alone: the best that tiling could reach."""
    windows = [photo(side, seed=i) for i in range(batch)]
    model.predict(windows, floor_score=0.05)
    spent = []
    for _ in range(repeat):
        # other pixels each time: nobody can have kept an answer
        windows = [np.ascontiguousarray(np.roll(window, 1, axis=1)) for window in windows]
        begin = time.perf_counter()
        model.predict(windows, floor_score=0.05)
        spent.append(time.perf_counter() - begin)
    return batch / statistics.median(spent)


def tiled(
    model: Model, path: Path, *, side: int, images: int, slide: SlideWindows, batch: int | None
) -> dict[str, Any]:
    """Predict the file several times, as so many images."""

    def each() -> Iterator[Any]:
        for i in range(images):
            ref = ImageRef(None, i, f"{i}.jpg", (side, side), f"{i:064d}")
            yield ref, lambda: read_rgb(path)

    with tempfile.TemporaryDirectory() as folder, Busy(model.device) as busy:
        begin, objects = time.perf_counter(), 0
        for found in predict_images(
            lambda: model,
            card=model.card,
            transform_version=model.transform_version,
            images=each(),
            slide=slide,
            cache=PredictionCache(Path(folder), max_bytes=1 << 33),
            batch_size=batch,
        ):
            objects += len(found.instances)
        spent = time.perf_counter() - begin
    windows = images * len(plan((side, side), slide))
    shares = busy.shares[2:-2]
    return {
        "windows": windows,
        "windows/s tiled": windows / spent,
        "busy %": round(statistics.mean(shares), 1) if shares else "not asked",
        "process GB so far": status_mb("VmHWM") / 1024,
        "objects": objects,
    }


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    if asked.weights:
        from lsl_core.models import load_model

        models = [load_model(asked.weights, device=asked.device)]
    else:
        models = (_model(name, asked) for name in asked.models)
    slide = SlideWindows(asked.window, asked.window, asked.overlap)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        write_rgb(path, photo(asked.side))
        for model in models:
            where = f"{model.card.family} ({model.card.name}) on {model.device}"
            print(f"\n{where}, {asked.images} images of {asked.side}²", flush=True)
            if not model.device.startswith("cuda"):
                print("No GPU takes part: windows a second are those of this processor, and how")
                print("busy a GPU would be is not measured.", flush=True)
            table([_measured(model, path, slide, asked, batch) for batch in asked.batch])


def _model(name: str, asked: argparse.Namespace) -> Model:
    if name == "compact":
        return compact(Mode(asked.mode), asked.width, asked.device)
    return foundation(name, asked.device)


def _measured(
    model: Model, path: Path, slide: SlideWindows, asked: argparse.Namespace, batch: int
) -> dict[str, Any]:
    best = alone(model, min(asked.window, asked.side), batch, asked.repeat)
    row = tiled(model, path, side=asked.side, images=asked.images, slide=slide, batch=batch)
    return {"name": f"batch {batch}", "windows/s alone": best, **row}


def _arguments() -> argparse.Namespace:
    from foundation_cost import NETWORKS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--weights", type=Path, help="folder of a trained model")
    parser.add_argument(
        "--models",
        nargs="+",
        choices=["compact", *NETWORKS, TINY],
        default=["compact", "rf-detr-medium"],
    )
    parser.add_argument("--mode", default="fsis", choices=[str(mode) for mode in Mode])
    parser.add_argument("--width", type=int, default=24, help="of the compact network")
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--overlap", type=int, default=150)
    parser.add_argument("--batch", type=int, nargs="*", default=[4, 16, 32])
    parser.add_argument("--repeat", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()

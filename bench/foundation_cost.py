"""What a foundation model costs on one core: full-size networks with random weights.

    python bench/foundation_cost.py [--network sam2.1-tiny]

Time and memory do not depend on what the weights are, quality does: it is not looked at here. The
configurations are those of transformers for SAM and SAM 2; those of RF-DETR were put together so
that the number of parameters is the published one. Prints CPU seconds; each network runs in a
process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    RfDetrConfig,
    RfDetrForObjectDetection,
    Sam2Config,
    Sam2Model,
    SamConfig,
    SamModel,
)

from lsl_core.models.foundation import store
from lsl_core.models.foundation.embeddings import Embeddings
from lsl_core.models.foundation.model import Tuned, open_bases
from lsl_core.training import FitSettings, Sample
from lsl_core.training.foundation.lessons import Lessons, lesson_loss
from lsl_core.types import CropMasks, Instances, Mode

SIDE, WINDOWS, OBJECTS = 1024, 3, 20


def _rf_detr(side: int, decoder_layers: int) -> Any:
    backbone = {
        "model_type": "rf_detr_dinov2", "hidden_size": 384, "num_hidden_layers": 12,
        "num_attention_heads": 6, "image_size": side, "patch_size": 16, "num_windows": 2,
        "out_features": ["stage3", "stage6", "stage9", "stage12"],
    }  # fmt: skip
    config = RfDetrConfig(backbone_config=backbone, decoder_layers=decoder_layers, num_labels=91)
    return RfDetrForObjectDetection(config)


def tiny() -> Any:
    """Return a detector of a few thousand weights that looks at 64 pixels."""
    backbone = {
        "model_type": "rf_detr_dinov2", "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 64, "patch_size": 8, "num_windows": 2,
        "out_features": ["stage1", "stage2"],
    }  # fmt: skip
    config = RfDetrConfig(
        backbone_config=backbone, d_model=32, decoder_ffn_dim=32, decoder_layers=2,
        decoder_self_attention_heads=2, decoder_cross_attention_heads=2, decoder_n_points=2,
        num_queries=12, group_detr=2, num_labels=3,
    )  # fmt: skip
    return RfDetrForObjectDetection(config)


NETWORKS = {
    "rf-detr-nano": (Mode.FSOD, lambda: _rf_detr(384, 2)),
    "rf-detr-medium": (Mode.FSOD, lambda: _rf_detr(576, 4)),
    "sam2.1-tiny": (Mode.FSIS_SEGONLY, lambda: Sam2Model(Sam2Config())),
    "sam-base": (Mode.FSIS_SEGONLY, lambda: SamModel(SamConfig())),
}


def labelled(rng: np.random.Generator) -> Sample:
    """Return an image of noise with squares drawn on it."""
    pixels = rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    places = [(int(x), int(y)) for x, y in rng.integers(0, SIDE - 100, (OBJECTS, 2))]
    masks = CropMasks.from_crops([np.ones((100, 100), bool)] * OBJECTS, places)
    corners = masks.crops.astype(np.float32)
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    ids, scores = np.zeros(OBJECTS, np.int32), np.ones(OBJECTS, np.float32)
    return Sample("noise", lambda: pixels, Instances(boxes, scores, ids, masks, (SIDE, SIDE)))


def cost(name: str) -> None:
    """Encode windows and tune on them; print what it took."""
    torch.set_num_threads(1)
    mode, make = NETWORKS[name]
    rng = np.random.default_rng(0)
    samples = [labelled(rng) for _ in range(WINDOWS)]
    with tempfile.TemporaryDirectory() as folder:
        network = make()
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        network.save_pretrained(Path(folder) / "saved")
        del network
        lock = store.pull("mine", Path(folder), source=Path(folder) / "saved")
        bases = open_bases({lock.role: Path(folder) / "mine"}, torch.device("cpu"))
        settings = FitSettings(mode, family="foundation")
        embeddings = Embeddings()
        encoder = bases.detector or bases.segmenter
        assert encoder is not None
        began = time.process_time()
        for sample in samples:
            embeddings.embed(encoder, [sample.pixels()])
        encoded = (time.process_time() - began) / WINDOWS
        tuned = Tuned(mode, bases, 1).train()
        lessons = Lessons(samples, settings, bases, embeddings, rng)
        optimiser = torch.optim.AdamW(tuned.parameters(), 1e-4)
        seconds = []
        for _ in range(3):
            lesson = lessons.draw()
            began = time.process_time()
            loss = lesson_loss(tuned, lesson, segmenter=bases.segmenter, rng=rng)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            seconds.append(time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{name:<16}{millions:>8.1f}{encoded:>12.2f}{np.median(seconds):>10.2f}{peak:>10.1f}",
        flush=True,
    )


def main() -> None:
    """Read the command line; run each network in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--network", choices=list(NETWORKS), action="append")
    chosen = parser.parse_args().network or list(NETWORKS)
    print(f"{'network':<16}{'M':>8}{'s a window':>12}{'s a step':>10}{'peak GB':>10}")
    for name in chosen:
        process = multiprocessing.get_context("spawn").Process(target=cost, args=(name,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()

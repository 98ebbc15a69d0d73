"""Images that a network learns in seconds: bright shapes on a dark ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lsl_core.sources import LabelledImage, save_source
from lsl_core.training import Sample
from lsl_core.types import CropMasks, Instances
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import encode_rgb, image_ref

LABELS = ("ring", "bar")
HW = (160, 192)


def easy_samples(count: int, *, seed: int = 0, with_masks: bool = True) -> list[Sample]:
    """Rings with a hole and bars, apart from each other."""
    rng = np.random.default_rng(seed)
    return [easy_sample(f"{seed}-{i}.png", rng, with_masks=with_masks) for i in range(count)]


def save_easy(workspace: Workspace, folder: Path, count: int) -> None:
    """Save images with what is drawn on them as the source "easy"."""
    images = []
    for number, sample in enumerate(easy_samples(count)):
        path = folder / sample.name
        path.write_bytes(encode_rgb(sample.pixels(), suffix=".png"))
        has_mask = np.ones(len(sample.instances), bool)
        ref = image_ref(path, frame=number, name=path.name)
        images.append(LabelledImage(ref, path, sample.instances, has_mask))
    save_source(
        workspace.sources, "easy", images, labels=LABELS, is_labelled=True, origin={"kind": "drawn"}
    )


def easy_sample(name: str, rng: np.random.Generator, *, with_masks: bool = True) -> Sample:
    pixels = rng.normal(40, 5, (*HW, 3))
    crops, places, ids = [], [], []
    for row in range(4):
        for column in range(5):
            if rng.random() < 0.35:
                continue
            class_id = int(rng.integers(2))
            x, y = column * 38 + int(rng.integers(0, 8)), row * 39 + int(rng.integers(0, 8))
            v, u = np.mgrid[0:29, 0:29] - 14.0
            away = np.hypot(u, v)
            shape = (away <= 13) & (away >= 6) if class_id == 0 else (abs(u) < 5) & (abs(v) < 13)
            colour = [(190, 190, 120), (110, 150, 220)][class_id]
            pixels[y : y + 29, x : x + 29][shape] += colour
            crops.append(shape)
            places.append((x, y))
            ids.append(class_id)
    masks = CropMasks.from_crops(crops, places)
    xywh = masks.crops.astype(np.float32)
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    boxes = boxes + np.array([[9, 1, -9, -1]]) * (np.array(ids) == 1)[:, None]
    boxes = (boxes + np.array([[1, 1, -1, -1]]) * (np.array(ids) == 0)[:, None]).astype(np.float32)
    drawn = Instances(
        boxes,
        np.ones(len(ids), np.float32),
        np.array(ids, np.int32),
        masks if with_masks else None,
        HW,
    )
    ready = np.clip(pixels, 0, 255).astype(np.uint8)
    return Sample(name, lambda: ready, drawn)

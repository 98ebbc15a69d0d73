"""Draw images that are no microscopy, or another kind of it, as a COCO source for `fewshot.py`.

    python bench/other_scenes.py --kind parts --out parts
    python bench/fewshot.py --mode fsis --train parts/train.json --val parts/val.json \
        --test parts/test.json --images parts --iterations 300 --seeds 2

The scenes are those of the sandbox, with other seeds than its tasks. The procedural images that
trainings begin from are drawn by other rules; one number of the recipe was chosen with the parts of
the sandbox in view (`CALM` of `lsl_core.training.compact.crops`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lsl_core.sandbox.scenes import SCENE_LABELS, SceneFrame, SceneKind, labelled_frames
from lsl_core.sources.coco import document
from lsl_core.types import ImageRef

#: Seed of the first split; the sandbox draws its own with 7.
SEED = 700


def write_split(folder: Path, name: str, frames: Sequence[SceneFrame]) -> None:
    """Draw the frames into a folder of their own, and write their COCO file beside it."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for number, frame in enumerate(frames):
        scene, path = frame.draw(), f"{name}/{frame.name}"
        cv2.imwrite(str(folder / path), scene.pixels[:, :, ::-1])
        ref = ImageRef(None, number, path, frame.image_hw, "")
        rows.append((ref, scene.instances, np.ones(len(scene.instances), bool)))
    coco = document(rows, SCENE_LABELS[frames[0].kind])
    (folder / f"{name}.json").write_text(json.dumps(coco), encoding="utf-8")
    print(f"{name}: {len(rows)} images, {len(coco['annotations'])} objects")


def main() -> None:
    """Read the command line, draw the three splits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", type=SceneKind, choices=list(SceneKind), required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    for name, count in (("train", 10), ("val", 10), ("test", 40)):
        parser.add_argument(f"--{name}", type=int, default=count, help="images")
    arguments = parser.parse_args()
    for i, name in enumerate(("train", "val", "test")):
        frames = labelled_frames(arguments.kind, count=getattr(arguments, name), seed=SEED + i)
        write_split(arguments.out, name, frames)


if __name__ == "__main__":
    main()

"""How fast masks get into a CVAT task: ours, a COCO file import, and the SDK's `annotate_task`.

    LSL_LIVE_URL=… LSL_LIVE_USER=… LSL_LIVE_PASSWORD=… python bench/push.py --frames 100 --masks 50

`annotate_task` is what `cvat-cli task auto-annotate` runs. Makes a task and removes it. Each way
is timed from objects in memory to shapes on the server; ours includes the plan, the snapshot and
the reading back, which the others have none of. Every way runs in the same process, so the peak
of memory is that of the largest so far: run one way alone (--way) to compare memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import cvat_sdk.auto_annotation as cvataa
import numpy as np
from cvat_sdk import Client, Config, masks
from cvat_sdk.core.proxies.tasks import Task

from lsl_core import cvat
from lsl_core.geometry.coco import to_coco_rle
from lsl_core.types import CropMasks, Instances

HW = (960, 1280)
LABEL = "cell"


def objects(count: int, seed: int) -> Instances:
    """Return discs of 10 to 40 pixels radius on a grid, so that none is a double."""
    rng = np.random.default_rng(seed)
    crops, places = [], []
    for i in range(count):
        radius = int(rng.integers(10, 40))
        grid = np.arange(-radius, radius + 1)
        crops.append(grid[:, None] ** 2 + grid**2 <= radius**2)
        places.append((i % 12 * 100 + 2, i // 12 % 11 * 85 + 2))
    found = CropMasks.from_crops(crops, places)
    x, y, w, h = found.crops.T
    boxes = np.stack([x, y, x + w, y + h], axis=1).astype(np.float32)
    return Instances(boxes, np.full(count, 0.9, np.float32), np.zeros(count, np.int32), found, HW)


def ours(session: cvat.CvatSession, task: int, found: dict[int, Instances], folder: Path) -> None:
    """Plan, snapshot, push and read back."""
    journal = cvat.Journal(folder / "journal.sqlite")
    plan = cvat.plan_push(session, task, found, (LABEL,), journal=journal)
    result = cvat.apply_push(session, plan, journal, snapshot=folder / "before.gz")
    assert result.is_verified, result


def coco_file(sdk: Task, found: dict[int, Instances], folder: Path) -> None:
    """Write a COCO file and import it, as the original LSL does."""
    images, annotations = [], []
    for frame, name in enumerate(entry.name for entry in sdk.get_frames_info()):
        images.append({"id": frame + 1, "file_name": name, "height": HW[0], "width": HW[1]})
        got = found[frame].masks
        assert isinstance(got, CropMasks)
        for rle, area, crop in zip(
            to_coco_rle(got, HW), got.areas().tolist(), got.crops.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": frame + 1,
                    "category_id": 1,
                    "segmentation": {**rle, "counts": _text(rle["counts"])},
                    "area": area,
                    "bbox": crop,
                    "iscrowd": 1,
                }
            )
    document = {"images": images, "annotations": annotations}
    path = folder / "coco.json"
    path.write_text(json.dumps({**document, "categories": [{"id": 1, "name": LABEL}]}))
    sdk.import_annotations("COCO 1.0", path)


def _text(counts: str | bytes) -> str:
    return counts.decode() if isinstance(counts, bytes) else counts


class Function:
    """A detection function that has its answers already."""

    spec = cvataa.DetectionFunctionSpec(labels=[cvataa.label_spec(LABEL, 0, type="mask")])

    def __init__(self, found: list[Instances]) -> None:
        self._answers = iter([self._shapes(frame) for frame in found])

    @staticmethod
    def _shapes(found: Instances) -> list[object]:
        got = found.masks
        assert isinstance(got, CropMasks)
        full = np.zeros(HW, bool)
        shapes = []
        for i, (x, y, w, h) in enumerate(got.crops.tolist()):
            full[y : y + h, x : x + w] = got.crop(i)
            shapes.append(cvataa.mask(0, masks.encode_mask(full, (x, y, x + w, y + h))))
            full[y : y + h, x : x + w] = False
        return shapes

    def detect(self, context: object, image: object) -> list[object]:
        """Return the shapes of the next frame."""
        return next(self._answers)


def main() -> None:
    """Time each way on a fresh state of the same task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--masks", type=int, default=50)
    parser.add_argument("--way", choices=["ours", "coco", "sdk"], action="append")
    given = parser.parse_args()
    url, user, password = (os.environ[f"LSL_LIVE_{n}"] for n in ("URL", "USER", "PASSWORD"))
    found = {frame: objects(given.masks, frame) for frame in range(given.frames)}
    with (
        tempfile.TemporaryDirectory() as name,
        cvat.connect(url, cvat.PasswordLogin(user, password), organisation="") as session,
        Client(url, config=Config(), check_server_version=False) as client,
    ):
        folder = Path(name)
        client.login((user, password))
        client.organization_slug = ""
        files = [folder / f"{i:05d}.jpg" for i in range(given.frames)]
        for i, file in enumerate(files):
            cv2.imwrite(str(file), np.full((*HW, 3), i % 255, np.uint8))
        task = cvat.create_task(session, "push benchmark", [(LABEL, "mask")], files)
        try:
            sdk = client.tasks.retrieve(task.id)
            ways: dict[str, Callable[[], object]] = {
                "ours": lambda: ours(session, task.id, found, folder),
                "coco": lambda: coco_file(sdk, found, folder),
                "sdk": lambda: cvataa.annotate_task(client, task.id, function),
            }
            for way in given.way or ways:
                function = Function([*found.values()])
                sdk.remove_annotations()
                _time(way, ways[way], session, task.id, given.frames)
        finally:
            cvat.delete_task(session, task.id)


def _time(
    way: str, work: Callable[[], object], session: cvat.CvatSession, task: int, frames: int
) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    shapes = len(cvat.task_annotations(session, task)["shapes"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{way:5} {wall:7.2f} s  client CPU {used:6.2f} s  {frames / wall:7.1f} frames/s "
        f"{shapes / wall:8.0f} shapes/s  {shapes} shapes  peak {peak} MB"
    )


if __name__ == "__main__":
    main()

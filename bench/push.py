"""How fast masks get into a CVAT task: ours, a COCO file import, and the SDK's two ways.

    python bench/push.py --frames 100 --masks 50

against a sandbox that it starts, or the server that LSL_LIVE_URL, LSL_LIVE_USER and
LSL_LIVE_PASSWORD name. `sdk` is the SDK's `annotate_task` with a function that has its answers
already, `cli` is `cvat-cli task auto-annotate` with the same one; `undo` takes a push of ours back,
which the others cannot. Makes a task and removes it.

Each way runs in a process of its own on an empty task, and is timed from objects in memory to
shapes on the server. Ours includes the plan, the snapshot, the journal and the reading back, which
the others have none of. Client and server seconds are those of all cores; the sandbox's say nothing
about CVAT's. Memory is the peak above what the process had when the objects were ready.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import cvat_sdk.auto_annotation as cvataa
import numpy as np
import ready
from cvat_cli.__main__ import main as cvat_cli
from measure import forget_peak, status_mb
from ready import LABEL
from server import Server, from_environment, main_of, run_alone, told

from lsl_core import cvat
from lsl_core.geometry.coco import to_coco_rle
from lsl_core.types import CropMasks, Instances

HW = (960, 1280)

Found = dict[int, Instances]
Work = Callable[[], object]


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


def ours(server: Server, task: int, found: Found, folder: Path) -> Work:
    """Plan, snapshot, push and read back."""
    session = server.session()
    journal = cvat.Journal(folder / "journal.sqlite")

    def work() -> None:
        plan = cvat.plan_push(session, task, found, (LABEL,), journal=journal)
        result = cvat.apply_push(session, plan, journal, snapshot=folder / "before.gz")
        assert result.is_verified, result

    return work


def undo(server: Server, task: int, found: Found, folder: Path) -> Work:
    """Take such a push back: compare it with the task, delete what is ours, read the task."""
    session = server.session()
    journal = cvat.Journal(folder / "journal.sqlite")
    plan = cvat.plan_push(session, task, found, (LABEL,), journal=journal)
    push = cvat.apply_push(session, plan, journal, snapshot=folder / "before.gz").push_id

    def work() -> None:
        result = cvat.undo_push(session, journal, push)
        assert result.is_verified, result

    return work


def coco(server: Server, task: int, found: Found, folder: Path) -> Work:
    """Write a COCO file and import it, as the original LSL does."""
    proxy = server.client(folder).tasks.retrieve(task)
    names = [entry.name for entry in proxy.get_frames_info()]

    def work() -> None:
        path = folder / "coco.json"
        path.write_text(json.dumps(_document(names, found)))
        proxy.import_annotations("COCO 1.0", path)

    return work


def _document(names: list[str], found: Found) -> dict[str, object]:
    images, annotations = [], []
    for frame, name in enumerate(names):
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
    categories = [{"id": 1, "name": LABEL}]
    lists = {"images": images, "annotations": annotations, "categories": categories}
    return {"info": {}, "licenses": [], **lists}  # some readers want both


def _text(counts: str | bytes) -> str:
    return counts.decode() if isinstance(counts, bytes) else counts


def sdk(server: Server, task: int, found: Found, folder: Path) -> Work:
    """Let the SDK ask a function and send what it says."""
    client = server.client(folder)
    _have_ready(client.tasks.retrieve(task).get_frames_info(), found)
    return lambda: cvataa.annotate_task(client, task, ready)


def cli(server: Server, task: int, found: Found, folder: Path) -> Work:
    """Run cvat-cli's command on the same function, in this process, which has imported it."""
    _have_ready(server.client(folder).tasks.retrieve(task).get_frames_info(), found)
    access = ["--server-host", server.url, "--auth", f"{server.user}:{server.password}"]
    words = ["task", "auto-annotate", str(task), "--function-module", "ready"]
    return lambda: cvat_cli([*access, *words])


def _have_ready(frames: list[object], found: Found) -> None:
    for frame, entry in enumerate(frames):
        ready.fill(entry.name, found[frame])  # type: ignore[attr-defined] # the SDK ships no types


WAYS: dict[str, Callable[[Server, int, Found, Path], Work]] = {
    "ours": ours, "undo": undo, "coco": coco, "sdk": sdk, "cli": cli,
}  # fmt: skip


def alone(given: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Run one way in this process and return what it took."""
    found = {frame: objects(given.masks, frame) for frame in range(given.frames)}
    server = from_environment()
    assert server is not None
    work = WAYS[given.way[0]](server, given.task, found, folder)
    forget_peak()
    before, cpu, began = status_mb("VmRSS"), time.process_time(), time.perf_counter()
    work()
    return {
        "s": time.perf_counter() - began,
        "client_cpu_s": time.process_time() - cpu,
        "mb": status_mb("VmHWM") - before,
    }


def compare(server: Server, given: argparse.Namespace, folder: Path) -> None:
    """Make a task, fill it in each way, and print what that took."""
    frames, masks = given.frames, given.masks
    files = [folder / f"{i:05d}.jpg" for i in range(frames)]
    for i, file in enumerate(files):
        cv2.imwrite(str(file), np.full((*HW, 3), i % 255, np.uint8))
    with server.session() as session:
        task = cvat.create_task(session, "push benchmark", [(LABEL, "mask")], files).id
        try:
            for way in given.way:
                server.client(folder).tasks.retrieve(task).remove_annotations()
                before = server.cpu_s()
                words = ["--way", way, "--task", task, "--frames", frames, "--masks", masks]
                figures = run_alone(__file__, words, server)
                figures["server_cpu_s"] = server.cpu_s() - before
                shapes = len(cvat.task_annotations(session, task)["shapes"])
                assert shapes == (0 if way == "undo" else frames * masks), f"{way}: {shapes} shapes"
                rates = {"frames/s": frames, "shapes/s": frames * masks}
                figures |= {name: count / figures["s"] for name, count in rates.items()}
                print(f"{way:<8} {told(figures)}", flush=True)
        finally:
            cvat.delete_task(session, task)


if __name__ == "__main__":
    main_of(__doc__, list(WAYS), frames=100, masks=50, alone=alone, compare=compare)

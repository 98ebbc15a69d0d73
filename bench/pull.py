"""How fast a task comes here, images and annotations: ours, a COCO export, the SDK's dataset.

    python bench/pull.py --frames 1000 --masks 20

against a sandbox that it starts, or the server that LSL_LIVE_URL, LSL_LIVE_USER and
LSL_LIVE_PASSWORD name. The COCO export with images is how the original LSL imports; `TaskDataset`
is the SDK's own way, with every sample's annotations read. Makes a task and removes it. Each way
runs in a process of its own with an empty cache; its wall time holds the waiting for the server,
so compare ways on one server only. `fetches` are requests for images, of which `doubles` were asked
for before; `again` is a second pull.
"""

from __future__ import annotations

import argparse
import json
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import urllib3
from cvat_sdk.datasets import TaskDataset
from measure import forget_peak, status_mb
from push import HW, LABEL, objects
from server import Server, from_environment, main_of, run_alone, told

from lsl_core import cvat


def ours(server: Server, task: int, folder: Path) -> dict[str, float]:
    """Read the annotations and pull the images; then once more."""
    with server.session() as session:
        began = time.perf_counter()
        state, pulled = cvat.pull_task(session, task, folder / "frames")
        shapes = sum(map(len, state.objects().frames.values()))
        wall = time.perf_counter() - began
        cpu = time.process_time()
        began = time.perf_counter()
        again = cvat.pull_frames(session, task, folder / "frames")
        return {
            "s": wall,
            "again_cpu_s": time.process_time() - cpu,
            "images": len(pulled.paths),
            "shapes": shapes,
            "again_s": time.perf_counter() - began,
            "again_fetched": again.fetched,
        }


def coco(server: Server, task: int, folder: Path) -> dict[str, float]:
    """Export as COCO with images, and unpack."""
    client = server.client(folder)
    began = time.perf_counter()
    client.tasks.retrieve(task).export_dataset("COCO 1.0", folder / "coco.zip")
    with zipfile.ZipFile(folder / "coco.zip") as archive:
        archive.extractall(folder / "coco")
    found = json.loads(next((folder / "coco").rglob("*.json")).read_text())
    images = len(list((folder / "coco").rglob("*.jpg")))
    wall = time.perf_counter() - began
    return {"s": wall, "images": images, "shapes": len(found["annotations"])}


def dataset(server: Server, task: int, folder: Path) -> dict[str, float]:
    """Make the SDK's dataset, which loads all chunks, and read every sample's annotations."""
    client = server.client(folder)
    began = time.perf_counter()
    found = TaskDataset(client, task)
    shapes = sum(len(sample.annotations.shapes) for sample in found.samples)
    wall = time.perf_counter() - began
    return {"s": wall, "images": len(found.samples), "shapes": shapes}


WAYS = {"ours": ours, "coco": coco, "dataset": dataset}


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the requests for images of this process, by address."""
    asked: Counter[str] = Counter()
    plain = urllib3.connectionpool.HTTPConnectionPool.urlopen

    def urlopen(pool: object, method: str, url: str, *args: object, **more: object) -> object:
        if "/data?" in url or "/data/?" in url or "/backup/download" in url:
            asked[url] += 1
        return plain(pool, method, url, *args, **more)  # type: ignore[arg-type]

    urllib3.connectionpool.HTTPConnectionPool.urlopen = urlopen  # type: ignore[assignment]
    try:
        yield asked
    finally:
        urllib3.connectionpool.HTTPConnectionPool.urlopen = plain  # type: ignore[method-assign]


def alone(given: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Run one way in this process and return what it took."""
    server = from_environment()
    assert server is not None
    forget_peak()
    before, cpu = status_mb("VmRSS"), time.process_time()
    with counted() as asked:
        figures = WAYS[given.way[0]](server, given.task, folder)
    figures["client_cpu_s"] = time.process_time() - cpu - figures.pop("again_cpu_s", 0.0)
    figures["mb"] = status_mb("VmHWM") - before
    figures["fetches"], figures["doubles"] = asked.total(), asked.total() - len(asked)
    return figures


def compare(server: Server, given: argparse.Namespace, folder: Path) -> None:
    """Fill a task with textured images and masks, and print what each way took."""
    rng = np.random.default_rng(0)
    files = [folder / f"{i:05d}.jpg" for i in range(given.frames)]
    for file in files:
        small = rng.integers(0, 255, (HW[0] // 8, HW[1] // 8, 3), np.uint8)
        cv2.imwrite(str(file), cv2.resize(small, (HW[1], HW[0])))
    with server.session() as session:
        task = cvat.create_task(session, "pull benchmark", [(LABEL, "mask")], files)
        try:
            found = {frame: objects(given.masks, frame) for frame in range(given.frames)}
            journal = cvat.Journal(folder / "journal.sqlite")
            plan = cvat.plan_push(session, task.id, found, (LABEL,), journal=journal)
            cvat.apply_push(session, plan, journal, snapshot=folder / "before.gz")
            for way in given.way:
                before = server.cpu_s()
                figures = run_alone(__file__, ["--way", way, "--task", task.id], server)
                figures["server_cpu_s"] = server.cpu_s() - before
                print(f"{way:<8} {told(figures)}", flush=True)
        finally:
            cvat.delete_task(session, task.id)


if __name__ == "__main__":
    main_of(__doc__, list(WAYS), frames=1000, masks=20, alone=alone, compare=compare)

"""How fast a task comes here, images and annotations: ours, a COCO export, the SDK's dataset.

    LSL_LIVE_URL=… LSL_LIVE_USER=… LSL_LIVE_PASSWORD=… python bench/pull.py --frames 1000 --masks 10

The COCO export with images is how the original LSL imports; `TaskDataset` is the SDK's own way,
with every sample's annotations read. Makes a task and removes it. Each way runs in a process of its
own, with an empty cache; the time is that of the client's work and its waiting for the server, so
compare ways on one server only. Ours also says how much a second pull fetches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
from cvat_sdk import Client, Config
from cvat_sdk.datasets import TaskDataset
from measure import status_mb
from push import HW, LABEL, objects

from lsl_core import cvat

WAYS = ("ours", "coco", "dataset")


def access() -> tuple[str, str, str]:
    """Return address, user and password of the server."""
    url, user, password = (os.environ[f"LSL_LIVE_{n}"] for n in ("URL", "USER", "PASSWORD"))
    return url, user, password


def ours(task: int, folder: Path) -> dict[str, float]:
    """Read the annotations and pull the images; then once more."""
    url, user, password = access()
    with cvat.connect(url, cvat.PasswordLogin(user, password), organisation="") as session:
        began = time.perf_counter()
        shapes = sum(map(len, cvat.read_task(session, task).objects().frames.values()))
        pulled = cvat.pull_frames(session, task, folder)
        wall = time.perf_counter() - began
        began = time.perf_counter()
        again = cvat.pull_frames(session, task, folder)
        return {
            "s": wall,
            "images": len(pulled.paths),
            "shapes": shapes,
            "again_s": time.perf_counter() - began,
            "again_fetched": again.fetched,
        }


def coco(task: int, folder: Path) -> dict[str, float]:
    """Export as COCO with images, and unpack."""
    with signed_in(folder) as client:
        began = time.perf_counter()
        client.tasks.retrieve(task).export_dataset("COCO 1.0", folder / "coco.zip")
        with zipfile.ZipFile(folder / "coco.zip") as archive:
            archive.extractall(folder / "coco")
        found = json.loads(next((folder / "coco").rglob("*.json")).read_text())
        images = len(list((folder / "coco").rglob("*.jpg")))
        wall = time.perf_counter() - began
    return {"s": wall, "images": images, "shapes": len(found["annotations"])}


def dataset(task: int, folder: Path) -> dict[str, float]:
    """Make the SDK's dataset, which loads all chunks, and read every sample's annotations."""
    with signed_in(folder) as client:
        began = time.perf_counter()
        found = TaskDataset(client, task)
        shapes = sum(len(sample.annotations.shapes) for sample in found.samples)
        wall = time.perf_counter() - began
    return {"s": wall, "images": len(found.samples), "shapes": shapes}


def signed_in(folder: Path) -> Client:
    """Return a client of the SDK whose cache is empty."""
    url, user, password = access()
    client = Client(url, config=Config(cache_dir=folder / "cache"), check_server_version=False)
    client.login((user, password))
    client.organization_slug = ""
    return client


def run_alone(way: str, task: int) -> dict[str, float]:
    """Run one way in a process of its own; return its figures and its memory."""
    words = [sys.executable, __file__, "--way", way, "--task", str(task)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Make a task, bring it here in each way, and remove it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--masks", type=int, default=10)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--task", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.way:
            before, cpu = status_mb("VmRSS"), time.process_time()
            figures = globals()[given.way](given.task, Path(name))
            figures["cpu_s"] = time.process_time() - cpu
            figures["mb"] = status_mb("VmHWM") - before
            print(json.dumps(figures))
            return
        compare(given.frames, given.masks, Path(name))


def compare(frames: int, masks: int, folder: Path) -> None:
    """Fill a task with textured images and masks, and print what each way took."""
    url, user, password = access()
    rng = np.random.default_rng(0)
    files = [folder / f"{i:05d}.jpg" for i in range(frames)]
    for file in files:
        small = rng.integers(0, 255, (HW[0] // 8, HW[1] // 8, 3), np.uint8)
        cv2.imwrite(str(file), cv2.resize(small, (HW[1], HW[0])))
    with cvat.connect(url, cvat.PasswordLogin(user, password), organisation="") as session:
        task = cvat.create_task(session, "pull benchmark", [(LABEL, "mask")], files)
        try:
            found = {frame: objects(masks, frame) for frame in range(frames)}
            journal = cvat.Journal(folder / "journal.sqlite")
            plan = cvat.plan_push(session, task.id, found, (LABEL,), journal=journal)
            cvat.apply_push(session, plan, journal, snapshot=folder / "before.gz")
            for way in WAYS:
                figures = run_alone(way, task.id)
                words = "  ".join(f"{name} {value:.5g}" for name, value in figures.items())
                print(f"{way:<8} {words}")
        finally:
            cvat.delete_task(session, task.id)


if __name__ == "__main__":
    main()

"""Ten daily full backups of 20 projects of 200 images, a hundredth of the annotations changed.

    python bench/backup.py                               # about four minutes, 1 GB of disk
    python bench/backup.py --projects 3 --days 3         # a look

Beside the way of AI4OS's scripts, which keep each archive of CVAT as a file of its own. Both are
given the same archives, in the shape that CVAT's export has; making them is not timed. What CVAT
itself takes to export and the network to carry them comes on top of both.

Images are noisy JPEGs of about --image-kb; each has --masks masks of about 330 numbers. Changed
masks are spread evenly over all images, the worst case for storing equal pieces once. As CVAT's
exporter does, the archives hold images first and compress nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import cv2
import measure
import numpy as np

from lsl_core.backups import Repository, Subject, Tier, verify

LABELS = ("bolt", "nut", "washer")


def mask(rng: np.random.Generator, frame: int) -> dict[str, Any]:
    """Return a rough disc as CVAT writes masks: run lengths, then the box."""
    height = int(rng.integers(120, 210))
    across = np.sqrt(1 - np.linspace(-0.98, 0.98, height) ** 2) * height
    width = np.maximum(1, (across + rng.normal(0, 1.5, height)).astype(int))
    left = np.maximum(0, (height - width) // 2 + rng.integers(-1, 2, height))
    runs = np.stack([np.maximum(0, height - width - left) + left, width], axis=1).ravel()
    x, y = (int(value) for value in rng.integers(0, 900, 2))
    points = [float(value) for value in (*runs, x, y, x + height - 1, y + height - 1)]
    return {
        "type": "mask", "occluded": False, "outside": False, "z_order": 0, "rotation": 0.0,
        "points": points, "frame": frame, "group": 0, "source": "manual", "attributes": [],
        "elements": [], "label": LABELS[int(rng.integers(3))],
    }  # fmt: skip


class Server:
    """Projects that change from day to day, and the archives that CVAT would make of them."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.images = options.images
        self.method = zipfile.ZIP_DEFLATED if options.deflate else zipfile.ZIP_STORED
        self.rng = np.random.default_rng(7)
        self.shapes = [
            [mask(self.rng, frame) for frame in range(options.images) for _ in range(options.masks)]
            for _ in range(options.projects)
        ]
        side = round(math.sqrt(options.image_kb * 1024 / 0.32))
        for number in range(options.projects * options.images):
            pixels = self.rng.integers(0, 256, (side, side, 3), np.uint8)
            cv2.imwrite(str(folder / f"{number}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])

    def change(self, part: float) -> None:
        """Draw a part of all masks anew, spread evenly."""
        for shapes in self.shapes:
            for at in self.rng.choice(len(shapes), max(1, round(part * len(shapes))), False):
                shapes[at] = mask(self.rng, shapes[at]["frame"])

    def archive(self, project: int) -> Path:
        """Write the archive of one project: one task, as CVAT's export lays it out."""
        path = self.folder / f"project_{project}.zip"
        body = [{"version": 0, "tags": [], "shapes": self.shapes[project], "tracks": []}]
        with zipfile.ZipFile(path, "w", self.method) as archive:
            for frame in range(self.images):
                source = self.folder / f"{project * self.images + frame}.jpg"
                name = f"task_0/data/{frame:06}.jpg"
                archive.write(source, name, zipfile.ZIP_STORED)
            lines = "".join(json.dumps({"name": f"{n:06}"}) + "\n" for n in range(self.images))
            archive.writestr("task_0/data/manifest.jsonl", lines)
            archive.writestr("task_0/task.json", json.dumps({"name": f"task {project}"}))
            text = json.dumps(body, separators=(",", ":"))
            archive.writestr("task_0/annotations.json", text)
            archive.writestr("project.json", json.dumps({"name": f"project {project}"}))
        return path


def ours(location: str, archives: list[str]) -> dict[str, Any]:
    """Back up each archive as a project's full snapshot."""
    repository = Repository.open(location)

    def work() -> None:
        for number, path in enumerate(archives):
            subject = Subject(url="http://cvat", kind="project", id=number + 1, name="bench")
            with repository.lock("bench"), repository.record(subject, Tier.FULL) as draft:
                draft.add_archive("project.zip", Path(path))

    return cost(work)


def plain(location: str, archives: list[str]) -> dict[str, Any]:
    """Keep each archive as a file, under its final name, as AI4OS does."""
    folder = Path(location) / str(time.time_ns())
    folder.mkdir()

    def work() -> None:
        for path in archives:
            with Path(path).open("rb") as source, (folder / Path(path).name).open("wb") as out:
                shutil.copyfileobj(source, out)

    return cost(work)


def verified(location: str) -> dict[str, Any]:
    """Read, hash and open everything."""
    repository = Repository.open(location)

    def work() -> None:
        with repository.lock("bench"):
            report = verify(repository)
        assert report.is_good, report

    return cost(work)


def brought_back(location: str, target: str) -> dict[str, Any]:
    """Put the newest archive of project 1 together again."""
    repository = Repository.open(location)
    newest = next(one for one in repository.snapshots() if one.subject.id == 1)
    is_same: list[bool] = []

    def work() -> None:
        is_same.append(repository.extract(newest, "project.zip", Path(target)))

    return {**cost(work), "is_same": is_same[0]}


def cost(work: Any) -> dict[str, Any]:
    """Run it once; return seconds and peak memory."""
    _, spent = measure.cost(work, repeat=1, warm_up=False)
    return {"wall": spent.wall_s, "cpu": spent.cpu_s, "mb": spent.peak_mb}


def stored_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def apart(work: Any, *args: Any) -> dict[str, Any]:
    """Run a function in a process of its own; any failure ends the benchmark."""
    result = measure.apart(work, *args, limit_s=3600, limit_gb=16)
    assert "error" not in result, result
    return result


def _line(name: str, result: dict[str, Any], more: str = "") -> None:
    wall, cpu, mb = result["wall"], result["cpu"], result["mb"]
    print(f"{name:28} {wall:7.1f} s  {cpu:7.1f} CPU s  {mb:6.0f} MB peak  {more}", flush=True)


def days(folder: Path, options: argparse.Namespace) -> None:
    """Back up day after day, both ways."""
    server = Server(folder, options)
    mine, theirs = folder / "repository", folder / "plain"
    Repository.create(mine)
    theirs.mkdir()
    first = 0
    for day in range(options.days):
        if day:
            server.change(options.changed)
        archives = [str(server.archive(number)) for number in range(options.projects)]
        size = sum(Path(path).stat().st_size for path in archives)
        result = apart(ours, str(mine), archives)
        stored = stored_bytes(mine)
        first = first or stored
        _line(f"day {day + 1} ours", result, f"{stored / 1e6:8.1f} MB, {stored / first:5.3f} ×")
        copied = apart(plain, str(theirs), archives)
        _line(f"day {day + 1} plain copies", copied, f"{size * (day + 1) / 1e6:8.1f} MB")
        # ten days of copies are ten times the first; keeping them would only fill the disk
        shutil.rmtree(theirs)
        theirs.mkdir()
    print(f"first archives {size / 1e6:.1f} MB, first backup {first / 1e6:.1f} MB")
    _line("verify, all days", apart(verified, str(mine)))
    target = folder / "back.zip"
    result = apart(brought_back, str(mine), str(target))
    same = target.read_bytes() == Path(archives[0]).read_bytes()
    _line("one archive brought back", result, "the same to the last bit" if same else "DIFFERS")


def sizes(folder: Path, options: argparse.Namespace) -> None:
    """Back up one small and one large project, and compare memory."""
    for images in (options.images, options.images * 10):
        place = folder / str(images)
        place.mkdir()
        one = argparse.Namespace(**{**vars(options), "projects": 1, "images": images})
        server = Server(place, one)
        Repository.create(place / "repository")
        path = server.archive(0)
        del server
        result = apart(ours, str(place / "repository"), [str(path)])
        _line(f"{images} images, {path.stat().st_size / 1e6:.0f} MB", result)
        _line("  … verify", apart(verified, str(place / "repository")))
        target = str(place / "back.zip")
        _line("  … bring back", apart(brought_back, str(place / "repository"), target))
        shutil.rmtree(place)


def options_of(text: str) -> argparse.ArgumentParser:
    """Return the options that both backup benchmarks have."""
    parser = argparse.ArgumentParser(description=text.split("\n", 1)[0])
    parser.add_argument("--projects", type=int, default=20)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--masks", type=int, default=20)
    parser.add_argument("--image-kb", type=int, default=50)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--changed", type=float, default=0.01)
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = options_of(__doc__)
    parser.add_argument("--deflate", action="store_true", help="compress, which CVAT does not")
    options = parser.parse_args()
    print(f"{os.uname().machine}, Python {os.sys.version.split()[0]}, {vars(options)}")
    for part in (days, sizes):
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder), options)


if __name__ == "__main__":
    main()

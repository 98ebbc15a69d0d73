"""The same as `bench/backup.py`, through a server: our sandbox, which exports as CVAT does.

    python bench/backup_sandbox.py                                        # 20 × 200 images: hours
    python bench/backup_sandbox.py --projects 4 --images 50 --days 4      # some minutes

Every day a hundredth of the masks is changed through the API. Then, each in a process of its own:

* plain: cvat-sdk's own `download_backup` for every project, all archives kept, as AI4OS does
  (it waits 10 s before each look at the server; here both look as often as ours does);
* ours: `services.backups.backing_up` takes a full snapshot of every project: the documents of the
  API, and CVAT's archive, checked and taken apart.

Wall time holds the server's work of both ways; CPU seconds and memory are the client's alone.
Lines are written as days end: what a stopped run printed stands.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import backup
import cv2
import numpy as np
from cvat_sdk import Client, Config

from lsl_core import cvat
from lsl_core.backups import Repository, Tier
from lsl_core.cvat.backup import list_units
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.services.backups import backing_up

_FRAMES_AT_ONCE = 100


def make_project(
    session: cvat.CvatSession, folder: Path, number: int, options: argparse.Namespace
) -> list[int]:
    """Make one project with masks, of one task or of tasks of --task-images; return the tasks."""
    rng = np.random.default_rng(number)
    body = {
        "name": f"project {number}",
        "labels": [{"name": name, "type": "mask"} for name in backup.LABELS],
    }
    made = session.transport.json("POST", "/api/projects", doing="making a project", body=body)
    files = []
    side = round((options.image_kb * 1024 / 0.32) ** 0.5)
    for frame in range(options.images):
        path = folder / f"{number}-{frame:04}.jpg"
        pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])
        files.append(path)
    size = options.task_images or options.images
    return [
        _make_task(session, f"task {number}-{at}", files[at : at + size], made["id"], rng, options)
        for at in range(0, options.images, size)
    ]


def _make_task(
    session: cvat.CvatSession, name: str, files: list[Path], project: int,
    rng: np.random.Generator, options: argparse.Namespace,
) -> int:  # fmt: skip
    task = cvat.create_task(
        session, name, [], files, project_id=project, overlap=0, segment_size=options.job_images
    )
    labels = {label.name: label.id for label in cvat.task_labels(session, task.id)}
    for start in range(0, len(files), _FRAMES_AT_ONCE):
        frames = range(start, min(start + _FRAMES_AT_ONCE, len(files)))
        shapes = [backup.mask(rng, frame) for frame in frames for _ in range(options.masks)]
        with_ids = [{**shape, "label_id": labels[shape.pop("label")]} for shape in shapes]
        _patch(session, task.id, "create", with_ids)
    return task.id


def _patch(session: cvat.CvatSession, task: int, action: str, shapes: list[object]) -> None:
    session.transport.send(
        "PATCH", f"/api/tasks/{task}/annotations", doing="drawing", query={"action": action},
        body={"version": 0, "tags": [], "shapes": shapes, "tracks": []},
    )  # fmt: skip


def change(session: cvat.CvatSession, task: int, part: float, seed: int) -> None:
    """Draw a part of the masks anew, as CVAT's editor saves them."""
    rng = np.random.default_rng(seed)
    shapes = cvat.task_annotations(session, task)["shapes"]
    chosen = rng.choice(len(shapes), max(1, round(part * len(shapes))), False)
    fresh = [
        {**shapes[at], "points": backup.mask(rng, 0)["points"]} for at in sorted(chosen.tolist())
    ]
    _patch(session, task, "update", fresh)


def plain(url: str, folder: str) -> dict[str, Any]:
    """Download the archive of every project and keep it."""
    place = Path(folder) / str(time.time_ns())
    place.mkdir(parents=True)

    def work() -> None:
        with Client(url, config=Config(status_check_period=0.1)) as client:
            client.login((DEMO_USER, DEMO_PASSWORD))
            for project in client.projects.list():
                project.download_backup(place / f"{project.id}.zip")

    return backup.cost(work)


def ours(url: str, location: str) -> dict[str, Any]:
    """Take a full snapshot of every project."""
    repository = Repository.open(location)

    def work() -> None:
        with cvat.connect(url, cvat.PasswordLogin(DEMO_USER, DEMO_PASSWORD)) as session:
            todo = [(unit, Tier.FULL) for unit in list_units(session).units]
            backing_up.back_up(repository, session, todo, reason="bench").require_whole()

    return backup.cost(work)


def _line(name: str, cost: dict[str, Any], stored: int, first: int) -> None:
    wall, cpu, mb, size = cost["wall"], cost["cpu"], cost["mb"], stored / 1e6
    print(
        f"{name:14} {wall:7.1f} s {cpu:7.1f} CPU s {mb:6.0f} MB peak {size:9.1f} MB stored,"
        f" {stored / first:6.3f} ×",
        flush=True,
    )


def run(folder: Path, options: argparse.Namespace) -> None:
    """Back up day after day, both ways."""
    mine, theirs = folder / "repository", folder / "plain"
    Repository.create(mine)
    login = cvat.PasswordLogin(DEMO_USER, DEMO_PASSWORD)
    first: dict[str, int] = {}
    with Sandbox(folder / "sandbox") as sandbox, cvat.connect(sandbox.url, login) as session:
        made = [make_project(session, folder, n, options) for n in range(options.projects)]
        tasks = [task for some in made for task in some]
        for day in range(options.days):
            for task in tasks if day else ():
                change(session, task, options.changed, seed=1000 * day + task)
            for name, work, place in (("plain", plain, theirs), ("ours", ours, mine)):
                cost = backup.apart(work, sandbox.url, str(place))
                stored = backup.stored_bytes(place)
                _line(f"day {day + 1} {name}", cost, stored, first.setdefault(name, stored))
        _line("verify, ours", backup.apart(backup.verified, str(mine)), stored, first["ours"])


def main() -> None:
    """Run the benchmark."""
    parser = backup.options_of(__doc__)
    parser.add_argument("--job-images", type=int, help="images of a job; all in one when left out")
    parser.add_argument("--task-images", type=int, help="of a task; all in one when left out")
    options = parser.parse_args()
    print(vars(options))
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options)


if __name__ == "__main__":
    main()

"""The same as `bench/backup.py`, through a server: our sandbox, which exports as CVAT does.

    python bench/backup_sandbox.py                                        # 20 projects, long
    python bench/backup_sandbox.py --projects 4 --images 50 --days 4      # some minutes

Every day a hundredth of the masks is changed through the API, then `services.backing_up` takes a
full snapshot of every project: all documents, and CVAT's archive. The server's own work is in the
time of both ways; "archives" is what it took to export and download them alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import backup
import cv2
import numpy as np

from lsl_core import cvat
from lsl_core.backups import Repository, Tier, verify
from lsl_core.cvat.backup import export_archive, list_units
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.services import backing_up


def make_project(
    session: cvat.CvatSession, folder: Path, number: int, options: argparse.Namespace
) -> int:
    """Make one project of one task with masks; return the task."""
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
    task = cvat.create_task(session, f"task {number}", [], files, project_id=made["id"])
    labels = {label.name: label.id for label in cvat.task_labels(session, task.id)}
    shapes = []
    for frame in range(options.images):
        for _ in range(options.masks):
            shape = backup.mask(rng, frame)
            shapes.append({**shape, "label_id": labels[shape.pop("label")]})
    _patch(session, task.id, "create", shapes)
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


def run(folder: Path, options: argparse.Namespace) -> None:
    """Back up day after day."""
    repository = Repository.create(folder / "repository")
    login = cvat.PasswordLogin(DEMO_USER, DEMO_PASSWORD)
    with Sandbox(folder / "sandbox") as sandbox, cvat.connect(sandbox.url, login) as session:
        tasks = [make_project(session, folder, n, options) for n in range(options.projects)]
        first = plain = 0
        for day in range(options.days):
            for task in tasks if day else ():
                change(session, task, options.changed, seed=1000 * day + task)
            units = list_units(session).units
            begin = time.perf_counter()
            for unit in units:
                export_archive(session, unit.kind, unit.id, folder / "plain.zip")
                plain += (folder / "plain.zip").stat().st_size
            exported = time.perf_counter() - begin
            begin = time.perf_counter()
            todo = [(unit, Tier.FULL) for unit in units]
            backing_up.back_up(repository, session, todo, reason="bench").require_whole()
            took = time.perf_counter() - begin
            stored = sum(repository.store.list("").values())
            first = first or stored
            print(
                f"day {day + 1}: archives {exported:.1f} s, {plain / 1e6:.1f} MB in all;"
                f" ours {took:.1f} s, {stored / 1e6:.1f} MB, {stored / first:.3f} ×",
                flush=True,
            )
        with repository.lock("bench"):
            assert verify(repository).is_good


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--projects", type=int, default=20)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--masks", type=int, default=20)
    parser.add_argument("--image-kb", type=int, default=50)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--changed", type=float, default=0.01)
    options = parser.parse_args()
    print(vars(options))
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options)


if __name__ == "__main__":
    main()

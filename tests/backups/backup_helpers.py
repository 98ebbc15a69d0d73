"""Archives in CVAT's shape, made from a seed, and short ways to save them."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path
from typing import Any

from lsl_core.backups import Repository, Snapshot, Subject, Tier

URL = "http://cvat.example"


def project(id_: int = 1, name: str = "bolts") -> Subject:
    return Subject(url=URL, kind="project", id=id_, name=name)


def jpeg(seed: int, size: int = 3000) -> bytes:
    """Bytes that no compressor helps, with the head and the tail of a JPEG of 16 × 8."""
    head = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    frame = b"\xff\xc0\x00\x11\x08\x00\x08\x00\x10\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    return head + frame + random.Random(seed).randbytes(size) + b"\xff\xd9"


def shapes(count: int, *, seed: int = 0, frames: int = 10) -> list[dict[str, Any]]:
    """Masks as CVAT's archives write them."""
    rng = random.Random(seed)
    return [
        {
            "type": "mask", "occluded": False, "outside": False, "z_order": 0, "rotation": 0.0,
            "points": [float(rng.randint(0, 60)) for _ in range(rng.randint(20, 80))],
            "frame": number * frames // count, "group": 0, "source": "manual",
            "attributes": [], "elements": [], "label": rng.choice(["bolt", "nut"]),
        }
        for number in range(count)
    ]  # fmt: skip


def write_archive(
    path: Path, *, images: int = 5, objects: list[dict[str, Any]] | None = None,
    method: int = zipfile.ZIP_DEFLATED, size: int = 3000,
) -> Path:  # fmt: skip
    """A task's backup as CVAT makes it."""
    body = [{"version": 0, "tags": [], "shapes": objects or [], "tracks": []}]
    with zipfile.ZipFile(path, "w", method) as archive:
        for number in range(images):
            info = zipfile.ZipInfo(f"data/{number:04}.jpg", (2026, 5, 1, 12, 0, 0))
            archive.writestr(info, jpeg(number, size))
        archive.writestr("task.json", json.dumps({"name": "bolts", "version": "1.0"}))
        archive.writestr("annotations.json", json.dumps(body))
    return path


def save(repository: Repository, subject: Subject | None = None, **files: bytes) -> Snapshot:
    """One snapshot of small files."""
    with repository.lock("test"), repository.record(subject or project(), Tier.FULL) as draft:
        for name, data in files.items():
            draft.add(name, data)
    assert draft.snapshot is not None
    return draft.snapshot

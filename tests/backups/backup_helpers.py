"""Archives in CVAT's shape, made from a seed, and short ways to save them."""

from __future__ import annotations

import json
import random
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from lsl_core.backups import Repository, Snapshot, State, Subject, Tier, Verdict
from lsl_core.workspace.images import encode_rgb

URL = "http://cvat.example"


def project(id_: int = 1, name: str = "bolts") -> Subject:
    return Subject(url=URL, kind="project", id=id_, name=name)


def jpeg(seed: int, side: int = 48) -> bytes:
    """A photograph of noise: small, whole, and of no use to a compressor."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return encode_rgb(pixels)


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
    method: int = zipfile.ZIP_DEFLATED,
) -> Path:  # fmt: skip
    """A task's backup as CVAT makes it."""
    body = [{"version": 0, "tags": [], "shapes": objects or [], "tracks": []}]
    with zipfile.ZipFile(path, "w", method) as archive:
        for number in range(images):
            info = zipfile.ZipInfo(f"data/{number:04}.jpg", (2026, 5, 1, 12, 0, 0))
            archive.writestr(info, jpeg(number))
        archive.writestr("task.json", json.dumps({"name": "bolts", "version": "1.0"}))
        archive.writestr("annotations.json", json.dumps(body))
    return path


def save_archive(repository: Repository, path: Path, subject: Subject | None = None) -> Snapshot:
    """One snapshot of an archive, "task.zip"."""
    with repository.lock("test"), repository.record(subject or project(), Tier.FULL) as draft:
        draft.add_archive("task.zip", path)
    assert draft.snapshot is not None
    return draft.snapshot


def save(repository: Repository, subject: Subject | None = None, **files: bytes) -> Snapshot:
    """One snapshot of small files."""
    with repository.lock("test"), repository.record(subject or project(), Tier.FULL) as draft:
        for name, data in files.items():
            draft.add(name, data)
    assert draft.snapshot is not None
    return draft.snapshot


def taken(
    sequence: int, at: datetime, *, subject: Subject | None = None, state: State = State.OK,
    verified: bool | None = None, protected: bool = False, **more: Any,
) -> Snapshot:  # fmt: skip
    """A snapshot that was never written."""
    marks = {
        "protected": protected,
        "verified": None if verified is None else Verdict(at=at, good=verified),
    }
    values = {
        "id": f"{sequence:064x}", "sequence": sequence, "subject": subject or project(),
        "tier": Tier.FULL, "state": state, "reason": "", "server_version": "2.80",
        "taken_by": "ana", "started": at, "finished": at, "files": (), "missing": (), "counts": {},
        "size_bytes": 1000, "added_bytes": 100, "lsl_version": "1", "marks": marks, **more,
    }  # fmt: skip
    return Snapshot.model_validate(values)

"""A server with a project of one drawn task, a loose task, people and reviews, for backup tests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cvat_helpers import LABELS, discs, write_images

from lsl_core.cvat import CvatSession, PasswordLogin, connect, create_task, draw_in_new_task
from lsl_core.cvat.backup import (
    Document,
    SavedUnit,
    list_units,
    read_instance,
    read_unit,
    saved_units,
)
from lsl_core.cvat.backup.bodies import as_bytes
from lsl_core.sandbox import Sandbox

LOGIN = PasswordLogin("demo", "demo-password")
ONE = np.ones(1, bool)


@dataclass(frozen=True)
class BackupWorld:
    """The server, somebody signed in to it, and the ids of what is there."""

    sandbox: Sandbox
    session: CvatSession
    project: int
    task: int
    loose: int


def api(session: CvatSession, method: str, path: str, body: object = None, **options: Any) -> Any:
    return session.transport.json(method, path, doing="the test", body=body, **options)


def make_project(session: CvatSession, name: str) -> int:
    labels = [{"name": label, "type": kind, "attributes": []} for label, kind in LABELS]
    return int(api(session, "POST", "/api/projects", {"name": name, "labels": labels})["id"])


@contextmanager
def backup_world(folder: Path) -> Iterator[BackupWorld]:
    """Start the server. The drawn task has two jobs of two frames, a mask on frames 0 and 3."""
    with Sandbox(folder / "sandbox") as sandbox:
        sandbox.add_user("ana", "ana-password", full_name="Ana Müller")
        sandbox.add_organisation("lab", "demo", {"ana": "worker"})
        with connect(sandbox.url, LOGIN) as session:
            images = write_images(folder / "images", 4)
            project = make_project(session, "cells")
            task = create_task(
                session, "drawn", [], images, project_id=project, segment_size=2, overlap=0
            )
            masks = {0: (discs([(15, 15, 8)]), ONE), 3: (discs([(60, 40, 9)]), ONE)}
            draw_in_new_task(session, task, masks, ("cell",))
            loose = create_task(session, "loose", [("cell", "mask")], images[:1])
            api(session, "POST", "/api/tasks", {"name": "empty", "labels": [{"name": "a"}]})
            yield BackupWorld(sandbox, session, project, task.id, loose.id)


def jobs_of(session: CvatSession, task_id: int) -> list[dict[str, Any]]:
    found = api(session, "GET", "/api/jobs", query={"task_id": task_id, "page_size": 100})
    return sorted(found["results"], key=lambda job: job["id"])


def documents(session: CvatSession, key: str) -> dict[str, Any]:
    unit = list_units(session).find(key)
    assert unit is not None
    return {p.path: p.value for p in read_unit(session, unit) if isinstance(p, Document)}


def instance_documents(session: CvatSession) -> dict[str, Any]:
    return {p.path: p.value for p in read_instance(session) if isinstance(p, Document)}


def saved(found: dict[str, Any]) -> SavedUnit:
    (unit,) = saved_units(found, lambda path: io.BytesIO(as_bytes(found[path])))
    return unit

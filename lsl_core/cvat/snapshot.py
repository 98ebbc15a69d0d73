"""The annotations of a task on disk, as they were before something was written."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

from lsl_core.cvat.entities import TaskInfo
from lsl_core.cvat.packing import dumps, packed
from lsl_core.cvat.session import CvatSession
from lsl_core.errors import SnapshotMissing
from lsl_core.workspace.files import write_atomic

FORMAT_VERSION = 1


def write_snapshot(
    path: Path, session: CvatSession, task: TaskInfo, annotations: dict[str, Any]
) -> None:
    """Write annotations to a gzipped JSON file: on disk before its name appears."""
    document = {
        "format": FORMAT_VERSION,
        "url": session.url,
        "server_version": session.server.version,
        "task": {"id": task.id, "name": task.name, "created": task.created},
        "taken": time.time(),
        "taken_by": session.user,
        "annotations": annotations,
    }
    write_atomic(path, gzip.compress(dumps(document).encode(), compresslevel=5))


def read_snapshot(path: Path) -> dict[str, Any]:
    """Return the annotations of a snapshot.

    Raises:
        SnapshotMissing: when the file is gone or damaged.
    """
    try:
        document = json.loads(gzip.decompress(path.read_bytes()), object_hook=packed)
        annotations: dict[str, Any] = document["annotations"]
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise SnapshotMissing(
            f"The snapshot {path.name} is missing or damaged.", detail=repr(error)
        ) from error
    return annotations

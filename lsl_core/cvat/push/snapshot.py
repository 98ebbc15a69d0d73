"""The annotations of a task on disk, as they were before something was written.

Gzipped lines of JSON: what was saved, then one annotation a line. Read and written one annotation
at a time. Format 1 was one document, which is still read.
"""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lsl_core.cvat.annotations.content import each
from lsl_core.cvat.annotations.packing import dumps, loads
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.tasks.entities import TaskInfo
from lsl_core.errors import FormatTooNew, SnapshotMissing
from lsl_core.workspace.files import atomic_path

Json = dict[str, Any]

FORMAT_VERSION = 2


def write_snapshot(
    path: Path, session: CvatSession, task: TaskInfo, entries: Iterable[Json]
) -> None:
    """Write annotations to a file: on disk before its name appears.

    Args:
        path: of the file.
        session: where they were read.
        task: of which task.
        entries: all that its jobs hold, taken one by one; when one cannot be had, no file is left.
    """
    header = {
        "format": FORMAT_VERSION,
        "url": session.url,
        "server_version": session.server.version,
        "task": {"id": task.id, "name": task.name, "created": task.created},
        "taken": time.time(),
        "taken_by": session.user,
    }
    with (
        atomic_path(path) as part,
        gzip.open(part, "wb", compresslevel=5) as lines,
    ):
        lines.write(dumps(header) + b"\n")
        for entry in entries:
            lines.write(dumps(entry) + b"\n")


def read_snapshot(path: Path) -> Iterator[Json]:
    """Yield the annotations of a snapshot.

    Raises:
        SnapshotMissing: when the file is gone or damaged; also at its end, where it was cut.
        FormatTooNew: when a newer version wrote it.
    """
    try:
        with gzip.open(path, "rb") as lines:
            header = loads(next(lines, b""))
            if header["format"] > FORMAT_VERSION:
                for _ in lines:
                    pass  # at the end it shows whether the file is damaged
                raise FormatTooNew(
                    f"The snapshot {path.name} was written by a newer version of LSL.",
                    hint="Update LSL: pip install --upgrade lsl-studio.",
                )
            if header["format"] == 1:
                yield from each(header["annotations"])
            for line in lines:
                yield loads(line)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise SnapshotMissing(
            f"The snapshot {path.name} is missing or damaged.", detail=repr(error)
        ) from error

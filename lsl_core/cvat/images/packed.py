"""The images of a whole task out of CVAT's own backup of it.

CVAT packs uploaded files into a backup as they are, in a tenth of the time that it takes to make
chunks of them, which it does anew for whoever first asks for the originals in a day. What a backup
cannot tell, or CVAT would have changed in a chunk, is left to the chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from lsl_core.cvat.connection.background import (
    begin_backup,
    result_path,
    under_way,
    wait_for_request,
)
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.images.chunks import members_of
from lsl_core.cvat.tasks.entities import FrameInfo, TaskInfo
from lsl_core.errors import CvatError
from lsl_core.progress import Progress
from lsl_core.workspace.images import may_be_turned

#: From so many chunks on, a backup is made sooner than they are.
_MIN_CHUNKS = 4
#: How much of a task has to be wanted; a backup is always of all of it.
_MIN_SHARE = 0.5
#: How long CVAT may be busy with other work before chunks are asked for instead.
_QUEUED_S = 10.0
#: Files that CVAT puts into a chunk as they are, unless they are turned; TIFF it writes anew.
_AS_UPLOADED = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


def is_worth_packing(task: TaskInfo, meta: Mapping[str, Any], missing: Sequence[FrameInfo]) -> bool:
    """Tell whether the missing images of a task come sooner by a backup than by chunks.

    Args:
        task: which.
        meta: what CVAT knows of its images.
        missing: those that are not here.
    """
    if not task.has_image_chunks or task.validation == "gt_pool":
        return False
    # of what lies in a cloud the server would fetch all, and of a filtered upload send all
    if meta.get("cloud_storage_id") or meta.get("frame_filter") or meta.get("start_frame"):
        return False
    useful = [f for f in missing if _is_kept(f)]
    least = max(_MIN_CHUNKS * task.chunk_size, _MIN_SHARE * task.frames)
    return len(useful) >= least


def _is_kept(frame: FrameInfo) -> bool:
    """Tell by its name whether CVAT keeps an image as it was uploaded."""
    return PurePosixPath(frame.name).suffix.lower() in _AS_UPLOADED


def pack_images(session: CvatSession, task: TaskInfo, progress: Progress) -> str | None:
    """Let CVAT pack a task; return the path of the archive on the server, None when it cannot."""
    doing = f"packing the images of task {task.id}"
    progress.start("CVAT packs the images", total=0, unit="")
    try:
        request = _ask_or_join(session, task, doing)
        state = wait_for_request(
            session, request, doing=doing, progress=progress, queued_s=_QUEUED_S
        )
        return result_path(state, doing=doing)
    except CvatError:  # no right to it, CVAT failed or is busy; who went away shows at the chunks
        return None


def _ask_or_join(session: CvatSession, task: TaskInfo, doing: str) -> str:
    """Return the id of a new backup, or of one under way: images are the same in both."""
    try:
        return begin_backup(session, "task", task.id, doing=doing)
    except CvatError as error:
        if earlier := under_way(error):
            return earlier
        raise


def packed_images(
    session: CvatSession, task: TaskInfo, path: str, wanted: Sequence[FrameInfo]
) -> Iterator[tuple[FrameInfo, str, bytes]]:
    """Yield frame, file name and bytes of images while an archive comes, in its order.

    The bytes are those that a chunk would bring; an image of which that is not sure is left out.

    Args:
        session: who asks.
        task: whose archive it is.
        path: where it lies on the server.
        wanted: which images.

    Raises:
        CvatError: the connection broke.
        BadZipFile: what came is no whole archive.
    """
    by_name = {f"data/{f.name}": f for f in wanted if _is_kept(f)}
    with session.transport.stream(path, doing=f"loading the images of task {task.id}") as body:
        for name, data in members_of(body):
            found = by_name.get(name)
            if found is not None and not may_be_turned(data):
                yield found, name, data

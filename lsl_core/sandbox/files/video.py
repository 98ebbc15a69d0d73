"""Tasks made of one video: frames by number, one entry to describe them, chunks that are video.

A video is taken apart once, into `video/<its name>/000000.png` and so on in the task's folder: as
CVAT does, a frame at original quality is a PNG then.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import cv2

from lsl_core.sandbox.base.store import Database, Row
from lsl_core.sandbox.calls.work import WorkFailed
from lsl_core.sandbox.files.media import Frame, decode, write_jpeg

#: What the sandbox takes for a video by its name.
SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")
_FOLDER = "video"
#: Any will do: a chunk is looked at frame by frame.
_FRAMES_A_SECOND = 10.0


def is_video(name: str) -> bool:
    """Whether a file is a video by its name."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def name_of(db: Database, task: Row) -> str | None:
    """Return the name of the video that a task is made of, None for a task of images."""
    sql = "SELECT file FROM frames WHERE task_id = ? AND number = 0"
    parts = PurePosixPath(db.value(sql, (task["id"],)) or "").parts
    return parts[1] if parts and parts[0] == _FOLDER else None


def data_kind(db: Database, task: Row) -> dict[str, str]:
    """Say what a task's data are, as the API describes tasks and jobs."""
    has_video = name_of(db, task) is not None
    return {
        "mode": "interpolation" if has_video else "annotation",
        "data_compressed_chunk_type": "imageset",
        "data_original_chunk_type": "video" if has_video else "imageset",
    }


def read_frames(folder: Path, name: str, quality: int, wanted: range) -> list[Frame]:
    """Take a video apart: a PNG and a JPEG of each frame.

    Args:
        folder: the task's folder, with the video under `raw`.
        name: of the video.
        quality: JPEG quality of the compressed copies, 1 to 100.
        wanted: which frames of the video become frames of the task.

    Raises:
        WorkFailed: when it cannot be read.
    """
    reader = cv2.VideoCapture(str(folder / "raw" / name))
    frames: list[Frame] = []
    try:
        for source in range(wanted[-1] + 1):
            is_ok, pixels = reader.read()
            if not is_ok:
                raise WorkFailed(f"Could not read frame {source} of '{name}'")
            if source not in wanted:
                continue
            number = len(frames)
            file = f"{_FOLDER}/{name}/{number:06d}.png"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / file), pixels)
            write_jpeg(folder / "compressed" / f"{number}.jpg", pixels, quality)
            # CVAT calls the frames of a video so in its exports
            shown = f"frame_{source:06d}.PNG"
            frames.append(Frame(shown, pixels.shape[1], pixels.shape[0], file))
    finally:
        reader.release()
    return frames


def count_frames(path: Path) -> int:
    """Return how many frames a video has; its header may be wrong, so they are counted.

    Raises:
        WorkFailed: when it has none.
    """
    reader = cv2.VideoCapture(str(path))
    count = 0
    while reader.grab():
        count += 1
    reader.release()
    if not count:
        raise WorkFailed(f"Invalid data found when processing input: '{path.name}'")
    return count


def make_chunk(paths: Sequence[Path], into: Path) -> Path:
    """Make a video of some frames; the caller deletes the file."""
    into.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".mp4", dir=into)
    os.close(handle)
    height, width = decode(paths[0]).shape[:2]
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(name, code, _FRAMES_A_SECOND, (width, height))
    for path in paths:
        writer.write(decode(path))
    writer.release()
    return Path(name)

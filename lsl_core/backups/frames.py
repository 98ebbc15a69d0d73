"""The images inside CVAT's backup archives, by frame number."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lsl_core.backups.archives import member_bytes
from lsl_core.backups.repository import Repository
from lsl_core.backups.snapshot import Snapshot
from lsl_core.errors import Damaged, SnapshotMissing


def frame_names(
    repository: Repository, snapshot: Snapshot, archive: str, at: str = ""
) -> list[str]:
    """Return the image of each frame of a task, in order, as its archive names them.

    Args:
        repository: where the snapshot lies.
        snapshot: with the archive.
        archive: its name, such as "project-5/archive.zip".
        at: folder of the task inside a project's archive, such as "task_0/".

    Raises:
        SnapshotMissing: when the archive has no manifest there; a video has none.
        Damaged: when the manifest cannot be read.
    """
    data = repository.read_member(snapshot, archive, f"{at}data/manifest.jsonl")
    try:
        entries = [json.loads(line) for line in data.decode().splitlines() if line]
    except ValueError as error:
        raise Damaged("The list of images in an archive cannot be read.") from error
    return [entry["name"] + entry["extension"] for entry in entries if "extension" in entry]


def task_folders(repository: Repository, snapshot: Snapshot, archive: str) -> list[str]:
    """Return the folders of the tasks in an archive, "task_0/" … in order; [""] of a task's own."""
    heads = {
        member.name.removesuffix("task.json")
        for member in repository.members(snapshot, archive)
        if member.name.rpartition("/")[2] == "task.json"
    }
    return sorted(heads, key=lambda name: (len(name), name))


def read_frames(
    repository: Repository,
    snapshot: Snapshot,
    archive: str,
    frames: Sequence[int],
    at: str = "",
) -> dict[int, bytes]:
    """Return the encoded images of some frames; see `frame_names` for the arguments.

    Raises:
        SnapshotMissing: when the archive holds no such frame.
    """
    names = frame_names(repository, snapshot, archive, at)
    beyond = [frame for frame in frames if not 0 <= frame < len(names)]
    if beyond:
        raise SnapshotMissing(f"The backup has {len(names)} frames, and no frame {beyond[0]}.")
    wanted = {f"{at}data/{names[frame]}": frame for frame in frames}
    found: dict[int, bytes] = {}
    for member in repository.members(snapshot, archive):
        if member.name in wanted:
            found[wanted[member.name]] = b"".join(member_bytes(repository.reader, member))
    gone = [name for name, frame in wanted.items() if frame not in found]
    if gone:
        raise SnapshotMissing(f"The archive lists {gone[0]} and does not hold it.")
    return found

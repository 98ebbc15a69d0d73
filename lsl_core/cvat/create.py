"""A new task with its images: uploaded in parts, waited for, and never left half-made."""

from __future__ import annotations

import json
import os
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from lsl_core.cvat.errors import last_line
from lsl_core.cvat.session import CvatSession
from lsl_core.cvat.tasks import TaskInfo, get_task
from lsl_core.cvat.tus import upload_resumable
from lsl_core.errors import CvatRequestFailed, LslError, UserInput
from lsl_core.geometry.drawable import Drawing
from lsl_core.progress import NULL, Progress

#: CVAT's longest task name and label name (its data model).
_LONGEST_NAME, _LONGEST_LABEL = 256, 64
#: Files up to this size travel together, in requests of about this size.
_BULK_BYTES = 16 * 2**20
#: Seconds between looks at the server's work: quick at first, then patient.
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.05, 3.0
#: Without a word of progress for this long, the server has lost the work.
_SILENCE_S = 3600.0


def create_task(
    session: CvatSession,
    name: str,
    labels: Sequence[tuple[str, Drawing | str]],
    images: Sequence[Path],
    *,
    names: Sequence[str] | None = None,
    project_id: int | None = None,
    segment_size: int | None = None,
    overlap: int | None = None,
    subset: str = "",
    image_quality: int = 80,
    progress: Progress = NULL,
) -> TaskInfo:
    """Make a task in the session's organisation and upload its images.

    Frame i is image i. If anything fails, the task is deleted again.

    Args:
        session: who makes it; its organisation, or the personal workspace, gets it.
        name: of the task.
        labels: name and shape type of each; leave empty for a task of a project, which has its
            project's labels.
        images: files, at least one.
        names: what CVAT calls them; the files' own names when None. Equal names are told apart.
        project_id: of the project that it belongs to.
        segment_size: images in a job; one job when None.
        overlap: images that a job shares with the one before it; CVAT's own choice when None.
        subset: of its project: Train, Validation, Test or any other name; "" for none.
        image_quality: of the pictures that annotators see, in [1, 100]; the originals stay.
        progress: counts megabytes, then waits for CVAT.

    Raises:
        UserInput: a name that CVAT refuses, no image, a file that is not there.
        CvatRequestFailed: CVAT cannot read an image; says which.
    """
    _check(name, labels, images, project_id)
    files = list(zip(unique_names(names or [p.name for p in images]), images, strict=True))
    spec: dict[str, object] = {"name": name}
    if project_id is not None:
        spec["project_id"] = project_id
    else:
        spec["labels"] = [{"name": n, "type": str(d), "attributes": []} for n, d in labels]
    if segment_size is not None:
        spec["segment_size"] = segment_size
    if overlap is not None:
        spec["overlap"] = overlap
    if subset:
        spec["subset"] = subset
    made = session.transport.json("POST", "/api/tasks", doing="creating a task", body=spec)
    task_id = int(made["id"])
    try:
        upload_images(session, task_id, files, image_quality=image_quality, progress=progress)
        return get_task(session, task_id)
    except BaseException:
        # a task without images is of no use to anybody; the first error is the one to show
        with suppress(LslError):
            session.transport.send(
                "DELETE", f"/api/tasks/{task_id}", doing=f"deleting task {task_id}"
            )
        raise


def upload_images(
    session: CvatSession,
    task_id: int,
    files: Sequence[tuple[str, Path]],
    *,
    image_quality: int = 80,
    progress: Progress = NULL,
) -> None:
    """Upload named files to a task without images, in this order, and wait for CVAT.

    Raises:
        CvatRequestFailed: when CVAT cannot make a task of them.
    """
    url = f"/api/tasks/{task_id}/data/"
    doing = f"uploading to task {task_id}"
    sizes = [path.stat().st_size for _, path in files]
    progress.start("Uploading", total=max(1, sum(sizes) >> 20), unit="MB")
    session.transport.send("POST", url, doing=doing, headers={"Upload-Start": ""})
    counter = _Megabytes(progress)
    for group in _bulk_groups(files, sizes):
        progress.check()
        fields: dict[str, object] = {"image_quality": str(image_quality)}
        for i, (name, path) in enumerate(group):
            fields[f"client_files[{i}]"] = (name, path.read_bytes())
        session.transport.send(
            "POST", url, doing=doing, headers={"Upload-Multiple": ""}, fields=fields
        )
        counter.add(sum(path.stat().st_size for _, path in group))
    for (name, path), size in zip(files, sizes, strict=True):
        if size > _BULK_BYTES:
            upload_resumable(session, url, name, path, uploaded=counter.add)
    answer = session.transport.json(
        "POST",
        url,
        doing=doing,
        headers={"Upload-Finish": ""},
        body={
            "image_quality": image_quality,
            "sorting_method": "predefined",
            "upload_file_order": [name for name, _ in files],
        },
    )
    progress.start("CVAT prepares the images", total=1, unit="task")
    wait_for_request(session, answer["rq_id"], doing=f"creating task {task_id}", progress=progress)
    progress.advance()


def wait_for_request(
    session: CvatSession, request_id: str, *, doing: str, progress: Progress = NULL
) -> dict[str, object]:
    """Wait until work that CVAT does in the background is finished; return its last state.

    Raises:
        CvatRequestFailed: when it failed, with the last line of CVAT's message.
    """
    pause, silent_since, last = _FIRST_LOOK_S, time.monotonic(), ""
    # ids hold characters such as & and =, which have another meaning in an address
    path = f"/api/requests/{quote(request_id, safe='')}"
    while True:
        progress.check()
        state: dict[str, object] = session.transport.json("GET", path, doing=doing)
        if state["status"] == "finished":
            return state
        if state["status"] == "failed":
            message = str(state.get("message") or "")
            raise CvatRequestFailed(
                f"CVAT failed while {doing}: {last_line(message)}",
                hint="Mend or leave out the file that it names, and try again.",
                detail=message,
            )
        word = json.dumps([state["status"], state.get("message"), state.get("progress")])
        if word != last:
            last, silent_since = word, time.monotonic()
        if time.monotonic() - silent_since > _SILENCE_S:
            raise CvatRequestFailed(
                f"CVAT has said nothing for an hour while {doing}.",
                hint="Ask who runs the server to look at its workers.",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_LOOK_S)


def unique_names(names: Sequence[str]) -> list[str]:
    """Tell equal image names apart: "a.png", "a (2).png"; folders in a name become part of it.

    CVAT stores uploads under their names, so the second of two equal ones would replace the
    first. Names are compared as a file system does that ignores case and Unicode form.
    """
    taken: set[str] = set()
    unique = []
    for name in names:
        flat = unicodedata.normalize("NFC", name.replace("\\", "/").strip("/").replace("/", "_"))
        path, number, candidate = PurePosixPath(flat), 2, flat
        while candidate.casefold() in taken:
            candidate = f"{path.stem} ({number}){path.suffix}"
            number += 1
        taken.add(candidate.casefold())
        unique.append(candidate)
    return unique


def _check(
    name: str,
    labels: Sequence[tuple[str, Drawing | str]],
    images: Sequence[Path],
    project_id: int | None,
) -> None:
    if not 0 < len(name) <= _LONGEST_NAME:
        raise UserInput(
            f"A task name has 1 to {_LONGEST_NAME} characters, this one {len(name)}.",
            hint="Choose another name.",
        )
    if project_id is not None and labels:
        raise UserInput(
            "A task of a project has the labels of its project.", hint="Give no labels with it."
        )
    for label, _ in labels:
        if not 0 < len(label) <= _LONGEST_LABEL:
            raise UserInput(
                f'The label "{label[:80]}" does not fit: CVAT takes 1 to {_LONGEST_LABEL} '
                "characters.",
                hint="Rename it first.",
            )
    if not images:
        raise UserInput("There is no image to upload.", hint="Choose at least one.")
    for path in images:
        if not path.is_file() or not os.access(path, os.R_OK):
            raise UserInput(f"{path} is not there or cannot be read.", hint="Check the file.")


class _Megabytes:
    """Counts bytes and tells whole megabytes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bytes = 0

    def add(self, count: int) -> None:
        before = self._bytes >> 20
        self._bytes += count
        self._progress.advance((self._bytes >> 20) - before)


def _bulk_groups(
    files: Sequence[tuple[str, Path]], sizes: Sequence[int]
) -> Iterator[list[tuple[str, Path]]]:
    """Yield groups of small files that fill one request each."""
    group: list[tuple[str, Path]] = []
    total = 0
    for file, size in zip(files, sizes, strict=True):
        if size > _BULK_BYTES:
            continue
        if group and total + size > _BULK_BYTES:
            yield group
            group, total = [], 0
        group.append(file)
        total += size
    if group:
        yield group

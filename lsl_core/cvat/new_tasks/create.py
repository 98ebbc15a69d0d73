"""A new task with its images: never left half-made."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.new_tasks.arrivals import Arrival, ArrivalPhase
from lsl_core.cvat.new_tasks.upload import SETTLE_S, upload_images
from lsl_core.cvat.tasks.entities import TaskInfo
from lsl_core.cvat.tasks.reading import bare_task, get_task
from lsl_core.errors import CvatNotFound, CvatUnreachable, LslError, UserInput
from lsl_core.geometry.drawable import Drawing
from lsl_core.progress import NULL, Progress

#: CVAT's longest task name and label name (its data model).
_LONGEST_NAME, _LONGEST_LABEL = 256, 64


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
    arrival: Arrival | None = None,
    progress: Progress = NULL,
) -> TaskInfo:
    """Make a task in the session's organisation and upload its images.

    Frame i is image i. If anything fails, the task is deleted again; with an `arrival`, not when
    the server went away or the process was killed: then the same call goes on where it stopped.

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
        arrival: of `Arrivals.open`, where the upload is written down. Forget it when the task
            holds all that it shall hold.
        progress: counts megabytes, then waits for CVAT.

    Raises:
        UserInput: a name that CVAT refuses, no image, a file that is not there.
        CvatRequestFailed: CVAT cannot read an image; says which.
    """
    _check(name, labels, images, project_id)
    _check_cuts(len(images), segment_size, overlap, image_quality)
    files = list(zip(unique_names(names or [p.name for p in images]), images, strict=True))
    made = [{"name": n, "type": str(d), "attributes": []} for n, d in labels]
    wanted: dict[str, object] = {
        "name": name,
        "project_id": project_id,
        "labels": made if project_id is None else None,
        "segment_size": segment_size,
        "overlap": overlap,
        "subset": subset or None,
    }
    spec = {key: value for key, value in wanted.items() if value is not None}
    arrival = arrival or Arrival()
    task_id = _begun(session, arrival) or _create(session, arrival, spec)
    with _whole_or_gone(session, task_id, arrival):
        if arrival.phase is not ArrivalPhase.FILLING:
            upload_images(
                session, task_id, files,
                image_quality=image_quality, arrival=arrival, progress=progress,
            )  # fmt: skip
            if arrival.mark:
                session.transport.json(
                    "PATCH", f"/api/tasks/{task_id}", doing="naming the task", body={"name": name}
                )
            arrival.reach(ArrivalPhase.FILLING)
        return get_task(session, task_id)


@contextmanager
def _whole_or_gone(session: CvatSession, task_id: int, arrival: Arrival) -> Iterator[None]:
    """Take the task away when the block fails, unless the next call can go on with it."""
    try:
        yield
    except CvatUnreachable as error:
        if not arrival.mark:
            _remove(session, task_id, arrival)
            raise
        raise CvatUnreachable(
            error.message,
            hint="What has arrived stays: do the same again, and it goes on where it stopped.",
            detail=error.detail,
        ) from error
    except BaseException:
        _remove(session, task_id, arrival)
        raise


def _create(session: CvatSession, arrival: Arrival, spec: dict[str, object]) -> int:
    if arrival.mark:  # until its images are there
        room = _LONGEST_NAME - len(arrival.mark) - 1
        spec = {**spec, "name": f"{str(spec['name'])[:room]} {arrival.mark}"}
    arrival.reach(ArrivalPhase.CREATING)
    made = session.transport.json("POST", "/api/tasks", doing="creating a task", body=spec)
    task_id = int(made["id"])
    arrival.reach(ArrivalPhase.CREATED, task_id=task_id)
    return task_id


def _begun(session: CvatSession, arrival: Arrival) -> int | None:
    """Return the task that an earlier process made, None when there is none."""
    if not arrival.is_resumed:
        return None
    if arrival.task_id is None:
        arrival.settle(SETTLE_S)
        found = session.transport.pages(
            "/api/tasks", doing="looking for the task", query={"search": arrival.mark}
        )
        task_id = next((int(t["id"]) for t in found if t["name"].endswith(arrival.mark)), None)
        if task_id is not None:
            arrival.reach(ArrivalPhase.CREATED, task_id=task_id)
        return task_id
    try:
        return bare_task(session, arrival.task_id).id
    except CvatNotFound:  # somebody took it away
        arrival.restart()
        return None


def _remove(session: CvatSession, task_id: int, arrival: Arrival) -> None:
    """Take a task away that could not be made whole: it is of no use to anybody."""
    with suppress(LslError):  # the first error is the one to show
        delete_task(session, task_id)
        arrival.forget()


def delete_task(session: CvatSession, task_id: int) -> None:
    """Delete a task with everything in it; for one of ours that could not be finished."""
    session.transport.send("DELETE", f"/api/tasks/{task_id}", doing=f"deleting task {task_id}")


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


def _check_cuts(
    num_images: int, segment_size: int | None, overlap: int | None, image_quality: int
) -> None:
    """Refuse sizes that CVAT would cut to something else, or not at all."""
    if segment_size is not None and segment_size < 1:
        raise UserInput("A job has at least one image.", hint="Choose another job size.")
    job = min(segment_size or num_images, num_images)
    if overlap is not None and not 0 <= overlap <= job // 2:
        raise UserInput(
            f"Jobs of {job} images can share 0 to {job // 2}, not {overlap}.",
            hint="CVAT cuts a larger overlap to half a job.",
        )
    if not 1 <= image_quality <= 100:
        raise UserInput(f"An image quality of {image_quality} is not between 1 and 100.")

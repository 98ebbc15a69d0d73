"""Results as files, as pictures, and as new CVAT tasks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsl_core import cvat
from lsl_core.cvat import Arrival, CvatSession, Drawing, TaskInfo
from lsl_core.errors import CvatUnreachable, UserInput
from lsl_core.geometry.overlay import render_overlay
from lsl_core.progress import NULL, Progress
from lsl_core.services import connections, sourcing
from lsl_core.services.labelling import previewing, pushing
from lsl_core.services.labelling.previewing import PreviewFrame, PreviewInfo
from lsl_core.services.labelling.pushing import PushResult
from lsl_core.services.models import versions
from lsl_core.sources import coco
from lsl_core.types import Instances
from lsl_core.workspace import CvatSettings, Workspace
from lsl_core.workspace.files import link_or_copy, safe_relative, write_json
from lsl_core.workspace.images import read_rgb, write_rgb

__all__ = [
    "Exported",
    "NewTask",
    "TaskOptions",
    "export_coco",
    "export_source",
    "export_task",
    "newest_preview",
    "run_export",
    "shown_objects",
    "usable_frames",
    "write_overlays",
]


@dataclass(frozen=True, slots=True)
class Exported:
    """Files that were written, and how many objects are in them."""

    folder: Path
    num_images: int
    num_objects: int


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How a new task is cut and filed; CVAT's own choice where None.

    project_id: of the project that it belongs to, whose labels it has. segment_size: images in a
    job. overlap: images that a job shares with the one before it. subset: of the project.
    image_quality: of the pictures that annotators see, in [1, 100]; the originals stay.
    """

    project_id: int | None = None
    segment_size: int | None = None
    overlap: int | None = None
    subset: str = ""
    image_quality: int = 80


#: One job, no project, no subset.
PLAIN_TASK = TaskOptions()


@dataclass(frozen=True, slots=True)
class NewTask:
    """A new task, and the push that filled it."""

    task: TaskInfo
    push: PushResult


def newest_preview(workspace: Workspace, *, model: str, source: str) -> PreviewInfo:
    """Return the newest complete prediction of a source by a model, of any version.

    Raises:
        UserInput: when there is none.
    """
    ids = {card.id for card in versions.list_models(workspace) if model in (card.id, card.name)}
    for info in previewing.list_previews(workspace):
        if info.source == source and info.model_id in ids and info.is_complete:
            return info
    versions.get_model(workspace, model)  # a name that is none is told first
    sourcing.load_source(workspace, source)
    raise UserInput(
        f'"{source}" was not labelled by "{model}" yet.',
        hint=f"Do it first: lsl auto-label --train {model} --test {source}",
    )


def export_coco(
    workspace: Workspace,
    preview_id: str,
    folder: Path,
    *,
    conf: float | None = None,
    mask_threshold: float | None = None,
    progress: Progress = NULL,
) -> Exported:
    """Write what a preview shows as COCO: `annotations.json` and the images.

    Args:
        workspace: where the preview is.
        preview_id: which.
        folder: made when missing; must be empty.
        conf: one score threshold for all labels, in place of the chosen ones.
        mask_threshold: in place of the chosen one.
        progress: told images.

    Raises:
        UserInput: when the folder holds something, or nothing was predicted.
    """
    _check_empty(folder)
    info = previewing.get_preview(workspace, preview_id)
    rows = []
    found = usable_frames(workspace, info)
    progress.start("Exporting", total=len(found), unit="images")
    for frame in found:
        progress.check()
        shown = shown_objects(workspace, info, frame, conf=conf, mask_threshold=mask_threshold)
        rows.append((frame.ref, shown, np.ones(len(shown), bool)))
        link_or_copy(workspace.data / frame.path, folder / "images" / safe_relative(frame.ref.name))
        progress.advance()
    write_json(folder / "annotations.json", coco.document(rows, info.labels, with_scores=True))
    return Exported(folder, len(rows), sum(len(shown) for _, shown, _ in rows))


def write_overlays(
    workspace: Workspace,
    preview_id: str,
    folder: Path,
    *,
    num: int | None = None,
    conf: float | None = None,
    mask_threshold: float | None = None,
    progress: Progress = NULL,
) -> Exported:
    """Write the images of a preview with their objects drawn on them, as JPEG.

    Args:
        workspace: where the preview is.
        preview_id: which.
        folder: made when missing.
        num: how many images at most; all when None.
        conf: one score threshold for all labels, in place of the chosen ones.
        mask_threshold: in place of the chosen one.
        progress: told images.
    """
    info = previewing.get_preview(workspace, preview_id)
    found = usable_frames(workspace, info)[:num]
    objects = 0
    progress.start("Drawing", total=len(found), unit="images")
    for frame in found:
        progress.check()
        shown = shown_objects(workspace, info, frame, conf=conf, mask_threshold=mask_threshold)
        pixels = read_rgb(workspace.data / frame.path)
        name = safe_relative(frame.ref.name).with_suffix(".jpg")
        write_rgb(folder / name, render_overlay(pixels, shown, info.labels))
        objects += len(shown)
        progress.advance()
    return Exported(folder, len(found), objects)


def export_task(
    session: CvatSession,
    workspace: Workspace,
    preview_id: str,
    *,
    name: str,
    options: TaskOptions = PLAIN_TASK,
    progress: Progress = NULL,
) -> NewTask:
    """Make a CVAT task of a preview's images and push what the preview shows into it.

    The task goes to the session's organisation, or to the personal workspace. When the process is
    killed, or the server goes away, the same call goes on where it stopped. When the push fails,
    the task stays: the push can be resumed.

    Raises:
        CvatError: when the task cannot be made; nothing is left of it then.
        Locked: when another process is at the same export.
    """
    info = previewing.get_preview(workspace, preview_id)
    has_masks = versions.draws_masks(workspace, info.model_id)
    drawing = Drawing.MASK if has_masks else Drawing.RECTANGLE
    found = usable_frames(workspace, info)
    files = [workspace.data / frame.path for frame in found]
    arrival = _open_arrival(session, workspace, preview_id, name, options, files)
    task = cvat.create_task(
        session,
        name,
        [] if options.project_id else [(label, drawing) for label in info.labels],
        files,
        names=[frame.ref.name for frame in found],
        **asdict(options),
        arrival=arrival,
        progress=progress,
    )
    result = pushing.finish_begun(session, workspace, preview_id, task.id, progress=progress)
    if result is None:
        result = _fill(session, workspace, info, found, task, progress)
    arrival.forget()
    return NewTask(task, result)


def _fill(
    session: CvatSession,
    workspace: Workspace,
    info: PreviewInfo,
    found: list[PreviewFrame],
    task: TaskInfo,
    progress: Progress,
) -> PushResult:
    """Push what a preview shows into a new task of its images."""
    predictions = {
        number: shown_objects(workspace, info, frame) for number, frame in enumerate(found)
    }
    plan = cvat.plan_push(
        session,
        task.id,
        predictions,
        info.labels,
        run_id=info.id,
        journal=cvat.Journal(workspace.journal),
    )
    return pushing.apply(session, workspace, plan, progress=progress)


def _open_arrival(
    session: CvatSession,
    workspace: Workspace,
    what: str,
    name: str,
    options: TaskOptions,
    files: list[Path],
) -> Arrival:
    """Begin an upload, or find the one of the same wish that was not finished."""
    states = [path.stat() for path in files]
    wish = (
        session.user, session.organisation, what, name, asdict(options),
        [(str(p), s.st_size, s.st_mtime_ns) for p, s in zip(files, states, strict=True)],
    )  # fmt: skip
    key = hashlib.sha256(json.dumps(wish).encode()).hexdigest()
    return cvat.Arrivals(workspace.journal).open(key, url=session.url)


def export_source(
    session: CvatSession,
    workspace: Workspace,
    name: str,
    *,
    cvat_name: str,
    options: TaskOptions = PLAIN_TASK,
    progress: Progress = NULL,
) -> TaskInfo:
    """Make a CVAT task of a labelled source: its images, and what people drew on them.

    When the process is killed, or the server goes away, the same call goes on where it stopped.

    Raises:
        UserInput: when the source does not exist.
        CvatError: when the task cannot be made; nothing is left of it then.
        Locked: when another process is at the same export.
    """
    source = sourcing.load_source(workspace, name)
    files = [image.path for image in source.images]
    arrival = _open_arrival(session, workspace, f"source {name}", cvat_name, options, files)
    task = cvat.create_task(
        session,
        cvat_name,
        [] if options.project_id else [(label, "any") for label in source.labels.names],
        files,
        names=[image.ref.name for image in source.images],
        **asdict(options),
        arrival=arrival,
        progress=progress,
    )
    drawn = {n: (image.instances, image.has_mask) for n, image in enumerate(source.images)}
    try:
        cvat.draw_in_new_task(
            session, task, drawn, source.labels.names, arrival=arrival, progress=progress
        )
    except CvatUnreachable:
        raise  # the task stays, and the same export goes on
    except BaseException:
        cvat.delete_task(session, task.id)
        arrival.forget()
        raise
    arrival.forget()
    return task


def run_export(
    workspace: Workspace,
    *,
    connection: dict[str, Any],
    source: str,
    model: str | None,
    cvat_name: str,
    options: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Make a task in the worker: of what a model found on a source, or of what people drew."""
    wanted = TaskOptions(**options)
    with connections.open_session(CvatSettings.model_validate(connection)) as session:
        if model is None:
            task = export_source(
                session, workspace, source, cvat_name=cvat_name, options=wanted, progress=progress
            )
        else:
            info = newest_preview(workspace, model=model, source=source)
            task = export_task(
                session, workspace, info.id, name=cvat_name, options=wanted, progress=progress
            ).task
    return {"task": task.id}


def usable_frames(workspace: Workspace, info: PreviewInfo) -> list[PreviewFrame]:
    """Return the images of a preview that could be looked at.

    Raises:
        UserInput: when there is none.
    """
    found = [frame for frame in previewing.frames(workspace, info.id) if not frame.error]
    if not found:
        raise UserInput(
            f'"{info.title}" has no image that could be looked at.', hint="Predict it again."
        )
    return found


def shown_objects(
    workspace: Workspace,
    info: PreviewInfo,
    frame: PreviewFrame,
    *,
    conf: float | None = None,
    mask_threshold: float | None = None,
) -> Instances:
    """Return what an image of a preview shows, at the chosen thresholds or at those given."""
    view = previewing.view_of(info, frame, conf=conf, mask_threshold=mask_threshold)
    return view.of(previewing.frame_instances(workspace, info, frame))


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserInput(f"{folder} is not an empty folder.", hint="Choose another --output.")

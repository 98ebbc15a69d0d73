"""Sources: importing labelled images, listing, renaming, removing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lsl_core import cvat, sources
from lsl_core.cvat import CvatSession
from lsl_core.errors import UserInput
from lsl_core.geometry.overlay import render_overlay
from lsl_core.progress import NULL, Progress
from lsl_core.services import connections
from lsl_core.sources import Imported, LabelledImage, Part, Source, SourceInfo
from lsl_core.types import ImageRef
from lsl_core.words import plural
from lsl_core.workspace import CvatSettings, Workspace
from lsl_core.workspace.images import Pixels, read_rgb

__all__ = [
    "Imported",
    "Source",
    "SourceInfo",
    "import_coco",
    "import_task",
    "import_unlabelled",
    "list_sources",
    "load_source",
    "remove_source",
    "rename_source",
    "run_import_task",
    "source_thumbnail",
    "split_coco",
    "unlearnt_labels",
    "warnings",
]


def import_task(
    session: CvatSession,
    workspace: Workspace,
    task_id: int,
    *,
    name: str,
    frames: Collection[int] | None = None,
    progress: Progress = NULL,
) -> Imported:
    """Make a source from the images and the annotations of a CVAT task.

    All ordinary jobs count. A frame without a shape is taken as "nothing here" only when its job
    is completed; otherwise nobody has labelled it yet, and it would teach the model wrong.
    With `frames`, only those count, and all of them: somebody corrected them.

    Raises:
        CvatError: when the task cannot be read.
        UserInput: when the task has no images or no labelled one, or the name is taken.
    """
    sources.check_new_name(workspace.sources, name)
    pulled = None
    all_count = frames is None and cvat.get_task(session, task_id, labels=False).is_completed
    if all_count:
        state, pulled = cvat.pull_task(session, task_id, workspace.frames, progress=progress)
    else:
        state = cvat.read_task(session, task_id, frames=None if frames is None else {*frames})
    converted = state.objects()
    if frames is None:
        wanted = {f for f, found in converted.frames.items() if len(found) or _is_done(state, f)}
    else:
        wanted = set(frames) & converted.frames.keys()
    if not wanted:
        raise UserInput(
            f'Task {task_id} "{state.task.name}" has no labelled image.',
            hint="Draw at least two images in CVAT, then import it again.",
        )
    pulled = pulled or cvat.pull_frames(
        session, task_id, workspace.frames, frames=sorted(wanted), progress=progress
    )
    images = [
        _labelled(ref, path, converted.frames[ref.frame])
        for ref, path in zip(pulled.refs, pulled.paths, strict=True)
        if ref.frame in wanted
    ]
    info = sources.save_source(
        workspace.sources,
        name,
        images,
        labels=tuple(label.name for label in state.labels),
        is_labelled=True,
        origin={"kind": "cvat", "url": session.url, "task_id": task_id, "task": state.task.name},
    )
    left_out = [(f"frame {f.frame}", f.reason) for f in pulled.failed if f.frame in wanted]
    left_out += [(plural(left.count, "shape"), left.reason) for left in converted.left_out]
    return Imported(info, tuple(left_out))


def _is_done(state: cvat.TaskState, frame: int) -> bool:
    covering = [job for job in state.jobs if job.covers(frame)]
    return bool(covering) and all(job.state == "completed" for job in covering)


def _labelled(ref: ImageRef, path: Path, found: cvat.FrameAnnotations) -> LabelledImage:
    # people drew these; a score that CVAT kept from an earlier push says nothing about truth
    scores = np.ones(len(found), np.float32)
    instances = replace(found.instances, scores=scores)
    if ref.image_hw != instances.image_hw:
        raise ValueError(f"{ref.name}: {ref.image_hw} is not {instances.image_hw}")
    return LabelledImage(ref, path, instances, found.has_mask)


def run_import_task(
    workspace: Workspace,
    *,
    connection: dict[str, Any],
    task_id: int,
    name: str,
    progress: Progress,
    frames: list[int] | None = None,
) -> dict[str, Any]:
    """Import in the worker; see `import_task`."""
    with connections.open_session(CvatSettings.model_validate(connection)) as session:
        imported = import_task(
            session, workspace, task_id, name=name, frames=frames, progress=progress
        )
    return {"source": imported.info.name, "left_out": list(imported.left_out)}


def import_coco(
    workspace: Workspace, *, name: str, images: Path, annotation: Path, progress: Progress = NULL
) -> Imported:
    """Make a source from a COCO file and its images; see `sources.import_coco`."""
    return sources.import_coco(
        workspace.sources, name, images=images, annotation=annotation, progress=progress
    )


def import_unlabelled(
    workspace: Workspace, *, name: str, images: Path, progress: Progress = NULL
) -> Imported:
    """Make a source from a folder of images; see `sources.import_unlabelled`."""
    return sources.import_unlabelled(workspace.sources, name, images=images, progress=progress)


def split_coco(annotation: Path, folder: Path, *, share: float, seed: int = 0) -> tuple[Part, Part]:
    """Cut a COCO file in two; see `sources.split_coco`."""
    return sources.split_coco(annotation, folder, share=share, seed=seed)


def list_sources(workspace: Workspace) -> list[SourceInfo]:
    """Return the sources of a workspace, newest first."""
    return sources.list_sources(workspace.sources)


def load_source(workspace: Workspace, name: str) -> Source:
    """Read a source with all its objects."""
    return sources.load_source(workspace.sources, name)


def rename_source(workspace: Workspace, name: str, new_name: str) -> None:
    """Give a source another name."""
    sources.rename_source(workspace.sources, name, new_name)


def remove_source(workspace: Workspace, name: str) -> Path:
    """Move a source to the trash and return where it lies now."""
    return sources.remove_source(workspace.sources, name, trash=workspace.trash)


#: Objects with fewer pixels than this are hard to learn and easy to draw by accident.
_TINY_PX = 25


def source_thumbnail(image: LabelledImage, max_px: int) -> Pixels:
    """Return an image with its objects drawn on it, its longer side at most `max_px`."""
    return render_overlay(
        read_rgb(image.path), image.instances, (), max_side_px=max_px, with_text=False
    )


def warnings(source: Source) -> list[str]:
    """Return what a person should look at before training, each a sentence; no image is read."""
    found = []
    same = Counter(image.ref.sha256 for image in source.images)
    copies = sum(count - 1 for count in same.values())
    if copies:
        found.append(f"{_are(copies, 'image')} there twice: labels of copies should not differ.")
    if not source.info.is_labelled:
        return found
    ids = [image.instances.class_ids for image in source.images]
    counts = np.bincount(np.concatenate(ids), minlength=len(source.labels))
    for label, count in zip(source.labels.names, counts.tolist(), strict=True):
        if not count:
            found.append(f'No object of "{label}": the model cannot learn it.')
    boxes = [image.instances.boxes for image in source.images]
    sizes = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in boxes]
    tiny = int((np.concatenate(sizes) < _TINY_PX).sum())
    if tiny:
        found.append(f"{_are(tiny, 'object')} smaller than {_TINY_PX} pixels.")
    bare = sum(not len(image.instances) for image in source.images)
    if bare:
        found.append(f"{_are(bare, 'image')} without any object: they teach what is nothing.")
    return found


def unlearnt_labels(
    workspace: Workspace, names: Sequence[str], *, labels: Collection[str]
) -> list[str]:
    """Return what a model of these labels will not find on other sources, a sentence a source.

    Args:
        workspace: where the sources are.
        names: of the sources that it is to label.
        labels: that it knows.

    Raises:
        UserInput: when there is no such source.
    """
    said = []
    for name in names:
        source = load_source(workspace, name)
        drawn = {int(i) for image in source.images for i in image.instances.class_ids}
        unknown = [source.labels.names[i] for i in sorted(drawn)]
        unknown = [label for label in unknown if label not in labels]
        if unknown:
            said.append(
                f'"{name}" has objects of {", ".join(unknown)}, which the model does not know and '
                "will not find: label some in the source to learn from."
            )
    return said


def _are(count: int, noun: str) -> str:
    return f"{plural(count, noun)} {'is' if count == 1 else 'are'}"

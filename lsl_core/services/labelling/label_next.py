"""Which images to label next: what a model is unsure of, and what it has seen nothing like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsl_core import cvat
from lsl_core.cvat import CvatSession
from lsl_core.errors import UserInput
from lsl_core.inference.looks import Look, LookStore, look_of
from lsl_core.inference.previews import PreviewFrame, PreviewInfo
from lsl_core.inference.ranking import UNSURE, Ranked, Seen, rank
from lsl_core.progress import NULL, Progress
from lsl_core.services import sourcing
from lsl_core.services.labelling import predicting, previewing
from lsl_core.services.models import versions
from lsl_core.types import ImageRef, Instances, SlideWindows
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import read_rgb

__all__ = [
    "UNSURE",
    "NextImage",
    "drawn_by_people",
    "look_at_source",
    "look_at_task",
    "next_images",
]


@dataclass(frozen=True, slots=True)
class NextImage:
    """An image worth a label.

    rank: from 1, the best. score: what a label there is worth beside the best, in [0, 1]. why: for
    people.
    """

    rank: int
    frame: int
    name: str
    score: float
    why: str


def look_at_source(
    workspace: Workspace,
    name: str,
    *,
    model: str,
    slide: SlideWindows | None = None,
    progress: Progress = NULL,
) -> PreviewInfo:
    """Return what a model found on a source; it looks only where there is no such preview.

    A second preview would hide what people decided in the first.
    """
    images = {image.ref.sha256 for image in sourcing.load_source(workspace, name).images}
    for info in _previews(workspace, model, slide):
        frames = previewing.frames(workspace, info.id) if info.source == name else []
        if {frame.ref.sha256 for frame in frames} == images:
            return info
    return predicting.predict_source(workspace, name, model=model, slide=slide, progress=progress)


def look_at_task(
    session: CvatSession,
    workspace: Workspace,
    task_id: int,
    *,
    model: str,
    slide: SlideWindows | None = None,
    progress: Progress = NULL,
) -> PreviewInfo:
    """Return what a model found in a CVAT task; see `look_at_source`."""
    now = {(f.frame, f.name) for f in cvat.task_frames(session, task_id) if not f.deleted}
    for info in _previews(workspace, model, slide):
        if (info.url, info.task_id) != (session.url, task_id):
            continue
        if {(f.ref.frame, f.ref.name) for f in previewing.frames(workspace, info.id)} == now:
            return info
    return predicting.predict_task(
        session, workspace, task_id, model=model, slide=slide, progress=progress
    )


def _previews(workspace: Workspace, model: str, slide: SlideWindows | None) -> list[PreviewInfo]:
    """Return the complete previews of the version in use, newest first."""
    card = versions.get_model(workspace, model)
    return [
        info
        for info in previewing.list_previews(workspace)
        if info.is_complete and info.model_id == card.id and info.slide == slide
    ]


def next_images(
    workspace: Workspace,
    preview_id: str,
    *,
    drawn: Mapping[int, Instances] | None = None,
    num: int | None = None,
    progress: Progress = NULL,
) -> list[NextImage]:
    """Rank the unlabelled images of a preview by how much a label there would help its model.

    Stored predictions are enough: the model is not asked again. How an image looks is measured
    once and kept.

    Args:
        workspace: where preview and model are.
        preview_id: of the images that may be labelled.
        drawn: by frame, what people drew there already; these are not proposed.
        num: how many; None ranks all.
        progress: told images.

    Raises:
        UserInput: when there is no such preview, or every image is labelled already.
    """
    info = previewing.get_preview(workspace, preview_id)
    drawn = drawn or {}
    support = _support(workspace, info)
    hashes = {ref.sha256 for ref, _, _ in support}
    found = [frame for frame in previewing.frames(workspace, info.id) if not frame.error]
    left = [f for f in found if f.ref.frame not in drawn and f.ref.sha256 not in hashes]
    if not left:
        raise UserInput(
            f"Every image of {info.title} is labelled already.",
            hint="Label next ranks images that nobody has labelled: choose other images.",
        )
    labelled = support + [
        (f.ref, workspace.data / f.path, drawn[f.ref.frame])
        for f in found
        if f.ref.frame in drawn and f.ref.sha256 not in hashes
    ]
    places = [(ref, path) for ref, path, _ in labelled]
    places += [(frame.ref, workspace.data / frame.path) for frame in left]
    looks = _looks(workspace, places, progress)
    findings = predicting.Findings(workspace, info)
    ranked = rank(
        [Seen(looks[f.ref.sha256], findings.on(f)) for f in left],
        [Seen(looks[ref.sha256], objects) for ref, _, objects in labelled],
        num_labels=len(info.labels),
        num=num,
    )
    return [_next(place, one, left[one.index], info) for place, one in enumerate(ranked, 1)]


def drawn_by_people(
    session: CvatSession, workspace: Workspace, preview_id: str
) -> dict[int, Instances]:
    """Return what people drew in CVAT on the frames of a preview, by frame.

    Frames that hold only what a program drew are left out: nobody has labelled them. Class ids
    are those of the preview.
    """
    info = previewing.get_preview(workspace, preview_id)
    if info.task_id is None:
        return {}
    state = cvat.read_task(session, info.task_id)
    names = [label.name for label in state.labels]
    return {
        frame: found.instances.relabelled(names, info.labels)
        for frame, found in state.objects().frames.items()
        if any(source != "auto" for source in found.sources)
    }


def _support(workspace: Workspace, info: PreviewInfo) -> list[tuple[ImageRef, Path, Instances]]:
    """Return the images that the model of a preview learnt from, as far as they are still here."""
    try:
        name = versions.get_model(workspace, info.model_id).support
        source = sourcing.load_source(workspace, name)
    except UserInput:  # removed since: all that is lost is what its images looked like
        return []
    return [
        (image.ref, image.path, image.instances.relabelled(source.labels.names, info.labels))
        for image in source.images
    ]


def _looks(
    workspace: Workspace, images: Sequence[tuple[ImageRef, Path]], progress: Progress
) -> dict[str, Look]:
    """Return how images look, by hash; those that were never looked at are read."""
    store = LookStore(workspace.database)
    looks = store.get(ref.sha256 for ref, _ in images)
    missing = {ref.sha256: path for ref, path in images if ref.sha256 not in looks}
    fresh: dict[str, Look] = {}
    progress.start("Looking", total=len(missing), unit="images")
    for sha256, path in missing.items():
        progress.check()
        fresh[sha256] = look_of(read_rgb(path))
        progress.advance()
    store.put(fresh)
    return looks | fresh


def _next(place: int, ranked: Ranked, frame: PreviewFrame, info: PreviewInfo) -> NextImage:
    return NextImage(
        place, frame.ref.frame, frame.ref.name, round(ranked.score, 3), _why(ranked, frame, info)
    )


def _why(ranked: Ranked, frame: PreviewFrame, info: PreviewInfo) -> str:
    """Say why an image is worth a label: "5 of 12 objects unsure, most doubt about bolt"."""
    if ranked.label is None:
        reason = "nothing found"
    else:
        doubt = f", most doubt about {info.labels[ranked.label]}" if len(info.labels) > 1 else ""
        reason = f"{ranked.num_unsure} of {len(frame.scores)} objects unsure{doubt}"
    return f"{reason}; unlike the labelled images" if ranked.is_unlike else reason

"""Previews: predict once, then look at any threshold without the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lsl_core import cvat
from lsl_core.cvat import CvatSession
from lsl_core.errors import BadThreshold, UserInput
from lsl_core.inference.cache import PredictionCache, cache_key
from lsl_core.inference.previews import PreviewFrame, PreviewInfo, PreviewStore
from lsl_core.inference.runner import FailedImage, predict_images
from lsl_core.models import load_model, transform_version
from lsl_core.progress import NULL, Progress
from lsl_core.services import connections, modelling, sourcing
from lsl_core.types import (
    CropMasks,
    Decision,
    ImageRef,
    Instances,
    ModelCard,
    SlideWindows,
    View,
)
from lsl_core.workspace import CvatSettings, Workspace
from lsl_core.workspace.images import Pixels, read_rgb

__all__ = [
    "FrameView",
    "PreviewFrame",
    "PreviewInfo",
    "choose",
    "counts",
    "decide",
    "existing_annotations",
    "flag",
    "frame_instances",
    "frame_view",
    "frames",
    "get_preview",
    "list_previews",
    "predict_source",
    "predict_task",
    "proposed_windows",
    "run_predict_task",
    "view_of",
]

#: Mask threshold of a new preview.
DEFAULT_MASK_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class FrameView:
    """What a viewer draws: the image and everything that was found on it.

    pixels: (h, w, 3) uint8 RGB. instances: all objects of the run, with soft masks or boxes.
    """

    frame: PreviewFrame
    pixels: Pixels
    instances: Instances


@dataclass(frozen=True, slots=True)
class _Image:
    ref: ImageRef
    path: Path


def predict_task(
    session: CvatSession,
    workspace: Workspace,
    task_id: int,
    *,
    model: str,
    slide: SlideWindows | None = None,
    progress: Progress = NULL,
) -> PreviewInfo:
    """Predict every frame of a CVAT task once and keep what was found.

    Args:
        session: where the task is.
        workspace: where the model is, and the images and predictions go.
        task_id: which task.
        model: name or id of a model.
        slide: windows; None looks at each image at once.
        progress: told images.

    Returns:
        The preview; frames that could not be read are in it with their reason.

    Raises:
        CvatError, UserInput, ModelError: before anything is predicted.
    """
    card = modelling.get_model(workspace, model)
    task = cvat.get_task(session, task_id)
    pulled = cvat.pull_frames(session, task_id, workspace.frames, progress=progress)
    images = [_Image(ref, path) for ref, path in zip(pulled.refs, pulled.paths, strict=True)]
    info = _begin(
        workspace,
        card,
        title=f"{task_id} {task.name}",
        url=session.url,
        task_id=task_id,
        slide=slide,
        owner=session.user,
    )
    store = PreviewStore(workspace.database)
    for failed in pulled.failed:
        ref = ImageRef(task_id, failed.frame, failed.name, (1, 1), "")
        store.record_failure(info.id, ref, path="", reason=failed.reason)
    return _predict(workspace, card, info, images, progress)


def predict_source(
    workspace: Workspace,
    name: str,
    *,
    model: str,
    slide: SlideWindows | None = None,
    progress: Progress = NULL,
) -> PreviewInfo:
    """Predict every image of a source; see `predict_task`."""
    card = modelling.get_model(workspace, model)
    source = sourcing.load_source(workspace, name)
    images = [_Image(image.ref, image.path) for image in source.images]
    info = _begin(workspace, card, title=name, source=name, slide=slide, owner="")
    return _predict(workspace, card, info, images, progress)


def run_predict_task(
    workspace: Workspace,
    *,
    connection: dict[str, Any],
    task_id: int,
    model: str,
    slide: dict[str, Any] | None,
    progress: Progress,
) -> dict[str, Any]:
    """Predict in the worker; see `predict_task`."""
    with connections.open_session(CvatSettings.model_validate(connection)) as session:
        info = predict_task(
            session,
            workspace,
            task_id,
            model=model,
            slide=SlideWindows(**slide) if slide else None,
            progress=progress,
        )
    found = frames(workspace, info.id)
    return {
        "preview": info.id,
        "task_id": task_id,
        "frames": len(found),
        "failed": sum(bool(frame.error) for frame in found),
        "objects": sum(len(frame.scores) for frame in found),
    }


def _begin(
    workspace: Workspace,
    card: ModelCard,
    *,
    title: str,
    slide: SlideWindows | None,
    owner: str,
    url: str = "",
    task_id: int | None = None,
    source: str = "",
) -> PreviewInfo:
    return PreviewStore(workspace.database).add(
        title=title,
        url=url,
        task_id=task_id,
        source=source,
        model_id=card.id,
        slide=slide,
        floor_score=workspace.settings().inference.floor_score,
        thresholds={label: card.thresholds.get(label, 0.5) for label in card.labels},
        mask_threshold=DEFAULT_MASK_THRESHOLD,
        owner=owner,
    )


def _predict(
    workspace: Workspace,
    card: ModelCard,
    info: PreviewInfo,
    images: list[_Image],
    progress: Progress,
) -> PreviewInfo:
    settings = workspace.settings().inference
    store = PreviewStore(workspace.database)
    paths = {image.ref: _relative(workspace, image.path) for image in images}
    outcomes = predict_images(
        # an image that is in the cache needs no model, so it is loaded when one is not
        lambda: load_model(workspace.models / card.id, device=settings.device),
        card=card,
        transform_version=transform_version(card.family),
        images=[(image.ref, _reader(image.path)) for image in images],
        slide=info.slide,
        floor_score=info.floor_score,
        cache=_cache(workspace),
        batch_size=settings.batch_size,
        progress=progress,
    )
    for outcome in outcomes:
        if isinstance(outcome, FailedImage):
            path = paths[outcome.ref]
            store.record_failure(info.id, outcome.ref, path=path, reason=outcome.reason)
        else:
            path, key = paths[outcome.image], _key(card, outcome.image, info)
            store.record(info.id, outcome, path=path, key=key)
    store.finish(info.id)
    return store.get(info.id)


def list_previews(
    workspace: Workspace, *, url: str | None = None, task_id: int | None = None
) -> list[PreviewInfo]:
    """Return previews, newest first; of one server and one task when they are given."""
    return [
        info
        for info in PreviewStore(workspace.database).recent(limit=1000)
        if url in (None, info.url) and task_id in (None, info.task_id)
    ]


def get_preview(workspace: Workspace, preview_id: str) -> PreviewInfo:
    """Return a preview.

    Raises:
        UserInput: when there is none of that id.
    """
    return PreviewStore(workspace.database).get(preview_id)


def frames(workspace: Workspace, preview_id: str) -> list[PreviewFrame]:
    """Return the frames of a preview with their scores and decisions, in the task's order."""
    return PreviewStore(workspace.database).frames(preview_id)


def frame_view(workspace: Workspace, preview_id: str, frame: int) -> FrameView:
    """Return a frame's pixels and everything found on it; no model call while it is cached.

    Raises:
        UserInput: when the preview has no such frame, or it could not be looked at.
    """
    info = get_preview(workspace, preview_id)
    found = _frame(workspace, preview_id, frame)
    pixels = read_rgb(workspace.data / found.path)
    return FrameView(found, pixels, _instances(workspace, info, found, lambda: pixels))


def frame_instances(workspace: Workspace, info: PreviewInfo, frame: PreviewFrame) -> Instances:
    """Return everything found on a frame, without decoding the image while it is cached."""
    return _instances(workspace, info, frame, _reader(workspace.data / frame.path))


def _instances(
    workspace: Workspace, info: PreviewInfo, frame: PreviewFrame, pixels: Callable[[], Pixels]
) -> Instances:
    stored = _cache(workspace).get(frame.cache_key)
    if stored is not None:
        return stored.instances
    # gone from the cache, which is bounded, or damaged: the model looks again
    card = modelling.get_model(workspace, info.model_id)
    settings = workspace.settings().inference
    (outcome,) = predict_images(
        lambda: load_model(workspace.models / card.id, device=settings.device),
        card=card,
        transform_version=transform_version(card.family),
        images=[(frame.ref, pixels)],
        slide=info.slide,
        floor_score=info.floor_score,
        cache=_cache(workspace),
    )
    if isinstance(outcome, FailedImage):
        raise UserInput(f"{frame.ref.name} cannot be looked at: {outcome.reason}")
    return outcome.instances


def existing_annotations(
    session: CvatSession, workspace: Workspace, preview_id: str, frame: int
) -> Instances:
    """Return what CVAT holds for a frame now; class ids are those of the preview.

    Labels that the model does not know are left out.
    """
    info = get_preview(workspace, preview_id)
    if info.task_id is None:
        return Instances.empty((1, 1), masks=CropMasks.empty())
    state = cvat.read_task(session, info.task_id)
    found = state.objects().frames[frame].instances
    known = {label: i for i, label in enumerate(info.labels)}
    ours = np.array([known.get(label.name, -1) for label in state.labels], np.int32)
    class_ids = ours[found.class_ids]
    return replace(found, class_ids=class_ids).take(class_ids >= 0)


def choose(
    workspace: Workspace,
    preview_id: str,
    *,
    thresholds: Mapping[str, float],
    mask_threshold: float,
) -> None:
    """Keep the thresholds that a person chose: score per label, and the masks' own.

    Raises:
        BadThreshold: when one is outside its range.
    """
    bad = [t for t in thresholds.values() if not 0 <= t <= 1]
    if bad or not 0 < mask_threshold <= 1:
        raise BadThreshold(
            f"A threshold of {bad[0] if bad else mask_threshold} is not between 0 and 1.",
            hint="Choose a score from 0 to 1, and a mask threshold above 0.",
        )
    PreviewStore(workspace.database).choose(
        preview_id, thresholds=thresholds, mask_threshold=mask_threshold
    )


def decide(
    workspace: Workspace, preview_id: str, frame: int, decisions: Mapping[int, Decision]
) -> None:
    """Keep what a person decided about a frame's objects, in place of what was decided before."""
    PreviewStore(workspace.database).decide(preview_id, frame, decisions)


def flag(workspace: Workspace, preview_id: str, frame: int, *, is_flagged: bool) -> None:
    """Mark a frame for review, or take the mark away."""
    PreviewStore(workspace.database).flag(preview_id, frame, is_flagged=is_flagged)


def view_of(
    info: PreviewInfo,
    frame: PreviewFrame,
    *,
    conf: float | None = None,
    mask_threshold: float | None = None,
) -> View:
    """Return what a person chose to see on a frame, with other thresholds where they are given."""
    return View(
        tuple(info.thresholds[label] if conf is None else conf for label in info.labels),
        mask_threshold or info.mask_threshold,
        frame.decisions,
    )


def counts(info: PreviewInfo, found: Iterable[PreviewFrame]) -> dict[str, tuple[int, int]]:
    """Return how many objects of each label count at the chosen thresholds, and how many exist."""
    shown = np.zeros(len(info.labels), np.int64)
    total = np.zeros(len(info.labels), np.int64)
    for frame in found:
        is_shown = view_of(info, frame).shows_scores(frame.scores, frame.class_ids)
        shown += np.bincount(frame.class_ids[is_shown], minlength=len(shown))
        total += np.bincount(frame.class_ids, minlength=len(total))
    return {label: (int(shown[i]), int(total[i])) for i, label in enumerate(info.labels)}


def proposed_windows(
    workspace: Workspace, session: CvatSession, *, model: str, task_id: int
) -> SlideWindows | None:
    """Return windows of the size the model was trained at when the task's images are larger."""
    card = modelling.get_model(workspace, model)
    largest = max(max(frame.image_hw) for frame in cvat.task_frames(session, task_id))
    if largest <= card.window:
        return None
    return SlideWindows(card.window, card.window, min(SlideWindows().overlap, card.window // 4))


def _frame(workspace: Workspace, preview_id: str, frame: int) -> PreviewFrame:
    for found in frames(workspace, preview_id):
        if found.ref.frame == frame:
            if found.error:
                raise UserInput(f"Frame {frame} could not be looked at: {found.error}")
            return found
    raise UserInput(f"This preview has no frame {frame}.", hint="Choose another frame.")


def _key(card: ModelCard, ref: ImageRef, info: PreviewInfo) -> str:
    return cache_key(
        weights_sha256=card.weights_sha256,
        image_sha256=ref.sha256,
        slide=info.slide,
        transform_version=transform_version(card.family),
        floor_score=info.floor_score,
    )


def _cache(workspace: Workspace) -> PredictionCache:
    gigabytes = workspace.settings().inference.cache_gb
    return PredictionCache(workspace.predictions, max_bytes=int(gigabytes * 1e9))


def _reader(path: Path) -> Callable[[], Pixels]:
    return lambda: read_rgb(path)


def _relative(workspace: Workspace, path: Path) -> str:
    return path.relative_to(workspace.data).as_posix()

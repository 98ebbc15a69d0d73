"""Predicting: the model looks once, and what it found is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsl_core import cvat
from lsl_core.cvat import CvatSession
from lsl_core.errors import UserInput
from lsl_core.inference.cache import PredictionCache, cache_key
from lsl_core.inference.previews import PreviewFrame, PreviewInfo, PreviewStore
from lsl_core.inference.runner import FailedImage, predict_images
from lsl_core.models import load_model, transform_version
from lsl_core.progress import NULL, Progress
from lsl_core.services import connections, sourcing
from lsl_core.services.models import versions
from lsl_core.types import ImageRef, Instances, ModelCard, SlideWindows
from lsl_core.workspace import CvatSettings, Workspace
from lsl_core.workspace.images import Pixels, read_rgb

__all__ = [
    "Findings",
    "predict_source",
    "predict_task",
    "proposed_windows",
    "run_predict_task",
    "trained_windows",
]

#: Mask threshold of a new preview.
DEFAULT_MASK_THRESHOLD = 0.5


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
    card = versions.get_model(workspace, model)
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
    card = versions.get_model(workspace, model)
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
    found = PreviewStore(workspace.database).frames(info.id)
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


class Findings:
    """Everything that was found on the frames of a preview.

    No model is asked while it is cached. What the bounded cache gave up, or what is damaged there,
    is predicted again.
    """

    def __init__(self, workspace: Workspace, info: PreviewInfo) -> None:
        self._workspace, self._info = workspace, info
        self._cache = _cache(workspace)

    def on(self, frame: PreviewFrame, pixels: Callable[[], Pixels] | None = None) -> Instances:
        """Return what was found on a frame that could be looked at.

        Args:
            frame: of the preview.
            pixels: its pixels, where they were read already.

        Raises:
            UserInput: when it has to be predicted again and cannot be read any more.
        """
        stored = self._cache.get(frame.cache_key)
        if stored is not None:
            return stored.instances
        models, info = self._workspace.models, self._info
        card = versions.get_model(self._workspace, info.model_id)
        device = self._workspace.settings().inference.device
        (outcome,) = predict_images(
            lambda: load_model(models / card.id, device=device),
            card=card,
            transform_version=transform_version(card.family),
            images=[(frame.ref, pixels or _reader(self._workspace.data / frame.path))],
            slide=info.slide,
            floor_score=info.floor_score,
            cache=self._cache,
        )
        if isinstance(outcome, FailedImage):
            raise UserInput(f"{frame.ref.name} cannot be looked at: {outcome.reason}")
        return outcome.instances


def proposed_windows(
    workspace: Workspace, session: CvatSession, *, model: str, task_id: int
) -> SlideWindows | None:
    """Return windows of the size the model was trained at when the task's images are larger."""
    slide = trained_windows(workspace, model)
    largest = max(max(frame.image_hw) for frame in cvat.task_frames(session, task_id))
    return slide if largest > slide.width else None


def trained_windows(workspace: Workspace, model: str) -> SlideWindows:
    """Return windows of the size that a model was trained at; a smaller image is one window."""
    window = versions.get_model(workspace, model).window
    return SlideWindows(window, window, min(SlideWindows().overlap, window // 4))


def _key(card: ModelCard, ref: ImageRef, info: PreviewInfo) -> str:
    return cache_key(
        weights_sha256=card.fingerprint,
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

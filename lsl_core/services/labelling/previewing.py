"""Previews: look at what was predicted at any threshold, without the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lsl_core import cvat
from lsl_core.cvat import CvatSession
from lsl_core.errors import BadThreshold, UserInput
from lsl_core.inference.previews import PreviewFrame, PreviewInfo, PreviewStore
from lsl_core.services.labelling import predicting
from lsl_core.types import CropMasks, Decision, Instances, View, Window
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import Pixels, read_rgb
from lsl_core.workspace.tiles import TileStore

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
    "frame_part",
    "frame_view",
    "frames",
    "get_preview",
    "list_previews",
    "num_shown",
    "view_of",
]


#: Room on disk for parts of very large images: some twenty of 16384 x 16384.
_TILE_BYTES = 2 * 10**9


@dataclass(frozen=True, slots=True, eq=False)
class FrameView:
    """What a viewer draws: the image and everything that was found on it.

    pixels: (h, w, 3) uint8 RGB. instances: all objects of the run, with soft masks or boxes.
    """

    frame: PreviewFrame
    pixels: Pixels
    instances: Instances


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
    instances = predicting.Findings(workspace, info).on(found, lambda: pixels)
    return FrameView(found, pixels, instances)


def frame_part(
    workspace: Workspace, preview_id: str, frame: int, part: Window, *, pixels: int
) -> Pixels:
    """Return a part of a frame's image, so many pixels wide at most.

    The image is decoded once, and cut into tiles that stay in the workspace for a while.

    Raises:
        UserInput: when the preview has no such frame, or its image is gone.
    """
    found = _frame(workspace, preview_id, frame)
    return TileStore(workspace.tiles, _TILE_BYTES).region(
        found.ref.sha256,
        part,
        image_hw=found.ref.image_hw,
        pixels=pixels,
        read=lambda: read_rgb(workspace.data / found.path),
    )


def frame_instances(workspace: Workspace, info: PreviewInfo, frame: PreviewFrame) -> Instances:
    """Return everything found on a frame, without decoding the image while it is cached."""
    return predicting.Findings(workspace, info).on(frame)


def existing_annotations(
    session: CvatSession, workspace: Workspace, preview_id: str, frame: int
) -> Instances:
    """Return what CVAT holds for a frame now; class ids are those of the preview.

    Labels that the model does not know are left out.
    """
    info = get_preview(workspace, preview_id)
    if info.task_id is None:
        return Instances.empty((1, 1), masks=CropMasks.empty())
    state = cvat.read_task(session, info.task_id, frames=[frame])
    found = state.objects().frames[frame].instances
    return found.relabelled([label.name for label in state.labels], info.labels)


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


def num_shown(info: PreviewInfo, frame: PreviewFrame) -> int:
    """Return how many objects of a frame count at the chosen thresholds."""
    return int(view_of(info, frame).shows_scores(frame.scores, frame.class_ids).sum())


def counts(info: PreviewInfo, found: Iterable[PreviewFrame]) -> dict[str, tuple[int, int]]:
    """Return how many objects of each label count at the chosen thresholds, and how many exist."""
    shown = np.zeros(len(info.labels), np.int64)
    total = np.zeros(len(info.labels), np.int64)
    for frame in found:
        is_shown = view_of(info, frame).shows_scores(frame.scores, frame.class_ids)
        shown += np.bincount(frame.class_ids[is_shown], minlength=len(shown))
        total += np.bincount(frame.class_ids, minlength=len(total))
    return {label: (int(shown[i]), int(total[i])) for i, label in enumerate(info.labels)}


def _frame(workspace: Workspace, preview_id: str, frame: int) -> PreviewFrame:
    for found in frames(workspace, preview_id):
        if found.ref.frame == frame:
            if found.error:
                raise UserInput(f"Frame {frame} could not be looked at: {found.error}")
            return found
    raise UserInput(f"This preview has no frame {frame}.", hint="Choose another frame.")

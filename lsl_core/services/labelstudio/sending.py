"""Sending what a model found to a Label Studio project, as predictions."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lsl_core.errors import LabelStudioError, UserInput
from lsl_core.geometry.drawable import Drawing
from lsl_core.labelstudio import LabelConfig, LabelStudio, config_for, parse_config, regions_of
from lsl_core.progress import NULL, Progress
from lsl_core.services.labelling import exporting
from lsl_core.services.labelling.previewing import PreviewInfo
from lsl_core.services.labelstudio import projects
from lsl_core.services.models import versions
from lsl_core.types import Instances
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import encode_rgb, read_rgb

__all__ = ["Drawing", "SentProject", "export_preview"]

Json = dict[str, Any]

#: Tasks that are put into a new project with one request.
_TASKS = 20
_TOOLS = {
    Drawing.MASK: "brushlabels",
    Drawing.POLYGON: "polygonlabels",
    Drawing.RECTANGLE: "rectanglelabels",
}
#: Brush masks of an image times its pixels, above which the editor opens it slowly: it paints each
#: mask over the whole image. 25 masks on 4000×3000 took 36 s, 100 took 149 s, 200 did not open.
_HEAVY_PX = 300_000_000
#: Endings of images that Label Studio takes.
_SHOWN = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
#: Field of a task's `meta` that holds the hash of its image.
_MARK = "lsl_image"


@dataclass(frozen=True, slots=True)
class SentProject:
    """A project that predictions were sent to, and how many.

    is_new: whether it was made for them. is_heavy: whether an image has so many brush masks that
    Label Studio's editor opens it slowly, or not at all.
    """

    id: int
    url: str
    num_images: int
    num_objects: int
    is_new: bool
    is_heavy: bool


def export_preview(
    workspace: Workspace,
    *,
    model: str,
    source: str,
    title: str,
    drawing: Drawing | None = None,
    progress: Progress = NULL,
) -> SentProject:
    """Put what a model found on a source into a Label Studio project, as predictions.

    A project is made when there is none of this title; it is there whole in the end, or not at all,
    unless the server goes away: then the next export finishes it. In one that an export made
    before, images stay, predictions of the same version are replaced, and those of others stay
    beside; annotations are never touched.

    Args:
        workspace: where the preview is.
        model: its name or id.
        source: that it labelled.
        title: of the project.
        drawing: how, in a new project; None as the model gives objects. Only masks keep holes.
        progress: told images.

    Raises:
        UserInput: when nothing was predicted, or somebody else made the project.
        LabelMismatch: when the project cannot show what the model finds.
        LabelStudioError: when the server refuses something.
    """
    info = exporting.newest_preview(workspace, model=model, source=source)
    with projects.open_server(workspace) as server:
        title = title.strip()
        there = server.project_named(title)
        if there is not None:
            return _renew(workspace, server, info, there, progress)
        has_masks = versions.draws_masks(workspace, info.model_id)
        tool = _TOOLS[(drawing or Drawing.MASK) if has_masks else Drawing.RECTANGLE]
        xml = config_for(info.labels, tool)
        project_id = server.create_project(title, xml)
        try:
            return _send(
                workspace, server, info, project_id, parse_config(xml), there={}, progress=progress
            )
        except BaseException:
            with contextlib.suppress(LabelStudioError):
                server.delete_project(project_id)
            raise


def _renew(
    workspace: Workspace, server: LabelStudio, info: PreviewInfo, project: Json, progress: Progress
) -> SentProject:
    """Send predictions to a project that an export made."""
    number, title = int(project["id"]), project.get("title", "")
    there: dict[str, list[Json]] = {}
    is_empty = True  # as an export leaves it that lost the server at its start
    for task in server.tasks(number):
        is_empty = False
        if isinstance(task.get("meta"), dict) and _MARK in task["meta"]:
            there.setdefault(task["meta"][_MARK], []).append(task)
    if not there and not is_empty:
        raise UserInput(
            f'Label Studio has a project "{title}" that no export made: '
            f"{server.url}/projects/{number}",
            hint="Choose another name.",
        )
    config = parse_config(str(project.get("label_config", "")))
    sent = _send(workspace, server, info, number, config, there=there, progress=progress)
    shown = str(project.get("model_version") or "")
    name = versions.get_model(workspace, info.model_id).name
    if shown != info.model_id and shown.rpartition("-v")[0] == name:
        server.show_version(number, info.model_id)
    return sent


def _send(
    workspace: Workspace,
    server: LabelStudio,
    info: PreviewInfo,
    project_id: int,
    config: LabelConfig,
    *,
    there: dict[str, list[Json]],
    progress: Progress,
) -> SentProject:
    """Send predictions; images, too, unless they are `there`: tasks by the hash of their image."""
    is_new = not there
    frames = exporting.usable_frames(workspace, info)
    num_objects, is_heavy = 0, False
    progress.start("Sending", total=len(frames), unit="images")
    tasks: list[Json] = []
    for frame in frames:
        progress.check()
        shown = exporting.shown_objects(workspace, info, frame)
        prediction = _prediction(info, shown, config)
        num_objects += len(shown)
        height, width = shown.image_hw
        num_painted = sum(region["type"] == "brushlabels" for region in prediction["result"])
        is_heavy = is_heavy or num_painted * height * width > _HEAVY_PX
        if known := there.get(frame.ref.sha256):
            _replace(server, known.pop(0), prediction)
        else:
            name = PurePosixPath(frame.ref.name).name
            address = server.upload(project_id, *_to_show(workspace.data / frame.path, name))
            tasks.append(
                {
                    "data": {config.image_key: address},
                    "meta": {_MARK: frame.ref.sha256},
                    "predictions": [prediction],
                }
            )
        if tasks and (len(tasks) == _TASKS or frame is frames[-1]):
            server.add_tasks(project_id, tasks)
            tasks = []
        progress.advance()
    url = f"{server.url}/projects/{project_id}"
    return SentProject(project_id, url, len(frames), num_objects, is_new=is_new, is_heavy=is_heavy)


def _to_show(path: Path, name: str) -> tuple[str, bytes]:
    """Return name and bytes of an image as Label Studio takes it: PNG where it takes no other."""
    if PurePosixPath(name).suffix.lower() in _SHOWN:
        return name, path.read_bytes()
    return f"{name}.png", encode_rgb(read_rgb(path), suffix=".png")


def _replace(server: LabelStudio, task: Json, prediction: Json) -> None:
    """Put a prediction into a task in place of those of its version; the new one comes first."""
    old = [
        row["id"]
        for row in task.get("predictions") or []
        if row.get("model_version") == prediction["model_version"]
    ]
    server.add_prediction(task["id"], prediction)
    for number in old:
        server.delete_prediction(number)


def _prediction(info: PreviewInfo, shown: Instances, config: LabelConfig) -> Json:
    """Return what was found on an image as Label Studio keeps it."""
    return {
        "model_version": info.model_id,
        "score": float(np.mean(shown.scores)) if len(shown) else 0.0,
        "result": regions_of(shown, info.labels, config),
    }

"""Sources from files on disk: a COCO export, or a folder of images without labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsl_core.errors import UserInput, WorkspaceError
from lsl_core.progress import NULL, Progress
from lsl_core.sources import coco
from lsl_core.sources.source import LabelledImage, SourceInfo, save_source
from lsl_core.types import CropMasks, Instances
from lsl_core.workspace.files import read_json
from lsl_core.workspace.images import IMAGE_SUFFIXES, image_ref


@dataclass(frozen=True, slots=True)
class Imported:
    """A new source, and what could not be taken in: pairs of name and reason."""

    info: SourceInfo
    left_out: tuple[tuple[str, str], ...]


def import_coco(
    folder: Path,
    name: str,
    *,
    images: Path,
    annotation: Path,
    origin: dict[str, Any] | None = None,
    progress: Progress = NULL,
) -> Imported:
    """Import a COCO file and the folder that its images lie in.

    Args:
        folder: where sources live.
        name: of the new source.
        images: folder that `file_name` in the COCO file is relative to.
        annotation: the COCO file; category ids may have gaps.
        origin: where it comes from; these two paths when None.
        progress: told one unit per image.

    Raises:
        UserInput: when a path is missing, the file is no COCO, or nothing in it can be used.
    """
    document = _read_coco(annotation)
    _check_folder(images)
    labels = _labels(document, annotation)
    objects, problems = coco.read_objects(document, labels)
    left_out = [(annotation.name, problem) for problem in problems]
    labelled: list[LabelledImage] = []
    progress.start("Reading images", total=len(document["images"]), unit="images")
    for frame, entry in enumerate(document["images"]):
        progress.check()
        try:
            labelled.append(_labelled_image(entry, frame, images, objects[entry["id"]]))
        except UserInput as error:
            left_out.append((str(entry["file_name"]), error.message))
        progress.advance()
    origin = origin or {"kind": "coco", "images": str(images), "annotation": str(annotation)}
    info = save_source(folder, name, labelled, labels=labels, is_labelled=True, origin=origin)
    return Imported(info, tuple(left_out))


def import_unlabelled(
    folder: Path, name: str, *, images: Path, progress: Progress = NULL
) -> Imported:
    """Import every image under a folder, without labels.

    Raises:
        UserInput: when the folder is missing or holds no readable image.
    """
    _check_folder(images)
    files = sorted(p for p in images.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    found: list[LabelledImage] = []
    left_out: list[tuple[str, str]] = []
    progress.start("Reading images", total=len(files), unit="images")
    for file in files:
        progress.check()
        relative = file.relative_to(images).as_posix()
        try:
            ref = image_ref(file, frame=len(found), name=relative)
        except UserInput as error:
            left_out.append((relative, error.message))
        else:
            none = Instances.empty(ref.image_hw, masks=CropMasks.empty())
            found.append(LabelledImage(ref, file, none, np.zeros(0, bool)))
        progress.advance()
    origin = {"kind": "folder", "images": str(images)}
    info = save_source(folder, name, found, labels=(), is_labelled=False, origin=origin)
    return Imported(info, tuple(left_out))


def _read_coco(annotation: Path) -> dict[str, Any]:
    try:
        document = read_json(annotation)
    except WorkspaceError as error:
        raise UserInput(error.message, hint="Give a COCO file with --annotation.") from error
    if not isinstance(document, dict) or not {"images", "categories"} <= document.keys():
        raise UserInput(
            f"{annotation} is no COCO file: it has no images and categories.",
            hint='In CVAT, export the task as "COCO 1.0".',
        )
    return document


def _labels(document: dict[str, Any], annotation: Path) -> tuple[str, ...]:
    labels = tuple(category["name"] for category in document["categories"])
    if not labels or len(set(labels)) != len(labels):
        raise UserInput(
            f"{annotation} has no labels, or one of them twice: {', '.join(labels) or 'none'}.",
            hint="Correct its categories and import again.",
        )
    return labels


def _check_folder(images: Path) -> None:
    if not images.is_dir():
        raise UserInput(f"{images} is no folder.", hint="Give the folder of images with --image.")


def _labelled_image(
    entry: dict[str, Any], frame: int, images: Path, objects: coco.Objects
) -> LabelledImage:
    path = (images / entry["file_name"]).resolve()
    if not path.is_relative_to(images.resolve()):
        raise UserInput("its path leaves the folder of images")
    ref = image_ref(path, frame=frame, name=entry["file_name"])
    if ref.image_hw != (entry["height"], entry["width"]):
        height, width = ref.image_hw
        raise UserInput(
            f"the file is {width}×{height} but its labels are for "
            f"{entry['width']}×{entry['height']} pixels"
        )
    return LabelledImage(ref, path, *objects)

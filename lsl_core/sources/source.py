"""A source on disk: images, and what people drew on them.

    sources/<name>/source.json        what it is and where it came from
    sources/<name>/annotations.json   COCO: labels, images, objects
    sources/<name>/images/…           the files, names and folders as they were

A source appears whole, by one rename, or not at all.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import FormatTooNew, UserInput, WorkspaceError
from lsl_core.sources import coco
from lsl_core.types import ImageRef, Instances, LabelMap
from lsl_core.workspace.files import check_name, link_or_copy, read_json, safe_relative, write_json

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image of a source.

    path: the image file. instances: what people drew, score 1, masks as `CropMasks`; an object
    drawn as a box has a mask of the whole box. has_mask: (N,) bool, whether a mask was drawn.
    """

    ref: ImageRef
    path: Path
    instances: Instances
    has_mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a list of sources shows.

    origin: for example {"kind": "cvat", "url": …, "task_id": 41}. created: ISO 8601, UTC.
    """

    name: str
    labels: tuple[str, ...]
    num_images: int
    num_objects: int
    num_masks: int
    is_labelled: bool
    origin: dict[str, Any]
    created: str


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A source with everything in it."""

    info: SourceInfo
    labels: LabelMap
    images: tuple[LabelledImage, ...]


def check_new_name(folder: Path, name: str) -> Path:
    """Return where a new source goes.

    Raises:
        UserInput: when the name is taken or cannot name a folder.
    """
    target = folder / check_name(name, what="source")
    if target.exists():
        raise UserInput(
            f'There is a source "{name}" already.',
            hint=f'Choose another name, or remove it first: lsl rm "{name}"',
        )
    return target


def save_source(
    folder: Path,
    name: str,
    images: Sequence[LabelledImage],
    *,
    labels: tuple[str, ...],
    is_labelled: bool,
    origin: dict[str, Any],
) -> SourceInfo:
    """Write a new source into `folder`; images are linked, or copied where links do not go.

    Raises:
        UserInput: when the name is taken or cannot name a folder, or there is no image.
    """
    target = check_new_name(folder, name)
    if not images:
        raise UserInput(
            f'"{name}" would be empty: there is no readable image.',
            hint="Choose a task or a folder that holds images.",
        )
    info = SourceInfo(
        name=name,
        labels=labels,
        num_images=len(images),
        num_objects=sum(len(image.instances) for image in images),
        num_masks=sum(int(image.has_mask.sum()) for image in images),
        is_labelled=is_labelled,
        origin=origin,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    try:
        _write_parts(part, info, images)
        part.chmod(0o755)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return info


def _write_parts(part: Path, info: SourceInfo, images: Sequence[LabelledImage]) -> None:
    document = coco.document(
        [(image.ref, image.instances, image.has_mask) for image in images], info.labels
    )
    for entry, image, file in zip(document["images"], images, _places(images), strict=True):
        link_or_copy(image.path, part / "images" / file)
        # COCO's file_name stays the task's; ours say where the bytes lie and what they are
        entry["lsl_file"] = file.as_posix()
        entry["lsl_frame"] = image.ref.frame
        entry["lsl_sha256"] = image.ref.sha256
        entry["lsl_task_id"] = image.ref.task_id
    write_json(part / "annotations.json", document)
    write_json(part / "source.json", _to_json(info))


def _places(images: Sequence[LabelledImage]) -> list[Path]:
    """Return where each image goes under `images/`: its own name, numbered when it is taken."""
    places: list[Path] = []
    for image in images:
        file = safe_relative(image.ref.name)
        taken = file in places
        places.append(file.with_name(f"{image.ref.frame:06d}-{file.name}") if taken else file)
    return places


def _to_json(info: SourceInfo) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "name": info.name,
        "labels": list(info.labels),
        "num_images": info.num_images,
        "num_objects": info.num_objects,
        "num_masks": info.num_masks,
        "is_labelled": info.is_labelled,
        "origin": info.origin,
        "created": info.created,
    }


def read_info(folder: Path, name: str) -> SourceInfo:
    """Read what a source is, without its images.

    Raises:
        UserInput: when there is no such source; names those that there are.
        FormatTooNew: when a newer LSL wrote it.
        WorkspaceError: when its files are damaged.
    """
    path = folder / name / "source.json"
    if not path.is_file():
        known = ", ".join(f'"{info.name}"' for info in list_sources(folder)) or "none yet"
        raise UserInput(
            f'There is no source "{name}".',
            hint=f"Sources here: {known}. Import one: lsl import --cvat-task-id ID --name NAME",
        )
    values = read_json(path)
    if values["format_version"] > FORMAT_VERSION:
        raise FormatTooNew(f'Source "{name}" was made by a newer LSL.', hint="Update LSL.")
    return SourceInfo(
        name=name,
        labels=tuple(values["labels"]),
        num_images=values["num_images"],
        num_objects=values["num_objects"],
        num_masks=values["num_masks"],
        is_labelled=values["is_labelled"],
        origin=values["origin"],
        created=values["created"],
    )


def list_sources(folder: Path) -> list[SourceInfo]:
    """Return every source, newest first."""
    names = [path.parent.name for path in folder.glob("*/source.json")]
    found = [read_info(folder, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda info: (info.created, info.name), reverse=True)


def load_source(folder: Path, name: str) -> Source:
    """Read a source with all its objects; images are decoded by whoever needs them.

    Raises:
        UserInput, FormatTooNew, WorkspaceError: as `read_info`.
    """
    info = read_info(folder, name)
    root = folder / name
    document = read_json(root / "annotations.json")
    objects, problems = coco.read_objects(document, info.labels)
    if problems:
        raise WorkspaceError(
            f'Source "{name}" is damaged: {problems[0]}.',
            hint=f'Remove it (lsl rm "{name}") and import it again.',
        )
    images = []
    for entry in document["images"]:
        ref = ImageRef(
            task_id=entry["lsl_task_id"],
            frame=entry["lsl_frame"],
            name=entry["file_name"],
            image_hw=(entry["height"], entry["width"]),
            sha256=entry["lsl_sha256"],
        )
        instances, has_mask = objects[entry["id"]]
        images.append(LabelledImage(ref, root / "images" / entry["lsl_file"], instances, has_mask))
    return Source(info, LabelMap(info.labels), tuple(images))


def rename_source(folder: Path, name: str, new_name: str) -> None:
    """Give a source another name.

    Raises:
        UserInput: when it does not exist, or the new name is taken or unusable.
    """
    read_info(folder, name)
    (folder / name).rename(check_new_name(folder, new_name))


def remove_source(folder: Path, name: str, *, trash: Path) -> Path:
    """Move a source to the trash, from where it can be brought back; return where it lies.

    Raises:
        UserInput: when there is no such source.
    """
    read_info(folder, name)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    target = trash / "sources" / f"{stamp} {name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / name).rename(target)
    return target

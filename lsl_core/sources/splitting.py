"""A COCO file cut in two: one part to learn from, one to measure on."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsl_core.errors import UserInput, WorkspaceError
from lsl_core.workspace.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a COCO file that was cut, on disk."""

    path: Path
    num_images: int
    num_objects: int


def split_coco(annotation: Path, folder: Path, *, share: float, seed: int = 0) -> tuple[Part, Part]:
    """Write two COCO files with the images of one: STEM_1_N.json and STEM_2_N.json.

    Images are drawn at random, the same ones for the same seed; entries of one file name stay
    together, so that no image is both learnt from and measured on.

    Args:
        annotation: a COCO file.
        folder: where the parts go; made when missing.
        share: of the images that go to the first part, in (0, 1).
        seed: of the draw.

    Raises:
        UserInput: when it is no COCO file, has too few images, or a part is there already.
    """
    if not 0 < share < 1:
        raise UserInput(f"A share of {share:g} is not between 0 and 1.", hint="Try --split 0.8")
    document = _read(annotation)
    names = sorted({str(image.get("file_name")) for image in document["images"]})
    if len(names) < 2:
        raise UserInput(f"{annotation} has {len(names)} images: two are the least to split.")
    random.Random(seed).shuffle(names)  # noqa: S311 - a draw that can be repeated, no secret
    first = set(names[: min(max(1, int(len(names) * share)), len(names) - 1)])
    parts = (
        [i for i in document["images"] if (str(i.get("file_name")) in first) is is_first]
        for is_first in (True, False)
    )
    plans = [(folder / f"{annotation.stem}_{n}_{len(p)}.json", p) for n, p in enumerate(parts, 1)]
    for path, _ in plans:
        if path.exists():
            raise UserInput(f"{path} is there already.", hint="Choose another --output.")
    one, two = (_write(path, document, images) for path, images in plans)
    return one, two


def _read(annotation: Path) -> dict[str, Any]:
    try:
        document = read_json(annotation)
    except (OSError, ValueError, WorkspaceError) as error:
        raise UserInput(f"{annotation} cannot be read.", detail=repr(error)) from error
    keys = ("images", "annotations", "categories")
    if not isinstance(document, dict) or not all(isinstance(document.get(k), list) for k in keys):
        raise UserInput(f"{annotation} is no COCO file.", hint=f"It needs {', '.join(keys)}.")
    return document


def _write(path: Path, document: dict[str, Any], images: list[dict[str, Any]]) -> Part:
    ids = {image["id"] for image in images}
    objects = [one for one in document["annotations"] if one["image_id"] in ids]
    write_json(path, {**document, "images": images, "annotations": objects})
    return Part(path, len(images), len(objects))

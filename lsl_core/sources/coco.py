"""COCO in and out: the one place that knows the file format of the field.

Source: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import UserInput
from lsl_core.geometry.coco import from_coco_segmentation, to_coco_rle
from lsl_core.types import CropMasks, Hw, ImageRef, Instances

#: Objects of one image, and which of them were drawn as masks.
Objects = tuple[Instances, NDArray[np.bool_]]


class _Row(NamedTuple):
    """One object on its way into columns."""

    box: list[float]
    class_id: int
    crop: NDArray[np.bool_]
    place: tuple[int, int]
    has_mask: bool


def document(
    images: Sequence[tuple[ImageRef, Instances, NDArray[np.bool_]]],
    labels: Sequence[str],
    *,
    with_scores: bool = False,
) -> dict[str, Any]:
    """Build a COCO document.

    Args:
        images: image, its objects (binary masks, or boxes only), and which have a mask; only
            those get a segmentation.
        labels: names by class id; category ids start at 1.
        with_scores: whether objects keep their score, as COCO result files do.
    """
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (ref, instances, has_mask) in enumerate(images, start=1):
        h, w = ref.image_hw
        entries.append({"id": number, "file_name": ref.name, "width": w, "height": h})
        for annotation in _annotations(instances, has_mask, with_scores=with_scores):
            annotations.append({"id": len(annotations) + 1, "image_id": number, **annotation})
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(labels, 1)]
    return {
        "info": {"description": "LSL", "version": "1"},
        "licenses": [],
        "categories": categories,
        "images": entries,
        "annotations": annotations,
    }


def _annotations(
    instances: Instances, has_mask: NDArray[np.bool_], *, with_scores: bool
) -> list[dict[str, Any]]:
    masks = instances.masks
    if masks is not None and not isinstance(masks, CropMasks):
        raise ValueError("choose a mask threshold first: instances.binary(…)")
    rles = to_coco_rle(masks, instances.image_hw) if masks is not None else []
    areas = masks.areas() if masks is not None else None
    found = []
    for i, (x1, y1, x2, y2) in enumerate(instances.boxes.tolist()):
        drawn = masks is not None and bool(has_mask[i])
        entry: dict[str, Any] = {
            "category_id": int(instances.class_ids[i]) + 1,
            "bbox": [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
            "area": int(areas[i]) if drawn and areas is not None else (x2 - x1) * (y2 - y1),
            "segmentation": rles[i] if drawn else [],
            "iscrowd": 0,
        }
        if with_scores:
            entry["score"] = round(float(instances.scores[i]), 4)
        found.append(entry)
    return found


def read_objects(
    coco: dict[str, Any], labels: Sequence[str]
) -> tuple[dict[int, Objects], list[str]]:
    """Read the objects of every image of a COCO document.

    Args:
        coco: a parsed COCO file; category ids may have gaps.
        labels: names whose position becomes the class id.

    Returns:
        Objects by COCO image id (every image has an entry), and what was left out, one line each.
    """
    sizes: dict[int, Hw] = {i["id"]: (i["height"], i["width"]) for i in coco["images"]}
    class_of = {c["id"]: labels.index(c["name"]) for c in coco["categories"] if c["name"] in labels}
    rows: dict[int, list[_Row]] = {image_id: [] for image_id in sizes}
    problems: list[str] = []
    for annotation in coco.get("annotations", []):
        problem = _read_one(annotation, sizes, class_of, rows)
        if problem:
            problems.append(f"object {annotation.get('id', '?')}: {problem}")
    return {image_id: _to_columns(rows[image_id], hw) for image_id, hw in sizes.items()}, problems


def _read_one(
    annotation: dict[str, Any],
    sizes: dict[int, Hw],
    class_of: dict[int, int],
    rows: dict[int, list[_Row]],
) -> str:
    """Add one annotation to the rows of its image, or return why it cannot be used."""
    hw = sizes.get(annotation.get("image_id", -1))
    class_id = class_of.get(annotation.get("category_id", -1))
    if hw is None:
        return "its image is not in the file"
    if class_id is None:
        return "its label is not in the file"
    if annotation.get("iscrowd") and annotation.get("segmentation") in (None, []):
        return "a crowd region without a mask"
    try:
        x, y, w, h = (float(v) for v in annotation["bbox"])
    except (KeyError, TypeError, ValueError):
        return "its box is missing or no four numbers"
    box = np.clip([x, y, x + w, y + h], 0, [hw[1], hw[0], hw[1], hw[0]]).tolist()
    if not (box[2] > box[0] and box[3] > box[1]):
        return "its box is empty or outside the image"
    segmentation = annotation.get("segmentation")
    if segmentation:
        try:
            crop, place = from_coco_segmentation(segmentation, hw)
        except UserInput as error:
            return f"its mask cannot be used: {error.detail}"
    else:
        place = (int(box[0]), int(box[1]))
        width = max(1, int(np.ceil(box[2])) - place[0])
        crop = np.ones((max(1, int(np.ceil(box[3])) - place[1]), width), bool)
    rows[annotation["image_id"]].append(_Row(box, class_id, crop, place, bool(segmentation)))
    return ""


def _to_columns(rows: list[_Row], hw: Hw) -> Objects:
    instances = Instances(
        np.array([row.box for row in rows], np.float32).reshape(-1, 4),
        np.ones(len(rows), np.float32),
        np.array([row.class_id for row in rows], np.int32),
        CropMasks.from_crops([row.crop for row in rows], [row.place for row in rows]),
        hw,
    )
    return instances, np.array([row.has_mask for row in rows], bool)

"""COCO 1.0, as CVAT writes and reads it.

Masks are uncompressed RLE with `iscrowd` 1, polygons of one group are one annotation, rectangles
have a box and no segmentation. Tags, polylines, points and cuboids have no place in it.
"""

from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lsl_core.sandbox.annotations.checking import Thing
from lsl_core.sandbox.calls.work import WorkFailed
from lsl_core.sandbox.exchange import masks
from lsl_core.sandbox.exchange.records import FrameRecord, LabelInfo, TaskRecord

Json = dict[str, Any]


def write(records: list[TaskRecord], target: Path, *, has_images: bool) -> None:
    """Write tasks as a COCO archive, one file a subset.

    Raises:
        WorkFailed: for a shape that has no area to write.
    """
    subsets: dict[str, list[TaskRecord]] = defaultdict(list)
    for record in records:
        subsets[record.subset].append(record)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for subset, members in subsets.items():
            text = json.dumps(_document(members), separators=(",", ":"))
            archive.writestr(f"annotations/instances_{subset}.json", text)
            if has_images:
                for record in members:
                    for frame in record.frames:
                        name = f"images/{subset}/{frame.name}"
                        archive.write(frame.path, name, zipfile.ZIP_STORED)


def _document(records: list[TaskRecord]) -> Json:
    names = list(dict.fromkeys(label.name for record in records for label in record.labels))
    categories = {name: number for number, name in enumerate(names, 1)}
    images: list[Json] = []
    annotations: list[Json] = []
    for record in records:
        for frame in record.frames:
            image_id = len(images) + 1
            images.append(_image(frame, image_id))
            for found in _annotations(record, frame, categories):
                found |= {"id": len(annotations) + 1, "image_id": image_id}
                annotations.append(found)
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {
            "contributor": "", "date_created": "", "description": "", "url": "", "version": "",
            "year": "",
        },
        "categories": [
            {"id": number, "name": name, "supercategory": ""}
            for name, number in categories.items()
        ],
        "images": images,
        "annotations": annotations,
    }  # fmt: skip


def _image(frame: FrameRecord, image_id: int) -> Json:
    return {
        "id": image_id,
        "width": frame.width,
        "height": frame.height,
        "file_name": frame.name,
        "license": 0,
        "flickr_url": "",
        "coco_url": "",
        "date_captured": 0,
    }


def _annotations(record: TaskRecord, frame: FrameRecord, categories: dict[str, int]) -> list[Json]:
    found: list[Json] = []
    grouped: dict[tuple[int, int], Json] = {}
    for shape in frame.shapes:
        label = record.label(shape["label_id"])
        written = _annotation(shape, frame)
        if written is None:
            continue
        written["category_id"] = categories[label.name]
        written["attributes"] = _attributes(shape, label)
        key = (shape["group"] or 0, label.id)
        if shape["type"] == "polygon" and shape["group"]:
            if key in grouped:
                _join(grouped[key], written)
                continue
            grouped[key] = written
        found.append(written)
    return found


def _attributes(shape: Thing, label: LabelInfo) -> Json:
    found: Json = {"occluded": shape["occluded"]}
    for attribute in shape["attributes"]:
        spec = label.attributes[attribute["spec_id"]]
        value: Any = attribute["value"]
        if spec["input_type"] == "number" or spec["name"] == "score":
            value = _number(value, spec["name"])
        elif spec["input_type"] == "checkbox":
            value = str(value).lower() == "true"
        found[spec["name"]] = value
    if shape["type"] == "rectangle":
        found["rotation"] = shape["rotation"]
    return found


def _number(value: str, name: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise WorkFailed(f"could not convert {name} to float: {value!r}") from None


def _annotation(shape: Thing, frame: FrameRecord) -> Json | None:
    points = shape["points"]
    if shape["type"] == "rectangle":
        if len(points) != 4:
            raise WorkFailed("A rectangle without its two corners cannot be exported")
        x1, y1, x2, y2 = points
        box = [x1, y1, x2 - x1, y2 - y1]
        return {"segmentation": [], "area": box[2] * box[3], "bbox": box, "iscrowd": 0}
    if shape["type"] == "polygon":
        if len(points) < 6 or len(points) % 2:
            raise WorkFailed("A polygon with less than 3 points cannot be exported")
        return {
            "segmentation": [points],
            "area": _polygon_area(points),
            "bbox": _polygon_box([points]),
            "iscrowd": 0,
        }
    size = {"height": frame.height, "width": frame.width}
    crop: masks.Crop | None
    if shape["type"] == "mask":
        crop = masks.from_cvat(points, **size)
    elif shape["type"] == "ellipse" and len(points) == 4:
        crop = masks.ellipse(points, rotation=shape["rotation"], **size)
    else:
        return None
    return None if crop is None else _mask(crop, frame)


def _mask(crop: masks.Crop, frame: FrameRecord) -> Json:
    left, top, bits = crop
    rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
    box = [0.0, 0.0, 0.0, 0.0]
    if len(rows):
        box = [
            float(left + columns[0]), float(top + rows[0]),
            float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1),
        ]  # fmt: skip
    return {
        "segmentation": masks.to_coco(left, top, bits, height=frame.height, width=frame.width),
        "area": float(bits.sum()),
        "bbox": box,
        "iscrowd": 1,
    }


def _join(one: Json, other: Json) -> None:
    one["segmentation"] += other["segmentation"]
    one["area"] += other["area"]
    one["bbox"] = _polygon_box(one["segmentation"])


def _polygon_area(points: list[float]) -> float:
    xs, ys = points[0::2], points[1::2]
    doubled = sum(
        x1 * y2 - x2 * y1
        for x1, y1, x2, y2 in zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
    )
    return abs(doubled) / 2


def _polygon_box(polygons: list[list[float]]) -> list[float]:
    xs = [x for points in polygons for x in points[0::2]]
    ys = [y for points in polygons for y in points[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def documents(path: Path) -> dict[str, Json]:
    """Read a COCO file or archive.

    Returns:
        The documents by subset.

    Raises:
        WorkFailed: if it is neither.
    """
    if not zipfile.is_zipfile(path):
        return {"default": _parse(path.read_bytes())}
    found: dict[str, Json] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json") and "annotations" in PurePosixPath(name).parts[:-1]:
                subset = PurePosixPath(name).stem.partition("_")[2] or "default"
                found[subset] = _parse(archive.read(name))
    if not found:
        raise WorkFailed("CvatImportError: Failed to find COCO annotations in the archive")
    return found


def _parse(text: bytes) -> Json:
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise WorkFailed(f"JSONDecodeError: {exc}") from exc
    if not isinstance(found, dict) or not isinstance(found.get("images"), list):
        raise WorkFailed("InvalidAnnotationError: The file is not a COCO dataset")
    return found


def read(document: Json, record: TaskRecord, *, source: str) -> list[Thing]:
    """Turn a COCO document into shapes of a task.

    Args:
        document: what `documents` gave.
        record: the task, or the job: images of the file must be among its frames.
        source: what the shapes' source says.

    Raises:
        WorkFailed: for an image or a label that the task does not have.
    """
    frames = {_stem(frame.name): frame for frame in record.frames}
    images: dict[Any, FrameRecord] = {}
    for image in document["images"]:
        frame = frames.get(_stem(image["file_name"]))
        if frame is None:
            stem = _stem(image["file_name"])
            raise WorkFailed(
                f"CvatImportError: Could not match item id: '{stem}' with any task frame"
            )
        images[image["id"]] = frame
    categories = {item["id"]: item["name"] for item in document.get("categories", [])}
    by_name = {label.name: label for label in record.labels}
    found: list[Thing] = []
    groups = 0
    for number, item in enumerate(document.get("annotations", [])):
        frame = images[item["image_id"]]
        name = categories.get(item["category_id"], "")
        if name not in by_name:
            raise WorkFailed(
                f"CvatImportError: Image {_stem(frame.name)}: can't import annotation #{number}"
                f" ({_kind(item)}): Label '{name}' is not registered for this task"
            )
        shapes = _shapes(item)
        groups += len(shapes) > 1
        common = _common(item, by_name[name], frame.number, source)
        group = groups if len(shapes) > 1 else 0
        found += [{**common, **shape, "group": group} for shape in shapes]
    return found


def _kind(item: Json) -> str:
    segmentation = item.get("segmentation")
    if isinstance(segmentation, dict):
        return "mask"
    return "polygon" if segmentation else "bbox"


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix()


def _common(item: Json, label: LabelInfo, frame: int, source: str) -> Thing:
    given = item.get("attributes") or {}
    attributes = [
        {"spec_id": spec_id, "value": _text(value)}
        for name, value in given.items()
        if (spec_id := label.attribute_id(name)) is not None
    ]
    return {
        "frame": frame,
        "label_id": label.id,
        "source": source,
        "occluded": bool(given.get("occluded", False)),
        "attributes": attributes,
    }


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shapes(item: Json) -> list[Thing]:
    segmentation = item.get("segmentation")
    if isinstance(segmentation, dict):
        crop = masks.from_coco(segmentation)
        return [] if crop is None else [{"type": "mask", "points": masks.to_cvat(*crop)}]
    if segmentation:
        return [{"type": "polygon", "points": list(map(float, part))} for part in segmentation]
    x, y, width, height = item["bbox"]
    rotation = float((item.get("attributes") or {}).get("rotation", 0)) % 360
    points = [x, y, x + width, y + height]
    return [{"type": "rectangle", "points": list(map(float, points)), "rotation": rotation}]

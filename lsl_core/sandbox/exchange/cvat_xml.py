"""CVAT for images 1.1: the XML that keeps everything but ids and scores."""

from __future__ import annotations

import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import Any

from lsl_core.sandbox.annotations.checking import Thing
from lsl_core.sandbox.base.store import now
from lsl_core.sandbox.calls.work import WorkFailed
from lsl_core.sandbox.exchange.records import FrameRecord, LabelInfo, TaskRecord

_POINT_TYPES = ("polygon", "polyline", "points", "cuboid")


def write(
    records: list[TaskRecord], target: Path, *, has_images: bool, project: str | None = None
) -> None:
    """Write tasks as one XML in an archive, numbering frames through."""
    root = ET.Element("annotations")
    _child(root, "version", "1.1")
    meta = ET.SubElement(root, "meta")
    _meta(meta, records, project)
    number = 0
    for record in records:
        for frame in record.frames:
            # A single task keeps its own frame numbers; a project's tasks follow each other.
            image_id = number if project is not None else frame.number
            root.append(_image(record, frame, image_id, is_project=project is not None))
            number += 1
    ET.indent(root)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        text = ET.tostring(root, encoding="utf-8", xml_declaration=True)
        archive.writestr("annotations.xml", text)
        if has_images:
            for record in records:
                for frame in record.frames:
                    name = f"images/{record.subset}/{frame.name}"
                    archive.write(frame.path, name, zipfile.ZIP_STORED)


def _child(parent: ET.Element, name: str, text: object = "") -> ET.Element:
    child = ET.SubElement(parent, name)
    child.text = str(text)
    return child


def _meta(meta: ET.Element, records: list[TaskRecord], project: str | None) -> None:
    if project is None:
        _task_meta(ET.SubElement(meta, "task"), records[0])
    else:
        holder = ET.SubElement(meta, "project")
        _child(holder, "name", project)
        listed = ET.SubElement(holder, "tasks")
        for record in records:
            _task_meta(ET.SubElement(listed, "task"), record)
    _child(meta, "dumped", now())


def _task_meta(holder: ET.Element, record: TaskRecord) -> None:
    task = record.task
    for name in ("id", "name", "size", "overlap", "bug_tracker", "created", "updated", "subset"):
        _child(holder, name, task[name])
    _child(holder, "mode", "annotation")
    _child(holder, "start_frame", task["start_frame"])
    _child(holder, "stop_frame", task["stop_frame"])
    listed = ET.SubElement(holder, "labels")
    for label in record.labels:
        _label_meta(ET.SubElement(listed, "label"), label)
    segments = ET.SubElement(holder, "segments")
    for job in record.jobs:
        segment = ET.SubElement(segments, "segment")
        for name, value in (("id", job["id"]), ("start", job["start"]), ("stop", job["stop"])):
            _child(segment, name, value)


def _label_meta(holder: ET.Element, label: LabelInfo) -> None:
    _child(holder, "name", label.name)
    _child(holder, "color", label.color)
    _child(holder, "type", label.type)
    listed = ET.SubElement(holder, "attributes")
    for spec in label.attributes.values():
        one = ET.SubElement(listed, "attribute")
        for name in ("name", "mutable", "input_type", "default_value"):
            _child(one, name, spec[name])
        _child(one, "values", "\n".join(spec["values"]))


def _image(
    record: TaskRecord, frame: FrameRecord, image_id: int, *, is_project: bool
) -> ET.Element:
    image = ET.Element("image", {"id": str(image_id), "name": frame.name})
    if record.task["subset"]:
        image.set("subset", record.task["subset"])
    if is_project:
        image.set("task_id", str(record.task["id"]))
    image.set("width", str(frame.width))
    image.set("height", str(frame.height))
    for shape in frame.shapes:
        image.append(_shape(shape, record.label(shape["label_id"])))
    for tag in frame.tags:
        label = record.label(tag["label_id"])
        node = ET.SubElement(image, "tag", {"label": label.name, "source": tag["source"]})
        _attributes(node, tag, label)
    return image


def _shape(shape: Thing, label: LabelInfo) -> ET.Element:
    kind = "box" if shape["type"] == "rectangle" else shape["type"]
    node = ET.Element(kind, {"label": label.name, "source": shape["source"]})
    node.set("occluded", str(int(shape["occluded"])))
    for name, value in _geometry(shape).items():
        node.set(name, value)
    if shape["rotation"]:
        node.set("rotation", _number(shape["rotation"]))
    node.set("z_order", str(shape["z_order"]))
    if shape["group"]:
        node.set("group_id", str(shape["group"]))
    _attributes(node, shape, label)
    return node


def _attributes(node: ET.Element, thing: Thing, label: LabelInfo) -> None:
    for attribute in thing["attributes"]:
        name = label.attributes[attribute["spec_id"]]["name"]
        one = ET.SubElement(node, "attribute", {"name": name})
        one.text = str(attribute["value"])


def _number(value: float) -> str:
    # repr keeps every digit; CVAT cuts to two decimals here.
    return repr(float(value)) if value != int(value) else f"{value:.1f}"


def _geometry(shape: Thing) -> dict[str, str]:
    points = shape["points"]
    kind = shape["type"]
    if kind == "mask":
        if len(points) < 5:
            raise WorkFailed("A mask without a box cannot be exported")
        left, top, right, bottom = (int(value) for value in points[-4:])
        return {
            "rle": ", ".join(str(int(value)) for value in points[:-4]),
            "left": str(left),
            "top": str(top),
            "width": str(right - left + 1),
            "height": str(bottom - top + 1),
        }
    if kind == "rectangle":
        return dict(zip(("xtl", "ytl", "xbr", "ybr"), map(_number, points), strict=False))
    if kind == "ellipse":
        cx, cy, right, top = points
        values = (cx, cy, right - cx, cy - top)
        return dict(zip(("cx", "cy", "rx", "ry"), map(_number, values), strict=True))
    pairs = zip(points[0::2], points[1::2], strict=False)
    return {"points": ";".join(f"{_number(x)},{_number(y)}" for x, y in pairs)}


def documents(path: Path) -> ET.Element:
    """Read an XML file or an archive with one.

    Raises:
        WorkFailed: if it is neither.
    """
    try:
        if not zipfile.is_zipfile(path):
            return ET.fromstring(path.read_bytes())  # noqa: S314 - see the import
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".xml")]
            if not names:
                raise WorkFailed("CvatImportError: No annotations.xml in the archive")
            return ET.fromstring(archive.read(names[0]))  # noqa: S314 - see the import
    except ET.ParseError as exc:
        raise WorkFailed(f"ParseError: {exc}") from exc


def read(root: ET.Element, record: TaskRecord) -> dict[str, list[Thing]]:
    """Turn an XML document into the annotations of a task.

    Raises:
        WorkFailed: for an image or a label that the task does not have.
    """
    if root.find("track") is not None:
        raise WorkFailed("The sandbox reads CVAT for images, not tracks of CVAT for video")
    by_name = {frame.name: frame for frame in record.frames}
    known = {label.name: label for label in record.labels}
    found: dict[str, list[Thing]] = {"tags": [], "shapes": [], "tracks": []}
    for image in root.iter("image"):
        name = image.get("name", "")
        frame = by_name.get(name)
        if frame is None:
            raise WorkFailed(f"CvatImportError: Could not match item id: '{name}' with any frame")
        for node in image:
            label = known.get(node.get("label", ""))
            if label is None:
                raise WorkFailed(
                    f"CvatImportError: Label '{node.get('label')}' is not registered for this task"
                )
            kind = "tags" if node.tag == "tag" else "shapes"
            found[kind].append(_thing(node, label, frame.number))
    return found


def _thing(node: ET.Element, label: LabelInfo, frame: int) -> Thing:
    attributes: list[dict[str, Any]] = []
    for one in node.iter("attribute"):
        spec_id = label.attribute_id(one.get("name", ""))
        if spec_id is None:
            raise WorkFailed(f"CvatImportError: '{label.name}' has no such attribute")
        attributes.append({"spec_id": spec_id, "value": one.text or ""})
    common: Thing = {
        "frame": frame,
        "label_id": label.id,
        "group": int(node.get("group_id", 0)),
        "source": "file",
        "attributes": attributes,
    }
    if node.tag == "tag":
        return common
    return {
        **common,
        "type": "rectangle" if node.tag == "box" else node.tag,
        "occluded": node.get("occluded") == "1",
        "z_order": int(node.get("z_order", 0)),
        "rotation": float(node.get("rotation", 0)),
        "points": _points(node),
    }


def _points(node: ET.Element) -> list[float]:
    def value(name: str) -> float:
        return float(node.get(name, "nan"))

    if node.tag == "box":
        return [value("xtl"), value("ytl"), value("xbr"), value("ybr")]
    if node.tag == "ellipse":
        cx, cy = value("cx"), value("cy")
        return [cx, cy, cx + value("rx"), cy - value("ry")]
    if node.tag == "mask":
        left, top = value("left"), value("top")
        runs = [float(part) for part in node.get("rle", "").split(",") if part.strip()]
        return [*runs, left, top, left + value("width") - 1, top + value("height") - 1]
    if node.tag not in _POINT_TYPES:
        raise WorkFailed(f"CvatImportError: Unknown shape '{node.tag}'")
    return [float(part) for pair in node.get("points", "").split(";") for part in pair.split(",")]

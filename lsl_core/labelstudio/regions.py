"""Results of Label Studio: regions in percent of the image, and the objects that they are.

x, y, width and height are percent of the image's sides; a rectangle turns clockwise about its
upper left corner. When somebody turned the image in the editor (`image_rotation`, clockwise), they
are percent of the turned view. Source: https://labelstud.io/guide/export, "image annotations".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import LabelMismatch, UserInput
from lsl_core.geometry.coco import to_coco_rle
from lsl_core.geometry.drawable import rectangles, rings, within_image
from lsl_core.labelstudio.brush import decode_brush, encode_brush
from lsl_core.labelstudio.config import Control, LabelConfig
from lsl_core.types import CropMasks, Hw, Instances

Json = dict[str, Any]
#: (K, 2) corners x, y in image pixels.
Ring = NDArray[np.float64]
#: x, y in image pixels.
Point = tuple[float, float]

_LABELLED = ("rectanglelabels", "polygonlabels", "brushlabels", "ellipselabels", "labels")
#: Decimals of a percent: a hundredth of a pixel of an image 10,000 pixels wide.
_DECIMALS = 6
_ELLIPSE_CORNERS = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """One object that a person drew, in COCO's terms.

    bbox: x, y, width, height, pixels. segmentation: polygons or run lengths; [] for a box.
    """

    label: str
    bbox: list[float]
    segmentation: Any


@dataclass(frozen=True, slots=True)
class Pointed:
    """What a person pointed at with smart tools, in image pixels.

    label: that it is to have. positive, negative: points x, y on the object, and not on it. box:
    around it, xyxy, or None. image_hw: (height, width) of the image.
    """

    label: str
    positive: tuple[Point, ...]
    negative: tuple[Point, ...]
    box: tuple[float, float, float, float] | None
    image_hw: Hw


def read_pointed(results: Sequence[Json]) -> Pointed:
    """Read what smart tools send: key points, and shapes, of which the last one's box counts.

    Raises:
        UserInput: when nothing of it points at anything.
    """
    label, box = "", None
    points: tuple[list[Point], list[Point]] = ([], [])
    image_hw: Hw = (0, 0)
    for result in results:
        kind = str(result.get("type"))
        if kind not in (*_LABELLED, "keypointlabels"):
            continue
        image_hw = _original(result)
        label = _label(result, kind)
        if kind == "keypointlabels":
            points[result.get("is_positive") is False].append(_point(result, image_hw))
        else:
            x, y, width, height = _shape(result, kind, image_hw).bbox
            box = (x, y, x + width, y + height)
    if box is None and not points[0]:
        raise UserInput(
            "Nothing was pointed at.", hint="Point at an object with a key point or a rectangle."
        )
    return Pointed(label, tuple(points[0]), tuple(points[1]), box, image_hw)


def _original(result: Json) -> Hw:
    height, width = result.get("original_height"), result.get("original_width")
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        raise UserInput("It does not say of which size the image is.")
    return height, width


def _point(result: Json, image_hw: Hw) -> Point:
    turn = _quarter(result.get("image_rotation") or 0)
    height, width = image_hw if turn % 2 == 0 else image_hw[::-1]
    value = result["value"]
    ring = np.array([[_scaled(value, "x", width), _scaled(value, "y", height)]])
    x, y = _upright(ring, turn, image_hw)[0].tolist()
    return x, y


def read_regions(results: Sequence[Json], image_hw: Hw) -> tuple[list[Shape], list[str]]:
    """Read the shapes of an annotation.

    Args:
        results: its `result`; what has no area (choices, texts, relations) is not looked at.
        image_hw: (height, width) of the image itself, pixels.

    Returns:
        The shapes, and what cannot be used, a reason each.
    """
    shapes, problems = [], []
    for result in results:
        kind = result.get("type")
        if kind not in _LABELLED:
            continue
        try:
            shapes.append(_shape(result, str(kind), image_hw))
        except UserInput as error:
            problems.append(f"region {result.get('id', '?')}: {error.message}")
    return shapes, problems


def _shape(result: Json, kind: str, image_hw: Hw) -> Shape:
    label, value = _label(result, kind), result["value"]
    size = (result.get("original_height"), result.get("original_width"))
    if None not in size and size != image_hw:
        raise UserInput(
            f"it is for an image of {size[1]}×{size[0]}, not {image_hw[1]}×{image_hw[0]} pixels"
        )
    if "rle" in value:
        return _painted(label, decode_brush(value["rle"], image_hw), image_hw)
    turn = _quarter(result.get("image_rotation") or 0)
    view_hw = image_hw if turn % 2 == 0 else (image_hw[1], image_hw[0])
    rotation = _number(value.get("rotation", 0.0))
    for key, read in (("points", _polygon), ("radiusX", _ellipse), ("width", _rectangle)):
        if key in value:
            ring = _upright(read(value, view_hw), turn, image_hw)
            is_box = key == "width" and not rotation % 90.0
            return _outlined(label, ring, is_box=is_box)
    raise UserInput("it is no rectangle, polygon, ellipse or mask")


def _label(result: Json, kind: str) -> str:
    value = result.get("value")
    labels = value.get(kind) if isinstance(value, Mapping) else None
    if not isinstance(labels, list) or not labels:
        raise UserInput("it has no label")
    return str(labels[0])


def _painted(label: str, pixels: NDArray[np.bool_], image_hw: Hw) -> Shape:
    columns, rows = np.flatnonzero(pixels.any(0)), np.flatnonzero(pixels.any(1))
    if not len(columns):
        raise UserInput("nothing is painted")
    x, y = int(columns[0]), int(rows[0])
    crop = pixels[y : rows[-1] + 1, x : columns[-1] + 1]
    (rle,) = to_coco_rle(CropMasks.from_crops([crop], [(x, y)]), image_hw)
    return Shape(label, [x, y, crop.shape[1], crop.shape[0]], rle)


def _outlined(label: str, ring: Ring, *, is_box: bool) -> Shape:
    low, high = ring.min(0), ring.max(0)
    bbox = [*low.tolist(), *(high - low).tolist()]
    return Shape(label, bbox, [] if is_box else [ring.ravel().tolist()])


def _quarter(rotation: object) -> int:
    degrees = _number(rotation)
    if degrees % 90.0:
        raise UserInput(f"the image was turned by {degrees:g}°; only quarters can be read")
    return int(degrees // 90) % 4


def _upright(ring: Ring, turn: int, image_hw: Hw) -> Ring:
    """Return corners of the view, turned clockwise by quarters, in pixels of the image."""
    height, width = image_hw
    x, y = ring[:, 0], ring[:, 1]
    back: tuple[tuple[Ring, Ring], ...] = (
        (x, y), (y, height - x), (width - x, height - y), (width - y, x),
    )  # fmt: skip
    return np.stack(back[turn], axis=1)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserInput("a coordinate is no number")
    return float(value)


def _scaled(value: Mapping[str, Any], key: str, side: int) -> float:
    return _number(value.get(key)) / 100.0 * side


def _polygon(value: Mapping[str, Any], view_hw: Hw) -> Ring:
    points = value["points"]
    if not isinstance(points, list) or len(points) < 3 or any(len(p) != 2 for p in points):
        raise UserInput("a polygon needs at least three points")
    flat = np.array([[_number(v) for v in point] for point in points])
    return flat / 100.0 * (view_hw[1], view_hw[0])


def _rectangle(value: Mapping[str, Any], view_hw: Hw) -> Ring:
    x, w = (_scaled(value, key, view_hw[1]) for key in ("x", "width"))
    y, h = (_scaled(value, key, view_hw[0]) for key in ("y", "height"))
    corners = np.array([[0.0, 0.0], [w, 0.0], [w, h], [0.0, h]])
    return corners @ _turning(value) + (x, y)


def _ellipse(value: Mapping[str, Any], view_hw: Hw) -> Ring:
    x, rx = (_scaled(value, key, view_hw[1]) for key in ("x", "radiusX"))
    y, ry = (_scaled(value, key, view_hw[0]) for key in ("y", "radiusY"))
    angle = np.linspace(0.0, 2 * math.pi, _ELLIPSE_CORNERS, endpoint=False)
    around = np.stack([np.cos(angle) * rx, np.sin(angle) * ry], axis=1)
    return around @ _turning(value) + (x, y)


def _turning(value: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the matrix that turns rows x, y clockwise, as one sees the image."""
    degrees = _number(value.get("rotation", 0.0))
    quarters = round(degrees / 90.0)
    if degrees == quarters * 90.0:  # exact, where a cosine is not
        cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[quarters % 4]
    else:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, sin], [-sin, cos]])


#: A tool of a project, and the label there that stands for one of the model's.
Tool = tuple[Control, str]


def tools_for(config: LabelConfig, labels: Sequence[str], *, masks: bool) -> list[Tool | None]:
    """Return for each label of a model the tool of a project that draws it, None where none does.

    Masks go to a brush, to polygons where no brush has the label, and to rectangles where nothing
    else has it; boxes go to rectangles.

    Args:
        config: of the project.
        labels: of the model.
        masks: whether the model gives masks.

    Raises:
        LabelMismatch: when the project has no such tool, or no label of the model.
    """
    kinds = tuple(_DRAWS) if masks else ("rectanglelabels",)
    controls = [c for kind in kinds for c in config.controls if c.kind == kind]
    if not controls:
        needed = "BrushLabels, PolygonLabels or " if masks else ""
        raise LabelMismatch(
            "The project has no tool that can show what the model finds.",
            hint=f"Add {needed}RectangleLabels to its labelling interface.",
        )
    tools = [_tool(controls, label) for label in labels]
    if not any(tools):
        there = dict.fromkeys(label for control in controls for label in control.labels)
        raise LabelMismatch(
            f"The project has none of the model's labels: {', '.join(labels)}.",
            hint=f"It has {', '.join(there)}.",
        )
    return tools


def _tool(controls: Sequence[Control], name: str) -> Tool | None:
    for control in controls:
        label = control.label_for(name)
        if label is not None:
            return control, label
    return None


def regions_of(instances: Instances, labels: Sequence[str], config: LabelConfig) -> list[Json]:
    """Return objects as the results of a prediction; those without a label there are left out.

    The brush keeps holes; polygons have none, and an object of several parts becomes several.
    Objects are cut at the image's border.

    Args:
        instances: masks binary, or boxes only.
        labels: names by class id.
        config: of the project.

    Raises:
        LabelMismatch: see `tools_for`.
    """
    inside = within_image(instances)
    tools = tools_for(config, labels, masks=inside.masks is not None)
    height, width = inside.image_hw
    regions: list[Json] = []
    for i, class_id in enumerate(inside.class_ids.tolist()):
        tool = tools[class_id]
        if tool is None:
            continue
        control, label = tool
        for value in _DRAWS[control.kind](inside, i):
            regions.append(
                {
                    "id": f"lsl{len(regions):06d}",
                    "from_name": control.name,
                    "to_name": control.to_name,
                    "type": control.kind,
                    "original_width": int(width),
                    "original_height": int(height),
                    "image_rotation": 0,
                    "score": round(float(inside.scores[i]), 4),
                    "value": {**value, control.kind: [label]},
                }
            )
    return regions


def _as_brush(instances: Instances, i: int) -> Iterator[Json]:
    assert isinstance(instances.masks, CropMasks)
    yield {"format": "rle", "rle": encode_brush(instances.masks, i, instances.image_hw)}


def _as_polygons(instances: Instances, i: int) -> Iterator[Json]:
    height, width = instances.image_hw
    for ring in rings(instances, i):
        points = np.array(ring).reshape(-1, 2) * (100.0 / width, 100.0 / height)
        yield {"points": np.round(points, _DECIMALS).tolist(), "closed": True}


def _as_rectangle(instances: Instances, i: int) -> Iterator[Json]:
    height, width = instances.image_hw
    x1, y1, x2, y2 = rectangles(instances.take(np.array([i])))[0]
    percents = (x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height)
    names = ("x", "y", "width", "height")
    yield {n: round(p * 100.0, _DECIMALS) for n, p in zip(names, percents, strict=True)} | {
        "rotation": 0
    }


#: How an object is drawn with a tool, the best one for masks first.
_DRAWS: dict[str, Callable[[Instances, int], Iterator[Json]]] = {
    "brushlabels": _as_brush,
    "polygonlabels": _as_polygons,
    "rectanglelabels": _as_rectangle,
}

"""A detector's answer as CVAT's shapes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from lsl_core.sandbox.base.store import Row

Json = dict[str, Any]


def with_labels(answer: Iterable[Json], mapping: Mapping[str, Row]) -> list[Json]:
    """Return what the detector found with the task's label names; other labels are dropped."""
    return [
        item | {"label": mapping[item["label"]]["name"], "attributes": []}
        for item in answer
        if item["label"] in mapping
    ]


def shapes_of(
    answer: Iterable[Json], mapping: Mapping[str, Row], frame: int, *, as_polygons: bool
) -> list[Json]:
    """Return a detector's answer as shapes of a frame.

    Args:
        answer: of the function: its own labels.
        mapping: the task's label of each of the model's.
        frame: of the task.
        as_polygons: `conv_mask_to_poly`: take the outline that stands beside a mask.
    """
    return [
        _shape(item, mapping[item["label"]]["id"], frame, as_polygons=as_polygons)
        for item in answer
        if item["label"] in mapping
    ]


def _shape(item: Json, label_id: int, frame: int, *, as_polygons: bool) -> Json:
    kind = item["type"]
    if kind == "mask" and as_polygons:
        kind = "polygon"
    turns = kind in ("rectangle", "ellipse")
    return {
        "type": kind,
        "occluded": False,
        "outside": item.get("outside", False),
        "z_order": 0,
        "rotation": float(item.get("rotation", 0)) if turns else 0,
        "points": mask_points(item["mask"]) if kind == "mask" else item["points"],
        "id": None,
        "frame": frame,
        "label_id": label_id,
        "group": item.get("group_id"),
        "source": "auto",
        "attributes": [],
    }


def mask_points(flat: list[int]) -> list[int]:
    """Turn the flat pixels of a crop and its corners into run lengths and the corners."""
    *pixels, left, top, right, bottom = flat
    runs = [len(list(same)) for _, same in itertools.groupby(pixels)]
    if pixels and pixels[0]:
        runs.insert(0, 0)
    return [*runs, left, top, right, bottom]

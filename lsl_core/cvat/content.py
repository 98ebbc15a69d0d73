"""What makes a shape the same shape: everything that a person can see or change, not its id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]


def content_key(shape: Json, *, group: bool = True) -> str:
    """Return a hash of a shape's content, the same before it is sent and after it is read.

    Leaves out the id, and the score, which older servers do not keep and nobody can edit.

    Args:
        shape: as it is sent or as it was read.
        group: False leaves out the number of its group, which is arbitrary.
    """
    points = map(float, shape.get("points") or ())
    # the runs of a mask are whole numbers, and rounding them was most of a push's work
    values = [*points] if shape["type"] == "mask" else [round(value, 2) for value in points]
    attributes = sorted((a["spec_id"], str(a["value"])) for a in shape.get("attributes") or ())
    content = [
        shape["type"],
        shape["frame"],
        shape["label_id"],
        values,
        round(float(shape.get("rotation") or 0.0), 2),
        bool(shape.get("occluded")),
        int(shape.get("z_order") or 0),
        int(shape.get("group") or 0) if group else 0,
        shape.get("source") or "manual",
        attributes,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def state_key(annotations: Json) -> str:
    """Return a hash of all annotations of a task, whatever order they come in."""
    rows = sorted((int(s["id"]), content_key(s)) for s in annotations.get("shapes") or ())
    rest = [
        sorted(json.dumps(entry, sort_keys=True) for entry in annotations.get(kind) or ())
        for kind in ("tags", "tracks")
    ]
    return hashlib.sha256(json.dumps([rows, rest]).encode()).hexdigest()


def by_id(shapes: Iterable[Json]) -> dict[int, Json]:
    """Return the shapes under their ids."""
    return {int(shape["id"]): shape for shape in shapes}

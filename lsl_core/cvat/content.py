"""What makes a shape the same shape: everything that a person can see or change, not its id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lsl_core.cvat.packing import dumps

Json = dict[str, Any]

#: Below this, a whole number is written without an exponent.
_EXACT = 1e15


def content_key(shape: Json, *, group: bool = True) -> str:
    """Return a hash of a shape's content, the same before it is sent and after it is read.

    Leaves out the id, and the score, which older servers do not keep and nobody can edit.

    Args:
        shape: as it is sent or as it was read.
        group: False leaves out the number of its group, which is arbitrary.
    """
    points = shape.get("points") or ()
    if shape["type"] == "mask":
        values = _runs(points)
    else:
        values = json.dumps([round(float(value), 2) for value in points])
    attributes = sorted((a["spec_id"], str(a["value"])) for a in shape.get("attributes") or ())
    first = json.dumps([shape["type"], shape["frame"], shape["label_id"]])
    rest = [
        round(float(shape.get("rotation") or 0.0), 2),
        bool(shape.get("occluded")),
        int(shape.get("z_order") or 0),
        int(shape.get("group") or 0) if group else 0,
        shape.get("source") or "manual",
        attributes,
    ]
    text = f"{first[:-1]}, {values}, {json.dumps(rest)[1:]}"
    return hashlib.sha256(text.encode()).hexdigest()


def _runs(points: Sequence[float]) -> str:
    """Return JSON of the numbers of a mask as floats; most of a push's own work, so done by hand.

    As `json.dumps` writes them: keys that journals hold shall stay what they are.
    """
    numbers = np.asarray(points, np.float64)
    if len(numbers) and (np.abs(numbers) < _EXACT).all():
        whole = numbers.astype(np.int64)
        if (whole == numbers).all():
            return f"[{'.0, '.join(map(str, whole.tolist()))}.0]"
    return json.dumps(numbers.tolist())


def state_key(annotations: Json) -> str:
    """Return a hash of all annotations of a task, whatever order they come in."""
    rows = sorted((int(s["id"]), content_key(s)) for s in annotations.get("shapes") or ())
    rest = [
        sorted(dumps(entry, sort_keys=True) for entry in annotations.get(kind) or ())
        for kind in ("tags", "tracks")
    ]
    return hashlib.sha256(json.dumps([rows, rest]).encode()).hexdigest()


def by_id(shapes: Iterable[Json]) -> dict[int, Json]:
    """Return the shapes under their ids."""
    return {int(shape["id"]): shape for shape in shapes}

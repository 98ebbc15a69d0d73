"""The points of shapes as arrays: a number in a list takes up to 36 bytes, in an array 4 or 8.

A task of 50,000 masks has some five million numbers. `shape["points"]` is an array wherever many
shapes are held, and a list again where they are sent or written down.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json, to_json

Json = dict[str, Any]


def packed(shape: Json) -> Json:
    """Put the points of a shape into an array, in place; return the shape.

    Given to `json.loads` as `object_hook` it does so for every shape while it is read. Points that
    are no numbers, which CVAT stores as well, stay as they are: who reads them says so.
    """
    points = shape.get("points")
    if type(points) is list:
        shape["points"] = _array(points)
    return shape


def _array(points: list[Any]) -> array[float] | list[Any]:
    try:
        return array("d", points)
    except (TypeError, OverflowError):
        return points


def whole(shape: Json) -> Json:
    """Pack the points of a mask that is to be sent, whole numbers; else as `packed`."""
    if shape["type"] == "mask":
        shape["points"] = array("I", shape["points"])
        return shape
    return packed(shape)


def unpacked(entries: Iterable[Json]) -> list[Json]:
    """Return annotations whose points are lists, for JSON; copies where something changes."""
    found = []
    for entry in entries:
        points = entry.get("points")
        if isinstance(points, array):
            entry = {**entry, "points": points.tolist()}
        for nested in ("shapes", "elements"):  # keyframes of a track, parts of a skeleton
            if entry.get(nested):
                entry = {**entry, nested: unpacked(entry[nested])}
        found.append(entry)
    return found


def dumps(value: object) -> bytes:
    """Return JSON of something that holds shapes, on one line."""
    return to_json(value, fallback=_as_list)


def _as_list(value: object) -> list[float]:
    if isinstance(value, array):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")


def loads(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return what `dumps` wrote, points of shapes in arrays.

    Raises:
        ValueError: for what is no JSON.
    """
    return _packed_within(from_json(text))


def _packed_within(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Pack every shape within, in place; return the same value."""
    for one in packed(value).values() if isinstance(value, dict) else value:
        if isinstance(one, list | dict):
            _packed_within(one)
    return value

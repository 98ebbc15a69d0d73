"""What CVAT checks of annotations before it keeps them, and how it words a refusal.

Read from the answers of real servers: types and signs are checked, geometry is not. A box outside
the image, a mask whose runs do not add up or a polygon of two points pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from lsl_core.sandbox.answers import ApiError, server_error

Thing = dict[str, Any]
Errors = dict[str, Any]

SHAPE_TYPES = (
    "rectangle", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton",
)  # fmt: skip

_REQUIRED = "This field is required."
_NO_INTEGER = "A valid integer is required."
_NO_NUMBER = "A valid number is required."
_NO_FLOAT = "[ErrorDetail(string='Value must be a float or an integer', code='invalid')]"


def _natural(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    if isinstance(value, bool) or not isinstance(value, int):
        return _NO_INTEGER
    return "Ensure this value is greater than or equal to 0." if value < 0 else None


def _natural_or_none(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    return None if value is None else _natural(value)


def _integer(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    return _NO_INTEGER if isinstance(value, bool) or not isinstance(value, int) else None


def _between(low: float, high: float) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:  # noqa: ANN401 - any JSON
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return _NO_NUMBER
        if value < low:
            return f"Ensure this value is greater than or equal to {low:g}."
        return f"Ensure this value is less than or equal to {high:g}." if value > high else None

    return check


def _boolean(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    return None if isinstance(value, bool) else "Must be a valid boolean."


def _text(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    if not isinstance(value, str):
        return "Not a valid string."
    return None if value else "This field may not be blank."


def _shape_type(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    return None if value in SHAPE_TYPES else f'"{value}" is not a valid choice.'


_COMMON: dict[str, Callable[[Any], str | None]] = {
    "id": _natural_or_none,
    "label_id": _natural,
    "frame": _natural,
    "group": _natural_or_none,
    "source": _text,
}
_OUTLINE: dict[str, Callable[[Any], str | None]] = {
    "type": _shape_type,
    "occluded": _boolean,
    "outside": _boolean,
    "z_order": _integer,
    "rotation": _between(0, 360),
}


def _points_error(points: Any) -> Any:  # noqa: ANN401 - a message list or one per place
    if not isinstance(points, list):
        return [f'Expected a list of items but got type "{type(points).__name__}".']
    if set(map(type, points)) <= {int, float}:
        return None
    return {
        str(place): _NO_FLOAT
        for place, value in enumerate(points)
        if type(value) not in (int, float)
    }


def _attributes_error(attributes: Any) -> Any:  # noqa: ANN401 - one message object per attribute
    if not isinstance(attributes, list):
        return [f'Expected a list of items but got type "{type(attributes).__name__}".']
    errors: list[Errors] = []
    for attribute in attributes:
        found: Errors = {}
        for key in ("spec_id", "value"):
            if not isinstance(attribute, dict) or key not in attribute:
                found[key] = [_REQUIRED]
        if not found and (wrong := _natural(attribute["spec_id"])):
            found["spec_id"] = [wrong]
        errors.append(found)
    return errors if any(errors) else None


def _thing_errors(
    thing: Any,  # noqa: ANN401 - any JSON
    fields: dict[str, Callable[[Any], str | None]],
    required: tuple[str, ...],
) -> Errors:
    if not isinstance(thing, dict):
        kind = type(thing).__name__
        text = f"Invalid data. Expected a dictionary, but got {kind}."
        return {"non_field_errors": [text]}
    errors: Errors = {key: [_REQUIRED] for key in required if key not in thing}
    for key, check in fields.items():
        if key in thing and (wrong := check(thing[key])) is not None:
            errors[key] = [wrong]
    if "points" in thing and (found := _points_error(thing["points"])) is not None:
        errors["points"] = found
    if thing.get("attributes") and (found := _attributes_error(thing["attributes"])) is not None:
        errors["attributes"] = found
    return errors


_SHAPE_FIELDS = {**_COMMON, **_OUTLINE}
_TRACKED_FIELDS = {**_OUTLINE, "frame": _natural, "id": _natural_or_none}


def _shape_errors(shape: Any) -> Errors:  # noqa: ANN401 - any JSON
    return _thing_errors(shape, _SHAPE_FIELDS, ("type", "label_id", "frame"))


def _scored_errors(shape: Any) -> Errors:  # noqa: ANN401 - any JSON
    fields = {**_SHAPE_FIELDS, "score": _between(0, 1)}
    return _thing_errors(shape, fields, ("type", "label_id", "frame"))


def _tag_errors(tag: Any) -> Errors:  # noqa: ANN401 - any JSON
    return _thing_errors(tag, _COMMON, ("label_id", "frame"))


def _track_errors(track: Any) -> Errors:  # noqa: ANN401 - any JSON
    errors = _thing_errors(track, _COMMON, ("label_id", "frame", "shapes"))
    shapes = track.get("shapes") if isinstance(track, dict) else None
    if isinstance(shapes, list):
        found = [_thing_errors(shape, _TRACKED_FIELDS, ("type", "frame")) for shape in shapes]
        if any(found):
            errors["shapes"] = found
    return errors


def check(body: Any, *, has_scores: bool) -> dict[str, list[Thing]]:  # noqa: ANN401 - any JSON
    """Check a body of annotations.

    Args:
        body: what a client sent.
        has_scores: whether a shape's score is a field at all.

    Returns:
        `tags`, `shapes` and `tracks`, as they were sent.

    Raises:
        ApiError: 400 with the errors in the shape of the body; 500 for a body that is no object.
    """
    if not isinstance(body, dict):
        raise server_error()
    checks = {
        "tags": _tag_errors,
        "shapes": _scored_errors if has_scores else _shape_errors,
        "tracks": _track_errors,
    }
    found: dict[str, list[Thing]] = {}
    errors: Errors = {}
    for key, one in checks.items():
        things = body.get(key) or []
        if not isinstance(things, list):
            kind = type(things).__name__
            errors[key] = {"non_field_errors": [f'Expected a list of items but got type "{kind}".']}
            continue
        each = [one(thing) for thing in things]
        if any(each):
            errors[key] = each
        found[key] = things
    if errors:
        raise ApiError(400, errors)
    return found


class Catalogue:
    """The labels of a task: which ids are right, and what attributes are filled in.

    Args:
        specs: for each label id, its attribute ids with their default values.
        mutable: ids of the attributes that may change along a track: they belong to its keyframes,
            all others to the track.
    """

    def __init__(self, specs: dict[int, dict[int, str]], mutable: frozenset[int]) -> None:
        self._specs = specs
        self._mutable = mutable

    def check(self, things: list[Thing]) -> None:
        """Refuse annotations of unknown labels or attributes.

        Raises:
            ApiError: 400.
        """
        for thing in things:
            specs = self._specs.get(thing["label_id"])
            if specs is None:
                raise ApiError(400, [f"label_id `{thing['label_id']}` is invalid"])
            if "shapes" in thing:
                self._require(thing, specs.keys() - self._mutable)
                for shape in thing["shapes"]:
                    self._require(shape, specs.keys() & self._mutable)
            else:
                self._require(thing, specs.keys())

    def _require(self, thing: Thing, known: Collection[int]) -> None:
        for attribute in thing.get("attributes") or []:
            if attribute["spec_id"] not in known:
                raise ApiError(400, [f"spec_id `{attribute['spec_id']}` is invalid"])

    def filled(self, thing: Thing) -> list[dict[str, Any]]:
        """Give all attributes of an annotation: the ones sent, and defaults for the rest."""
        specs = self._specs[thing["label_id"]]
        if "shapes" in thing:
            specs = {id_: default for id_, default in specs.items() if id_ not in self._mutable}
        return _with_values(thing, specs)

    def along(self, track: Thing) -> list[list[dict[str, Any]]]:
        """Give the attributes of each keyframe: those sent, else what the one before it had."""
        specs = self._specs[track["label_id"]]
        values = {id_: default for id_, default in specs.items() if id_ in self._mutable}
        found = []
        for shape in track["shapes"]:
            found.append(_with_values(shape, values))
            values = {item["spec_id"]: item["value"] for item in found[-1]}
        return found


def _with_values(thing: Thing, otherwise: dict[int, str]) -> list[dict[str, Any]]:
    sent = {item["spec_id"]: str(item["value"]) for item in thing.get("attributes") or []}
    return [
        {"spec_id": spec_id, "value": sent.get(spec_id, value)}
        for spec_id, value in otherwise.items()
    ]

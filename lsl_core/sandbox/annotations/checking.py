"""What CVAT checks of annotations before it keeps them, and how it words a refusal.

Read from the answers of real servers: types and signs are checked, geometry is not. A box outside
the image or a mask whose runs do not add up pass; a polygon of two points did until 2.40.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from lsl_core.sandbox.base.answers import ApiError, server_error
from lsl_core.sandbox.base.flavour import Flavour

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


#: For each type of shape, whether so many numbers can be its points.
_COUNTS: dict[str, Callable[[int], bool]] = {
    "rectangle": lambda count: count == 4,
    "ellipse": lambda count: count == 4,
    "polygon": lambda count: count >= 6 and count % 2 == 0,
    "polyline": lambda count: count >= 4 and count % 2 == 0,
    "points": lambda count: count >= 2 and count % 2 == 0,
    "cuboid": lambda count: count == 16,
    "mask": lambda count: count >= 5,
    "skeleton": lambda count: count == 0,
}
_SHAPE_FIELDS = {**_COMMON, **_OUTLINE}
_SCORED_FIELDS = {**_SHAPE_FIELDS, "score": _between(0, 1)}
_TRACKED_FIELDS = {**_OUTLINE, "frame": _natural, "id": _natural_or_none}


class _Rules:
    """What a version of CVAT checks of the annotations of one request.

    Args:
        flavour: the version.
        action: create, update or delete; a PUT creates.
    """

    def __init__(self, flavour: Flavour, action: str) -> None:
        self._flavour = flavour
        self._action = action
        self._shape_fields = _SCORED_FIELDS if flavour.has_scores else _SHAPE_FIELDS

    def tag(self, tag: Any) -> Errors:  # noqa: ANN401 - any JSON
        return self._with_id(tag, _thing_errors(tag, _COMMON, ("label_id", "frame")))

    def shape(self, shape: Any) -> Errors:  # noqa: ANN401 - any JSON
        errors = self._part(shape)
        elements = shape.get("elements") if isinstance(shape, dict) else None
        if self._flavour.counts_points and isinstance(elements, list):
            found = [self._part(element) for element in elements]
            if any(found):
                errors["elements"] = found
        if self._flavour.counts_points and not errors:
            if shape["type"] != "skeleton" and elements:
                errors["elements"] = ["not allowed for non-skeleton shape"]
            elif shape["type"] == "skeleton" and not elements:
                errors["elements"] = ["at least one required for skeleton shape"]
        return errors

    def track(self, track: Any) -> Errors:  # noqa: ANN401 - any JSON
        found = _thing_errors(track, _COMMON, ("label_id", "frame", "shapes"))
        errors = self._with_id(track, found)
        shapes = track.get("shapes") if isinstance(track, dict) else None
        if isinstance(shapes, list):
            each = [
                self._counted(shape, _thing_errors(shape, _TRACKED_FIELDS, ("type", "frame")))
                for shape in shapes
            ]
            if any(each):
                errors["shapes"] = each
        return errors

    def _part(self, shape: Any) -> Errors:  # noqa: ANN401 - any JSON
        errors = _thing_errors(shape, self._shape_fields, ("type", "label_id", "frame"))
        return self._counted(shape, self._with_id(shape, errors))

    def _with_id(self, thing: Any, errors: Errors) -> Errors:  # noqa: ANN401 - any JSON
        if not self._flavour.checks_ids or not isinstance(thing, dict) or "id" in errors:
            return errors
        has_id = thing.get("id") is not None
        if self._action == "create" and has_id:
            errors["id"] = ["must be absent"]
        if self._action == "delete" and not has_id:
            errors["id"] = ["must be present and not null"]
        return errors

    def _counted(self, shape: Any, errors: Errors) -> Errors:  # noqa: ANN401 - any JSON
        if self._flavour.counts_points and not errors:
            kind = shape["type"]
            if not _COUNTS[kind](len(shape.get("points") or [])):
                errors["points"] = [f"invalid length for shape type '{kind}'"]
        return errors


def check(body: Any, flavour: Flavour, action: str) -> dict[str, list[Thing]]:  # noqa: ANN401 - any JSON
    """Check a body of annotations.

    Args:
        body: what a client sent.
        flavour: the version that is posed as.
        action: create, update or delete, which is what it is sent for; a PUT creates.

    Returns:
        `tags`, `shapes` and `tracks`, as they were sent.

    Raises:
        ApiError: 400 with the errors in the shape of the body; 500 for a body that is no object.
    """
    if not isinstance(body, dict):
        raise server_error()
    rules = _Rules(flavour, action)
    checks = {"tags": rules.tag, "shapes": rules.shape, "tracks": rules.track}
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

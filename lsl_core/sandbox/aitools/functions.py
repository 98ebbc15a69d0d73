"""What a Nuclio says of a function, as CVAT reads it; and whose labels its answers get."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from lsl_core.sandbox.base.answers import ApiError
from lsl_core.sandbox.base.store import Row

Json = dict[str, Any]

_KINDS = ("detector", "interactor", "reid", "tracker")
#: Types that CVAT makes of each other.
_ALIKE = {"mask", "polygon"}


@dataclass(frozen=True, slots=True)
class Function:
    """A function that CVAT offers as an AI tool.

    Args:
        id: its name in Nuclio.
        kind: detector, interactor, reid or tracker.
        labels: names and types, "any" where the function names none.
        port: of direct calls.
        description: of Nuclio.
        about: its annotations.
    """

    id: str
    kind: str
    labels: tuple[tuple[str, str], ...]
    port: int | None
    description: str
    about: Mapping[str, str]

    @classmethod
    def of(cls, row: Json) -> Self | None:
        """Read Nuclio's description; None for what is no tool of CVAT's.

        Raises:
            KeyError, ValueError: when something that CVAT needs is missing or no use.
        """
        about = row["metadata"]["annotations"]
        if about.get("type") not in _KINDS:
            return None
        specs = json.loads(about.get("spec") or "[]")
        labels = tuple((spec["name"], spec.get("type", "any")) for spec in specs)
        if len(dict(labels)) != len(labels):
            raise ValueError("`spec` has several labels of one name")
        name = row["metadata"]["name"]
        description = row["spec"]["description"]
        return cls(name, about["type"], labels, row["status"].get("httpPort"), description, about)

    def as_json(self) -> Json:
        """Describe it as CVAT's API does."""
        about = self.about
        shown: Json = {
            "id": self.id,
            "kind": self.kind,
            "labels_v2": [
                {"name": name, "type": kind, "attributes": []} for name, kind in self.labels
            ],
            "description": self.description,
            "name": about.get("name", self.id),
            "version": int(about.get("version", "1")),
        }
        if self.kind == "interactor":
            shown |= {
                "min_pos_points": int(about.get("min_pos_points", 1)),
                "min_neg_points": int(about.get("min_neg_points", -1)),
                "startswith_box": bool(about.get("startswith_box", False)),
                "startswith_box_optional": bool(about.get("startswith_box_optional", False)),
                "help_message": about.get("help_message", ""),
                "animated_gif": about.get("animated_gif", ""),
            }
        return shown

    def mapped(self, task_labels: Sequence[Row], asked: Json | None) -> dict[str, Row]:
        """Return the task's label of each of the model's.

        Args:
            task_labels: rows of the labels table.
            asked: `{"model label": {"name": "task label"}}`; without, labels of the same name and
                a compatible type go together.

        Raises:
            BadMapping: for a name that is not there, or types that do not go together.
        """
        types, rows = dict(self.labels), {row["name"]: row for row in task_labels}
        if not asked:
            return {
                name: rows[name]
                for name, kind in self.labels
                if name in rows and _is_compatible(kind, rows[name]["type"])
            }
        found: dict[str, Row] = {}
        for name, entry in asked.items():
            wanted = entry["name"]
            if name not in types:
                raise BadMapping(f'Invalid mapping. Unknown model label "{name}"')
            if wanted not in rows:
                raise BadMapping(f'Invalid mapping. Unknown db label "{wanted}"')
            if not _is_compatible(types[name], rows[wanted]["type"]):
                raise BadMapping(
                    f'Invalid mapping. Model label "{name}" and database label "{wanted}" are not '
                    "compatible"
                )
            found[name] = rows[wanted]
        return found


class BadMapping(ApiError):
    """A mapping of labels that CVAT refuses; in a run it fails the run."""

    def __init__(self, text: str) -> None:
        super().__init__(400, text)


def _is_compatible(model: str, task: str) -> bool:
    return model == task or "any" in (model, task) or {model, task} <= _ALIKE

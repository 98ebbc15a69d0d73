"""A project's label configuration: the image, and the tools that draw labels on it.

Source: https://labelstud.io/tags, Image, RectangleLabels, PolygonLabels, BrushLabels.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from lsl_core.errors import UserInput
from lsl_core.types.palette import COLOURS

#: Tag -> type of its results, for the tools whose shapes have an area.
_KINDS = {
    "rectanglelabels": "rectanglelabels",
    "polygonlabels": "polygonlabels",
    "brushlabels": "brushlabels",
    "ellipselabels": "ellipselabels",
    "labels": "labels",
}
_TAGS = {
    "rectanglelabels": "RectangleLabels",
    "polygonlabels": "PolygonLabels",
    "brushlabels": "BrushLabels",
}


@dataclass(frozen=True, slots=True)
class Control:
    """A tool that draws labelled shapes.

    name: results carry it as `from_name`. to_name: the image. kind: type of its results.
    labels: as results name them. model_names: a label's other names, those of a model, by label.
    """

    name: str
    to_name: str
    kind: str
    labels: tuple[str, ...]
    model_names: dict[str, tuple[str, ...]]

    def label_for(self, name: str) -> str | None:
        """Return the label that stands for a model's label, None when there is none.

        The attribute `predicted_values` of a label comes first, then its own name, then its name
        in other case, as Label Studio's own backends do it.
        """
        for label, names in self.model_names.items():
            if name in names:
                return label
        if name in self.labels:
            return name
        return next((label for label in self.labels if label.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """What a project draws. image_key: name of the task's field with the address of the image."""

    image_key: str
    controls: tuple[Control, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, each once, in order."""
        return tuple(dict.fromkeys(label for c in self.controls for label in c.labels))


def parse_config(xml: str) -> LabelConfig:
    """Read the label configuration of a project.

    Raises:
        UserInput: when it is no XML, or has no image or no tool that draws on it.
    """
    if "<!DOCTYPE" in xml.upper():
        raise _unusable("it declares a document type")
    try:
        root = ET.fromstring(xml)  # noqa: S314 - no document type, so no entities
    except ET.ParseError as error:
        raise _unusable("it is no XML") from error
    image = next((tag for tag in root.iter("Image") if tag.get("name")), None)
    if image is None:
        raise _unusable("it has no Image")
    controls = [
        _control(tag)
        for tag in root.iter()
        if tag.tag.lower() in _KINDS and tag.get("toName") == image.get("name")
    ]
    if not controls:
        raise _unusable("it has no RectangleLabels, PolygonLabels or BrushLabels for its image")
    return LabelConfig(image.get("value", "$image").lstrip("$"), tuple(controls))


def _control(tag: ET.Element) -> Control:
    other: dict[str, tuple[str, ...]] = {}
    for label in tag.iter("Label"):
        value, alias = label.get("value", ""), label.get("alias")
        names = [name.strip() for name in label.get("predicted_values", "").split(",")]
        if alias:
            names.append(value)  # what people see, where results have the alias
        other[alias or value] = tuple(name for name in names if name)
    kind = _KINDS[tag.tag.lower()]
    return Control(tag.get("name", ""), tag.get("toName", ""), kind, tuple(other), other)


def config_for(labels: Sequence[str], kind: str) -> str:
    """Write the label configuration of a new project.

    Args:
        labels: names.
        kind: "brushlabels", "polygonlabels" or "rectanglelabels".
    """
    rows = [
        f"    <Label value={quoteattr(label)} background={quoteattr(_colour(i))}/>"
        for i, label in enumerate(labels)
    ]
    tag = _TAGS[kind]
    return "\n".join(
        [
            "<View>",
            '  <Image name="image" value="$image" zoom="true" zoomControl="true"/>',
            f'  <{tag} name="label" toName="image">',
            *rows,
            f"  </{tag}>",
            "</View>",
        ]
    )


def _colour(i: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*COLOURS[i % len(COLOURS)])


def _unusable(reason: str) -> UserInput:
    return UserInput(
        f"The label configuration of the project cannot be used: {reason}.",
        hint="In Label Studio: Settings, Labeling Interface.",
    )

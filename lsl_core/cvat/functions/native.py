"""Objects and functions in the types of `cvat_sdk.auto_annotation`.

For functions that cvat-cli runs: `task auto-annotate`, and agents (`function run-agent`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cvat_sdk.auto_annotation as aa
from cvat_sdk.models import LabeledShapeRequest

from lsl_core.cvat.annotations.drawing import from_instances
from lsl_core.cvat.tasks.entities import CvatLabel
from lsl_core.geometry.drawable import Drawing, within_image
from lsl_core.types import CropMasks, Instances


def detection_spec(labels: Sequence[str], drawing: Drawing) -> Any:  # noqa: ANN401 - untyped SDK
    """Return the spec of a function that finds these labels; ids are class ids."""
    specs = [aa.label_spec(name, i, type=drawing.value) for i, name in enumerate(labels)]
    return aa.DetectionFunctionSpec(labels=specs)


def interaction_spec() -> Any:  # noqa: ANN401 - untyped SDK
    """Return the spec of a function that takes clicks, a box, or both."""
    return aa.InteractionFunctionSpec(min_pos_points=0, min_neg_points=0, min_bounding_boxes=0)


def detected_shapes(
    instances: Instances, labels: Sequence[str], drawing: Drawing
) -> list[LabeledShapeRequest]:
    """Return the shapes that a push would draw, with class ids as label ids.

    Args:
        instances: masks binary, or boxes only.
        labels: names by class id.
        drawing: how all of them are drawn.
    """
    inside = within_image(instances)
    known = {i: CvatLabel(i, name, drawing.value, "") for i, name in enumerate(labels)}
    objects = from_instances(inside, frame=0, labels=known, drawings=dict.fromkeys(known, drawing))
    # the SDK's caller says who drew it
    kept = ("label_id", "type", "points", "group", "score")
    return [
        LabeledShapeRequest(frame=0, **{key: shape[key] for key in kept})
        for shapes in objects
        for shape in shapes
    ]


def selected_shape(mask: CropMasks) -> list[Any]:
    """Return one mask as the answer to clicks."""
    x, y, w, h = mask.crops[0].tolist()
    points = [*mask.runs_of(0).tolist(), x, y, x + w - 1, y + h - 1]
    return [aa.InteractionResultShape(type="mask", points=points)]

"""The part of Nuclio's dashboard that CVAT calls: which functions there are, and calling one.

Each offered model is a detector; one with masks, or with a segmenter beside it, is an interactor
as well. CVAT calls a function
in one of two ways, as its server is set: by the dashboard (one address, the function named in a
header), or directly (a port for every function).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lsl_core.errors import UserInput
from lsl_core.serve.answers import label_specs
from lsl_core.serve.interactor import Point, Prompt, interactor_answer
from lsl_core.serve.looking import DetectSettings
from lsl_core.serve.payload import Json, image_of, number_of
from lsl_core.serve.selecting import select_any
from lsl_core.serve.shelf import Live

#: CVAT waits this long for a function.
CVAT_WAITS_S = 120.0
#: Ends the name of a function that answers clicks.
INTERACTOR = "-by-click"


@dataclass(frozen=True, slots=True)
class Function:
    """Something that CVAT can call. port: of direct calls, None when there is none."""

    name: str
    live: Live
    is_interactor: bool
    port: int | None

    def description(self) -> Json:
        """Return it as Nuclio describes a deployed function."""
        card = self.live.card
        annotations: Json = {"name": card.name, "type": "detector", "framework": "lsl"}
        if self.is_interactor:
            annotations |= {
                "name": f"{card.name} (click)",
                "type": "interactor",
                "spec": "[]",
                "version": "2",
                "min_pos_points": "0",
                "min_neg_points": "0",
                "startswith_box_optional": "true",
                "help_message": "Click on an object, or draw a box around it. A click with the "
                "right button takes a part away.",
            }
        else:
            specs = label_specs(card.labels, self.live.drawing)
            annotations["spec"] = json.dumps(specs, ensure_ascii=False)
        return {
            "metadata": {
                "name": self.name,
                "namespace": "nuclio",
                "labels": {"nuclio.io/project-name": "cvat"},
                "annotations": annotations,
            },
            "spec": {
                "description": f"{card.name}, version {card.id}: {', '.join(card.labels)}",
                "handler": "main:handler",
                "runtime": "python:3.11",
            },
            "status": {"state": "ready", "httpPort": self.port},
        }

    def answer(self, payload: Json, *, timeout_s: float) -> bytes:
        """Answer one call with JSON text.

        Raises:
            UserInput: when the request or its image is no use; says why.
            ServeError, ModelError: when there is no answer now.
        """
        data = image_of(payload)
        if self.is_interactor:
            live, prompt = self.live, prompt_of(payload)
            mask = select_any(
                live.selector, live.detector, data, prompt,
                slide=live.settings.slide, timeout_s=timeout_s,
            )  # fmt: skip
            return interactor_answer(mask)
        settings = self.live.settings
        threshold = number_of(payload, "threshold")
        if threshold is not None:
            settings = DetectSettings(threshold, settings.mask_threshold, settings.slide)
        return self.live.detector.answer(data, settings, self.live.drawing, timeout_s=timeout_s)


def names_of(live: Live) -> list[str]:
    """Return the names of the functions that an offer is called by."""
    name = live.offer.name
    return [name, name + INTERACTOR] if live.answers_clicks else [name]


def functions_of(lives: Iterable[Live], ports: dict[str, int]) -> dict[str, Function]:
    """Return every function by its name."""
    return {
        name: Function(name, live, name.endswith(INTERACTOR), ports.get(name))
        for live in lives
        for name in names_of(live)
    }


def prompt_of(payload: Json) -> Prompt:
    """Return what a person pointed at: CVAT's `pos_points`, `neg_points` and `obj_bbox`.

    Raises:
        UserInput: when these are no points.
    """
    box = _points(payload, "obj_bbox")
    if box and len(box) != 2:
        raise UserInput('"obj_bbox" needs two corners.', hint="[[x1, y1], [x2, y2]]")
    corners = (*box[0], *box[1]) if box else None
    return Prompt(_points(payload, "pos_points"), _points(payload, "neg_points"), corners)


def _points(payload: Json, key: str) -> tuple[Point, ...]:
    values = payload.get(key) or []
    if isinstance(values, list) and len(values) == 4 and all(map(_is_number, values)):
        values = [values[:2], values[2:]]  # a box as four numbers
    if not isinstance(values, list) or not all(_is_point(value) for value in values):
        raise UserInput(f'"{key}" is no list of points.', hint="[[x, y], …]")
    return tuple((float(x), float(y)) for x, y in values)


def _is_point(value: object) -> bool:
    is_pair: bool = isinstance(value, Sequence) and len(value) == 2 and not isinstance(value, str)
    return is_pair and all(_is_number(v) for v in value)  # type: ignore[attr-defined]


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]

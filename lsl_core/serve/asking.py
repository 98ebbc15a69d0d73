"""What a caller asks for in the query of a URL."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from lsl_core.errors import UserInput
from lsl_core.geometry.drawable import Drawing
from lsl_core.serve.looking import DetectSettings
from lsl_core.serve.shelf import Live
from lsl_core.types import SlideWindows

_KNOWN = ("threshold", "mask_threshold", "labels", "drawing", "holes", "window", "overlap")


def asked_of(query: Mapping[str, str], live: Live) -> tuple[DetectSettings, Drawing]:
    """Read the query of a request; what is left out is as the offer has it.

    `window` is W×H in pixels, or 0 for none; `labels` are separated by commas; `holes` is keep or
    fill; `drawing` is mask, polygon or rectangle.

    Raises:
        UserInput: naming what cannot be used.
    """
    unknown = [key for key in query if key not in _KNOWN]
    if unknown:
        raise UserInput(f'"{unknown[0]}" is not known.', hint=f"Known: {', '.join(_KNOWN)}.")
    offered = live.settings
    threshold, mask_threshold = _number(query, "threshold"), _number(query, "mask_threshold")
    settings = DetectSettings(
        offered.threshold if threshold is None else threshold,
        offered.mask_threshold if mask_threshold is None else mask_threshold,
        _windows(query, offered.slide),
        tuple(query["labels"].split(",")) if "labels" in query else None,
        _one_of(query, "holes", ("keep", "fill"), "keep") == "fill",
    )
    kinds = tuple(kind.value for kind in Drawing)
    return settings, Drawing(_one_of(query, "drawing", kinds, live.drawing.value))


def _number(query: Mapping[str, str], key: str) -> float | None:
    if key not in query:
        return None
    with contextlib.suppress(ValueError):
        return float(query[key])
    raise UserInput(f'"{key}" is no number: {query[key][:40]}', hint="For example 0.5.")


def _one_of(query: Mapping[str, str], key: str, known: tuple[str, ...], default: str) -> str:
    value = query.get(key, default)
    if value not in known:
        raise UserInput(f'"{key}" cannot be "{value[:40]}".', hint=f"One of: {', '.join(known)}.")
    return value


def _windows(query: Mapping[str, str], offered: SlideWindows | None) -> SlideWindows | None:
    if "window" not in query:
        return offered
    text = query["window"].lower().replace("×", "x")
    if text == "0":
        return None
    overlap = _number(query, "overlap")
    with contextlib.suppress(ValueError):
        width, _, height = text.partition("x")
        default = SlideWindows().overlap
        return SlideWindows(
            int(width), int(height or width), default if overlap is None else int(overlap)
        )
    raise UserInput(f'"{text[:40]}" is no window.', hint="For example window=1024x1024, or 0.")

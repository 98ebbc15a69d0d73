"""What callers send: an image as base64, numbers; and the status of what cannot be answered."""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any

from lsl_core.errors import LslError, ModelError, ServeError, TooLarge, TooLate, UserInput

Json = dict[str, Any]


class UnknownFunction(UserInput):
    """Nothing of that name is offered."""


#: HTTP status by kind of trouble, the first that fits.
_STATUS: tuple[tuple[type[LslError], int], ...] = (
    (UnknownFunction, 404),
    (TooLarge, 413),
    (UserInput, 422),
    (TooLate, 504),
    (ServeError, 503),
    (ModelError, 503),
    (LslError, 500),
)


def status_of(problem: LslError) -> int:
    """Return the HTTP status of a request that ended so: 4xx its own fault, 5xx ours."""
    return next(status for kind, status in _STATUS if isinstance(problem, kind))


def payload_of(body: bytes) -> Json:
    """Read the JSON of a call.

    Raises:
        UserInput: when it is none, or no object.
    """
    try:
        payload = json.loads(body)
    except ValueError as error:
        raise UserInput("The request is no JSON.", hint="Send one JSON object.") from error
    if not isinstance(payload, dict):
        raise UserInput("The request is no JSON object.", hint='Send {"name": value, …}.')
    return payload


def image_of(payload: Json) -> bytes:
    """Return the bytes of the image file of a call.

    Raises:
        UserInput: when there is none, or it is no base64.
    """
    text = payload.get("image")
    if not isinstance(text, str):
        raise UserInput("The request has no image.", hint='Send it as base64 text in "image".')
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserInput("The image is no base64 text.", hint="Encode the image file.") from error


def number_of(payload: Json, key: str) -> float | None:
    """Return a number of a call, None where it is left out.

    Raises:
        UserInput: when it is something else.
    """
    value = payload.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserInput(f'"{key}" is no number.', hint="For example 0.5.")
    return float(value)

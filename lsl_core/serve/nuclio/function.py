"""One detector function: a request of CVAT in, shapes or a reason out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from lsl_core.errors import LslError
from lsl_core.geometry.drawable import Drawing
from lsl_core.serve.answers import cvat_answer, drawing_of
from lsl_core.serve.detector import Detector
from lsl_core.serve.looking import DetectSettings
from lsl_core.serve.payload import Json, image_of, number_of, payload_of, status_of
from lsl_core.types import SlideWindows


class Function:
    """A detector, and what it shows when a caller asks for nothing else.

    Args:
        detector: any number of requests at a time.
        settings: for callers that give no threshold of their own.
        drawing: mask, polygon or rectangle.
    """

    def __init__(self, detector: Detector, settings: DetectSettings, drawing: Drawing) -> None:
        self._detector = detector
        self._settings = settings
        self._drawing = drawing

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Load what a function folder holds: `model/` and `settings.json`.

        Raises:
            ModelError: when the model cannot be loaded.
        """
        detector = Detector.open(folder / "model")
        values = json.loads((folder / "settings.json").read_text("utf-8"))
        drawing, slide = values.pop("drawing"), values.pop("slide")
        settings = DetectSettings(**values, slide=SlideWindows(**slide) if slide else None)
        return cls(detector, settings, Drawing(drawing) if drawing else drawing_of(detector.card))

    def answer(self, context: Any, event: Any) -> Any:  # noqa: ANN401 - types of nuclio_sdk
        """Answer one request; trouble becomes a status and one line that says why.

        Args:
            context: `nuclio_sdk.Context`.
            event: `nuclio_sdk.Event`, its body JSON or bytes.

        Returns:
            `nuclio_sdk.Response`.
        """
        try:
            text = self._detect(_payload(event.body))
        except LslError as error:
            status = status_of(error)
            context.logger.warn_with("not answered", status=status, reason=str(error))
            text = json.dumps({"error": str(error)}).encode()
            return _response(context, text, status)
        return _response(context, text, 200)

    def _detect(self, payload: Json) -> bytes:
        data = image_of(payload)
        threshold = number_of(payload, "threshold")
        settings = self._settings
        if threshold is not None:
            settings = replace(settings, threshold=threshold)
        found = self._detector.detect(data, settings)
        return cvat_answer(found, self._detector.card.labels, self._drawing)


def _payload(body: object) -> Json:
    """Return the request; Nuclio has read the JSON already where its content type says so."""
    if isinstance(body, dict):
        return body
    return payload_of(body if isinstance(body, bytes) else str(body).encode())


def _response(context: Any, text: bytes, status: int) -> Any:  # noqa: ANN401 - types of nuclio_sdk
    # as text: bytes would travel as base64 from worker to processor, a third larger
    return context.Response(
        body=text.decode(), headers={}, content_type="application/json", status_code=status
    )

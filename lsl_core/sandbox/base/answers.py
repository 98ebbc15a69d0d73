"""What the sandbox answers: JSON as CVAT writes it, and what is no success."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

#: The type CVAT gives its JSON.
JSON_TYPE = "application/vnd.cvat+json"
HTML_TYPE = "text/html; charset=utf-8"

_SERVER_ERROR = (
    '\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Server Error (500)</title>\n</head>\n'
    "<body>\n  <h1>Server Error (500)</h1><p></p>\n</body>\n</html>\n"
)


class ApiError(Exception):
    """An answer that is not a success.

    Args:
        status: HTTP status.
        body: what is sent as JSON, or as it is when `media_type` says so.
        media_type: the answer's type.
        headers: more headers.
    """

    def __init__(
        self,
        status: int,
        body: Any,  # noqa: ANN401 - CVAT answers with text, lists and objects
        *,
        media_type: str = JSON_TYPE,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.media_type = media_type
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Turn the error into the answer a client sees."""
        if self.media_type == JSON_TYPE:
            return reply(self.body, self.status, headers=self.headers)
        return Response(self.body, self.status, headers=self.headers, media_type=self.media_type)


def not_found(what: str | None = None) -> ApiError:
    """Answer 404, naming the kind of thing when one was looked up."""
    text = "Not found." if what is None else f"No {what} matches the given query."
    return ApiError(404, {"detail": text})


def denied() -> ApiError:
    """Answer 403."""
    return ApiError(403, {"detail": "You do not have permission to perform this action."})


def server_error() -> ApiError:
    """Answer 500 with a page, as CVAT does where it does not catch its own mistake."""
    return ApiError(500, _SERVER_ERROR, media_type=HTML_TYPE)


def reply(
    body: Any,  # noqa: ANN401 - any JSON
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with JSON."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(), status, headers=dict(headers or {}), media_type=JSON_TYPE)


def no_content(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    """Answer without a body."""
    return Response(status_code=status, headers=dict(headers or {}))

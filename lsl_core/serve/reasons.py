"""Why a call was refused, in the status line: of a failed call CVAT shows people nothing else.

CVAT calls functions with the library `requests` and tells whoever waits "422 Client Error: REASON
for url: …" (seen of 2.42.0); the body of the answer it throws away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h11
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Carries the reason from the application to the status line; it is not sent.
REASON = "x-reason"
#: Signs of a status line; a program that reads it need not take more (RFC 9112 names no limit).
_LONGEST = 300
#: Bytes of a request's head, as uvicorn takes them.
_LONGEST_HEAD = 64 * 1024


def refusal(status: int, error: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer to a request that is refused: the reason in the body and before it."""
    line = "".join(sign if sign.isprintable() else " " for sign in error.replace("×", "x"))
    told = {REASON: line[:_LONGEST].encode("ascii", "replace").decode()}
    return JSONResponse({"error": error}, status, {**(headers or {}), **told})


class ReasonsTold(H11Protocol):
    """HTTP as uvicorn speaks it, with the application's own words in the status line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self.conn = _Connection(h11.SERVER, _LONGEST_HEAD)


class _Connection(h11.Connection):
    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override] # one of three
        if isinstance(event, h11.Response):
            name = REASON.encode()
            reason = next((value for key, value in event.headers if key == name), None)
            if reason is not None:
                kept = [(key, value) for key, value in event.headers if key != name]
                event = h11.Response(status_code=event.status_code, headers=kept, reason=reason)
        return super().send(event)

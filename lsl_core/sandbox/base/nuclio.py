"""The way to a Nuclio: which functions there are, and calling one, with CVAT's own headers.

Read from what CVAT 2.30.0 and 2.39.0 sent to a stand-in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from lsl_core.sandbox.base.answers import ApiError

#: CVAT's own limit of a call.
CVAT_WAITS_S = 120.0
_CONNECT_S = 10.0


class NoAnswer(ApiError):
    """A Nuclio that gave no answer to work with, in the status and words that CVAT uses.

    Args:
        status: 503 when it is not reached, 504 when it is too slow, its own status otherwise,
            500 for what is no JSON.
        text: of the error.
        kind: name of the error of the `requests` library, for a run's `exc_info`.
    """

    def __init__(self, status: int, text: str, kind: str) -> None:
        super().__init__(status, text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Nuclio:
    """A gateway as CVAT's settings name it.

    Args:
        host: CVAT_NUCLIO_HOST.
        port: CVAT_NUCLIO_PORT.
        is_direct: CVAT_NUCLIO_INVOKE_METHOD: on the port of each function, or by the dashboard.
        timeout_s: CVAT_NUCLIO_DEFAULT_TIMEOUT.
    """

    host: str
    port: int
    is_direct: bool = False
    timeout_s: float = CVAT_WAITS_S

    @classmethod
    def at(cls, address: str, *, is_direct: bool = False) -> Self:
        """Read `host:port`.

        Raises:
            ValueError: when it is none.
        """
        host, colon, port = address.rpartition(":")
        if not colon or not host or not port.isdigit():
            raise ValueError(f"A Nuclio's address looks like 127.0.0.1:8070, not {address!r}")
        return cls(host, int(port), is_direct)

    def functions(self) -> dict[str, Any]:
        """Return the descriptions of all functions by name."""
        found: dict[str, Any] = self._call("GET", self._url("/api/functions"), self._headers())
        return found

    def function(self, name: str) -> dict[str, Any]:
        """Return the description of one function."""
        url = self._url(f"/api/functions/{quote(name, safe='')}")
        found: dict[str, Any] = self._call("GET", url, self._headers())
        return found

    def invoke(self, name: str, port: int | None, payload: dict[str, Any]) -> Any:  # noqa: ANN401
        """Call a function and return its answer, any JSON.

        Args:
            name: of the function.
            port: its own, for direct calls.
            payload: what it is sent.

        Raises:
            NoAnswer: see there.
        """
        if self.is_direct:
            return self._call("POST", f"http://{self.host}:{port}/", {}, payload)
        named = {"x-nuclio-function-name": name, "x-nuclio-path": "/"}
        url = self._url("/api/function_invocations")
        return self._call("POST", url, self._headers() | named, payload)

    def _url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"

    def _headers(self) -> dict[str, str]:
        return {
            "x-nuclio-project-name": "cvat",
            "x-nuclio-function-namespace": "nuclio",
            "x-nuclio-invoke-via": "domain-name",
            "X-Nuclio-Invoke-Timeout": f"{self.timeout_s:.0f}s",
        }

    def _call(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        payload: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - any JSON
        timeout = urllib3.Timeout(connect=_CONNECT_S, read=self.timeout_s)
        try:
            answer = urllib3.request(
                method, url, headers=headers, json=payload, timeout=timeout, retries=False
            )
        except ReadTimeoutError as exc:
            raise NoAnswer(504, str(exc), "ReadTimeout") from exc
        except HTTPError as exc:
            raise NoAnswer(503, str(exc), "ConnectionError") from exc
        if answer.status >= 400:
            whose = "Client" if answer.status < 500 else "Server"
            # the words of the status line are all that CVAT shows of an error
            text = f"{answer.status} {whose} Error: {answer.reason} for url: {url}"
            raise NoAnswer(answer.status, text, "HTTPError")
        try:
            return json.loads(answer.data)
        except ValueError as exc:
            raise NoAnswer(500, str(exc), "JSONDecodeError") from exc

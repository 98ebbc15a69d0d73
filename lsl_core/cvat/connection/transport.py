"""Authenticated HTTP through the SDK's own client: plain JSON and bytes, always with a timeout.

The SDK's model objects cost more than the server does (5 s of CPU for 5,000 masks, where plain
JSON costs 0.2 s), so rooms above read and write dictionaries.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import urllib3
from cvat_sdk import Client
from cvat_sdk.api_client.rest import RESTClientObject
from cvat_sdk.core.helpers import make_request_headers

from lsl_core.cvat.connection.entries import entries_of
from lsl_core.cvat.connection.errors import cvat_errors
from lsl_core.errors import CvatRequestFailed

Json = dict[str, Any]

#: Seconds to wait for a connection; an address that does not answer by then is wrong.
CONNECT_TIMEOUT_S = 10.0
#: Connections that are kept open to one server; no room uses more at a time.
MAX_CONNECTIONS = 8
#: Entries a page; CVAT's own is 10.
_PAGE_SIZE = 500
#: Repeats of what is safe to repeat: GET, HEAD, PUT, DELETE; never POST and PATCH.
RETRIES = urllib3.Retry(
    total=3, connect=1, status_forcelist=(502, 503, 504), backoff_factor=0.3, raise_on_status=False
)
#: For the first contact: a person is waiting for a verdict.
NO_RETRIES = urllib3.Retry(total=0, connect=0, redirect=3, raise_on_status=False)


class TimedRest(RESTClientObject):  # type: ignore[misc] # the SDK ships no types
    """The SDK's HTTP layer, in which no call can wait for ever."""

    def __init__(self, configuration: Any, timeout_s: float) -> None:  # noqa: ANN401 - untyped SDK
        super().__init__(configuration, maxsize=MAX_CONNECTIONS)
        self._timeout = (CONNECT_TIMEOUT_S, timeout_s)

    def request(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the SDK's own signature
        """Send one request; see the SDK."""
        kwargs["_request_timeout"] = kwargs.get("_request_timeout") or self._timeout
        return super().request(*args, **kwargs)


class Transport:
    """Requests to one server as one user. Safe to use from several threads."""

    def __init__(self, client: Client, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self.use_retries(RETRIES)

    def use_retries(self, retries: urllib3.Retry) -> None:
        """Choose how failures are repeated from now on."""
        api = self._client.api_client
        api.configuration.retries = retries
        api.rest_client = TimedRest(api.configuration, self._timeout_s)

    def send(
        self,
        method: str,
        path: str,
        *,
        doing: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        fields: Mapping[str, object] | None = None,
        headers: Mapping[str, str | None] | None = None,
        stream: bool = False,
        timeout_s: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return the answer, read whole unless `stream`.

        Args:
            method: GET, POST …
            path: from the root of the server, or a whole address on it.
            doing: for errors, to follow "while".
            query: parameters of the address; None values are left out.
            body: sent as JSON, or as it is with a Content-Type among `headers`.
            fields: sent as multipart form.
            headers: beside those that sign in; None takes one of them away.
            stream: leave the body to be read by the caller.
            timeout_s: for the answer; the session's own when None.

        Raises:
            CvatError: for every answer but 2xx, and for none.
        """
        api = self._client.api_client
        sent = {"Accept": "application/vnd.cvat+json, */*", **make_request_headers(api)}
        if fields is not None:
            sent["Content-Type"] = "multipart/form-data"
        for name, value in (headers or {}).items():
            if value is None:
                sent.pop(name, None)
            else:
                sent[name] = value
        url = path if path.startswith("http") else self._client.api_map.host + path
        pairs = [(key, value) for key, value in (query or {}).items() if value is not None]
        with cvat_errors(doing):
            response: urllib3.BaseHTTPResponse = api.rest_client.request(
                method,
                url,
                query_params=pairs or None,
                headers=sent,
                body=body,
                post_params=fields,
                _parse_response=not stream,
                _request_timeout=(CONNECT_TIMEOUT_S, timeout_s) if timeout_s else None,
            )
        return response

    def json(
        self,
        method: str,
        path: str,
        *,
        doing: str,
        **options: Any,  # noqa: ANN401 - those of `send`
    ) -> Any:  # noqa: ANN401 - any JSON value
        """Send a request and return the JSON of its answer, None when it is empty.

        Raises:
            CvatError: as `send`, or when the answer is no JSON.
        """
        data = self.send(method, path, doing=doing, **options).data
        with _json_expected(doing):
            return json.loads(data) if data else None

    def entries(
        self, path: str, *, doing: str, hook: Callable[[Json], Any] | None = None
    ) -> Iterator[tuple[str, Any]]:
        """Yield key and entry of every list in the answer, an object, while it comes.

        Raises:
            CvatError: as `json`; also in the middle, when the answer is cut.
        """
        with self.stream(path, doing=doing) as body, _json_expected(doing):
            yield from entries_of(body, hook)

    def pages(
        self,
        path: str,
        *,
        doing: str,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Iterator[Json]:
        """Yield the entries of a list, page by page until the last."""
        page = 1
        while True:
            asked = {**(query or {}), "page": page, "page_size": _PAGE_SIZE}
            answer = self.json("GET", path, doing=doing, query=asked, headers=headers)
            yield from answer["results"]
            if not answer.get("next"):
                return
            page += 1

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        doing: str,
        **options: Any,  # noqa: ANN401 - those of `send`
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Give the body of an answer as a file that is read once, while it comes.

        Raises:
            CvatError: also when the body ends before its announced length.
        """
        response = self.send("GET", path, doing=doing, stream=True, **options)
        try:
            with cvat_errors(doing):
                yield response
        finally:
            response.close()  # a body that was not read to its end leaves no usable connection
            response.release_conn()

    def download(self, path: str, file: IO[bytes], *, doing: str, **options: Any) -> None:  # noqa: ANN401
        """Write the body of an answer to an open file, piece by piece.

        Raises:
            CvatError: also when the body ends before its announced length.
        """
        with self.stream(path, doing=doing, **options) as body:
            shutil.copyfileobj(body, file, 1 << 20)


@contextmanager
def _json_expected(doing: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CvatRequestFailed(
            f"The server gave an answer that is no JSON (while {doing}).",
            hint="Check that the address is that of CVAT and not of something before it.",
        ) from error

"""The service over HTTP: CVAT's gateway, plain detection, and how the service is.

GET  /api/functions, /api/functions/NAME    as Nuclio's dashboard lists them
POST /api/function_invocations              call the function of `x-nuclio-function-name`
POST / on the port of a function            the same, called directly
POST /v1/models/NAME/detect                 an image file as the body; query: threshold,
mask_threshold, labels, drawing, holes, window,
overlap
GET  /v1/models                             what is offered
GET  /healthz, /readyz, /metrics            alive; ready to answer; figures for Prometheus
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lsl_core.errors import LslError, TooBusy, TooLarge, TooLate
from lsl_core.serve.access import Access, Guard
from lsl_core.serve.asking import asked_of
from lsl_core.serve.gateway import CVAT_WAITS_S, Function, functions_of
from lsl_core.serve.payload import UnknownFunction, payload_of, status_of
from lsl_core.serve.reasons import refusal
from lsl_core.serve.shelf import Shelf
from lsl_core.serve.usage import Usage

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service takes at a time.

    body_bytes: of one request. waiting_bytes: of all requests that are read or answered.
    requests: at the same time. timeout_s: until an answer; below the 120 s that CVAT waits.
    threads: that decode images and write answers.
    """

    body_bytes: int = 128 * 1024 * 1024
    waiting_bytes: int = 1024 * 1024 * 1024
    requests: int = 256
    timeout_s: float = 100.0
    threads: int = 32


@dataclass(slots=True, eq=False)
class Service:
    """The shelf behind HTTP. ports: of direct calls, by function name."""

    shelf: Shelf
    limits: Limits
    access: Access
    usage: Usage = field(default_factory=Usage)
    ports: dict[str, int] = field(default_factory=dict)
    _requests: int = 0
    _bytes: int = 0
    _threads: CapacityLimiter | None = None

    def app(self) -> Guard:
        """Return the ASGI application."""
        routes = [
            Route("/api/functions", self._list),
            Route("/api/functions/{name}", self._get),
            Route("/api/function_invocations", self._by_dashboard, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/v1/models/{name}/detect", self._detect, methods=["POST"]),
            Route("/healthz", self._health),
            Route("/readyz", self._ready),
            Route("/metrics", self._metrics),
            Route("/", self._directly, methods=["POST"]),
        ]
        return Guard(Starlette(routes=routes), self.access)

    def functions(self) -> dict[str, Function]:
        """Return every function that can be called."""
        return functions_of(self.shelf.all(), self.ports)

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _ready(self, _: Request) -> Response:
        names, problems = self.shelf.names(), self.shelf.problems
        is_ready = bool(names) and not problems
        body = {"ready": is_ready, "models": names, "problems": problems}
        return JSONResponse(body, 200 if is_ready else 503)

    async def _metrics(self, _: Request) -> Response:
        return Response(self.usage.text(), media_type="text/plain; version=0.0.4")

    async def _models(self, _: Request) -> Response:
        rows = [
            {"name": live.offer.name, "model": live.card.name, "version": live.card.id,
             "labels": list(live.card.labels), "drawing": live.drawing.value}
            for live in self.shelf.all()
        ]  # fmt: skip
        return JSONResponse(rows)

    async def _list(self, _: Request) -> Response:
        return JSONResponse({name: f.description() for name, f in self.functions().items()})

    async def _get(self, request: Request) -> Response:
        function = self.functions().get(request.path_params["name"])
        if function is None:
            return refusal(404, f'There is no function "{request.path_params["name"]}".')
        return JSONResponse(function.description())

    async def _by_dashboard(self, request: Request) -> Response:
        name = request.headers.get("x-nuclio-function-name", "")
        return await self._call(request, name)

    async def _directly(self, request: Request) -> Response:
        here = (request.scope.get("server") or ("", 0))[1]
        return await self._call(request, next((n for n, p in self.ports.items() if p == here), ""))

    async def _call(self, request: Request, name: str) -> Response:
        def work(body: bytes, timeout_s: float) -> bytes:
            function = self.functions().get(name)
            if function is None:
                raise UnknownFunction(f'There is no function "{name}".')
            with self.shelf.borrowed(function.live.offer.name) as live:
                found = Function(name, live, function.is_interactor, function.port)
                return found.answer(payload_of(body), timeout_s=timeout_s)

        return await self._answer(request, name, work)

    async def _detect(self, request: Request) -> Response:
        name = request.path_params["name"]

        def work(body: bytes, timeout_s: float) -> bytes:
            if name not in self.shelf.names():
                raise UnknownFunction(f'No model is offered as "{name}".')
            with self.shelf.borrowed(name) as live:
                settings, drawing = asked_of(request.query_params, live)
                return live.detector.answer(body, settings, drawing, timeout_s=timeout_s)

        return await self._answer(request, name, work)

    async def _answer(
        self, request: Request, function: str, work: Callable[[bytes, float], bytes]
    ) -> Response:
        """Read, work in a thread, count; whatever goes wrong is this request's alone."""
        began, error, status = time.monotonic(), "", 200
        response: Response
        try:
            body = await self._within_limits(request, began, work)
            response = Response(body, media_type="application/json")
        except ClientDisconnect:
            status, error = 499, "The caller hung up."
            response = Response(status_code=status)
        except LslError as problem:
            status, error = status_of(problem), str(problem)
            response = _problem(status, error)
        except Exception:
            _LOG.exception("%s failed", function)
            status, error = 500, "Something went wrong in our code; see the log of the service."
            response = _problem(status, error)
        known = function if status != 404 else "unknown"
        self.usage.add(
            known, status=status, seconds=time.monotonic() - began, who=_who(request), error=error
        )
        return response

    async def _within_limits(
        self, request: Request, began: float, work: Callable[[bytes, float], bytes]
    ) -> bytes:
        if self._requests >= self.limits.requests:
            raise TooBusy("Too many requests at a time.", hint="Send fewer at once, or later.")
        self._requests += 1
        held = [0]
        try:
            body = await self._read(request, held)
            timeout_s = min(self.limits.timeout_s, _asked_timeout_s(request))
            if self._threads is None:
                self._threads = CapacityLimiter(self.limits.threads)
            return await to_thread.run_sync(
                partial(_in_time, work, body, began + timeout_s), limiter=self._threads
            )
        finally:
            self._requests -= 1
            self._bytes -= held[0]

    async def _read(self, request: Request, held: list[int]) -> bytes:
        """Read a body within the limits; `held` tells how many bytes are counted for it."""
        chunks = []
        declared = int(request.headers.get("content-length") or 0)
        if declared > self.limits.body_bytes:
            raise self._too_large()
        with anyio.move_on_after(self.limits.timeout_s):
            async for chunk in request.stream():
                held[0] += len(chunk)
                self._bytes += len(chunk)
                if held[0] > self.limits.body_bytes:
                    raise self._too_large()
                if self._bytes > self.limits.waiting_bytes:
                    raise TooBusy("Too much is sent at a time.", hint="Send fewer at once.")
                chunks.append(chunk)
            return b"".join(chunks)
        raise TooLate("The request did not arrive in time.", hint="Send it again.")

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The request is larger than {self.limits.body_bytes // 1024**2} MiB.",
            hint="Send a smaller image, or raise --max-body-mb of the service.",
        )


def _in_time(work: Callable[[bytes, float], bytes], body: bytes, ends_at: float) -> bytes:
    left_s = ends_at - time.monotonic()
    if left_s <= 0:
        raise TooLate("No thread was free in time.", hint="Send fewer at once, or later.")
    return work(body, left_s)


def _asked_timeout_s(request: Request) -> float:
    """Return how long the caller waits, less a little for the way, as Nuclio's header says it."""
    text = request.headers.get("x-nuclio-invoke-timeout", "")
    try:
        return max(1.0, 0.9 * float(text.removesuffix("s")))
    except ValueError:
        return 0.9 * CVAT_WAITS_S


def _problem(status: int, error: str) -> JSONResponse:
    headers = {"Retry-After": "2"} if status == 503 else None
    return refusal(status, error, headers)


def _who(request: Request) -> str:
    """Return who calls, for people: address and program."""
    host = request.client.host if request.client else "?"
    return f"{host} {request.headers.get('user-agent', '?')[:60]}"


def describe(service: Service) -> list[dict[str, Any]]:
    """Return each offer with its figures, for the state that pages read."""
    rows = []
    for live in service.shelf.all():
        functions = [f for f in service.functions().values() if f.live is live]
        rows.append(
            {
                "model": live.offer.model,
                "version": live.card.id,
                "since": live.since,
                "labels": list(live.card.labels),
                "drawing": live.drawing.value,
                "device": live.detector.device,
                "clicks": live.selector.name if live.selector else None,
                "functions": [
                    {"name": f.name, "is_interactor": f.is_interactor, "port": f.port}
                    | {"use": asdict(service.usage.of(f.name))}
                    for f in functions
                ],
            }
        )
    return rows

"""A Nuclio for tests: tells what it was asked, and answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

#: Status and body; a body of bytes is sent as it is.
Answer = tuple[int, Any]


@dataclass(frozen=True)
class Asked:
    """A request: on which of the two ports, what, with which headers (names in lower case)."""

    is_direct: bool
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class StandIn:
    """The dashboard and one port of direct calls, both free ones on loopback."""

    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), self._handler(d)) for d in (0, 1)]
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def port(self) -> int:
        return int(self._servers[0].server_address[1])

    @property
    def direct_port(self) -> int:
        return int(self._servers[1].server_address[1])

    def _handler(self, is_direct: int) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(bool(is_direct), self.command, self.path, headers, body)
                stand_in.asked.append(asked)
                status, answer = stand_in.answer(asked)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _reply

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def described(name: str, *specs: dict[str, str], port: int = 1, **about: str) -> dict[str, Any]:
    """Describe a function as Nuclio does."""
    annotations = {"name": name.title(), "type": "detector", "spec": json.dumps(specs), **about}
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"description": f"finds {name}"},
        "status": {"state": "ready", "httpPort": port},
    }

"""A hub on loopback: what Hugging Face's client asks for to download a repository."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

COMMIT = "a" * 40


@dataclass
class FakeHub:
    """One repository. commit: its newest. lies: stated hashes that are not true.

    stated_bytes: size that the hub states for every file; None for the true one.
    """

    url: str
    files: dict[str, bytes]
    commit: str = COMMIT
    lies: dict[str, str] = field(default_factory=dict)
    stated_bytes: int | None = None
    asked: list[str] = field(default_factory=list)

    def listing(self, revision: str) -> dict[str, Any]:
        """What the hub says of the repository at a revision."""
        siblings = []
        for name, data in self.files.items():
            digest = self.lies.get(name, hashlib.sha256(data).hexdigest())
            large = {"sha256": digest, "size": len(data), "pointerSize": 134}
            entry: dict[str, Any] = {"rfilename": name, "size": self.stated_bytes or len(data)}
            siblings.append(entry | ({"lfs": large} if name.endswith(".safetensors") else {}))
        sha = self.commit if revision == "main" else revision
        return {"id": "owner/net", "modelId": "owner/net", "sha": sha, "siblings": siblings}


@contextmanager
def serving(folder: Path, extra: dict[str, bytes] | None = None) -> Iterator[FakeHub]:
    """Serve the files of a folder, and some more."""
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} | (extra or {})
    hub = FakeHub("", files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.split("?")[0]
            hub.asked.append(f"{self.command} {path}")
            if path.startswith("/api/models/"):
                revision = path.split("/revision/")[1] if "/revision/" in path else "main"
                body = json.dumps(hub.listing(revision)).encode()
            else:
                body = hub.files[path.rsplit("/", 1)[1]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", path.split("/")[-2] if "/resolve/" in path else "")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()

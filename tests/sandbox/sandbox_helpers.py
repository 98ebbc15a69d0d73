"""Small things that the sandbox tests share."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cvat_sdk import Client, make_client
from cvat_sdk.core.client import Config

from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER


def draw_images(folder: Path, count: int, *, height: int = 72, width: int = 96) -> list[Path]:
    """Write small PNG files, each different."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for number in range(count):
        pixels = np.full((height, width, 3), 30 + 10 * number, np.uint8)
        cv2.circle(pixels, (20 + 5 * number, 30), 12, (200, 120, 40), -1)
        path = folder / f"img_{number:03d}.png"
        assert cv2.imwrite(str(path), pixels)
        paths.append(path)
    return paths


@contextmanager
def signed_in(url: str, user: str = DEMO_USER, password: str = DEMO_PASSWORD) -> Iterator[Client]:
    """Open a cvat-sdk client that polls fast."""
    with make_client(url, credentials=(user, password)) as client:
        client.config.status_check_period = 0.05
        yield client


def quick(client: Client, cache: Path) -> Client:
    """Point a client's cache at a folder of the test."""
    client.config = Config(status_check_period=0.05, cache_dir=cache)
    return client


class Http:
    """A plain HTTP client with one token."""

    def __init__(self, url: str, token: str | None = None, scheme: str = "Token") -> None:
        self.url = url
        self.headers = {} if token is None else {"Authorization": f"{scheme} {token}"}

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any, dict[str, str]]:
        """Call the server.

        Returns:
            Status, body (JSON when it is JSON, else bytes), and headers with lower-case names.
        """
        data = raw if raw is not None or body is None else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json", **self.headers, **(headers or {})}
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers=all_headers
        )
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read()
            names = {name.lower() for name in answer.headers}
            found = {name: ", ".join(answer.headers.get_all(name) or []) for name in names}
            is_json = "json" in found.get("content-type", "")
            return answer.status, json.loads(text) if is_json and text else text, found

"""Small things that the sandbox tests share."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

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

    def ok(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Call the server and insist on a status.

        Returns:
            The body.
        """
        found, answer, _ = self.call(method, path, body, headers=headers)
        assert found == status, (method, path, found, answer)
        return answer

    def upload(
        self, path: str, files: Sequence[Path | tuple[str, bytes]], fields: dict[str, str]
    ) -> Any:
        """Send files and fields in one multipart call."""
        boundary = "a-boundary-between-parts"
        parts: list[bytes] = []
        for name, value in fields.items():
            about = f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            parts.append(about.encode())
        for number, file in enumerate(files):
            name, data = (file.name, file.read_bytes()) if isinstance(file, Path) else file
            about = f'form-data; name="client_files[{number}]"; filename="{name}"'
            parts.append(f"Content-Disposition: {about}\r\n\r\n".encode() + data + b"\r\n")
        mark = f"--{boundary}\r\n".encode()
        raw = b"".join(mark + part for part in parts) + f"--{boundary}--\r\n".encode()
        sent = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        status, answer, _ = self.call("POST", path, raw=raw, headers=sent)
        assert status == 202, answer
        return answer


def wait_for(http: Http, rq_id: str) -> dict[str, Any]:
    """Poll a background request until it has ended."""
    end = time.monotonic() + 20
    while True:
        found: dict[str, Any] = http.ok("GET", f"/api/requests/{quote(rq_id, safe='')}")
        if found["status"] not in ("queued", "started"):
            return found
        assert time.monotonic() < end, f"{rq_id} does not end"
        time.sleep(0.01)


SPEC = {"name": "conf", "mutable": False, "input_type": "number", "values": ["0", "1", "1"]}


def make_task(http: Http, images: Sequence[Any], **spec: Any) -> dict[str, Any]:
    """Make a task with a box and a mask label and upload its images in one call."""
    labels = [{"name": "box"}, {"name": "cell", "type": "mask", "attributes": [SPEC]}]
    made = http.ok("POST", "/api/tasks", {"name": "t", "labels": labels, **spec}, status=201)
    rq_id = http.upload(f"/api/tasks/{made['id']}/data", images, {"image_quality": "80"})["rq_id"]
    assert wait_for(http, rq_id)["status"] == "finished"
    found = http.ok("GET", f"/api/labels?task_id={made['id']}")["results"]
    jobs = http.ok("GET", f"/api/jobs?task_id={made['id']}&sort=id")["results"]
    return {
        **http.ok("GET", f"/api/tasks/{made['id']}"),
        "box": found[0]["id"],
        "cell": found[1]["id"],
        "spec": found[1]["attributes"][0]["id"],
        "jobs_by_start": {job["start_frame"]: job["id"] for job in jobs},
    }


def box(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe a rectangle on frame 0."""
    return {
        "type": "rectangle",
        "frame": 0,
        "label_id": task["box"],
        "points": [1, 2, 3, 4],
        **more,
    }


def write(
    http: Http, task: dict[str, Any], shapes: list[Any], action: str = "create", start: int = 0
) -> tuple[int, Any, dict[str, str]]:
    """Patch the job that begins at a frame."""
    job = task["jobs_by_start"][start]
    return http.call("PATCH", f"/api/jobs/{job}/annotations?action={action}", {"shapes": shapes})


def read(http: Http, task: dict[str, Any]) -> list[dict[str, Any]]:
    """Read a task's shapes."""
    found: list[dict[str, Any]] = http.ok("GET", f"/api/tasks/{task['id']}/annotations")["shapes"]
    return found

"""Small images, tasks and masks for the tests of the CVAT room, and a proxy that breaks things."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from lsl_core.cvat import CvatSession, TaskInfo, create_task, get_task, task_jobs, task_labels
from lsl_core.cvat.new_tasks.upload import upload_images
from lsl_core.types import CropMasks, Instances

HW = (60, 80)
LABELS = [("cell", "mask"), ("box", "rectangle"), ("outline", "polygon"), ("thing", "any")]


def write_images(folder: Path, count: int, *, suffix: str = ".png", seed: int = 0) -> list[Path]:
    """Write `count` different images of HW; named so that their order is not that of the names."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{chr(ord('z') - i)}{i}{suffix}" for i in range(count)]
    for path in paths:
        assert cv2.imwrite(str(path), rng.integers(0, 255, (*HW, 3), np.uint8))
    return paths


def write_kinds(folder: Path) -> dict[Path, tuple[int, int]]:
    """Write the same picture as files of every kind and name; return the size that people see.

    Two are called the same; one is turned by its EXIF tag, so that people see it upright.
    """
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    pixels = np.stack([columns * 3, rows * 4, (rows + columns) % 256], axis=-1).astype(np.uint8)
    grey = pixels[..., 0]
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter, clockwise
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("same.png", Image.fromarray(pixels), {}),
        ("same.png", Image.fromarray(255 - pixels), {}),
        ("Zelle große 細胞 #1.png", Image.fromarray(pixels), {}),
        ("grey.png", Image.fromarray(grey), {}),
        ("deep.png", Image.fromarray(grey.astype(np.uint16) * 257), {}),
        ("deep.tif", Image.fromarray(grey.astype(np.uint16) * 257), {}),
        ("see through.png", Image.fromarray(np.dstack([pixels, grey])), {}),
        ("print.jpg", Image.fromarray(pixels).convert("CMYK"), {"quality": 95}),
        ("turned.jpg", Image.fromarray(pixels), {"quality": 95, "exif": turned}),
    ]
    files = {}
    for number, (name, image, options) in enumerate(kinds):
        path = folder / str(number) / name
        path.parent.mkdir(parents=True)
        image.save(path, **options)
        files[path] = (HW[1], HW[0]) if name == "turned.jpg" else HW
    return files


def make_task(session: CvatSession, folder: Path, *, frames: int = 4, segment: int = 2) -> TaskInfo:
    return create_task(
        session, "cells", LABELS, write_images(folder / "images", frames), segment_size=segment
    )


def write_video(path, *, count=12):
    """Write a video without loss, its frames different; return them, RGB."""
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 255, (*HW, 3), np.uint8) for _ in range(count)]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10, (HW[1], HW[0]))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return frames


def make_video_task(session, path, *, segment=0):
    body = {
        "name": "walk",
        "labels": [{"name": n, "type": t, "attributes": []} for n, t in LABELS],
        "segment_size": segment,
    }
    made = session.transport.json("POST", "/api/tasks", doing="the test", body=body)
    upload_images(session, made["id"], [(path.name, path)])
    return get_task(session, made["id"])


def rectangle(frame, x, **more):
    return {"type": "rectangle", "frame": frame, "points": [x, 10.0, x + 10.0, 20.0], **more}


def add_track(session, task, *keys):
    label = next(found for found in task_labels(session, task.id) if found.name == "box")
    track = {"frame": keys[0]["frame"], "label_id": label.id, "group": 0, "source": "manual",
             "attributes": [], "shapes": list(keys)}  # fmt: skip
    job = next(j for j in task_jobs(session, task.id) if j.covers(keys[0]["frame"]))
    session.transport.json(
        "PATCH", f"/api/jobs/{job.id}/annotations/", doing="the test",
        query={"action": "create"},
        body={"version": 0, "tags": [], "shapes": [], "tracks": [track]},
    )  # fmt: skip


def discs(places: Sequence[tuple[int, int, int]], *, class_id: int = 0) -> Instances:
    """Return round masks (x, y, radius) on an image of HW, scores falling from 0.9."""
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    crops, xy = [], []
    for x, y, radius in places:
        full = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
        crops.append(full)
        xy.append((0, 0))
    masks = CropMasks.from_crops(crops, xy)
    boxes = np.array([(x - r, y - r, x + r + 1, y + r + 1) for x, y, r in places], np.float32)
    scores = np.linspace(0.9, 0.5, len(places), dtype=np.float32)
    ids = np.full(len(places), class_id, np.int32)
    return Instances(boxes.reshape(-1, 4), scores, ids, masks, HW)


Fault = Callable[[str, str, Callable[[], "Answer"]], "Answer | None"]


class Answer:
    """What the server said: status, headers, body; `length` announces more than comes."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.length: int | None = None

    def cut(self) -> Answer:
        """Let the connection break in the middle of the body."""
        self.length = len(self.body)
        self.body = self.body[: len(self.body) // 2]
        return self


class FaultProxy:
    """A proxy in front of a server. `fault` sees (method, path, forward) for every request.

    It returns the answer to pass on, or None to cut the connection. Calling `forward` is what
    sends the request to the server, so a fault decides whether it happens; `forward.body` and
    `forward.headers` are what would be sent.
    """

    def __init__(self, url: str) -> None:
        self._upstream = url.partition("://")[2]
        self.fault: Fault = lambda method, path, forward: forward()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                command, path = self.command, self.path  # the next request writes over them

                def forward() -> Answer:
                    link = http.client.HTTPConnection(proxy._upstream, timeout=30)
                    link.request(command, path, body, headers)
                    got = link.getresponse()
                    kept = [
                        (k, v)
                        for k, v in got.getheaders()
                        if k.lower() not in ("transfer-encoding", "connection", "content-length")
                    ]
                    answer = Answer(got.status, kept, got.read())
                    link.close()
                    return answer

                forward.body, forward.headers = body, headers  # type: ignore[attr-defined]
                answer = proxy.fault(command, path, forward)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response_only(answer.status)
                for key, value in answer.headers:
                    self.send_header(key, value)
                length = len(answer.body) if answer.length is None else answer.length
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(answer.body)
                self.close_connection |= answer.length is not None

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = _serve

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

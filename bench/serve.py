"""The service under load: 32 callers, 1,000 images, one in twenty of them broken.

    python bench/serve.py                                   # trains a small model first, 1 minute
    python bench/serve.py --workspace FOLDER --train NAME   # a model of yours

Loopback only. Every good answer is compared, byte by byte, with the one that a lone caller gets;
every bad image has to be refused with a reason. Beside it the same model behind a handler that
takes one call at a time, as a serverless function with one worker does, in a process of its own.
On a machine that others use as well, compare the processor's seconds rather than the clock's.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
import uvicorn
from measure import process_cpu_s, shared_mb, with_children
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lsl_core import sources
from lsl_core.errors import LslError
from lsl_core.models import load_model
from lsl_core.models.devices import use_threads
from lsl_core.sandbox.scenes import SCENE_LABELS, SceneKind, draw_scene
from lsl_core.serve.answers import cvat_answer, drawing_of
from lsl_core.serve.looking import FLOOR_SCORE
from lsl_core.serve.payload import image_of, payload_of, status_of
from lsl_core.services import workspaces
from lsl_core.services.models import training, versions
from lsl_core.services.serving import offers, service
from lsl_core.services.serving.offers import Offer
from lsl_core.services.serving.state import ServiceSettings
from lsl_core.types import Hw, Mode, View
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import decode_rgb, image_ref

#: (height, width) of the images, unless others are asked for, and of those trained on.
IMAGE_HW = (240, 320)
CALLERS = 32


@dataclass(frozen=True)
class Load:
    """Bodies to send, and which of them are good."""

    bodies: list[bytes]
    is_good: list[bool]


@dataclass(frozen=True)
class Outcome:
    """Answers in the order of the bodies; seconds each took; the server's memory on the way.

    cpu_s: seconds of all cores that the server's processes used. caller_s: that the callers used.
    memory_mb: of all these processes, what they share counted once.
    """

    answers: list[tuple[int, bytes]]
    seconds: list[float]
    wall_s: float
    cpu_s: float
    caller_s: float
    memory_mb: list[float]


def make_load(count: int, *, bad: float, seed: int, hw: Hw = IMAGE_HW) -> Load:
    """Draw images, every one different, and break some in each of seven ways.

    Another seed gives other images, so that nothing of an earlier run is in the cache.
    """
    rng = np.random.default_rng(seed)
    height, width = hw
    whole = 2 * height, 2 * width
    scenes = [draw_scene(SceneKind.CELLS, seed=i, image_hw=whole).pixels for i in range(8)]
    broken = set(rng.choice(count, round(count * bad), replace=False).tolist())
    bodies, is_good = [], []
    for i in range(count):
        y, x = rng.integers(0, height), rng.integers(0, width)
        part = scenes[i % len(scenes)][y : y + height, x : x + width].copy()
        part[0, 0] = i % 256, i // 256 % 256, 7  # no two are the same
        part[0, 1:3] = rng.integers(0, 256, (2, 3))
        suffix = ".png" if i % 2 else ".jpg"
        data = cv2.imencode(suffix, part[:, :, ::-1])[1].tobytes()
        is_good.append(i not in broken)
        body = _json(data) if is_good[-1] else _broken(data, i, rng)
        bodies.append(body)
    return Load(bodies, is_good)


def _json(data: bytes) -> bytes:
    return json.dumps({"image": base64.b64encode(data).decode(), "threshold": 0.3}).encode()


def _broken(data: bytes, i: int, rng: np.random.Generator) -> bytes:
    cut = int(rng.integers(20, len(data) - 20))
    return (
        _json(data[:cut]),
        _json(b""),
        _json(b"%PDF-1.7 no image"),
        _json(data[:-9]),
        json.dumps({"threshold": 0.3}).encode(),
        json.dumps({"image": "no base64!"}).encode(),
        b'{"image": "' + base64.b64encode(data)[:cut],
    )[i % 7]


def send(port: int, load: Load, *, callers: int, pid: int) -> Outcome:
    """Send every body, so many at a time, over connections that are kept.

    On bare sockets in one thread: a caller on the same cores takes from what it measures, and one
    with Python's HTTP client and threads took a third as much as the service itself.
    """
    pids = with_children(pid)
    began, used, ours = time.perf_counter(), sum(map(process_cpu_s, pids)), time.process_time()
    answers, seconds, memory = asyncio.run(_all(port, load.bodies, callers, pids))
    wall, used = time.perf_counter() - began, sum(map(process_cpu_s, pids)) - used
    return Outcome(answers, seconds, wall, used, time.process_time() - ours, memory)


async def _all(
    port: int, bodies: Sequence[bytes], callers: int, pids: Sequence[int]
) -> tuple[list[tuple[int, bytes]], list[float], list[float]]:
    answers: list[tuple[int, bytes]] = [(0, b"")] * len(bodies)
    seconds, memory = [0.0] * len(bodies), []
    left = iter(range(len(bodies)))

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        for i in left:
            began = time.perf_counter()
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(bodies[i]) + bodies[i])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.partition(b"content-length:")[2].split(maxsplit=1)[0])
            answers[i] = int(head.split(maxsplit=2)[1]), await reader.readexactly(size)
            seconds[i] = time.perf_counter() - began
            if (i + 1) % max(1, len(bodies) // 5) == 0:
                memory.append(shared_mb(pids))
        writer.close()

    await asyncio.gather(*(caller() for _ in range(callers)))
    return answers, seconds, memory


def one_at_a_time(root: Path, model: str, threads: int, tell: Connection) -> None:
    """Serve until killed, like the handler of a serverless function: decode, ask, write JSON.

    The same HTTP server, decoder, model and writer as the service has; each call is worked on in
    the server's own thread, so the next one waits, as for a function with one worker.
    """
    use_threads(threads)
    workspace = workspaces.open_workspace(root)
    card = versions.get_model(workspace, model)
    loaded = load_model(workspace.models / card.id, device=workspace.settings().inference.device)

    def work(body: bytes) -> bytes:
        asked = payload_of(body)
        pixels = decode_rgb(image_of(asked), name="x")
        (found,) = loaded.predict([pixels], floor_score=FLOOR_SCORE)
        view = View((asked["threshold"],) * len(card.labels))
        return cvat_answer(view.of(found), card.labels, drawing_of(card))

    async def handle(request: Request) -> Response:
        try:
            return Response(work(await request.body()), media_type="application/json")
        except LslError as error:
            return JSONResponse({"error": str(error)}, status_of(error))

    app = Starlette(routes=[Route("/", handle, methods=["POST"])])
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(256)
    tell.send(listening.getsockname()[1])
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
    uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def handler(workspace: Workspace, model: str, threads: int) -> Iterator[tuple[int, int]]:
    """Run the handler in a process of its own; give its port and process id.

    threads: that torch computes one operation with; many on busy cores wait for each other.
    """
    context = multiprocessing.get_context("spawn")
    hear, tell = context.Pipe(duplex=False)
    process = context.Process(target=one_at_a_time, args=(workspace.root, model, threads, tell))
    process.start()
    try:
        yield hear.recv(), process.pid or 0
    finally:
        process.terminate()
        process.join()


def check(load: Load, outcome: Outcome, expected: Sequence[bytes]) -> tuple[int, int]:
    """Return how many good ones were answered wrongly, and bad ones without 4xx and a reason."""
    wrong = unrefused = 0
    for good, (status, body), right in zip(load.is_good, outcome.answers, expected, strict=True):
        if good:
            wrong += status != 200 or body != right
        else:
            unrefused += not (400 <= status < 500 and json.loads(body).get("error"))
    return wrong, unrefused


def trained(folder: Path, *, iterations: int) -> tuple[Workspace, str]:
    """Make a workspace with a model that was trained for a few steps."""
    workspace = workspaces.create_workspace(folder, Mode.FSIS)
    images = []
    for seed in range(6):
        scene = draw_scene(SceneKind.CELLS, seed=100 + seed, image_hw=IMAGE_HW)
        path = folder / f"{seed}.png"
        cv2.imwrite(str(path), scene.pixels[:, :, ::-1])
        ref = image_ref(path, frame=seed, name=path.name)
        drawn = np.ones(len(scene.instances), bool)
        images.append(sources.LabelledImage(ref, path, scene.instances, drawn))
    sources.save_source(
        workspace.sources,
        "cells",
        images,
        labels=SCENE_LABELS[SceneKind.CELLS],
        is_labelled=True,
        origin={"kind": "bench"},
    )
    training.train(workspace, source="cells", minutes=None, iterations=iterations)
    return workspace, "cells"


def report(name: str, outcome: Outcome, load: Load) -> None:
    """Print one line of figures."""
    good = [s for s, is_good in zip(outcome.seconds, load.is_good, strict=True) if is_good]
    p95 = sorted(good)[int(0.95 * len(good))]
    rate = len(load.bodies) / outcome.wall_s
    memory = ", ".join(f"{mb:.0f}" for mb in outcome.memory_mb)
    print(
        f"{name:<34} {outcome.wall_s:7.1f} s  {rate:6.1f} images/s  median "
        f"{statistics.median(good):6.3f} s  p95 {p95:6.3f} s  "
        f"processor {1000 * outcome.cpu_s / len(load.bodies):5.1f} ms an image "
        f"(callers {1000 * outcome.caller_s / len(load.bodies):.1f})  MB {memory}",
        flush=True,
    )


def main() -> None:
    """Run the load and say what came back."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--train")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--hw", type=int, nargs=2, default=IMAGE_HW, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--callers", type=int, default=CALLERS)
    # with two on two cores that others use, each waits for the other: a call took over 2 minutes
    parser.add_argument("--handler-threads", type=int, default=1)
    parser.add_argument("--bad", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--iterations", type=int, default=60)
    # other new images for the same process: does its memory come to rest?
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lsl-bench-") as scratch:
        if asked.workspace:
            workspace, model = workspaces.open_workspace(asked.workspace), asked.train
        else:
            workspace, model = trained(Path(scratch) / "w", iterations=asked.iterations)
        measure(workspace, model, asked)


def measure(workspace: Workspace, model: str, asked: argparse.Namespace) -> None:
    """Compare the handler, the service for one caller and for many, and repeated images."""
    hw = (asked.hw[0], asked.hw[1])
    load = make_load(asked.images, bad=asked.bad, seed=asked.seed, hw=hw)
    with handler(workspace, model, asked.handler_threads) as (port, pid):
        send(port, replace(load, bodies=load.bodies[:5]), callers=1, pid=pid)
        lone = send(port, load, callers=1, pid=pid)
        report("handler, one caller", lone, load)
        alone = send(port, load, callers=asked.callers, pid=pid)
        report(f"handler, {asked.callers} callers", alone, load)
    offers.deploy(workspace, Offer(model))
    found = service.start(workspace, ServiceSettings(port=19070, is_nuclio=True))
    try:
        port = found.offers[0].functions[0].port or 0
        warm = make_load(40, bad=0.0, seed=asked.seed + 1, hw=hw)
        send(port, warm, callers=4, pid=found.pid)
        together = send(port, load, callers=asked.callers, pid=found.pid)
        report(f"service, {asked.callers} callers", together, load)
        again = send(port, load, callers=asked.callers, pid=found.pid)
        report("service, the same images again", again, load)
        for number in range(2, asked.rounds + 1):
            seed = asked.seed + number
            other = make_load(asked.images, bad=asked.bad, seed=seed, hw=hw)
            outcome = send(port, other, callers=asked.callers, pid=found.pid)
            report(f"service, new images, round {number}", outcome, other)
    finally:
        service.stop(workspace)
    right = [body for _, body in alone.answers]
    wrong, unrefused = check(load, together, right)
    print(
        f"{sum(load.is_good)} good: {wrong} wrong; {asked.images - sum(load.is_good)} bad: ", end=""
    )
    print(f"{unrefused} not refused with a reason")
    for what, other in (("new images", together), ("images seen before", again)):
        print(
            f"{what}: {lone.wall_s / other.wall_s:.2f} × one caller, "
            f"{alone.wall_s / other.wall_s:.2f} × as many callers of the handler by the clock, "
            f"{alone.cpu_s / other.cpu_s:.2f} × by the processor's seconds"
        )


if __name__ == "__main__":
    main()

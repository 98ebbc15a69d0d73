"""Label Studio's ML backend: predictions for its tasks, and training from its projects.

    python -m lsl_core.serve.label_studio WORKSPACE SETTINGS

GET  /, /health          alive, and which version answers
POST /setup              whether the model fits a project; its version
POST /predict            predictions for tasks, each with its own error; or the object that
                         somebody points at
POST /train, /webhook    import the project and train, in the worker
Source: label_studio/ml/api_connector.py of Label Studio 1.20, label_studio_ml/api.py.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lsl_core.errors import LslError, TooLarge, TooLate, UserInput
from lsl_core.labelstudio import (
    LabelConfig,
    LabelStudio,
    Pointed,
    parse_config,
    read_pointed,
    regions_of,
    tools_for,
)
from lsl_core.serve.access import Access, Guard, read_token
from lsl_core.serve.interactor import Prompt, select
from lsl_core.serve.looking import MAX_PIXELS
from lsl_core.serve.payload import Json, payload_of, status_of
from lsl_core.serve.server import bound
from lsl_core.serve.shelf import Live, Shelf
from lsl_core.services import activity
from lsl_core.services.labelstudio import projects
from lsl_core.services.labelstudio.backend import BackendSettings
from lsl_core.services.serving.offers import Offer
from lsl_core.types import Instances
from lsl_core.words import plural
from lsl_core.workspace import Workspace

_LOG = logging.getLogger(__name__)

#: Bytes of a request: tasks hold addresses, seldom images.
_BODY_BYTES = 64 * 1024 * 1024
#: Seconds until an answer: Label Studio waits 100, and then nobody hears the reason.
_TIMEOUT_S = 90.0
#: What is left when the time is over; Label Studio stores the rest, and asks for these alone next.
_NO_TIME = "There was no time left for this task."
#: Tasks whose images are fetched and decoded at a time; the model sees them in batches.
_AT_A_TIME = 8
#: What makes us train; Label Studio also tells of every annotation.
_TRAIN_EVENTS = ("START_TRAINING",)
_FOLLOW_S = 2.0


@dataclass(slots=True, eq=False)
class Backend:
    """One model for the projects of one Label Studio.

    server: fetches the images. shelf: holds the model, in the version that is best now.
    """

    workspace: Workspace
    server: LabelStudio
    shelf: Shelf
    access: Access
    model: str

    def app(self) -> Guard:
        """Return the ASGI application."""
        routes = [
            Route("/", self._health),
            Route("/health", self._health),
            Route("/setup", self._asked(self._setup), methods=["POST"]),
            Route("/predict", self._asked(self._predict), methods=["POST"]),
            Route("/train", self._asked(self._train, 201), methods=["POST"]),
            Route("/webhook", self._asked(self._webhook, 201), methods=["POST"]),
        ]
        return Guard(Starlette(routes=routes), self.access)

    async def _health(self, _: Request) -> Response:
        versions = [live.card.id for live in self.shelf.all()]
        if not versions:
            return JSONResponse({"status": "DOWN", "problems": self.shelf.problems}, 503)
        body = {"status": "UP", "model_class": "LSL", "model_version": versions[0], "v2": True}
        return JSONResponse(body)

    def _asked(self, answer: Callable[[Json], Json], status: int = 200) -> Any:  # noqa: ANN401
        async def endpoint(request: Request) -> Response:
            try:
                body = await _body(request)
                found = await to_thread.run_sync(lambda: answer(payload_of(body)))
            except LslError as error:
                _LOG.warning("%s: %s", request.url.path, error)
                return JSONResponse({"error": str(error)}, status_of(error))
            return JSONResponse(found, status)

        return endpoint

    def _setup(self, payload: Json) -> Json:
        with self._live() as live:
            config = _config(payload, "schema")
            tools_for(config, live.card.labels, masks=live.has_masks)
            return {"model_version": live.card.id}

    def _predict(self, payload: Json) -> Json:
        tasks = payload.get("tasks")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise UserInput("The request has no tasks.", hint='Send {"tasks": [{"data": …}], …}.')
        config = _config(payload, "label_config")
        ends_at = time.monotonic() + _TIMEOUT_S
        with self._live() as live, ThreadPoolExecutor(_AT_A_TIME) as pool:
            tools_for(config, live.card.labels, masks=live.has_masks)
            pointed = _pointed(payload) if live.has_masks else None
            answer = partial(self._one, live, config=config, pointed=pointed, ends_at=ends_at)
            results = list(pool.map(answer, tasks))
            if num_late := sum(row.get("error") == _NO_TIME for row in results):
                _LOG.warning(
                    "%s had no time left: retrieve predictions again.", plural(num_late, "task")
                )
            return {"results": results, "model_version": live.card.id}

    def _one(
        self,
        live: Live,
        task: Json,
        *,
        config: LabelConfig,
        pointed: Pointed | None,
        ends_at: float,
    ) -> Json:
        """Return a prediction, or a reason without one: an empty result would mean "nothing".

        Where somebody pointed at an object, it is that one alone.
        """
        version = live.card.id
        late = {"error": _NO_TIME, "model_version": version}  # many, and logged as one
        if time.monotonic() >= ends_at:
            return late
        try:
            image = self.server.image(_address(task, config), task_id=task.get("id"))
            left_s = max(0.0, ends_at - time.monotonic())
            if pointed is None:
                labels = live.card.labels
                found = live.detector.detect(image, live.settings, timeout_s=left_s)
            else:
                labels = (pointed.label,)
                found = _selected(live, image, pointed, timeout_s=left_s)
            result = regions_of(found, labels, config)
        except TooLate:
            return late
        except LslError as error:
            _LOG.warning("task %s: %s", task.get("id"), error)
            return {"error": str(error), "model_version": version}
        except Exception:
            _LOG.exception("task %s failed", task.get("id"))
            text = "Something went wrong in our code; see the log of the ML backend."
            return {"error": text, "model_version": version}
        score = float(np.mean(found.scores)) if len(found) else 0.0
        return {"result": result, "score": score, "model_version": version}

    def _train(self, payload: Json) -> Json:
        project = payload.get("project")
        number = project.get("id") if isinstance(project, dict) else project
        try:
            project_id = int(str(number).partition(".")[0])  # with the time it was made
        except ValueError as error:
            raise UserInput("The request names no project.") from error
        with self._live() as live:
            name = live.card.name
        run_id = activity.submit_labelstudio_training(
            self.workspace, project_id=project_id, model=name, owner="Label Studio"
        )
        return {"job": run_id}

    def _webhook(self, payload: Json) -> Json:
        event = payload.get("action")
        return self._train(payload) if event in _TRAIN_EVENTS else {}

    def _live(self) -> Any:  # noqa: ANN401 - a context manager of Live
        return self.shelf.borrowed(Offer(self.model).name)


def _pointed(payload: Json) -> Pointed | None:
    """Return what somebody pointed at in the editor, None when nobody did."""
    params = payload.get("params")
    context = params.get("context") if isinstance(params, dict) else None
    results = context.get("result") if isinstance(context, dict) else None
    if not isinstance(results, list) or not all(isinstance(row, dict) for row in results):
        return None
    return read_pointed(results) if results else None


def _selected(live: Live, image: bytes, pointed: Pointed, *, timeout_s: float) -> Instances:
    prompt = Prompt(pointed.positive, pointed.negative, pointed.box)
    mask = select(live.detector, image, prompt, slide=live.settings.slide, timeout_s=timeout_s)
    x, y, width, height = mask.crops[0].tolist()
    box = np.array([[x, y, x + width, y + height]], np.float32)
    one = np.ones(1, np.float32), np.zeros(1, np.int32)
    return Instances(box, *one, mask, pointed.image_hw)


def _address(task: Json, config: LabelConfig) -> str:
    data = task.get("data")
    address = data.get(config.image_key) if isinstance(data, dict) else None
    if not isinstance(address, str):
        raise UserInput(f'The task has no address of an image in "{config.image_key}".')
    return address


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _BODY_BYTES:
            raise TooLarge(f"The request is larger than {_BODY_BYTES // 1024**2} MiB.")
        chunks.append(chunk)
    return b"".join(chunks)


def _config(payload: Json, key: str) -> LabelConfig:
    xml = payload.get(key)
    if not isinstance(xml, str):
        raise UserInput(f'The request has no label configuration in "{key}".')
    return parse_config(xml)


def backend_of(workspace: Workspace, settings: BackendSettings) -> Backend:
    """Return the backend that these settings ask for, its model loaded.

    Raises:
        LslError: when the model cannot be loaded, or everybody could reach it.
    """
    token = read_token(settings.token_file)
    access = Access.of(host=settings.host, allow=settings.allow, token=token)
    offer = Offer(
        settings.model, None, None, settings.threshold, settings.mask_threshold, settings.slide
    )
    shelf = Shelf(workspace, MAX_PIXELS, lambda: [offer])
    shelf.follow()
    if shelf.problems:
        raise UserInput(*shelf.problems.values())
    server = projects.open_server(workspace)
    return Backend(workspace, server, shelf, access, settings.model)


def main(workspace: Path, settings: Path) -> int:
    """Answer until stopped; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        wanted = BackendSettings.read(settings)
        listening = bound(wanted.host, wanted.port)
        backend = backend_of(Workspace.open(workspace), wanted)
    except LslError as error:
        sys.stderr.write(f"lsl: {error}\n")
        return error.exit_code
    threading.Thread(target=_follow, args=[backend.shelf], daemon=True).start()
    sys.stdout.write(
        f"The ML backend is at http://{wanted.host}:{wanted.port}. In Label Studio: Settings, "
        "Model, Connect Model.\nLabel Studio 1.23 calls private addresses only when it runs with "
        "ML_BLOCK_LOCAL_IP=false and\nSSRF_PROTECTION_ENABLED=false.\nCtrl-C stops it.\n"
    )
    sys.stdout.flush()
    config = uvicorn.Config(
        backend.app(), log_config=None, access_log=False, proxy_headers=False,
        server_header=False, timeout_graceful_shutdown=10,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])
    backend.shelf.close()
    return 0


def _follow(shelf: Shelf) -> None:
    while True:
        time.sleep(_FOLLOW_S)
        shelf.follow()


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))

"""A small Label Studio in this process: what its REST API does for us, and its failures."""

import base64
import threading
import time
from pathlib import PurePosixPath

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

TOKEN = "0123456789abcdef0123456789abcdef01234567"
REFRESH = "head.body.sign"


class FakeLabelStudio:
    """Keeps projects, tasks and files. `calls` lists method, path and authorization."""

    def __init__(self, page_limit=100):
        self.projects, self.tasks, self.files = {}, {}, {}
        self.calls, self.fail_import_after = [], None
        self.predictions = 0
        self.refusal = "Invalid token."
        self.access, self.expired = 0, set()
        self.page_limit = page_limit
        routes = [
            Route("/api/current-user/whoami", self._whoami),
            Route("/api/token/refresh", self._refresh, methods=["POST"]),
            Route("/api/projects/", self._projects, methods=["GET", "POST"]),
            Route("/api/projects/{id:int}/", self._project, methods=["GET", "PATCH", "DELETE"]),
            Route("/api/projects/{id:int}/import", self._import, methods=["POST"]),
            Route("/api/import/file-upload/{id:int}", self._upload),
            Route("/api/tasks/", self._tasks),
            Route("/api/predictions/", self._predict, methods=["POST"]),
            Route("/api/predictions/{id:int}/", self._forget, methods=["DELETE"]),
            Route("/tasks/{id:int}/presign/", self._presign),
            Route("/data/{path:path}", self._data),
        ]
        self._server = uvicorn.Server(
            uvicorn.Config(Starlette(routes=routes), port=0, log_level="critical", lifespan="off")
        )
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self):
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join()

    def add_project(self, config, *tasks):
        """Make a project of (file name, image bytes, annotations) rows."""
        number = len(self.projects) + 1
        self.projects[number] = {
            "id": number, "title": f"p{number}", "label_config": config, "model_version": "",
        }  # fmt: skip
        self.tasks[number] = []
        for name, data, drawn in tasks:
            path = f"upload/{number}/{len(self.files):08x}-{name}"
            self.files[path] = data
            task = {"id": 100 + len(self.tasks[number]), "data": {"image": f"/data/{path}"}}
            self.tasks[number].append({**task, "annotations": drawn})
        return number

    def _refused(self, request):
        given = request.headers.get("authorization", "")
        self.calls.append((request.method, request.url.path, given))
        fine = given == f"Token {TOKEN}" or (
            given == f"Bearer access{self.access}" and given not in self.expired
        )
        return None if fine else JSONResponse({"detail": self.refusal}, 401)

    async def _whoami(self, request):
        return self._refused(request) or JSONResponse({"email": "ana@example.org"})

    async def _refresh(self, request):
        if (await request.json()).get("refresh") != REFRESH:
            return JSONResponse({"detail": "no"}, 401)
        self.access += 1
        return JSONResponse({"access": f"access{self.access}"})

    async def _projects(self, request):
        if refused := self._refused(request):
            return refused
        if request.method == "GET":
            words = request.query_params["title"].lower()
            rows = [row for row in self.projects.values() if words in row["title"].lower()]
            size = min(int(request.query_params["page_size"]), self.page_limit)
            first = (int(request.query_params["page"]) - 1) * size
            return JSONResponse({"results": rows[first : first + size], "count": len(rows)})
        body = await request.json()
        if len(body["title"]) > 50:
            errors = {"title": ["Ensure this field has no more than 50 characters."]}
            said = {"detail": "Validation error", "validation_errors": errors}
            return JSONResponse(said, 400)
        number = self.add_project(body["label_config"])
        self.projects[number]["title"] = body["title"]
        return JSONResponse({"id": number}, 201)

    async def _project(self, request):
        number = request.path_params["id"]
        if refused := self._refused(request):
            return refused
        if number not in self.projects:
            return JSONResponse({"detail": "Not found."}, 404)
        if request.method == "DELETE":
            del self.projects[number], self.tasks[number]
            return Response(status_code=204)
        if request.method == "PATCH":
            self.projects[number] |= await request.json()
        return JSONResponse(self.projects[number])

    async def _tasks(self, request):
        if refused := self._refused(request):
            return refused
        query = request.query_params
        rows = self.tasks[int(query["project"])]
        size = min(int(query["page_size"]), self.page_limit)
        first = (int(query["page"]) - 1) * size
        return JSONResponse({"tasks": rows[first : first + size], "total": len(rows)})

    async def _import(self, request):
        if refused := self._refused(request):
            return refused
        number = request.path_params["id"]
        if request.query_params.get("commit_to_project") == "false":
            async with request.form() as form:
                (file,) = form.values()
                ending = PurePosixPath(file.filename).suffix
                if ending not in (".png", ".jpg"):
                    errors = {"non_field_errors": [f"{ending} extension is not supported"]}
                    return JSONResponse({"validation_errors": errors}, 400)
                path = f"upload/{number}/{len(self.files):08x}-{file.filename}"
                self.files[path] = await file.read()
            return JSONResponse({"file_upload_ids": [len(self.files) - 1], "task_count": 0}, 201)
        if self.fail_import_after is not None and len(self.tasks[number]) >= self.fail_import_after:
            return JSONResponse({"detail": "disk full"}, 500)
        for row in await request.json():
            predictions = [self._prediction(one) for one in row.pop("predictions", [])]
            task = {"id": 1000 * number + len(self.tasks[number]), "annotations": []}
            self.tasks[number].append({**task, **row, "predictions": predictions})
            if predictions:  # as Label Studio does it
                self.projects[number]["model_version"] = predictions[0]["model_version"]
        return JSONResponse({"task_count": len(self.tasks[number])}, 201)

    def _prediction(self, row):
        self.predictions += 1
        return {"id": self.predictions, **row}

    def _all_tasks(self):
        return [task for tasks in self.tasks.values() for task in tasks]

    async def _predict(self, request):
        if refused := self._refused(request):
            return refused
        row = await request.json()
        (task,) = [task for task in self._all_tasks() if task["id"] == row["task"]]
        task["predictions"].append(self._prediction(row))
        return JSONResponse({}, 201)

    async def _forget(self, request):
        if refused := self._refused(request):
            return refused
        for task in self._all_tasks():
            rows = task.get("predictions", [])
            task["predictions"] = [row for row in rows if row["id"] != request.path_params["id"]]
        return Response(status_code=204)

    async def _upload(self, request):
        if refused := self._refused(request):
            return refused
        file = list(self.files)[request.path_params["id"]]
        return JSONResponse({"id": request.path_params["id"], "file": file})

    async def _presign(self, request):
        if refused := self._refused(request):
            return refused
        uri = base64.urlsafe_b64decode(request.query_params["fileuri"]).decode()
        return RedirectResponse(f"/data/{uri.partition('://')[2]}", 303)

    async def _data(self, request):
        if refused := self._refused(request):
            return refused
        data = self.files.get(request.path_params["path"])
        return Response(data) if data is not None else Response(status_code=404)

"""The sandbox's web application: which address leads to which handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lsl_core.sandbox import info
from lsl_core.sandbox.aitools import agents, calls, runs
from lsl_core.sandbox.annotations import annotating
from lsl_core.sandbox.base.answers import HTML_TYPE, ApiError, server_error
from lsl_core.sandbox.base.context import Context
from lsl_core.sandbox.calls import work
from lsl_core.sandbox.calls.web import Call, Handler
from lsl_core.sandbox.exchange import backup, transfer
from lsl_core.sandbox.tasks import data, filling, issues, jobs, labels, projects, review, tasks
from lsl_core.sandbox.users import gate, people
from lsl_core.sandbox.website import pages

_log = logging.getLogger(__name__)

#: Starlette's form limits are for browsers; an SDK sends a thousand images at once.
_MAX_PARTS = 1_000_000

_NOT_FOUND = (
    '\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Not Found</title>\n</head>\n<body>\n'
    "  <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n"
    "</body>\n</html>\n"
)

Methods = Mapping[str, Handler]

API: dict[str, Methods] = {
    "/api/server/about": {"GET": info.about},
    "/api/server/plugins": {"GET": info.plugins},
    "/api/server/annotation/formats": {"GET": info.formats},
    "/api/auth/login": {"POST": gate.login},
    "/api/auth/logout": {"POST": gate.logout},
    "/api/auth/access_tokens": {"GET": people.list_tokens, "POST": people.create_token},
    "/api/auth/access_tokens/self": {"GET": people.get_own_token},
    "/api/auth/access_tokens/{id}": {"DELETE": people.delete_token},
    "/api/users": {"GET": people.list_users},
    "/api/users/self": {"GET": people.get_self},
    "/api/users/{id}": {"GET": people.get_user},
    "/api/organizations": {
        "GET": people.list_organisations,
        "POST": people.create_organisation,
    },
    "/api/organizations/{id}": {
        "GET": people.get_organisation,
        "PATCH": people.patch_organisation,
        "DELETE": people.delete_organisation,
    },
    "/api/memberships": {"GET": people.list_memberships},
    "/api/memberships/{id}": {"GET": people.get_membership},
    "/api/labels": {"GET": labels.list_labels},
    "/api/labels/{id}": {
        "GET": labels.get_label,
        "PATCH": labels.patch_label,
        "DELETE": labels.delete_label,
    },
    "/api/projects": {"GET": projects.list_projects, "POST": projects.create_project},
    "/api/projects/backup": {"POST": backup.restore_project},
    "/api/projects/backup/{upload}": dict.fromkeys(("HEAD", "PATCH"), backup.resume_project),
    "/api/projects/{id}": {
        "GET": projects.get_project,
        "PATCH": projects.patch_project,
        "DELETE": projects.delete_project,
    },
    "/api/projects/{id}/preview": {"GET": data.project_preview},
    "/api/projects/{id}/annotations": {
        "GET": transfer.or_download("project", "annotations", annotating.get_project)
    },
    "/api/projects/{id}/dataset": {
        "GET": transfer.download_old("project", "dataset"),
        "POST": transfer.import_project,
    },
    "/api/projects/{id}/dataset/export": {"POST": transfer.export_project},
    "/api/projects/{id}/dataset/download": {"GET": transfer.download},
    "/api/projects/{id}/dataset/{upload}": dict.fromkeys(
        ("HEAD", "PATCH"), transfer.resume("project", "dataset")
    ),
    "/api/projects/{id}/backup": {"GET": transfer.download_old("project", "backup")},
    "/api/projects/{id}/backup/export": {"POST": backup.export_project},
    "/api/projects/{id}/backup/download": {"GET": transfer.download},
    "/api/tasks": {"GET": tasks.list_tasks, "POST": tasks.create_task},
    "/api/tasks/backup": {"POST": backup.restore_task},
    "/api/tasks/backup/{upload}": dict.fromkeys(("HEAD", "PATCH"), backup.resume_task),
    "/api/tasks/{id}": {
        "GET": tasks.get_task,
        "PATCH": tasks.patch_task,
        "DELETE": tasks.delete_task,
    },
    "/api/tasks/{id}/data": {"GET": data.task_data, "POST": filling.post_data},
    "/api/tasks/{id}/data/meta": {"GET": data.task_meta, "PATCH": data.patch_task_meta},
    "/api/tasks/{id}/data/{upload}": dict.fromkeys(("HEAD", "PATCH"), filling.resume_upload),
    "/api/tasks/{id}/validation_layout": {"GET": jobs.task_layout},
    "/api/tasks/{id}/preview": {"GET": data.task_preview},
    "/api/tasks/{id}/annotations": {
        "GET": transfer.or_download("task", "annotations", annotating.get_task),
        "POST": transfer.import_task,
        "PUT": annotating.put_task,
        "PATCH": annotating.patch_task,
        "DELETE": annotating.delete_task,
    },
    "/api/tasks/{id}/annotations/{upload}": dict.fromkeys(
        ("HEAD", "PATCH"), transfer.resume("task", "annotations")
    ),
    "/api/tasks/{id}/dataset": {"GET": transfer.download_old("task", "dataset")},
    "/api/tasks/{id}/dataset/export": {"POST": transfer.export_task},
    "/api/tasks/{id}/dataset/download": {"GET": transfer.download},
    "/api/tasks/{id}/backup": {"GET": transfer.download_old("task", "backup")},
    "/api/tasks/{id}/backup/export": {"POST": backup.export_task},
    "/api/tasks/{id}/backup/download": {"GET": transfer.download},
    "/api/jobs": {"GET": jobs.list_jobs, "POST": jobs.create_job},
    "/api/jobs/{id}": {
        "GET": jobs.get_job,
        "PATCH": jobs.patch_job,
        "DELETE": jobs.delete_job,
    },
    "/api/jobs/{id}/data": {"GET": data.job_data},
    "/api/jobs/{id}/data/meta": {"GET": data.job_meta, "PATCH": data.patch_job_meta},
    "/api/jobs/{id}/preview": {"GET": data.job_preview},
    "/api/jobs/{id}/annotations": {
        "GET": transfer.or_download("job", "annotations", annotating.get_job),
        "POST": transfer.import_job,
        "PUT": annotating.put_job,
        "PATCH": annotating.patch_job,
        "DELETE": annotating.delete_job,
    },
    "/api/jobs/{id}/annotations/{upload}": dict.fromkeys(
        ("HEAD", "PATCH"), transfer.resume("job", "annotations")
    ),
    "/api/jobs/{id}/dataset": {"GET": transfer.download_old("job", "dataset")},
    "/api/jobs/{id}/dataset/export": {"POST": transfer.export_job},
    "/api/jobs/{id}/dataset/download": {"GET": transfer.download},
    "/api/issues": {"GET": issues.list_issues, "POST": issues.create_issue},
    "/api/issues/{id}": {
        "GET": issues.get_issue,
        "PATCH": issues.patch_issue,
        "DELETE": issues.delete_issue,
    },
    "/api/comments": {"GET": issues.list_comments, "POST": issues.create_comment},
    "/api/requests": {"GET": work.list_requests},
    "/api/requests/{rq_id:path}/cancel": {"POST": work.cancel_request},
    "/api/requests/{rq_id:path}": {"GET": work.get_request},
    "/api/lambda/functions": {"GET": calls.list_functions},
    "/api/lambda/functions/{id}": {"GET": calls.get_function, "POST": calls.call_function},
    "/api/lambda/requests": {"GET": runs.list_runs, "POST": calls.start_run},
    "/api/lambda/requests/{rq_id:path}": {"GET": runs.get_run, "DELETE": runs.cancel_run},
    "/api/functions": {"POST": agents.create},
    "/api/functions/{id}": {"GET": agents.get, "DELETE": agents.delete},
    "/api/functions/queues/{queue}/watch": {"GET": agents.watch},
    "/api/functions/queues/{queue}/requests/acquire": {"POST": agents.acquire},
    "/api/functions/queues/{queue}/requests/{request}/update": {"POST": agents.update},
    "/api/functions/queues/{queue}/requests/{request}/complete": {"POST": agents.complete},
    "/api/functions/queues/{queue}/requests/{request}/fail": {"POST": agents.fail},
    "/api/webhooks": {"GET": review.list_webhooks, "POST": review.create_webhook},
    "/api/webhooks/{id}": {"DELETE": review.delete_webhook},
    "/api/cloudstorages": {"GET": info.empty_list},
    "/api/invitations": {"GET": info.empty_list, "POST": people.invite},
    "/api/quality/settings": {"GET": review.list_settings},
    "/api/quality/settings/{id}": {"PATCH": review.patch_settings},
    "/api/quality/reports": {"GET": info.empty_list},
    "/api/quality/conflicts": {"GET": info.empty_list},
}


#: For people with a browser: nothing but GET, no session.
PAGES: dict[str, Handler] = {
    "/": pages.index,
    "/tasks": pages.index,
    "/projects": pages.index,
    "/projects/{id}": pages.show_project,
    "/tasks/{id}": pages.show_task,
    "/tasks/{id}/jobs/{job}": pages.show_job,
    "/view/tasks/{id}/frames/{frame}.jpg": pages.frame_image,
    "/view/tasks/{id}/previews/{frame}.jpg": pages.preview_image,
    "/logo.svg": pages.logo,
}

#: Handlers that an anonymous caller may reach.
_OPEN: frozenset[Handler] = frozenset({info.about, gate.login, *PAGES.values()})

#: A web page elsewhere that resolves its name to this computer sends its own name.
_HOSTS = ("127.0.0.1", "localhost")


class Door:
    """An ASGI endpoint: reads the call, finds out who calls, runs its handler in a thread."""

    def __init__(self, context: Context, methods: Methods) -> None:
        self._context = context
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        request = Request(scope, receive)
        call = Call(self._context, request, dict(request.path_params))
        try:
            await _read_body(call)
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(
                self._context.answering, _answer, call, self._methods
            )
        finally:
            await request.close()
        await response(scope, receive, send)


async def _read_body(call: Call) -> None:
    kind = call.request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        call.body = await call.request.body()
        return
    form = await call.request.form(max_files=_MAX_PARTS, max_fields=_MAX_PARTS)
    for key, value in form.multi_items():
        if isinstance(value, UploadFile):
            call.files.append(value)
        else:
            call.form[key] = value


def _answer(call: Call, methods: Methods) -> Response:
    allowed = [*methods, *(["HEAD"] if "GET" in methods and "HEAD" not in methods else [])]
    headers = {"Allow": ", ".join([*allowed, "OPTIONS"]), "Vary": "Accept, Origin, Cookie"}
    try:
        response = _handled(call, methods)
    except ApiError as exc:
        response = exc.response()
    except Exception:
        _log.exception("sandbox: %s %s", call.request.method, call.request.url.path)
        response = server_error().response()
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    return response


def _handled(call: Call, methods: Methods) -> Response:
    method = call.request.method
    handler = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
    if handler is None:
        raise ApiError(405, {"detail": f'Method "{method}" not allowed.'})
    if handler not in _OPEN:
        gate.authenticate(call)
        gate.require_user(call)
        gate.find_organisation(call)
    return handler(call)


async def _nowhere(request: Request, exc: Exception) -> Response:
    return Response(_NOT_FOUND, 404, media_type=HTML_TYPE)


class _Front:
    """Lets in who calls this computer by its own name; takes the slash off API addresses.

    CVAT answers with and without the slash.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Request(scope).url.hostname
            if host not in _HOSTS:
                await Response("The sandbox answers on loopback only", 421)(scope, receive, send)
                return
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith("/api/") and path.endswith("/"):
            scope = {**scope, "path": path.rstrip("/")}
        await self._app(scope, receive, send)


def build(context: Context) -> ASGIApp:
    """Build the application of one sandbox."""
    # Starlette takes an ASGI object for an endpoint that sees every method.
    every = {**API, **{path: {"GET": page} for path, page in PAGES.items()}}
    routes = [Route(path, Door(context, methods)) for path, methods in every.items()]
    app = Starlette(routes=routes, exception_handlers={404: _nowhere})
    return _Front(app)

"""The part of Label Studio's REST API that we need: projects, tasks, images, new projects.

Its own SDK is not used: it brings a second OpenCV that takes the place of ours (docs/decisions,
0034). Source: https://api.labelstud.io.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlencode, urljoin, urlsplit

import urllib3

from lsl_core.errors import LabelStudioError, LabelStudioUnreachable, UserInput

Json = dict[str, Any]

_CONNECT_S = 10.0
_READ_S = 120.0
_PAGE_SIZE = 100
#: Bytes of the largest image that is fetched.
_MOST_BYTES = 512 * 1024 * 1024
#: Letters of a reason that a server gives.
_MOST_WORDS = 300
#: Where Label Studio serves its own files.
_OWN_FILES = re.compile(r"/data/(upload|local-files)/.+")
_WHOAMI = "/api/current-user/whoami"
_REFRESH = "/api/token/refresh"
_REPEATS = urllib3.Retry(
    total=3, connect=1, backoff_factor=0.3, status_forcelist=(502, 503, 504),
    raise_on_status=False, allowed_methods={"GET"},
)  # fmt: skip


class _Answer(NamedTuple):
    """What a server said."""

    status: int
    data: bytes


class LabelStudio:
    """One server, as one user. Safe to use from several threads.

    Args:
        url: of the server.
        token: an access token, old (40 signs) or new (a refresh token with two dots).
        verify_tls: False accepts any certificate.
        image_hosts: other hosts that images may be fetched from; the token never goes there.
    """

    def __init__(
        self, url: str, token: str, *, verify_tls: bool = True, image_hosts: Sequence[str] = ()
    ) -> None:
        self.url = url.rstrip("/")
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise UserInput(
                f'"{url}" is no address of a server.', hint="For example http://localhost:8080"
            )
        self._token = token.strip()
        if not re.fullmatch(r"[!-~]+", self._token):
            raise UserInput(
                "The token has a sign that no token has.", hint="Copy it again, the whole of it."
            )
        self._access = ""
        self._image_hosts = frozenset(image_hosts)
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(
            maxsize=8,
            retries=_REPEATS,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
            cert_reqs="CERT_REQUIRED" if verify_tls else "CERT_NONE",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._pool.clear()

    def user(self) -> str:
        """Return the e-mail address of the user that the token belongs to."""
        return str(self._json("GET", _WHOAMI).get("email", ""))

    def project(self, project_id: int) -> Json:
        """Return a project: title, label_config and more."""
        found: Json = self._json("GET", f"/api/projects/{project_id}/")
        return found

    def tasks(self, project_id: int) -> Iterator[Json]:
        """Give every task of a project with its annotations, page after page."""
        seen, page = 0, 1
        while True:
            query = {"project": project_id, "page": page, "page_size": _PAGE_SIZE, "fields": "all"}
            answer = self._json("GET", f"/api/tasks/?{urlencode(query)}")
            tasks = answer.get("tasks", [])
            yield from tasks
            seen, page = seen + len(tasks), page + 1
            if not tasks or seen >= int(answer.get("total", 0)):
                return

    def project_named(self, title: str) -> Json | None:
        """Return the newest project of exactly this title, None when there is none."""
        newest, seen, page = None, 0, 1
        while True:
            query = {"title": title, "page": page, "page_size": _PAGE_SIZE}
            answer = self._json("GET", f"/api/projects/?{urlencode(query)}")
            found = answer.get("results", [])
            for project in found:  # those whose title has these words
                if project.get("title") == title and (not newest or project["id"] > newest["id"]):
                    newest = project
            seen, page = seen + len(found), page + 1
            if not found or seen >= int(answer.get("count", 0)):
                return newest

    def create_project(self, title: str, config: str) -> int:
        """Make an empty project and return its id."""
        body = {"title": title, "label_config": config}
        return int(self._json("POST", "/api/projects/", body)["id"])

    def delete_project(self, project_id: int) -> None:
        """Remove a project with everything in it."""
        self._json("DELETE", f"/api/projects/{project_id}/")

    def upload(self, project_id: int, name: str, data: bytes) -> str:
        """Store an image with a project, in no task yet; return the address that tasks use."""
        address = f"/api/projects/{project_id}/import?commit_to_project=false"
        answer = self._send("POST", address, fields={name: (name, data)})
        ids = _json(answer).get("file_upload_ids") or []
        if len(ids) != 1:
            raise LabelStudioError(f'{self.url} did not take the image "{name}".')
        stored = self._json("GET", f"/api/import/file-upload/{ids[0]}")
        return f"/data/{stored['file']}"

    def add_tasks(self, project_id: int, tasks: Sequence[Json]) -> None:
        """Put tasks into a project, with their predictions."""
        self._json("POST", f"/api/projects/{project_id}/import", list(tasks))

    def add_prediction(self, task_id: int, prediction: Json) -> None:
        """Put a prediction into a task, beside those that it has."""
        self._json("POST", "/api/predictions/", {"task": task_id, **prediction})

    def delete_prediction(self, prediction_id: int) -> None:
        """Remove a prediction; what people made of it stays."""
        self._json("DELETE", f"/api/predictions/{prediction_id}/")

    def show_version(self, project_id: int, version: str) -> None:
        """Let a project show annotators the predictions of a version."""
        self._json("PATCH", f"/api/projects/{project_id}/", {"model_version": version})

    def image(self, address: str, *, task_id: object = None) -> bytes:
        """Fetch the image of a task.

        Args:
            address: as the task has it: a path or URL of the server, under any name that it has,
                a data URL, an address in a storage that the server is connected to, or a URL of
                an allowed host.
            task_id: needed for addresses in a storage.

        Raises:
            UserInput: when it lies where we may not go.
            LabelStudioError: when it cannot be had.
        """
        if not address.strip():
            raise UserInput("The task has no address of an image.")
        if address.startswith("data:"):
            return _data_url(address)
        if address.startswith(("s3://", "gs://", "azure-blob://")):
            place = base64.urlsafe_b64encode(address.encode()).decode()
            address = f"/tasks/{task_id}/presign/?fileuri={place}"
        url = urljoin(f"{self.url}/", address)
        ours, theirs = urlsplit(self.url), urlsplit(url)
        if (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc):
            return self._send("GET", url).data
        if theirs.scheme in ("http", "https") and theirs.hostname in self._image_hosts:
            return self._checked(self._request("GET", url, {}), theirs.netloc).data
        if own := _OWN_FILES.search(url):  # with the name that the server has for itself
            return self._send("GET", own[0]).data
        raise UserInput(
            f"Images may not be fetched from {theirs.hostname or theirs.scheme}.",
            hint=f"Allow it: lsl labelstudio-setup … --image-host {theirs.hostname}",
        )

    def _json(self, method: str, path: str, body: object = None) -> Json:
        return _json(self._send(method, path, body=body))

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        fields: Any = None,  # noqa: ANN401
    ) -> _Answer:
        url = path if "://" in path else self.url + path
        answer = self._request(method, url, self._head(), body, fields)
        if answer.status == 401 and self._is_new_token:
            self._access = ""  # it lives for minutes only
            answer = self._request(method, url, self._head(), body, fields)
        return self._checked(answer, path)

    @property
    def _is_new_token(self) -> bool:
        return self._token.count(".") == 2

    def _head(self) -> dict[str, str]:
        if not self._is_new_token:
            return {"Authorization": f"Token {self._token}"}
        with self._lock:
            if not self._access:
                answer = self._request("POST", self.url + _REFRESH, {}, {"refresh": self._token})
                self._access = str(_json(self._checked(answer, _REFRESH)).get("access", ""))
            return {"Authorization": f"Bearer {self._access}"}

    def _request(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: object = None,
        fields: Any = None,  # noqa: ANN401 - as urllib3 takes them
    ) -> _Answer:
        if body is not None:
            headers = headers | {"Content-Type": "application/json"}
        try:
            answer = self._pool.request(
                method,
                url,
                headers=headers,
                body=None if body is None else json.dumps(body).encode(),
                fields=fields,
                preload_content=False,
            )
            with answer:
                data = answer.read(_MOST_BYTES + 1)
        except urllib3.exceptions.HTTPError as error:
            place = urlsplit(url).netloc
            if place != urlsplit(self.url).netloc:
                raise LabelStudioError(f"{place} does not answer.", detail=repr(error)) from error
            raise LabelStudioUnreachable(
                f"{place} does not answer.",
                hint="Check the address, and whether Label Studio runs.",
                detail=repr(error),
            ) from error
        if len(data) > _MOST_BYTES:
            raise LabelStudioError(f"An answer of {urlsplit(url).netloc} is too large.")
        return _Answer(answer.status, data)

    def _checked(self, answer: _Answer, path: str) -> _Answer:
        if answer.status < 300:
            return answer
        reason = _reason(answer.data)
        if answer.status == 401:
            raise LabelStudioError(
                f"{self.url} refused the token{reason}.",
                hint="Copy a token from Account & Settings, then run lsl labelstudio-setup.",
            )
        if answer.status == 404 and path in (_WHOAMI, _REFRESH):
            raise LabelStudioError(
                f"There is no Label Studio at {self.url}",
                hint="Give the address of its first page, without /projects and what follows.",
            )
        raise LabelStudioError(
            f"{self.url} answered {answer.status} to {urlsplit(path).path}{reason}.",
            hint="Does it exist, and may you see it?" if answer.status in (403, 404) else "",
            detail=answer.data[:300].decode(errors="replace"),
        )


def _reason(data: bytes) -> str:
    """Return ": " and what Label Studio says of a refusal, "" where it says nothing."""
    try:
        said = json.loads(data)
    except ValueError:
        return ""  # a page for people, or of something between us
    if not isinstance(said, dict):
        return ""
    errors = said.get("validation_errors")
    if isinstance(errors, dict) and errors:
        rows = (row if isinstance(row, list) else [row] for row in errors.values())
        text = " ".join(str(line) for row in rows for line in row)
    else:
        text = str(said.get("detail") or "")
    text = " ".join(text.split())[:_MOST_WORDS].rstrip(".")
    return f": {text}" if text else ""


def _json(answer: _Answer) -> Json:
    if not answer.data:
        return {}
    try:
        found = json.loads(answer.data)
    except ValueError as error:
        raise LabelStudioError(
            "The server answers, but not as Label Studio does.", hint="Check the address."
        ) from error
    return found if isinstance(found, dict) else {"list": found}


def _data_url(address: str) -> bytes:
    head, _, text = address.partition(",")
    try:
        return base64.b64decode(text, validate=True) if head.endswith(";base64") else (
            unquote(text).encode("latin-1")
        )  # fmt: skip
    except (binascii.Error, ValueError) as error:
        raise UserInput("The image in the task is no data URL.") from error

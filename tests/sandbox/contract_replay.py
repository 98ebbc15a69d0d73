"""Replay what real CVAT servers answered: send the recorded calls, compare status and shape.

A recording names the ids, uploads and requests of its own server. They are learned by walking the
recorded answer and ours side by side, and put into the calls that follow.
"""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from sandbox_helpers import Http

PASSWORDS = {"lead": "lead-password", "other": "other-password"}
#: Steps that the recording's other user took.
BY_OTHER = (
    "other user's task (403)",
    "other user's task annotations write (403)",
    "other user's project delete (403)",
    "organization the user is not in",
)
#: Keys whose values belong to one server, one moment or one wording: only their type is compared.
OWN_VALUES = {
    "chunks_updated_date", "color", "created_date", "date_joined", "description", "email",
    "expiry_date",
    "finished_date", "joined_date", "key", "last_login", "message", "name@about", "progress",
    "rq_id", "started_date", "subtitle", "updated_date", "logo_url",
}  # fmt: skip
#: What an id is, by the key that holds it.
KINDS = {
    "project_id": "projects", "task_id": "tasks", "job_id": "jobs", "label_id": "labels",
    "spec_id": "specs", "organization": "organizations", "parent_job_id": "jobs",
    "org_id": "organizations", "user_id": "users", "data": "tasks", "task": "tasks",
}  # fmt: skip
_HEADERS = (
    "tus-resumable", "tus-version", "upload-offset", "upload-length", "location",
    "upload-filename", "x-checksum", "x-updated-date", "www-authenticate", "content-disposition",
    "cache-control",
)  # fmt: skip
_SENT = ("upload-", "tus-", "x-organization", "content-type", "accept")
_CHOSEN = 1_000_000_000
_RUNNING = ("queued", "started")


@dataclass
class Replay:
    """One recording against one sandbox.

    Args:
        http: the sandbox's address.
        files: what the recording uploaded under these names; recordings hold no file's bytes.
        loose: steps of which only the status is compared.
    """

    http: Http
    files: dict[str, bytes]
    loose: dict[str, str]
    ids: dict[tuple[str, int], int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    login_key: str = ""
    differences: list[str] = field(default_factory=list)

    def play(self, record: dict[str, Any]) -> None:
        """Send one recorded call, compare, learn."""
        request, wanted = record["request"], record["response"]
        body, headers = self._body(record)
        path = self._path(request)
        headers |= self._auth(record)
        at = f"{record['n']} {record['step']}: {request['method']} {path}"
        status, found, given = self._send(request["method"], path, body, headers, wanted)
        if status != wanted["status"]:
            self.differences.append(f"{at}: {status} instead of {wanted['status']}: {found!r:.300}")
            return
        self._learn(record, found, given)
        if record["step"] not in self.loose:
            for difference in self._compare(record, found, given):
                self.differences.append(f"{at}: {difference}")

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], wanted: Any
    ) -> tuple[int, Any, dict[str, str]]:
        final = _json_of(wanted)
        must_end = (
            isinstance(final, dict)
            and path.startswith("/api/requests/")
            and final.get("status") not in _RUNNING
        )
        end = time.monotonic() + 20
        while True:
            answer = self.http.call(method, path, raw=body, headers=headers)
            if not must_end or answer[1].get("status") not in _RUNNING:
                return answer
            assert time.monotonic() < end, f"{path} does not end"
            time.sleep(0.01)

    # ---- what is sent

    def _auth(self, record: dict[str, Any]) -> dict[str, str]:
        kind, step = record["request"]["auth"], record["step"]
        if kind == "none":
            return {}
        if step in BY_OTHER:
            user = "other"
            basic = base64.b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()
            return {"Authorization": f"Basic {basic}"}
        if kind == "token":
            return {"Authorization": f"Token {self.login_key}"}
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        if "CSRF missing" not in step:
            headers["X-CSRFToken"] = self.cookies.get("csrftoken", "")
        return headers

    def _body(self, record: dict[str, Any]) -> tuple[bytes | None, dict[str, str]]:
        request = record["request"]
        headers = {k: v for k, v in request["headers"].items() if k.startswith(_SENT)}
        if "upload-metadata" in headers:
            headers["upload-length"] = str(len(self.files[_filename(headers)]))
        body = request["body"]
        if body is None:
            return None, headers
        if "multipart" in body:
            boundary = "boundary-of-the-replay"
            headers["content-type"] = f"multipart/form-data; boundary={boundary}"
            return self._multipart(body["multipart"], boundary), headers
        if "json" in body:
            given = self._mapped(body["json"], None)
            if isinstance(given, dict) and "password" in given:
                is_right = record["step"] == "login"
                given["password"] = PASSWORDS.get(given["username"], "") if is_right else "wrong"
            return json.dumps(given).encode(), headers
        if body["bytes"] == 1:
            return b"{", headers
        upload = urlsplit(self._path(request)).path.rpartition("/")[2]
        return self.files[self.uploads[upload]], headers

    def _multipart(self, parts: list[dict[str, Any]], boundary: str) -> bytes:
        out = b""
        for part in parts:
            about = f'form-data; name="{part["name"]}"'
            if "filename" in part:
                about += f'; filename="{part["filename"]}"\r\nContent-Type: {part["content_type"]}'
                value = self.files[part["filename"]]
            else:
                value = part["value"].encode()
            head = f"--{boundary}\r\nContent-Disposition: {about}\r\n\r\n"
            out += head.encode() + value + b"\r\n"
        return out + f"--{boundary}--\r\n".encode()

    def _path(self, request: dict[str, Any]) -> str:
        parts = request["path"].split("/")
        for place, part in enumerate(parts):
            known = unquote(part)
            if known in self.texts:
                parts[place] = quote(self.texts[known], safe="")
            elif part.isdigit():
                parts[place] = str(self.ids.get((parts[place - 1], int(part)), int(part)))
        query = [(key, self._query_value(key, value)) for key, value in request["query"]]
        return "/".join(parts) + (f"?{urlencode(query)}" if query else "")

    def _query_value(self, key: str, value: str) -> str:
        if key in KINDS and value.isdigit():
            return str(self.ids.get((KINDS[key], int(value)), int(value)))
        return self.texts.get(value, value)

    def _mapped(self, value: Any, key: str | None) -> Any:
        if isinstance(value, dict):
            return {name: self._mapped(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [self._mapped(part, key) for part in value]
        if isinstance(value, int) and not isinstance(value, bool):
            if key in KINDS:
                return self.ids.get((KINDS[key], value), value)
            if key == "id":
                # An id that the recording chose itself must be as free here as it was there.
                return self.ids.setdefault(("shapes", value), value + _CHOSEN)
        return value

    # ---- what is learned

    def _learn(self, record: dict[str, Any], found: Any, given: dict[str, str]) -> None:
        wanted = record["response"]
        kind = record["request"]["path"].split("/")[2]
        if "annotations" in record["request"]["path"]:
            kind = "annotations"
        if record["step"] not in self.loose:
            self._learn_ids(_json_of(wanted), found, kind)
        self._learn_upload(record, given)
        if record["step"] == "login" and record["request"]["path"].endswith("login"):
            self.login_key = found["key"]
        for cookie in re.findall(r"(csrftoken|sessionid)=([^;]+)", given.get("set-cookie", "")):
            self.cookies[cookie[0]] = cookie[1]
        if record["step"].endswith("backup export + download") and isinstance(found, bytes):
            name = "proj_backup.zip" if "/projects/" in record["request"]["path"] else None
            self.files[name or "task_backup.zip"] = found

    def _learn_upload(self, record: dict[str, Any], given: dict[str, str]) -> None:
        headers = record["response"]["headers"]
        if "upload-metadata" not in record["request"]["headers"]:
            return
        theirs = headers["location"].rpartition("/")[2]
        ours = given["location"].rpartition("/")[2]
        self.texts[theirs] = ours
        self.texts[headers["upload-filename"]] = given["upload-filename"]
        self.uploads[ours] = _filename(record["request"]["headers"])

    def _learn_ids(self, wanted: Any, found: Any, kind: str) -> None:
        if isinstance(wanted, list) and isinstance(found, list):
            ranked = zip(_ranked(wanted), _ranked(found), strict=False)
            for one, other in ranked:
                self._learn_ids(one, other, kind)
        if not isinstance(wanted, dict) or not isinstance(found, dict):
            return
        for key, value in wanted.items():
            other = found.get(key)
            if (key == "rq_id" and isinstance(other, str)) or (
                key == "result_url" and isinstance(value, str) and isinstance(other, str)
            ):
                self.texts[value] = other
            elif isinstance(value, int) and isinstance(other, int) and key in ("id", *KINDS):
                self.ids.setdefault((KINDS.get(key, kind), value), other)
            elif key == "result_id" and value is not None:
                self.ids[f"{wanted['operation']['target']}s", value] = other
            else:
                self._learn_ids(value, other, _kind_inside(kind, key))

    # ---- what is compared

    def _compare(self, record: dict[str, Any], found: Any, given: dict[str, str]) -> list[str]:
        wanted = record["response"]
        out: list[str] = []
        for name in _HEADERS:
            if (name in wanted["headers"]) != (name in given):
                out.append(f"header {name} {'missing' if name not in given else 'too much'}")
        types = [h.get("content-type", "").partition(";")[0] for h in (wanted["headers"], given)]
        if types[0] != types[1]:
            out.append(f"content type {types[1]} instead of {types[0]}")
        body = wanted.get("body") or {}
        if "json" in body:
            path = record["request"]["path"]
            kind = "annotations" if "annotations" in path else path.split("/")[2]
            if path == "/api/server/about":
                kind = "about"
            self._compare_json(_json_of(wanted), found, kind, "", out)
        elif "magic" in body and found[:4].hex() != body["magic"]:
            out.append(f"file begins with {found[:4].hex()} instead of {body['magic']}")
        elif "text" in body and found.decode() != body["text"]:
            out.append(f"text {found.decode()!r} instead of {body['text']!r}")
        elif not body and found != b"":
            out.append(f"body {found!r:.80} where there was none")
        return out

    def _compare_json(self, wanted: Any, found: Any, kind: str, at: str, out: list[str]) -> None:
        key = at.rpartition(".")[2].partition("[")[0]
        if key in OWN_VALUES or f"{key}@{kind}" in OWN_VALUES:
            return
        if isinstance(wanted, dict) and isinstance(found, dict):
            if wanted.get("status") in _RUNNING and "operation" in wanted:
                wanted, found = dict(wanted, **_NO_STATE), dict(found, **_NO_STATE)
            if set(wanted) != set(found):
                out.append(f"{at or 'body'}: keys differ by {sorted(set(wanted) ^ set(found))}")
            for name in set(wanted) & set(found):
                inside = _kind_inside(kind, name)
                self._compare_json(wanted[name], found[name], inside, f"{at}.{name}", out)
        elif isinstance(wanted, list) and isinstance(found, list):
            if len(wanted) != len(found):
                out.append(f"{at}: {len(found)} items instead of {len(wanted)}")
            for one, other in zip(_ranked(wanted), _ranked(found), strict=False):
                self._compare_json(one, other, kind, f"{at}[]", out)
        elif self._expected(wanted, key, kind) != found:
            out.append(f"{at}: {found!r} instead of {self._expected(wanted, key, kind)!r}")

    def _expected(self, wanted: Any, key: str, kind: str) -> Any:
        if isinstance(wanted, int) and not isinstance(wanted, bool):
            if key in ("id", "result_id", *KINDS):
                return self.ids.get((KINDS.get(key, kind), wanted), self._any_id(key, wanted))
            return wanted
        if not isinstance(wanted, str):
            return wanted
        if wanted in self.texts:
            return self.texts[wanted]
        if wanted.startswith("http://cvat.example"):
            return self._expected_url(wanted.removeprefix("http://cvat.example"))
        return wanted

    def _any_id(self, key: str, wanted: int) -> int:
        found = {ours for (_, theirs), ours in self.ids.items() if theirs == wanted}
        return found.pop() if key == "result_id" and len(found) == 1 else wanted

    def _expected_url(self, url: str) -> str:
        parts = urlsplit(url)
        query = [pair.partition("=")[::2] for pair in parts.query.split("&") if pair]
        path = self._path({"path": parts.path, "query": query})
        return self.http.url + path


#: What is under way differs from moment to moment.
_NO_STATE = {
    "status": "started", "message": "", "started_date": None, "finished_date": None,
    "expiry_date": None, "result_url": None, "result_id": None,
}  # fmt: skip


def _kind_inside(kind: str, key: str) -> str:
    if key in ("owner", "assignee", "user"):
        return "users"
    if key in ("shapes", "tags", "tracks"):
        return key
    if key == "attributes" and kind == "labels":
        return "specs"
    return kind


def _json_of(response: dict[str, Any]) -> Any:
    return (response.get("body") or {}).get("json")


def _ranked(items: list[Any]) -> list[Any]:
    """Put annotations in one order: a server's own order is not part of the contract."""
    if items and all(isinstance(item, dict) and "frame" in item for item in items):
        return sorted(
            items,
            key=lambda item: (
                item["frame"], item.get("type", ""), item.get("points", []),
                item.get("group") or 0, item.get("source", ""), len(item.get("attributes", [])),
            ),
        )  # fmt: skip
    return items


def _filename(headers: dict[str, str]) -> str:
    encoded = re.search(r"filename ([^,]+)", headers["upload-metadata"])
    assert encoded is not None
    return base64.b64decode(encoded.group(1)).decode()


def records_in(folder: Path) -> list[dict[str, Any]]:
    """Read a recording, in order."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("[0-9]*.json"))]

"""Files on their way in: in one POST, or resumable by the TUS protocol.

Both land in an inbox folder of the place they are meant for, until `Upload-Finish` takes them.
CVAT's TUS has an `Upload-Start` before and an `Upload-Finish` after.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import shutil
import uuid
from pathlib import Path, PurePosixPath

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, no_content, not_found
from lsl_core.sandbox.calls.web import Call

#: What CVAT says it takes, 25 GB.
_MAX_BYTES = 26_843_545_600
_TUS = {"Tus-Resumable": "1.0.0", "Tus-Version": "1.0.0", "Tus-Max-Size": str(_MAX_BYTES)}
_TUS["Cache-Control"] = "no-store"


def inbox(call: Call, place: str) -> Path:
    """Say where the files for a place lie (`task-12-data`, `tasks-backup`…), per user."""
    return call.context.folder / "uploads" / f"{place}-by-{call.user.id}"


def start(call: Call, place: str) -> Response:
    """Answer `Upload-Start`: forget what lies in the inbox of an earlier try."""
    if place.endswith("-data"):
        shutil.rmtree(inbox(call, place), ignore_errors=True)
    return no_content(202)


def safe_name(name: str) -> str:
    """Keep a client's file name inside the folder it goes to.

    Raises:
        ApiError: 400 for a name that would leave it.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in path.parts if part not in ("", ".", "/")]
    if not parts or ".." in parts or "\0" in name:
        raise ApiError(400, [f"The file name {name!r} is not allowed"])
    return "/".join(parts)


def keep_files(call: Call, place: str) -> list[str]:
    """Write the files of a multipart body into the inbox.

    Returns:
        Their names, in the body's order.
    """
    kept: list[str] = []
    for file in call.files:
        # As CVAT's form parser does, a path that a client sent is cut to its last part.
        name = safe_name(file.filename or "").rpartition("/")[2]
        target = inbox(call, place) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            shutil.copyfileobj(file.file, out)
        kept.append(name)
    return kept


def create(call: Call, place: str) -> Response:
    """Answer a TUS creation: `Upload-Length` and the file's name in `Upload-Metadata`."""
    length = call.request.headers.get("upload-length", "")
    if not length.isdigit() or int(length) > _MAX_BYTES:
        raise ApiError(413 if length.isdigit() else 400, ["Bad Upload-Length"], headers=_TUS)
    visible = safe_name(_metadata(call).get("filename", ""))
    is_new = call.context.flavour.has_new_requests
    upload_id = f"{call.user.id}_{uuid.uuid4()}" if is_new else str(uuid.uuid4())
    if place.endswith("-data"):
        filename = visible
    elif is_new:
        filename = upload_id
    elif place.endswith("-backup"):
        salt = secrets.token_hex(4)
        filename = f"cvat-backup-{visible}-by-{call.user.username}{salt}.zip"
    else:
        filename = visible
    call.db.run(
        "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?)",
        (upload_id, call.user.id, place, filename, visible, int(length)),
    )
    part = _part(call, upload_id)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    if length == "0":
        _land(call, place, filename, part)
    path = call.request.url.path.rstrip("/")
    headers = {
        **_TUS,
        "Location": f"{call.base_url}{path}/{upload_id}",
        "Upload-Filename": filename,
    }
    return no_content(201, headers)


def _metadata(call: Call) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in call.request.headers.get("upload-metadata", "").split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ApiError(400, ["Bad Upload-Metadata"], headers=_TUS) from None
    return found


def _part(call: Call, upload_id: str) -> Path:
    return call.context.folder / "uploads" / "parts" / upload_id


def _land(call: Call, place: str, filename: str, part: Path) -> None:
    target = inbox(call, place) / filename
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)


def resume(call: Call, place: str) -> Response:
    """Answer HEAD (how far) and PATCH (the next bytes) of one upload."""
    with call.context.upload_lock:
        return _resume(call, place)


def _resume(call: Call, place: str) -> Response:
    sql = "SELECT * FROM uploads WHERE id = ? AND owner_id = ? AND place = ?"
    row = call.db.row(sql, (call.path["upload"], call.user.id, place))
    if row is None:
        raise not_found()
    part = _part(call, row["id"])
    offset = part.stat().st_size if part.is_file() else row["length"]
    named = {} if call.context.flavour.has_new_requests else {"Upload-Filename": row["filename"]}
    if call.request.method == "HEAD":
        headers = {"Upload-Offset": str(offset), "Upload-Length": str(row["length"])}
        return no_content(200, {**_TUS, **headers})
    given = call.request.headers.get("upload-offset", "")
    if given != str(offset):
        raise ApiError(409, None, headers={**_TUS, "Upload-Offset": str(offset)})
    if offset + len(call.body) > row["length"]:
        raise ApiError(413, None, headers={**_TUS, "Upload-Offset": str(offset)})
    with part.open("ab") as out:
        out.write(call.body)
    offset += len(call.body)
    if offset == row["length"]:
        _land(call, place, row["filename"], part)
    return no_content(204, {**_TUS, "Upload-Offset": str(offset), **named})


def take_file(call: Call, place: str, filename: str) -> Path:
    """Take one landed file for a background request, out of reach of the next upload.

    Raises:
        ApiError: 400 if no such file was uploaded.
    """
    landed = inbox(call, place) / safe_name(filename)
    if not landed.is_file():
        raise ApiError(400, [f"No such file were uploaded: {filename}"])
    taken = call.context.folder / "uploads" / "taken" / str(uuid.uuid4())
    taken.parent.mkdir(parents=True, exist_ok=True)
    landed.replace(taken)
    return taken

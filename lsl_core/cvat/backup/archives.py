"""CVAT's own backup archives: made by the server, downloaded whole, checked, and sent back."""

from __future__ import annotations

import errno
import json
import os
import re
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import urllib3

from lsl_core.cvat.backup.inventory import UnitKind
from lsl_core.cvat.connection.background import (
    begin_backup,
    result_path,
    under_way,
    wait_for_request,
)
from lsl_core.cvat.connection.errors import cvat_errors, is_trouble
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.connection.tus import upload_resumable
from lsl_core.errors import CvatError, CvatRequestFailed, CvatUnreachable, DiskFull, WorkspaceError
from lsl_core.progress import NULL, Progress

T = TypeVar("T")

#: Waits before a request that met trouble is tried again.
_WAITS_S = (0.5, 2.0, 8.0)
#: How often a download that broke is resumed before it counts as failed.
_DOWNLOAD_TRIES = 5
_PIECE_BYTES = 1 << 20
#: What an archive says of a task.
_TASK_FILE = re.compile(r"(task_\d+/)?task\.json")
#: The file that says what an archive is of.
_HEAD_FILES = {UnitKind.PROJECT: "project.json", UnitKind.TASK: "task.json"}


def export_archive(
    session: CvatSession, kind: UnitKind, unit_id: int, path: Path, *, progress: Progress = NULL
) -> None:
    """Let CVAT back up a project or task, images included, and download the archive.

    Args:
        session: who asks.
        kind: project or task.
        unit_id: of which.
        path: where the archive goes; written over, and on disk when this returns.
        progress: counts megabytes.

    Raises:
        CvatRequestFailed: CVAT could not make it; what came is no archive of that kind, or not
            as long as announced.
        CvatUnreachable: the server went away for longer than it is waited for.
        DiskFull: no space left.
    """
    doing = f"backing up {kind} {unit_id}"
    request = _begin(session, kind, unit_id, doing, progress)
    progress.start(f"CVAT packs {kind} {unit_id}", total=0, unit="")
    state = wait_for_request(session, request, doing=doing, progress=progress)
    url = result_path(state, doing=doing)
    try:
        with path.open("wb") as file:
            _download(session, url, file, doing=f"downloading {kind} {unit_id}", progress=progress)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        kind_of = DiskFull if error.errno == errno.ENOSPC else WorkspaceError
        raise kind_of(
            f"The archive of {kind} {unit_id} cannot be written: {error.strerror}.",
            hint=f"Free space under {path.parent}, or choose another folder.",
        ) from error
    check_archive(path, kind, what=f"the backup of {kind} {unit_id}")


def _begin(
    session: CvatSession, kind: UnitKind, unit_id: int, doing: str, progress: Progress
) -> str:
    """Ask for a backup of what is there now; one under way may be older, so it is waited for."""
    begin = partial(begin_backup, session, kind, unit_id, doing=doing)
    try:
        return _patiently(begin, progress)
    except CvatError as error:
        earlier = under_way(error)
        if earlier is None:
            raise
    with suppress(CvatRequestFailed):  # how the other one ends is not ours
        wait_for_request(session, earlier, doing=doing, progress=progress)
    return _patiently(begin, progress)


def check_archive(path: Path, kind: UnitKind, *, what: str) -> None:
    """See that a file is a whole archive of that kind, every member with its checksum.

    Raises:
        CvatRequestFailed: when it is not.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, OSError) as error:
        raise CvatRequestFailed(
            f"What CVAT sent as {what} is no whole archive.",
            hint="Try again; if it stays, look at the server's disk and log.",
            detail=repr(error),
        ) from error
    if broken is not None:
        raise CvatRequestFailed(
            f"In {what} the file {broken} is damaged.",
            hint="Try again; if it stays, look at the server's disk.",
        )
    if _HEAD_FILES[kind] not in names:
        raise CvatRequestFailed(f"What CVAT sent as {what} holds no {_HEAD_FILES[kind]}.")


def restore_archive(
    session: CvatSession, kind: UnitKind, path: Path, *, progress: Progress = NULL
) -> int:
    """Make a new project or task of an archive, in the session's organisation; return its id.

    An archive with a task on a file share is changed first, see `as_local`.

    Raises:
        CvatRequestFailed: CVAT cannot read it; says why.
    """
    as_local(path)
    doing = f"restoring a {kind}"
    url = f"/api/{kind}s/backup/"
    name = f"{kind}.zip"
    total = path.stat().st_size
    progress.start("Uploading", total=max(1, total >> 20), unit="MB")
    session.transport.send(
        "POST", url, doing=doing, query={"filename": name}, headers={"Upload-Start": ""}
    )
    stored = upload_resumable(session, url, name, path, uploaded=_megabytes(progress))
    answer = session.transport.json(
        "POST", url, doing=doing, query={"filename": stored}, headers={"Upload-Finish": ""}
    )
    progress.start(f"CVAT makes the {kind}", total=0, unit="")
    state = wait_for_request(session, answer["rq_id"], doing=doing, progress=progress)
    made = state.get("result_id")
    if not isinstance(made, int):
        raise CvatRequestFailed(
            f"CVAT restored a {kind}, but does not say which.",
            hint="Look for the newest one in CVAT.",
        )
    return made


def as_local(path: Path) -> None:
    """Let an archive say that the images of its tasks are those in it.

    Of a task on a file share it says so: CVAT packs the images, but looks for them on the share
    again and fails (its issues 7965 and 8297). Nothing but this word is changed.
    """
    with zipfile.ZipFile(path, "a") as archive:
        infos = [i for i in archive.infolist() if _TASK_FILE.fullmatch(i.filename)]
        found = [(info, json.loads(archive.read(info))) for info in infos]
        on_share = [
            (info, task) for info, task in found if task.get("data", {}).get("storage") == "share"
        ]
        for info, task in on_share:
            task["data"]["storage"] = "local"
            # the old one stays in the file, but no longer in its list
            archive.filelist.remove(info)
            del archive.NameToInfo[info.filename]
            archive.writestr(info.filename, json.dumps(task), zipfile.ZIP_DEFLATED)


def _download(
    session: CvatSession, url: str, file: BinaryIO, *, doing: str, progress: Progress
) -> None:
    """Write the body of an answer to a file; go on where it broke, if the server can."""
    tell, version, left = _megabytes(progress), "", _DOWNLOAD_TRIES
    progress.start("Downloading", total=0, unit="MB")
    while True:
        have = file.tell()
        resume = {"Range": f"bytes={have}-", "If-Range": version} if have and version else {}
        try:
            ask = partial(session.transport.send, "GET", url, headers=resume, stream=True)
            response = _patiently(partial(ask, doing=doing), progress)
            if have and response.status != 206:
                file.seek(0)
                file.truncate()
            version = response.headers.get("ETag", "")
            expected = _whole_length(response, file.tell())
            _copy(response, file, doing=doing, tell=tell, progress=progress)
        except CvatUnreachable:
            left -= 1
            if not left:
                raise
            continue
        if expected is not None and file.tell() != expected:
            raise CvatRequestFailed(
                f"{file.tell()} of {expected} bytes came while {doing}.", hint="Try again."
            )
        return


def _copy(
    response: urllib3.BaseHTTPResponse,
    file: BinaryIO,
    *,
    doing: str,
    tell: Callable[[int], None],
    progress: Progress,
) -> None:
    try:
        while True:
            with cvat_errors(doing):
                piece = response.read1(_PIECE_BYTES)
            if not piece:
                return
            progress.check()
            file.write(piece)
            tell(len(piece))
    finally:
        response.release_conn()


def _whole_length(response: urllib3.BaseHTTPResponse, have: int) -> int | None:
    """Return how long the whole file is, None when the server does not say."""
    if response.headers.get("Content-Encoding"):
        return None
    length = response.headers.get("Content-Length", "")
    return have + int(length) if length.isdigit() else None


def _patiently(send: Callable[[], T], progress: Progress) -> T:
    """Send a request that may be repeated; wait and repeat while the server has trouble."""
    for pause in _WAITS_S:
        progress.check()
        try:
            return send()
        except CvatError as error:
            if not isinstance(error, CvatUnreachable) and not is_trouble(error):
                raise
            time.sleep(pause)
    return send()


def _megabytes(progress: Progress) -> Callable[[int], None]:
    """Return a counter of bytes that tells whole megabytes."""
    total = 0

    def add(count: int) -> None:
        nonlocal total
        before, total = total, total + count
        progress.advance((total >> 20) - (before >> 20))

    return add

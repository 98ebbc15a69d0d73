"""One large file on its way to CVAT, part by part, by TUS (https://tus.io, version 1.0.0)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lsl_core.cvat.connection.session import CvatSession
from lsl_core.errors import CvatRequestFailed, CvatUnreachable

#: One part of a large file; CVAT's proxy takes up to 1 GB, a part must pass in its 60 s.
_PART_BYTES = 8 * 2**20
#: How often the same part of a file is sent before the upload counts as failed.
_PART_TRIES = 4
_RESUMABLE = {"Tus-Resumable": "1.0.0"}


def upload_resumable(
    session: CvatSession,
    url: str,
    name: str,
    path: Path,
    *,
    uploaded: Callable[[int], None],
) -> str:
    """Upload a file; a part whose answer was lost is asked after, and sent again if need be.

    Args:
        session: who uploads.
        url: path that takes uploads.
        name: what the server shall call the file.
        path: the file.
        uploaded: told how many bytes have arrived since it was told last.

    Returns:
        What the server calls it.

    Raises:
        CvatError: when it cannot be uploaded.
    """
    begun = begin_upload(session, url, name, path)
    send_parts(session, begun.place, path, uploaded=uploaded)
    return begun.name


@dataclass(frozen=True, slots=True)
class BegunUpload:
    """A file that was announced. place: where its parts go. name: what the server calls it."""

    place: str
    name: str


def begin_upload(session: CvatSession, url: str, name: str, path: Path) -> BegunUpload:
    """Announce a file; see `upload_resumable`."""
    encoded = base64.b64encode(name.encode()).decode()
    begun = session.transport.send(
        "POST",
        url,
        doing=f"uploading {name}",
        headers={
            **_RESUMABLE,
            # CVAT makes Location of it, where no proxy in front names the host; else it fails
            "Origin": session.url,
            "Upload-Length": str(path.stat().st_size),
            "Upload-Metadata": f"filename {encoded}",
        },
    )
    place = begun.headers.get("Location")
    if not place:
        raise CvatRequestFailed(f"CVAT gave no place for {name}.", hint="Try again.")
    # behind a proxy the server may know itself by another name than we do
    place = "/api/" + place.split("/api/", 1)[1]
    return BegunUpload(place, str(begun.headers.get("Upload-Filename") or name))


def send_parts(
    session: CvatSession,
    place: str,
    path: Path,
    *,
    uploaded: Callable[[int], None],
    offset: int = 0,
) -> None:
    """Send what the server lacks of an announced file, from `offset` on, in bytes."""
    doing = f"uploading {path.name}"
    size, left = path.stat().st_size, _PART_TRIES
    uploaded(offset)
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            part = file.read(_PART_BYTES)
            try:
                _send_part(session, place, part, offset, doing)
                now, left = offset + len(part), _PART_TRIES
            except CvatUnreachable:
                left -= 1
                if not left:
                    raise
                # the part may have arrived in whole, in half or not at all: the server knows
                now = known_offset(session, place, doing=doing)
            uploaded(now - offset)
            offset = now


def known_offset(session: CvatSession, place: str, *, doing: str) -> int:
    """Return how many bytes of an announced file the server has.

    Raises:
        CvatNotFound: when it knows nothing of it any more.
    """
    state = session.transport.send("HEAD", place, doing=doing, headers=_RESUMABLE)
    return int(state.headers["Upload-Offset"])


def _send_part(session: CvatSession, place: str, part: bytes, offset: int, doing: str) -> None:
    headers = {
        **_RESUMABLE,
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
    }
    session.transport.send("PATCH", place, doing=doing, body=part, headers=headers)

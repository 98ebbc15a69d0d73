"""One large file on its way to CVAT, part by part, by TUS (https://tus.io, version 1.0.0)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

from lsl_core.cvat.session import CvatSession
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
    size, doing = path.stat().st_size, f"uploading {name}"
    encoded = base64.b64encode(name.encode()).decode()
    begun = session.transport.send(
        "POST",
        url,
        doing=doing,
        headers={
            **_RESUMABLE,
            "Upload-Length": str(size),
            "Upload-Metadata": f"filename {encoded}",
        },
    )
    place = begun.headers.get("Location")
    if not place:
        raise CvatRequestFailed(f"CVAT gave no place for {name}.", hint="Try again.")
    # behind a proxy the server may know itself by another name than we do
    place = "/api/" + place.split("/api/", 1)[1]
    offset, left = 0, _PART_TRIES
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
                state = session.transport.send("HEAD", place, doing=doing, headers=_RESUMABLE)
                now = int(state.headers["Upload-Offset"])
            uploaded(now - offset)
            offset = now
    return str(begun.headers.get("Upload-Filename") or name)


def _send_part(session: CvatSession, place: str, part: bytes, offset: int, doing: str) -> None:
    headers = {
        **_RESUMABLE,
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
    }
    session.transport.send("PATCH", place, doing=doing, body=part, headers=headers)

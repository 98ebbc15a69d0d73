"""Work that CVAT does in the background: begun, waited for, and where it puts what it makes."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

from lsl_core.cvat.connection.errors import is_conflict, last_line, refusal
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.errors import CvatError, CvatRequestFailed
from lsl_core.progress import NULL, Progress

#: Seconds between looks at the server's work: quick at first, then patient.
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.05, 3.0
#: Without a word of progress for this long, the server has lost the work.
_SILENCE_S = 3600.0


def wait_for_request(
    session: CvatSession,
    request_id: str,
    *,
    doing: str,
    progress: Progress = NULL,
    queued_s: float | None = None,
) -> dict[str, object]:
    """Wait until work that CVAT does in the background is finished; return its last state.

    Args:
        session: who asked for it.
        request_id: as CVAT named it.
        doing: for errors, to follow "while".
        progress: may stop the waiting.
        queued_s: how long it may wait behind other work before it is no longer waited for; None
            for ever. It is not cancelled: CVAT has one request for all who ask for the same.

    Raises:
        CvatRequestFailed: when it failed, with the last line of CVAT's message, or waited too long.
    """
    pause, began, last = _FIRST_LOOK_S, time.monotonic(), ""
    silent_since = began
    # ids hold characters such as & and =, which have another meaning in an address
    path = f"/api/requests/{quote(request_id, safe='')}"
    while True:
        progress.check()
        state: dict[str, object] = session.transport.json("GET", path, doing=doing)
        if state["status"] == "finished":
            return state
        if state["status"] == "failed":
            message = str(state.get("message") or "")
            raise CvatRequestFailed(
                f"CVAT failed while {doing}: {last_line(message)}",
                hint="Mend or leave out the file that it names, and try again.",
                detail=message,
            )
        now = time.monotonic()
        if queued_s is not None and state["status"] == "queued" and now - began > queued_s:
            raise CvatRequestFailed(f"CVAT is busy with other work while {doing}.")
        word = json.dumps([state["status"], state.get("message"), state.get("progress")])
        if word != last:
            last, silent_since = word, now
        if now - silent_since > _SILENCE_S:
            raise CvatRequestFailed(
                f"CVAT has said nothing for an hour while {doing}.",
                hint="Ask who runs the server to look at its workers.",
            )
        time.sleep(pause)
        pause = min(pause * 1.2, _LONGEST_LOOK_S)


def begin_backup(session: CvatSession, kind: str, number: int, *, doing: str) -> str:
    """Let CVAT pack a project or task, images included, into an archive; return the request's id.

    The archive stays on the server, also where exports of the task go to a cloud by default.

    Args:
        session: who asks.
        kind: "project" or "task".
        number: its id.
        doing: for errors, to follow "while".

    Raises:
        CvatError: also when the user asked for the same and CVAT is at it; see `under_way`.
    """
    query = {"location": "local", "lightweight": "false"}  # with images that lie in a cloud
    address = f"/api/{kind}s/{number}/backup/export"
    asked = session.transport.json("POST", address, doing=doing, query=query)
    return str(asked["rq_id"])


def under_way(error: CvatError) -> str | None:
    """Return the id of the request that CVAT is at already, which it refused to begin anew."""
    found = refusal(error).get("rq_id") if is_conflict(error) else None
    return None if found is None else str(found)


def result_path(state: dict[str, object], *, doing: str) -> str:
    """Return the path on the server of what a request made, from its last state.

    Raises:
        CvatRequestFailed: CVAT does not say.
    """
    url = str(state.get("result_url") or "")
    if "/api/" not in url:
        raise CvatRequestFailed(f"CVAT does not say where the result lies (while {doing}).")
    # behind a proxy the server may know itself by another name than we do
    return "/api/" + url.split("/api/", 1)[1]

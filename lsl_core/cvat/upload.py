"""Images on their way into a new task: several requests at a time, then CVAT's own work."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from urllib.parse import quote

from lsl_core.cvat.errors import last_line
from lsl_core.cvat.session import CvatSession
from lsl_core.cvat.tus import upload_resumable
from lsl_core.errors import CvatRequestFailed
from lsl_core.progress import NULL, Progress

#: Files up to this size travel together, in requests of about this size.
_BULK_BYTES = 16 * 2**20
#: Uploads side by side: a network is waited for, and memory holds this many requests.
_CONNECTIONS = 3
#: Seconds between looks at the server's work: quick at first, then patient.
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.05, 3.0
#: Without a word of progress for this long, the server has lost the work.
_SILENCE_S = 3600.0


def upload_images(
    session: CvatSession,
    task_id: int,
    files: Sequence[tuple[str, Path]],
    *,
    image_quality: int = 80,
    progress: Progress = NULL,
) -> None:
    """Upload named files to a task without images, in this order, and wait for CVAT.

    Raises:
        CvatRequestFailed: when CVAT cannot make a task of them.
    """
    url = f"/api/tasks/{task_id}/data/"
    doing = f"uploading to task {task_id}"
    sizes = [path.stat().st_size for _, path in files]
    progress.start("Uploading", total=max(1, sum(sizes) >> 20), unit="MB")
    session.transport.send("POST", url, doing=doing, headers={"Upload-Start": ""})
    _send_all(session, url, doing, files, sizes, image_quality, progress)
    answer = session.transport.json(
        "POST",
        url,
        doing=doing,
        headers={"Upload-Finish": ""},
        body={
            "image_quality": image_quality,
            "sorting_method": "predefined",
            "upload_file_order": [name for name, _ in files],
        },
    )
    progress.start("CVAT prepares the images", total=1, unit="task")
    wait_for_request(session, answer["rq_id"], doing=f"creating task {task_id}", progress=progress)
    progress.advance()


def _send_all(
    session: CvatSession,
    url: str,
    doing: str,
    files: Sequence[tuple[str, Path]],
    sizes: Sequence[int],
    image_quality: int,
    progress: Progress,
) -> None:
    """Send small files in groups and large ones part by part, some of them side by side."""
    counter = _Megabytes(progress)

    def send_group(group: Sequence[tuple[str, Path]]) -> None:
        progress.check()
        fields: dict[str, object] = {"image_quality": str(image_quality)}
        contents = [path.read_bytes() for _, path in group]
        for i, ((name, _), content) in enumerate(zip(group, contents, strict=True)):
            fields[f"client_files[{i}]"] = (name, content)
        session.transport.send(
            "POST", url, doing=doing, headers={"Upload-Multiple": ""}, fields=fields
        )
        counter.add(sum(map(len, contents)))

    def send_large(name: str, path: Path) -> None:
        def arrived(count: int) -> None:
            counter.add(count)
            progress.check()

        upload_resumable(session, url, name, path, uploaded=arrived)

    with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="cvat-upload") as pool:
        work = [pool.submit(send_group, group) for group in _bulk_groups(files, sizes)]
        work += [
            pool.submit(send_large, name, path)
            for (name, path), size in zip(files, sizes, strict=True)
            if size > _BULK_BYTES
        ]
        try:
            for done in as_completed(work):
                done.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def wait_for_request(
    session: CvatSession, request_id: str, *, doing: str, progress: Progress = NULL
) -> dict[str, object]:
    """Wait until work that CVAT does in the background is finished; return its last state.

    Raises:
        CvatRequestFailed: when it failed, with the last line of CVAT's message.
    """
    pause, silent_since, last = _FIRST_LOOK_S, time.monotonic(), ""
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
        word = json.dumps([state["status"], state.get("message"), state.get("progress")])
        if word != last:
            last, silent_since = word, time.monotonic()
        if time.monotonic() - silent_since > _SILENCE_S:
            raise CvatRequestFailed(
                f"CVAT has said nothing for an hour while {doing}.",
                hint="Ask who runs the server to look at its workers.",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_LOOK_S)


class _Megabytes:
    """Counts bytes and tells whole megabytes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bytes = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        with self._lock:
            before = self._bytes >> 20
            self._bytes += count
            self._progress.advance((self._bytes >> 20) - before)


def _bulk_groups(
    files: Sequence[tuple[str, Path]], sizes: Sequence[int]
) -> Iterator[list[tuple[str, Path]]]:
    """Yield groups of small files that fill one request each."""
    group: list[tuple[str, Path]] = []
    total = 0
    for file, size in zip(files, sizes, strict=True):
        if size > _BULK_BYTES:
            continue
        if group and total + size > _BULK_BYTES:
            yield group
            group, total = [], 0
        group.append(file)
        total += size
    if group:
        yield group

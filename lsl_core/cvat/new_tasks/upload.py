"""Images on their way into a new task: several requests at a time, then CVAT's own work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock

from lsl_core.cvat.connection.background import wait_for_request
from lsl_core.cvat.connection.errors import is_conflict
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.connection.tus import begin_upload, known_offset, send_parts
from lsl_core.cvat.new_tasks.arrivals import Arrival, ArrivalPhase, FileState, SentFile
from lsl_core.cvat.tasks.reading import bare_task
from lsl_core.errors import CvatNotFound, CvatRequestFailed
from lsl_core.progress import NULL, Progress

#: Files up to this size travel together, in requests of about this size.
_BULK_BYTES = 16 * 2**20
#: Uploads side by side: a network is waited for, and memory holds this many requests.
_CONNECTIONS = 3
#: Seconds that a server may still work on what a process sent before it was killed.
SETTLE_S = 5.0


def upload_images(
    session: CvatSession,
    task_id: int,
    files: Sequence[tuple[str, Path]],
    *,
    image_quality: int = 80,
    arrival: Arrival | None = None,
    progress: Progress = NULL,
) -> None:
    """Upload named files to a task without images, in this order, and wait for CVAT.

    Args:
        session: who uploads.
        task_id: of a task without images.
        files: name in CVAT and file of each.
        image_quality: of the pictures that annotators see, in [1, 100].
        arrival: what was done already, by a process that was killed; goes on from there.
        progress: counts megabytes, then waits for CVAT.

    Raises:
        CvatRequestFailed: when CVAT cannot make a task of them.
    """
    arrival = arrival or Arrival()
    was_finishing = arrival.phase is ArrivalPhase.FINISHING
    upload = _Upload(session, task_id, files, image_quality, arrival, progress)
    if arrival.phase in (ArrivalPhase.CREATING, ArrivalPhase.CREATED):
        upload.start()
    if arrival.phase is ArrivalPhase.UPLOADING:
        upload.send_all()
    upload.finish(may_be_begun=was_finishing)


class _Upload:
    """The files of one new task on their way."""

    def __init__(
        self,
        session: CvatSession,
        task_id: int,
        files: Sequence[tuple[str, Path]],
        image_quality: int,
        arrival: Arrival,
        progress: Progress,
    ) -> None:
        self._session, self._task_id, self._files = session, task_id, files
        self._quality, self._arrival, self._progress = image_quality, arrival, progress
        self._url = f"/api/tasks/{task_id}/data/"
        self._doing = f"uploading to task {task_id}"
        sizes = sum(path.stat().st_size for _, path in files)
        self._counter = _Megabytes(progress)
        progress.start("Uploading", total=max(1, sizes >> 20), unit="MB")

    def start(self) -> None:
        """Tell CVAT that files will come."""
        self._session.transport.send(
            "POST", self._url, doing=self._doing, headers={"Upload-Start": ""}
        )
        self._arrival.reach(ArrivalPhase.UPLOADING)

    def send_all(self) -> None:
        """Send small files in groups and large ones part by part, some of them side by side."""
        self._arrival.settle(SETTLE_S)
        known = self._arrival.files()
        fresh = [file for file in self._files if file[0] not in known]
        large = [file for file in fresh if file[1].stat().st_size > _BULK_BYTES]
        # CVAT adds a file that comes a second time in a group to the first: those go alone
        begun = [file for file in self._files if _is_open(known.get(file[0]))]
        done = [path for name, path in self._files if name in known and not _is_open(known[name])]
        self._counter.add(sum(path.stat().st_size for path in done))
        with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="cvat-upload") as pool:
            work = [pool.submit(self._send_group, group) for group in _bulk_groups(fresh)]
            work += [pool.submit(self._send_alone, *file, None) for file in large]
            work += [pool.submit(self._send_alone, *file, known[file[0]]) for file in begun]
            try:
                for sent in as_completed(work):
                    sent.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self._arrival.reach(ArrivalPhase.FINISHING)

    def finish(self, *, may_be_begun: bool) -> None:
        """Let CVAT make frames of the files, once, and wait for it."""
        doing = f"creating task {self._task_id}"
        request_id = self._work_begun() if may_be_begun else ""
        if request_id is None:
            return
        if not request_id:
            answer = self._session.transport.json(
                "POST",
                self._url,
                doing=self._doing,
                headers={"Upload-Finish": ""},
                body={
                    "image_quality": self._quality,
                    "sorting_method": "predefined",
                    "upload_file_order": [name for name, _ in self._files],
                },
            )
            request_id = answer["rq_id"]
        self._progress.start("CVAT prepares the images", total=1, unit="task")
        wait_for_request(self._session, request_id, doing=doing, progress=self._progress)
        self._progress.advance()

    def _work_begun(self) -> str | None:
        """Return the request by which CVAT makes the frames, "" for none, None when it did so."""
        self._arrival.settle(SETTLE_S)
        found = self._session.transport.pages(
            "/api/requests",
            doing=self._doing,
            query={"target": "task", "action": "create", "task_id": self._task_id},
        )
        mine = [r for r in found if (r.get("operation") or {}).get("task_id") == self._task_id]
        at_work = [r for r in mine if r["status"] in ("queued", "started", "failed")]
        if at_work:
            return str(at_work[0]["id"])
        return None if bare_task(self._session, self._task_id).frames else ""

    def _send_group(self, group: Sequence[tuple[str, Path]]) -> None:
        self._progress.check()
        fields: dict[str, object] = {"image_quality": str(self._quality)}
        contents = [path.read_bytes() for _, path in group]
        names = [name for name, _ in group]
        for i, (name, content) in enumerate(zip(names, contents, strict=True)):
            fields[f"client_files[{i}]"] = (name, content)
        self._arrival.note(names, SentFile(FileState.SENDING))
        self._session.transport.send(
            "POST", self._url, doing=self._doing, headers={"Upload-Multiple": ""}, fields=fields
        )
        self._arrival.note(names, SentFile(FileState.DONE))
        self._counter.add(sum(map(len, contents)))

    def _send_alone(self, name: str, path: Path, known: SentFile | None) -> None:
        """Send a file by itself; `known` is what an earlier process did of it."""
        place, offset = known.place if known else "", 0
        if place:
            try:
                offset = known_offset(self._session, place, doing=self._doing)
            except CvatNotFound:  # it is whole, or CVAT forgot it
                place = ""
        if not place:
            try:
                place = begin_upload(self._session, self._url, name, path).place
            except CvatRequestFailed as error:
                if not (known and is_conflict(error)):
                    raise
                self._arrived(path.stat().st_size)  # it is there
                self._arrival.note([name], SentFile(FileState.DONE))
                return
        self._arrival.note([name], SentFile(FileState.SENDING, place))
        send_parts(self._session, place, path, uploaded=self._arrived, offset=offset)
        self._arrival.note([name], SentFile(FileState.DONE))

    def _arrived(self, count: int) -> None:
        self._counter.add(count)
        self._progress.check()


def _is_open(file: SentFile | None) -> bool:
    return file is not None and file.state is FileState.SENDING


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


def _bulk_groups(files: Sequence[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    """Yield groups of small files that fill one request each."""
    group: list[tuple[str, Path]] = []
    total = 0
    for file in files:
        size = file[1].stat().st_size
        if size > _BULK_BYTES:
            continue
        if group and total + size > _BULK_BYTES:
            yield group
            group, total = [], 0
        group.append(file)
        total += size
    if group:
        yield group

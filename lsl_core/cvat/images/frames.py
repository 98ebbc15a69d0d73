"""Images of a task, as they were uploaded: by a backup or by chunks, nothing twice."""

from __future__ import annotations

import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from threading import Semaphore
from typing import Any, Literal

import urllib3

from lsl_core.cvat.annotations.reading import TaskState, read_state
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.images.chunks import members_of
from lsl_core.cvat.images.packed import is_worth_packing, pack_images, packed_images
from lsl_core.cvat.images.store import ImageBatch, ImageStore, StoredImage
from lsl_core.cvat.tasks.entities import FrameInfo, TaskInfo, frames_of
from lsl_core.cvat.tasks.reading import bare_task, data_meta, get_task, require_images
from lsl_core.errors import CvatAuth, CvatDenied, CvatError, CvatUnreachable, LslError, UserInput
from lsl_core.progress import NULL, Progress
from lsl_core.types import ImageRef
from lsl_core.workspace.images import check_whole

Quality = Literal["original", "compressed"]

#: Connections at a time: four load 400 images in 57 % of the time of one, more win nothing.
_CONNECTIONS = 4
#: Threads beside those that wait for the server; they wait for the disk.
_FINISHERS = 2
#: Images of a backup that are written down together.
_TOGETHER = 64
#: How often a download is begun before the server counts as gone.
_TRIES = 2
#: Below this share of a chunk, single frames are fewer bytes and no slower.
_CHUNK_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class FailedFrame:
    """A frame whose image could not be had, and why."""

    frame: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class PulledFrames:
    """The images of a task on this machine, in the order of the frames.

    refs, paths: one each per image. failed: frames without one. fetched: how many were downloaded
    now; the others were here.
    """

    refs: tuple[ImageRef, ...]
    paths: tuple[Path, ...]
    failed: tuple[FailedFrame, ...]
    fetched: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """Frames that one request brings: a chunk, or a single frame (chunk None)."""

    chunk: int | None
    frames: tuple[FrameInfo, ...]


def pull_frames(
    session: CvatSession,
    task_id: int,
    folder: Path,
    *,
    frames: Sequence[int] | None = None,
    progress: Progress = NULL,
) -> PulledFrames:
    """Bring the images of a task to `folder` at original quality.

    Files are named by the hash of their bytes, so the folder serves all tasks; what is there is
    not fetched again, also after a kill. One bad image never stops the others.

    Args:
        session: who asks.
        task_id: which task.
        folder: of all images of the workspace.
        frames: their numbers; None for all that are not deleted.
        progress: counts images; may cancel between chunks.

    Raises:
        CvatNotFound: no such task.
        UserInput: a task without images, or a frame number that it has not.
        CvatUnreachable: when the server went away; what is here stays.
    """
    task = bare_task(session, task_id)
    return _pull_frames(session, task, data_meta(session, task), folder, frames, progress)


def pull_task(
    session: CvatSession, task_id: int, folder: Path, *, progress: Progress = NULL
) -> tuple[TaskState, PulledFrames]:
    """Read a task and bring all its images, side by side; see `read_task` and `pull_frames`."""
    task = require_images(get_task(session, task_id, labels=False))
    meta = data_meta(session, task)
    with ThreadPoolExecutor(1, thread_name_prefix="cvat-read") as pool:
        reading = pool.submit(read_state, session, task, lambda: meta)
        pulled = _pull_frames(session, task, meta, folder, None, progress)
    return reading.result(), pulled


def frame_bytes(
    session: CvatSession, task_id: int, frame: int, *, quality: Quality = "compressed"
) -> bytes:
    """Return one image of a task as an encoded file; compressed is a JPEG for thumbnails."""
    return session.transport.send(
        "GET",
        f"/api/tasks/{task_id}/data",
        doing=f"loading frame {frame} of task {task_id}",
        query={"type": "frame", "number": frame, "quality": quality},
    ).data


def task_preview(session: CvatSession, task_id: int) -> bytes:
    """Return CVAT's small picture of a task, a JPEG."""
    return session.transport.send(
        "GET", f"/api/tasks/{task_id}/preview", doing=f"loading the preview of task {task_id}"
    ).data


def _pull_frames(
    session: CvatSession,
    task: TaskInfo,
    meta: dict[str, Any],
    folder: Path,
    frames: Sequence[int] | None,
    progress: Progress,
) -> PulledFrames:
    wanted = _choose(task, frames_of(task, meta), frames)
    stamp = f"{task.created}|{meta.get('chunks_updated_date') or ''}|{task.frames}"
    store = ImageStore(folder, url=session.url, task_id=task.id, stamp=stamp)
    have = {f.frame: image for f in wanted if (image := store.get(f.frame)) is not None}
    missing = [f for f in wanted if f.frame not in have]
    archive = None
    if is_worth_packing(task, meta, missing):
        archive = pack_images(session, task, progress)
    progress.start("Loading images", total=len(wanted), unit="images")
    progress.advance(len(have))
    pull = _Pull(session, task, store, have)
    if archive is not None:
        pull.unpack(archive, missing, progress)
    failed = pull.fetch([f for f in missing if f.frame not in have], progress)
    there = [f for f in wanted if f.frame in have]
    return PulledFrames(
        refs=tuple(
            ImageRef(task.id, f.frame, f.name, f.image_hw, have[f.frame].sha256) for f in there
        ),
        paths=tuple(have[f.frame].path for f in there),
        failed=tuple(sorted(failed, key=lambda f: f.frame)),
        fetched=len(missing) - len(failed),
    )


def _choose(
    task: TaskInfo, known: Sequence[FrameInfo], frames: Sequence[int] | None
) -> list[FrameInfo]:
    if frames is None:
        return [f for f in known if not f.deleted]
    unknown = [n for n in frames if not 0 <= n < len(known)]
    if unknown:
        raise UserInput(
            f"Task {task.id} has no frame {unknown[0]}.",
            hint=f"Its frames are 0 to {len(known) - 1}.",
        )
    return [known[n] for n in sorted(set(frames))]


def _batches(task: TaskInfo, missing: Sequence[FrameInfo]) -> list[_Batch]:
    singles = [_Batch(None, (f,)) for f in missing]
    if not task.has_image_chunks or task.chunk_size <= 0:
        return singles
    by_chunk: dict[int, list[FrameInfo]] = {}
    for f in missing:
        by_chunk.setdefault(f.frame // task.chunk_size, []).append(f)
    batches: list[_Batch] = []
    for chunk, members in by_chunk.items():
        size = min(task.chunk_size, task.frames - chunk * task.chunk_size)
        if len(members) < _CHUNK_SHARE * size:
            batches += [_Batch(None, (f,)) for f in members]
        else:
            batches.append(_Batch(chunk, tuple(members)))
    return batches


class _Pull:
    """Brings the missing images of a task: from the server to the disk, several chunks at a time.

    have: the images that are here, by frame; grows while they come.
    """

    def __init__(
        self, session: CvatSession, task: TaskInfo, store: ImageStore, have: dict[int, StoredImage]
    ) -> None:
        self._session, self._task, self._store = session, task, store
        self.have = have
        self._connections = Semaphore(_CONNECTIONS)

    def unpack(self, archive: str, missing: Sequence[FrameInfo], progress: Progress) -> None:
        """Take what a backup of the task brings; the rest, also after any error, is fetched."""
        waiting: deque[Future[int]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="cvat-frames") as disk:
            with suppress(CvatError, zipfile.BadZipFile):
                coming = packed_images(self._session, self._task, archive, missing)
                for first in coming:
                    progress.check()
                    images = self._store.batch()
                    try:
                        _store(chain([first], islice(coming, _TOGETHER - 1)), images)
                    finally:
                        waiting.append(disk.submit(self._keep, images))
                    if len(waiting) > 1:
                        progress.advance(waiting.popleft().result())
            for kept in waiting:
                progress.advance(kept.result())

    def _keep(self, images: ImageBatch) -> int:
        """Wait for the disk; return how many images are there now."""
        with images:
            kept = images.keep()
        self.have.update(kept)
        return len(kept)

    def fetch(self, missing: Sequence[FrameInfo], progress: Progress) -> list[FailedFrame]:
        """Bring batches side by side; only the calling thread counts."""
        failed: list[FailedFrame] = []
        waiting = iter(_batches(self._task, missing))
        threads = _CONNECTIONS + _FINISHERS
        with ThreadPoolExecutor(threads, thread_name_prefix="cvat-frames") as pool:
            running: dict[Future[list[FailedFrame]], _Batch] = {}

            def submit_next() -> None:
                batch = next(waiting, None)
                if batch is not None:
                    running[pool.submit(self._bring, batch)] = batch

            try:
                # no more at a time than there are threads: a batch that waits holds its frames
                for _ in range(threads):
                    submit_next()
                while running:
                    progress.check()
                    done = next(as_completed(running))
                    batch = running.pop(done)
                    failed += done.result()
                    submit_next()
                    progress.advance(len(batch.frames))
            except BaseException:
                for future in running:
                    future.cancel()  # one that has begun ends well, and keeps what it brought
                raise
        return failed

    def _bring(self, batch: _Batch) -> list[FailedFrame]:
        """Download and store a batch; a chunk that CVAT cannot make is asked for by frame."""
        try:
            return self._load(batch)
        except (CvatUnreachable, CvatAuth, CvatDenied):
            raise
        except (CvatError, zipfile.BadZipFile) as error:
            if batch.chunk is None:
                return [FailedFrame(batch.frames[0].frame, batch.frames[0].name, _words(error))]
        failed = []
        for f in batch.frames:
            if f.frame not in self.have:
                failed += self._bring(_Batch(None, (f,)))
        return failed

    def _load(self, batch: _Batch) -> list[FailedFrame]:
        """Download and store a batch; what came before an error stays."""
        for left in reversed(range(_TRIES)):
            try:
                with self._store.batch() as images:
                    try:
                        return self._receive(batch, images)
                    finally:
                        self.have.update(images.keep())
            except CvatUnreachable:
                # urllib3 repeats what got no answer, but not an answer that was cut in its middle
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _receive(self, batch: _Batch, images: ImageBatch) -> list[FailedFrame]:
        """Download a batch and write its images as they come."""
        task = self._task
        kind, number = (
            ("frame", batch.frames[0].frame) if batch.chunk is None else ("chunk", batch.chunk)
        )
        with (
            self._connections,
            self._session.transport.stream(
                f"/api/tasks/{task.id}/data",
                doing=f"loading {kind} {number} of task {task.id}",
                query={"type": kind, "number": number, "quality": "original"},
            ) as body,
        ):
            return _store(_images(task, batch, body, self.have), images)


def _images(
    task: TaskInfo,
    batch: _Batch,
    body: urllib3.BaseHTTPResponse,
    have: Mapping[int, StoredImage],
) -> Iterator[tuple[FrameInfo, str, bytes]]:
    """Yield frame, file name and bytes of the images of a download, without those in `have`."""
    if batch.chunk is None:
        yield batch.frames[0], batch.frames[0].name, body.read()
        return
    first = batch.chunk * task.chunk_size
    size = min(task.chunk_size, task.frames - first)
    wanted = {f.frame - first: f for f in batch.frames if f.frame not in have}
    members = 0
    for place, (name, data) in enumerate(members_of(body)):  # CVAT writes them in order
        members += 1
        if place in wanted:
            yield wanted[place], name, data
    if members < size:
        raise zipfile.BadZipFile(f"{members} of {size} images")


def _store(found: Iterable[tuple[FrameInfo, str, bytes]], images: ImageBatch) -> list[FailedFrame]:
    failed = []
    for f, file_name, data in found:
        try:
            check_whole(data, f.name)
        except UserInput as error:
            failed.append(FailedFrame(f.frame, f.name, error.message))
        else:
            images.add(f.frame, data, name=file_name)
    return failed


def _words(error: Exception) -> str:
    return error.message if isinstance(error, LslError) else f"CVAT sent a damaged chunk: {error}"

"""Images of a task, as they were uploaded: by chunks, several at a time, nothing twice."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from lsl_core.cvat.image_store import ImageStore, StoredImage
from lsl_core.cvat.session import CvatSession
from lsl_core.cvat.tasks import FrameInfo, TaskInfo, bare_task, data_meta, frames_of
from lsl_core.errors import CvatAuth, CvatDenied, CvatError, CvatUnreachable, LslError, UserInput
from lsl_core.progress import NULL, Progress
from lsl_core.types import ImageRef
from lsl_core.workspace.images import check_whole

Quality = Literal["original", "compressed"]

#: Connections at a time: four load 400 images in 57 % of the time of one, more win nothing.
_CONNECTIONS = 4
#: How often a download is begun before the server counts as gone.
_TRIES = 2
#: Below this share of a chunk, single frames are fewer bytes and no slower.
_CHUNK_SHARE = 0.25
#: A chunk up to this size is unpacked in memory, a larger one on disk.
_CHUNK_IN_MEMORY = 16 * 2**20


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
    meta = data_meta(session, task)
    wanted = _choose(task, frames_of(task, meta), frames)
    stamp = f"{task.created}|{meta.get('chunks_updated_date') or ''}|{task.frames}"
    store = ImageStore(folder, url=session.url, task_id=task_id, stamp=stamp)
    have = {f.frame: image for f in wanted if (image := store.get(f.frame)) is not None}
    missing = [f for f in wanted if f.frame not in have]
    progress.start("Loading images", total=len(wanted), unit="images")
    progress.advance(len(have))
    failed = _fetch(session, task, missing, store, have, progress)
    there = [f for f in wanted if f.frame in have]
    return PulledFrames(
        refs=tuple(
            ImageRef(task_id, f.frame, f.name, f.image_hw, have[f.frame].sha256) for f in there
        ),
        paths=tuple(have[f.frame].path for f in there),
        failed=tuple(sorted(failed, key=lambda f: f.frame)),
        fetched=len(missing) - len(failed),
    )


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


def _fetch(
    session: CvatSession,
    task: TaskInfo,
    missing: Sequence[FrameInfo],
    store: ImageStore,
    have: dict[int, StoredImage],
    progress: Progress,
) -> list[FailedFrame]:
    """Bring batches side by side, each from the server to the disk; only this thread counts."""
    failed: list[FailedFrame] = []
    waiting = iter(_batches(task, missing))
    with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="cvat-frames") as pool:
        running: dict[Future[list[FailedFrame]], _Batch] = {}

        def submit_next() -> None:
            batch = next(waiting, None)
            if batch is not None:
                running[pool.submit(_bring, session, task, batch, store, have)] = batch

        try:
            # no more at a time than there are connections, so that memory stays flat
            for _ in range(_CONNECTIONS):
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


def _bring(
    session: CvatSession,
    task: TaskInfo,
    batch: _Batch,
    store: ImageStore,
    have: dict[int, StoredImage],
) -> list[FailedFrame]:
    """Download and store a batch; a chunk that CVAT cannot make is asked for by frame."""
    try:
        with _download(session, task, batch) as file:
            return _store(_images(task, batch, file), store, have)
    except (CvatUnreachable, CvatAuth, CvatDenied):
        raise
    except (CvatError, zipfile.BadZipFile) as error:
        if batch.chunk is None:
            return [FailedFrame(batch.frames[0].frame, batch.frames[0].name, _words(error))]
    failed = []
    for f in batch.frames:
        if f.frame not in have:
            failed += _bring(session, task, _Batch(None, (f,)), store, have)
    return failed


def _download(session: CvatSession, task: TaskInfo, batch: _Batch) -> IO[bytes]:
    kind, number = (
        ("frame", batch.frames[0].frame) if batch.chunk is None else ("chunk", batch.chunk)
    )
    file = tempfile.SpooledTemporaryFile(max_size=_CHUNK_IN_MEMORY)  # noqa: SIM115 - handed on
    for left in reversed(range(_TRIES)):
        try:
            session.transport.download(
                f"/api/tasks/{task.id}/data",
                file,
                doing=f"loading {kind} {number} of task {task.id}",
                query={"type": kind, "number": number, "quality": "original"},
            )
            break
        except CvatUnreachable:
            # urllib3 repeats what got no answer, but not an answer that was cut in its middle
            if not left:
                file.close()
                raise
            file.seek(0)
            file.truncate()
        except BaseException:
            file.close()
            raise
    file.seek(0)
    return file


def _images(
    task: TaskInfo, batch: _Batch, file: IO[bytes]
) -> Iterator[tuple[FrameInfo, str, bytes]]:
    """Yield frame, file name and bytes of each image of a download."""
    if batch.chunk is None:
        yield batch.frames[0], batch.frames[0].name, file.read()
        return
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()  # CVAT writes them in the order of the frames
        size = min(task.chunk_size, task.frames - batch.chunk * task.chunk_size)
        if len(members) < size:
            raise zipfile.BadZipFile(f"{len(members)} of {size} images")
        for f in batch.frames:
            member = members[f.frame - batch.chunk * task.chunk_size]
            yield f, member.filename, archive.read(member)


def _store(
    images: Iterable[tuple[FrameInfo, str, bytes]], store: ImageStore, have: dict[int, StoredImage]
) -> list[FailedFrame]:
    failed = []
    for f, file_name, data in images:
        try:
            check_whole(data, f.name)
        except UserInput as error:
            failed.append(FailedFrame(f.frame, f.name, error.message))
        else:
            have[f.frame] = store.put(f.frame, data, name=file_name)
    return failed


def _words(error: Exception) -> str:
    return error.message if isinstance(error, LslError) else f"CVAT sent a damaged chunk: {error}"

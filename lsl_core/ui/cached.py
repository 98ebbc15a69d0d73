"""What pages read again and again, kept for a while.

What comes from CVAT depends on who asks, so it is kept per browser session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
import streamlit as st
from numpy.typing import NDArray

from lsl_core.errors import CvatUnreachable
from lsl_core.services import catalogue, sourcing
from lsl_core.services.catalogue import TaskDetails, TaskInfo
from lsl_core.services.connections import CvatSession
from lsl_core.services.labelling import label_next as label_next_service
from lsl_core.services.labelling import previewing, reviewing
from lsl_core.services.labelling.label_next import NextImage
from lsl_core.services.labelling.previewing import PreviewInfo
from lsl_core.services.labelling.reviewing import Pair, Review
from lsl_core.services.sourcing import Source
from lsl_core.services.workspaces import Workspace
from lsl_core.types import Instances

_Read = TypeVar("_Read")


def tasks(session: CvatSession) -> list[TaskInfo]:
    """Return the tasks that the session sees, as they were at most 30 s ago."""
    return _tasks(session, _who(session))


def task_details(session: CvatSession, task_id: int) -> TaskDetails:
    """Return a task with labels, jobs and frames, as it was at most 30 s ago."""
    return _details(session, _who(session), task_id)


def thumbnail(session: CvatSession, task: TaskInfo, frame: int) -> bytes:
    """Return a small JPEG of a frame."""
    return _thumbnail(session, f"{_who(session)} {task.created}", task.id, frame)


def forget() -> None:
    """Read everything from CVAT anew."""
    _review.clear()
    _pair.clear()
    _tasks.clear()
    _details.clear()


def or_last(
    session: CvatSession, name: str, subject: object, read: Callable[[], _Read]
) -> tuple[_Read, CvatUnreachable | None]:
    """Return what CVAT gives; while it does not answer, what it gave last, and the error.

    Streamlit forgets what was chosen in a widget that a page does not draw, so pages where much is
    chosen go on with what they know.

    Args:
        session: who asks.
        name: the key of the page's session that holds the last one.
        subject: of what; another one's is not given.
        read: asks CVAT.

    Raises:
        CvatUnreachable: when CVAT does not answer and gave nothing of this subject before.
    """
    whose = (_who(session), subject)
    try:
        found = read()
    except CvatUnreachable as error:
        last = st.session_state.get(name)
        if last is None or last[0] != whose:
            raise
        return last[1], error
    st.session_state[name] = (whose, found)
    return found, None


def source(workspace: Workspace, name: str, created: str) -> Source:
    """Return a source with all its objects; `created` tells apart two of one name."""
    return _source(workspace, str(workspace.root), name, created)


def source_thumbnail(source: Source, position: int, max_px: int) -> bytes:
    """Return a small JPEG of an image of a source with its objects drawn."""
    key = f"{source.info.name} {source.info.created}"
    return _source_thumbnail(source, key, source.images[position].ref.sha256, position, max_px)


def jpeg(pixels: NDArray[np.uint8], quality: int = 82) -> bytes:
    """Return pixels, RGB, as a JPEG file."""
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return encoded.tobytes()


def _who(session: CvatSession) -> str:
    return f"{session.user} {session.url} {session.organisation}"


@st.cache_data(scope="session", ttl="30s", show_spinner="Reading the tasks…")
def _tasks(_session: CvatSession, who: str) -> list[TaskInfo]:
    return catalogue.list_tasks(_session)


@st.cache_data(scope="session", ttl="30s", max_entries=50, show_spinner=False)
def _details(_session: CvatSession, who: str, task_id: int) -> TaskDetails:
    return catalogue.task_details(_session, task_id)


@st.cache_data(scope="session", max_entries=300, show_spinner=False)
def _thumbnail(_session: CvatSession, who: str, task_id: int, frame: int) -> bytes:
    return catalogue.thumbnail(_session, task_id, frame)


@st.cache_resource(max_entries=3, show_spinner="Reading the source…")
def _source(_workspace: Workspace, root: str, name: str, created: str) -> Source:
    return sourcing.load_source(_workspace, name)


@st.cache_data(max_entries=300, show_spinner=False)
def _source_thumbnail(_source: Source, key: str, sha256: str, position: int, max_px: int) -> bytes:
    return jpeg(sourcing.source_thumbnail(_source.images[position], max_px))


def review(session: CvatSession, workspace: Workspace, push_id: str) -> Review:
    """Return what people did with a push, as it was at most 30 s ago."""
    return _review(session, workspace, _who(session), push_id)


@st.cache_data(scope="session", ttl="30s", max_entries=20, show_spinner="Comparing with CVAT…")
def _review(_session: CvatSession, _workspace: Workspace, who: str, push_id: str) -> Review:
    return reviewing.review(_session, _workspace, push_id)


def review_pair(
    session: CvatSession, workspace: Workspace, push_id: str, frame: int, *, only_changed: bool
) -> Pair:
    """Return a frame of a push as it was and as people left it, at most 30 s ago."""
    return _pair(session, workspace, _who(session), push_id, frame, only_changed)


@st.cache_data(scope="session", ttl="30s", max_entries=4, show_spinner="Loading the frame…")
def _pair(
    _session: CvatSession,
    _workspace: Workspace,
    who: str,
    push_id: str,
    frame: int,
    only_changed: bool,
) -> Pair:
    return reviewing.pair(_session, _workspace, push_id, frame, only_changed=only_changed)


def frame_link(session: CvatSession, task_id: int, frame: int) -> str:
    """Return where CVAT shows a frame, or its task while CVAT does not answer."""
    try:
        return _frame_link(session, _who(session), task_id, frame)
    except CvatUnreachable:
        return f"{session.url}/tasks/{task_id}"


def existing(session: CvatSession, workspace: Workspace, preview_id: str, frame: int) -> Instances:
    """Return what CVAT held for a frame at most 30 s ago."""
    return _existing(session, workspace, _who(session), preview_id, frame)


def frame_thumbnail(workspace: Workspace, preview_id: str, frame: int) -> bytes:
    """Return a small JPEG of a frame of a preview."""
    return _frame_thumbnail(workspace, str(workspace.root), preview_id, frame)


def label_next(
    session: CvatSession | None, workspace: Workspace, info: PreviewInfo
) -> list[NextImage]:
    """Return the unlabelled frames of a preview, best to label first, as at most 2 min ago.

    Raises:
        UserInput: when every frame is labelled already.
    """
    knows = session is not None and session.url == info.url
    who = _who(session) if session is not None and knows else ""
    return _label_next(session if knows else None, workspace, info.id, who, info.is_complete)


@st.cache_data(scope="session", ttl="2m", max_entries=8, show_spinner="Ranking the images…")
def _label_next(
    _session: CvatSession | None,
    _workspace: Workspace,
    preview_id: str,
    who: str,
    is_complete: bool,
) -> list[NextImage]:
    drawn = label_next_service.drawn_by_people(_session, _workspace, preview_id) if _session else {}
    return label_next_service.next_images(_workspace, preview_id, drawn=drawn)


@st.cache_data(scope="session", ttl="10m", max_entries=500, show_spinner=False)
def _frame_link(_session: CvatSession, who: str, task_id: int, frame: int) -> str:
    return catalogue.frame_link(_session, task_id, frame)


@st.cache_data(scope="session", ttl="30s", max_entries=20, show_spinner="Reading CVAT…")
def _existing(
    _session: CvatSession, _workspace: Workspace, who: str, preview_id: str, frame: int
) -> Instances:
    return previewing.existing_annotations(_session, _workspace, preview_id, frame)


@st.cache_data(max_entries=500, show_spinner=False)
def _frame_thumbnail(_workspace: Workspace, root: str, preview_id: str, frame: int) -> bytes:
    pixels = previewing.frame_view(_workspace, preview_id, frame).pixels
    height, width = pixels.shape[:2]
    scale = min(1.0, 240 / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return jpeg(np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8))

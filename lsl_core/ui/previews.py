"""What the Preview and Push pages share: which preview is open, its order of frames, its charts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum

import numpy as np
import pandas as pd
import streamlit as st

from lsl_core.errors import LslError
from lsl_core.services.catalogue import TaskDetails, TaskInfo
from lsl_core.services.connections import CvatSession
from lsl_core.services.labelling import previewing
from lsl_core.services.labelling.label_next import UNSURE, NextImage
from lsl_core.services.labelling.previewing import PreviewFrame, PreviewInfo
from lsl_core.services.models import versions
from lsl_core.types import CropMasks, Decision, Instances, LabelMap, SoftMasks, Window
from lsl_core.ui import address, cached, keys, session
from lsl_core.ui.formats import ago
from lsl_core.ui.viewer import Decision as ViewerDecision
from lsl_core.ui.viewer import ViewerState, pack
from lsl_core.words import plural

#: How the labels' patterns look in text: colour is never the only sign.
_SIGNS = ("■", "▨", "▦", "⁙", "▧", "▤", "▥")


class Order(StrEnum):
    """In which order frames are looked at; the value is what people read."""

    UNSURE = "least certain first"
    NEXT = "label next first"
    COUNT = "most objects first"
    FRAME = "by frame"
    FLAGGED = "flagged first"


def subjects(
    cvat: CvatSession | None, previews: Sequence[PreviewInfo], tasks: Sequence[TaskInfo]
) -> dict[str, str]:
    """Return what can be previewed: its key in the address, and its title."""
    found = {str(t.id): f"{t.id} · {t.name}" for t in tasks if t.frames}
    for info in previews:
        key = subject_of(info, cvat)
        if key:
            found.setdefault(key, title_of(info))
    return found


def title_of(info: PreviewInfo) -> str:
    """Return "41 · bolts, line 2" for a task, the name of a source."""
    if info.task_id is None:
        return info.title
    return f"{info.task_id} · {info.title.removeprefix(f'{info.task_id} ')}"


def subject_of(info: PreviewInfo, cvat: CvatSession | None) -> str:
    """Return the key of what a preview shows, "" for a task of another server."""
    if info.task_id is None:
        return f"source {info.source}"
    return str(info.task_id) if cvat is None or info.url == cvat.url else ""


def choose_subject(titles: dict[str, str], previews: Sequence[PreviewInfo]) -> str:
    """Draw the choice of a task and return its key; what was predicted last comes first."""
    keys_of = list(titles)
    cvat = session.connection()
    last = next((k for k in (subject_of(info, cvat) for info in previews) if k in titles), None)
    key = address.opened(keys.TASK, keys_of, default=last)
    st.session_state[keys.PREVIEW_TASK] = key
    st.selectbox(
        "Task", keys_of, key=keys.PREVIEW_TASK, format_func=lambda k: titles.get(k, k),
        on_change=address.follow, args=(keys.TASK, keys.PREVIEW_TASK),
    )  # fmt: skip
    return key


def choose_model(mine: Sequence[PreviewInfo]) -> str | None:
    """Draw the choice of a model and return its id; the one that looked last comes first."""
    known = [card.id for card in versions.list_models(session.workspace())]
    ids = list(dict.fromkeys([*known, *(info.model_id for info in mine)]))
    if not ids:
        return None
    model = address.opened(keys.MODEL, ids, default=mine[0].model_id if mine else None)
    st.session_state[keys.PREVIEW_MODEL] = model
    st.selectbox(
        "Model", ids, key=keys.PREVIEW_MODEL,
        format_func=lambda i: i if i in known else f"{i} (removed)",
        on_change=address.follow, args=(keys.MODEL, keys.PREVIEW_MODEL),
    )  # fmt: skip
    return model


def label_next(info: PreviewInfo, order: Order) -> dict[int, NextImage]:
    """Return what is worth a label by frame, best first; only in the order that asks for it."""
    if order is not Order.NEXT:
        return {}
    try:
        found = cached.label_next(session.connection(), session.workspace(), info)
    except LslError as error:
        st.toast(error.message, icon=":material/info:")
        return {}
    return {one.frame: one for one in found}


def in_order(
    found: Sequence[PreviewFrame], order: Order, ranked: Iterable[int] = ()
) -> list[PreviewFrame]:
    """Return the frames in the order of looking; it does not depend on thresholds.

    Args:
        found: the frames.
        order: of which kind.
        ranked: numbers of frames worth a label, best first, for the order that needs them; the
            labelled frames come after these.
    """
    place = {frame: i for i, frame in enumerate(ranked)}

    def rank(frame: PreviewFrame) -> tuple[float, int]:
        scores = frame.scores
        value = {
            Order.UNSURE: -int(((scores >= UNSURE[0]) & (scores <= UNSURE[1])).sum()),
            Order.NEXT: place.get(frame.ref.frame, len(place)),
            Order.COUNT: -int((scores >= 0.5).sum()),
            Order.FRAME: 0,
            Order.FLAGGED: -int(frame.is_flagged),
        }[order]
        return value, frame.ref.frame

    return sorted(found, key=rank)


def whole_percents(info: PreviewInfo) -> PreviewInfo:
    """Return the preview with thresholds that the viewer's slider can stand on."""
    rounded = {label: round(value, 2) for label, value in info.thresholds.items()}
    if rounded != info.thresholds:
        workspace = session.workspace()
        previewing.choose(
            workspace, info.id, thresholds=rounded, mask_threshold=info.mask_threshold
        )
    return replace(info, thresholds=rounded)


def image_id(info: PreviewInfo, frame: PreviewFrame) -> str:
    """Return the viewer's name of a frame."""
    return f"{info.id}:{frame.ref.frame}"


def start_state(info: PreviewInfo, frame: PreviewFrame) -> ViewerState:
    """Return what was chosen before, for the viewer to begin with."""
    limits = [info.thresholds[label] for label in info.labels]
    common = max(limits, key=limits.count, default=0.5)
    return ViewerState(
        threshold=common,
        thresholds={i: limit for i, limit in enumerate(limits) if limit != common},
        decisions={i: ViewerDecision(d.value) for i, d in frame.decisions.items()},
        image=image_id(info, frame),
    )


def keep(state: ViewerState) -> None:
    """Write what was chosen in the viewer into the workspace, where it outlives the browser."""
    preview_id, _, frame = state.image.partition(":")
    workspace = session.workspace()
    info = previewing.get_preview(workspace, preview_id)
    limits = state.limits(len(info.labels)).astype(float).round(2).tolist()
    thresholds = dict(zip(info.labels, limits, strict=True))
    if thresholds != info.thresholds:
        previewing.choose(
            workspace, info.id, thresholds=thresholds, mask_threshold=info.mask_threshold
        )
    decisions = {i: Decision(d.value) for i, d in state.decisions.items()}
    previewing.decide(workspace, info.id, int(frame), decisions)


def message(info: PreviewInfo, frame: PreviewFrame, existing: Instances | None) -> bytes:
    """Return what the viewer shows of a frame; no model call, and packed once."""
    return _message(info, frame, existing, info.id, frame.ref.frame, info.mask_threshold,
                    _content(existing))  # fmt: skip


def part_of(info: PreviewInfo, frame: PreviewFrame) -> Callable[[Window, int], np.ndarray]:
    """Return what gives the viewer sharp parts of a frame that was sent reduced."""

    def part(window: Window, pixels: int) -> np.ndarray:
        with st.spinner("Loading this part of the image…"):  # long for the first part only
            return previewing.frame_part(
                session.workspace(), info.id, frame.ref.frame, window, pixels=pixels
            )

    return part


def _content(existing: Instances | None) -> str:
    if existing is None:
        return ""
    digest = hashlib.blake2b(existing.boxes.tobytes() + existing.class_ids.tobytes())
    if isinstance(existing.masks, CropMasks):
        digest.update(existing.masks.runs.tobytes())
    return digest.hexdigest()


# A message holds what CVAT shows to one person, so it is kept per browser session.
@st.cache_data(scope="session", max_entries=4, show_spinner="Drawing the frame…")
def _message(
    _info: PreviewInfo,
    _frame: PreviewFrame,
    _existing: Instances | None,
    preview_id: str,
    frame: int,
    mask_threshold: float,
    existing: str,
) -> bytes:
    view = previewing.frame_view(session.workspace(), preview_id, frame)
    found, ids = _binary(view.instances, mask_threshold)
    return pack(
        view.pixels,
        found,
        LabelMap(_info.labels),
        image_id=image_id(_info, _frame),
        name=_frame.ref.name,
        floor_score=_info.floor_score,
        existing=_existing,
        ids=ids,
    )


def _binary(instances: Instances, threshold: float) -> tuple[Instances, np.ndarray]:
    """Return the objects that have a pixel at a mask threshold, and their positions."""
    if not isinstance(instances.masks, SoftMasks):
        return instances, np.arange(len(instances))
    masks = instances.masks.binary(threshold)
    seen = np.flatnonzero(masks.areas() > 0)
    return replace(instances, masks=masks).take(seen), seen


def counts_table(counts: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """Return the counts of a whole task for a table; the last row is the sum."""
    names = [f"{_SIGNS[i % len(_SIGNS)]} {label}" for i, label in enumerate(counts)]
    return pd.DataFrame(
        {
            "Label": [*names, "all"],
            "Shown": [shown for shown, _ in counts.values()]
            + [sum(shown for shown, _ in counts.values())],
            "Found": [total for _, total in counts.values()]
            + [sum(total for _, total in counts.values())],
        }
    )


def columns_of(found: Sequence[PreviewFrame]) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and class ids of all objects of a task."""
    if not found:
        return np.zeros(0, np.float32), np.zeros(0, np.int32)
    return (
        np.concatenate([frame.scores for frame in found]),
        np.concatenate([frame.class_ids for frame in found]),
    )


def stale_reasons(
    info: PreviewInfo, found: Sequence[PreviewFrame], details: TaskDetails | None
) -> list[str]:
    """Say why a preview does not show the task as it is now; empty when it does."""
    reasons = []
    if not info.is_complete:
        reasons.append(f"The prediction was not finished: it has {plural(len(found), 'frame')}.")
    if details is not None:
        now = {f.frame: (f.name, f.image_hw) for f in details.frames if not f.deleted}
        then = {f.ref.frame: (f.ref.name, f.ref.image_hw) for f in found if not f.error}
        failed = {f.ref.frame for f in found if f.error}
        if info.is_complete and {k: v for k, v in now.items() if k not in failed} != then:
            reasons.append(f"The images of task {details.task.id} changed since this preview.")
    return reasons


def about_model(info: PreviewInfo) -> str:
    """Say when a preview was made, and when there is a newer model to look with."""
    cards = {card.id: card for card in versions.list_models(session.workspace())}
    mine = cards.get(info.model_id)
    if mine is None:
        return ":material/delete: This model was removed; what it found is still here."
    newest = next(card for card in cards.values() if card.name == mine.name)
    if newest.id != mine.id:
        return f":material/update: {newest.id} is newer than {mine.id}: choose it to look again."
    return f":material/bolt: Predicted {ago(info.created)}; no model is called now"

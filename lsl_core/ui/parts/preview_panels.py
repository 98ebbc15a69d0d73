"""The parts of the Preview page: navigation, film strip, the whole task, one frame's actions."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lsl_core.errors import LslError
from lsl_core.services.labelling import previewing
from lsl_core.services.labelling.previewing import PreviewFrame, PreviewInfo
from lsl_core.types import Instances
from lsl_core.ui import address, cached, charts, keys, previews, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import plural
from lsl_core.ui.layout import escaped
from lsl_core.ui.previews import Order

#: Pictures in the film strip: more make a page slow, and too small to see anything.
STRIP = 8


def navigate(info: PreviewInfo, found: list[PreviewFrame]) -> PreviewFrame:
    """Draw the row of navigation and return the frame that is open."""
    row = st.columns([3.1, 2.5, 0.9, 0.9, 2.4, 5, 3.7], vertical_alignment="center", gap="small")
    order = row[6].selectbox(
        "Sort", list(Order), key=keys.PREVIEW_SORT, persist_state="session",
        label_visibility="collapsed", help="The order of F, D and of the film strip",
    )  # fmt: skip
    ranked = previews.label_next(info, order or Order.UNSURE)
    ordered = previews.in_order(found, order or Order.UNSURE, ranked)
    numbers = [frame.ref.frame for frame in ordered]
    number = address.opened(keys.FRAME, numbers)
    at = numbers.index(number)
    row[0].button(
        "Previous", icon=":material/chevron_left:", key=keys.PREVIEW_PREVIOUS, shortcut="d",
        disabled=at == 0, on_click=address.remember, width="stretch", help="Previous image (D)",
        args=(keys.FRAME, numbers[max(0, at - 1)]),
    )  # fmt: skip
    row[1].button(
        "Next", icon=":material/chevron_right:", key=keys.PREVIEW_NEXT,
        shortcut="f", disabled=at == len(numbers) - 1, on_click=address.remember, width="stretch",
        args=(keys.FRAME, numbers[min(len(numbers) - 1, at + 1)]), help="Next image (F)",
    )  # fmt: skip
    _skip(row[2], row[3], info, ordered, at)
    st.session_state[keys.PREVIEW_JUMP] = number
    row[4].selectbox(
        "Frame", sorted(numbers), key=keys.PREVIEW_JUMP, label_visibility="collapsed",
        on_change=address.follow, args=(keys.FRAME, keys.PREVIEW_JUMP), help="Jump to a frame",
        format_func=lambda n: f"Frame {n}",
    )  # fmt: skip
    frame = ordered[at]
    height, width = frame.ref.image_hw
    with row[5]:
        st.caption(
            f"**{at + 1} of {len(numbers)}** · {escaped(frame.ref.name)} · {width} × {height}"
        )
        if number in ranked:
            worth = ranked[number]
            st.badge(
                f"Label next: {worth.rank} of {len(ranked)}", icon=":material/edit_square:",
                color="blue", help=f"{worth.why}.",
            )  # fmt: skip
    return frame


def _skip(
    back: DeltaGenerator,
    on: DeltaGenerator,
    info: PreviewInfo,
    ordered: list[PreviewFrame],
    at: int,
) -> None:
    """Draw the two buttons that skip images on which nothing is shown."""
    full = [i for i, frame in enumerate(ordered) if previewing.num_shown(info, frame)]
    targets = (max((i for i in full if i < at), default=None),
               min((i for i in full if i > at), default=None))  # fmt: skip
    looks = (
        (back, ":material/keyboard_double_arrow_left:", keys.PREVIEW_SKIP_BACK, "left",
         "Previous image with objects at this threshold (←)"),
        (on, ":material/keyboard_double_arrow_right:", keys.PREVIEW_SKIP_ON, "right",
         "Next image with objects at this threshold (→)"),
    )  # fmt: skip
    for (place, icon, key, shortcut, text), target in zip(looks, targets, strict=True):
        place.button(
            icon, key=key, shortcut=shortcut, disabled=target is None, help=text, width="stretch",
            on_click=address.remember,
            args=(keys.FRAME, ordered[at if target is None else target].ref.frame),
        )  # fmt: skip


def compare(info: PreviewInfo, frame: PreviewFrame) -> Instances | None:
    """Return what CVAT has on the frame when somebody wants to see it."""
    cvat = session.connection()
    if cvat is None or info.url != cvat.url or not st.session_state.get(keys.PREVIEW_COMPARE):
        return None
    try:
        return cached.existing(cvat, session.workspace(), info.id, frame.ref.frame)
    except LslError as error:
        st.toast(error.message, icon=":material/error:")
        return None


def actions(info: PreviewInfo, frame: PreviewFrame) -> None:
    """Draw what can be done with the open frame."""
    cvat = session.connection()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Take the flag off" if frame.is_flagged else "Flag for review",
            icon=":material/flag:", key=keys.PREVIEW_FLAG, on_click=previewing.flag,
            args=(session.workspace(), info.id, frame.ref.frame),
            kwargs={"is_flagged": not frame.is_flagged},
            type="secondary", help="Flagged frames can be sorted to the front",
        )  # fmt: skip
        if cvat is None or info.url != cvat.url:
            return
        st.toggle(
            "Show CVAT annotations (dashed)", key=keys.PREVIEW_COMPARE, persist_state="session"
        )
        with errors_shown():
            st.link_button(
                "Open in CVAT", cached.frame_link(cvat, info.task_id or 0, frame.ref.frame),
                icon=":material/open_in_new:",
            )  # fmt: skip


def strip(info: PreviewInfo, found: list[PreviewFrame], open_one: PreviewFrame) -> None:
    """Draw the pictures around the open one, in the order of F and D."""
    order = Order(st.session_state.get(keys.PREVIEW_SORT, Order.UNSURE))
    ranked = previews.label_next(info, order)
    ordered = previews.in_order(found, order, ranked)
    at = next(i for i, frame in enumerate(ordered) if frame.ref == open_one.ref)
    first = max(0, min(at - STRIP // 2, len(ordered) - STRIP))
    workspace = session.workspace()
    with st.container(key=keys.PREVIEW_STRIP):
        places = st.columns(STRIP, gap="xsmall")
        for place, frame in zip(places, ordered[first : first + STRIP], strict=False):
            number = frame.ref.frame
            why = f"; {ranked[number].why}" if number in ranked else ""
            place.image(
                cached.frame_thumbnail(workspace, info.id, number),
                width="stretch", alt=f"Frame {number}, {frame.ref.name}",
            )  # fmt: skip
            place.button(
                str(number), key=f"{keys.PREVIEW_STRIP}-{number}", width="stretch",
                type="primary" if frame is ordered[at] else "secondary",
                icon=":material/flag:" if frame.is_flagged else None,
                on_click=address.remember, args=(keys.FRAME, number),
                help=f"{frame.ref.name}: {plural(len(frame.scores), 'object')} found{why}",
            )  # fmt: skip


def whole_task(info: PreviewInfo, found: list[PreviewFrame]) -> None:
    """Draw what the chosen thresholds mean for all frames together."""
    counts = previewing.counts(info, found)
    shown = sum(count for count, _ in counts.values())
    decided = sum(len(frame.decisions) for frame in found)
    st.subheader(f"Whole task: {plural(shown, 'object')} shown", anchor=False)
    scores, class_ids = previews.columns_of(found)
    st.plotly_chart(
        charts.score_histogram(scores, class_ids, info.labels, thresholds=info.thresholds),
        config=charts.CONFIG, alt="Objects of the whole task by score and label",
    )  # fmt: skip
    st.dataframe(
        previews.counts_table(counts), hide_index=True, height="content", key=keys.PREVIEW_TOTAL,
        column_config={
            name: st.column_config.NumberColumn(format="localized") for name in ("Shown", "Found")
        },
        alt="Objects of the whole task by label",
    )  # fmt: skip
    flagged = sum(frame.is_flagged for frame in found)
    st.caption(f"{plural(len(found), 'frame')} · {plural(decided, 'decision')} · {flagged} flagged")
    st.session_state[keys.PREVIEW_MASKS] = info.mask_threshold
    st.slider(
        "Mask threshold", 0.1, 0.9, step=0.05, key=keys.PREVIEW_MASKS, on_change=keep_masks,
        args=(info,), help="How sure the model must be of a pixel. Lower makes masks larger; no "
        "model call is needed.",
    )  # fmt: skip


def keep_masks(info: PreviewInfo) -> None:
    """Write the chosen mask threshold into the workspace."""
    previewing.choose(
        session.workspace(), info.id, thresholds=info.thresholds,
        mask_threshold=round(float(st.session_state[keys.PREVIEW_MASKS]), 2),
    )  # fmt: skip

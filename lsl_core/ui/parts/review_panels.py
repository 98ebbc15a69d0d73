"""The parts of the Review page: figures, confusion, advice, pairs of frames, the trend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from lsl_core.errors import CvatUnreachable, LslError
from lsl_core.services.connections import CvatSession
from lsl_core.services.labelling import reviewing
from lsl_core.services.labelling.pushing import PushRecord
from lsl_core.services.labelling.reviewing import Review, ReviewRow
from lsl_core.types import Instances, LabelMap
from lsl_core.ui import cached, charts, keys, session
from lsl_core.ui.formats import plural, when
from lsl_core.ui.layout import escaped
from lsl_core.ui.viewer import ViewerState, pack, viewer

#: Under this many pushed objects a share of them says little: three of ten may be chance.
SMALL_SAMPLE = 100
#: Pushes in the trend; each is compared with its task as it is now.
TREND = 12
_FATES = ("kept", "moved", "relabelled", "deleted", "added")


def table(rows: Sequence[ReviewRow], first: dict[str, list[object]]) -> pd.DataFrame:
    """Return the counts of rows as a table behind its first columns."""
    means = [f"{sum(row.ious) / len(row.ious):.2f}" if row.ious else "–" for row in rows]
    counts = {name.capitalize(): [getattr(row, name) for row in rows] for name in _FATES}
    return pd.DataFrame({**first, "Pushed": [row.pushed for row in rows], **counts,
                         "IoU of moved": means})  # fmt: skip


def figures(review: Review) -> None:
    """Draw the sums, how much they can say, and what happened to each label."""
    total = review.total
    places = st.container(key="review-figures").columns(len(_FATES))
    for place, name in zip(places, _FATES, strict=True):
        count = getattr(total, name)
        of = f"{count / max(1, total.pushed):.0%} of {total.pushed:,}"
        place.metric(name.capitalize(), f"{count:,}", of if name != "added" else "by people",
                     delta_color="off", delta_arrow="off", border=True)  # fmt: skip
    if total.pushed < SMALL_SAMPLE:
        st.caption(
            f":material/info: {plural(total.pushed, 'pushed object')} only: a small sample, the "
            "shares may change much with the next frames."
        )
    left, right = st.columns([3, 2], gap="medium")
    with left:
        labels = review.by_label()
        st.subheader("By label", anchor=False)
        st.dataframe(
            table(list(labels.values()), {"Label": list(labels)}), hide_index=True,
            height="content", alt="What people did with the objects of each label",
        )  # fmt: skip
        advice(review)
    with right:
        st.subheader("What it became", anchor=False)
        st.plotly_chart(charts.confusion(review.confusion()), config=charts.CONFIG,
                        alt="Pushed labels and the labels in CVAT now")  # fmt: skip


def advice(review: Review) -> None:
    """Say which thresholds would have left people less to do."""
    found = reviewing.advice(review)
    for one in found:
        st.markdown(
            f":material/tune: **{escaped(one.label)}**: {one}, "
            f"{one.saved_s / 60:.1f} min less of work ({plural(one.pushed, 'pushed object')})."
        )
    if not found:
        st.caption(
            ":material/tune: No higher threshold would have saved work. Whether a lower one would "
            f"cannot be told from a push, nor anything from under {reviewing.LEAST_PUSHED} objects."
        )


def frames(
    cvat: CvatSession, record: PushRecord, review: Review
) -> tuple[list[ReviewRow], CvatUnreachable | None]:
    """Draw the corrected frames, the worst first, and a pair of the chosen one.

    Returns:
        All of them, and the error of a server that did not answer to what this needs.
    """
    worst = review.worst_frames()
    st.subheader(f"{plural(len(worst), 'corrected frame')}, the worst first", anchor=False)
    details, gone = cached.or_last(
        cvat, keys.REVIEW_DETAILS, record.task_id,
        lambda: cached.task_details(cvat, record.task_id),
    )  # fmt: skip
    names = {f.frame: f.name for f in details.frames}
    first: dict[str, list[object]] = {
        "Frame": [row.frame for row in worst],
        "Image": [names.get(row.frame, "") for row in worst],
        "Corrections": [row.corrections for row in worst],
    }
    found = table(worst, first)
    found["CVAT"] = [cached.frame_link(cvat, record.task_id, row.frame) for row in worst]
    links = {"CVAT": st.column_config.LinkColumn(display_text="Open")}
    chosen = st.dataframe(
        found, hide_index=True, height=min(318, 38 + 35 * len(worst)), column_config=links,
        key=keys.REVIEW_FRAMES, on_select="rerun", selection_mode="single-row-required",
        selection_default={"selection": {"rows": [0]}}, alt="Corrected frames",
    )  # fmt: skip
    rows = chosen["selection"]["rows"]
    try:
        unseen = pair(cvat, record, worst[rows[0] if rows and rows[0] < len(worst) else 0].frame)
    except CvatUnreachable as error:
        unseen = error
    return worst, gone or unseen


def pair(cvat: CvatSession, record: PushRecord, frame: int) -> CvatUnreachable | None:
    """Draw a frame twice: as it was pushed, and as people left it.

    Returns:
        The error of a server that does not answer now, but did before.

    Raises:
        CvatUnreachable: when it does not and never gave this pair.
    """
    only_changed = st.toggle(
        "Only what people changed", value=True, key=keys.REVIEW_CHANGED, persist_state="session",
        help="Off: everything of this push on the frame, and what people added.",
    )  # fmt: skip
    found, gone = cached.or_last(
        cvat, keys.REVIEW_PAIR, (record.id, frame, only_changed),
        lambda: cached.review_pair(
            cvat, session.workspace(), record.id, frame, only_changed=only_changed
        ),
    )  # fmt: skip
    sides = (
        ("pushed", "Pushed", found.pushed, "moved, relabelled or deleted since"),
        ("now", "As people left it", found.now, "moved, relabelled or added"),
    )
    for place, (side, title, objects, changed) in zip(st.columns(2), sides, strict=True):
        with place:
            of = changed if only_changed else "of this push" if side == "pushed" else "in all"
            st.markdown(f"**{title}** · {plural(len(objects), 'object')} {of}")
            image = f"{record.id}:{frame}:{side}:{only_changed}"
            viewer(
                _message(found.pixels, objects, found.labels, found.name, image),
                key=f"{keys.REVIEW_VIEWER}-{side}", height=380, scope=record.id,
                start=ViewerState(0.0),
            )  # fmt: skip
    return gone


@st.cache_data(scope="session", max_entries=4, show_spinner=False)
def _message(
    _pixels: NDArray[np.uint8],
    _objects: Instances,
    _labels: tuple[str, ...],
    _name: str,
    image: str,
) -> bytes:
    shown = replace(_objects, scores=_objects.scores * 0 + 1)  # nothing is cut at a score here
    return pack(_pixels, shown, LabelMap(_labels), image_id=image, name=_name, may="look")


def trend(cvat: CvatSession, records: Sequence[PushRecord]) -> None:
    """Draw which share of each of the last pushes people kept, when it is asked for."""
    if len(records) < 2 or not st.toggle(
        "Trend over pushes", key=keys.REVIEW_TREND, persist_state="session",
        help=f"Compares the last {TREND} pushes with their tasks, which takes a while.",
    ):  # fmt: skip
        return
    shown, gone = [], 0
    for record in sorted(records, key=lambda one: one.created)[-TREND:]:
        try:
            total = cached.review(cvat, session.workspace(), record.id).total
        except CvatUnreachable:
            raise
        except LslError:  # its task was deleted, or lies in another organisation
            gone += 1
            continue
        name = f"task {record.task_id}, {when(record.created)}"
        shown.append((name, {fate: getattr(total, fate) for fate in _FATES}))
    st.plotly_chart(charts.review_trend(shown), config=charts.CONFIG,
                    alt="What people kept of the last pushes")  # fmt: skip
    if gone:
        st.caption(f"{plural(gone, 'push')} left out: the task cannot be read any more.")

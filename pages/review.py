"""Review: what people did with the objects of a push, and how the model learns from it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from lsl_core.services import activity, pushing
from lsl_core.services.connections import CvatSession
from lsl_core.services.pushing import PushRecord, Review, ReviewRow
from lsl_core.ui import address, cached, keys, runs, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import ago, plural
from lsl_core.ui.layout import empty, escaped, header, needs_cvat

#: Under this many pushed objects a share of them says little: three of ten may be chance.
SMALL_SAMPLE = 100


def choose(records: list[PushRecord]) -> PushRecord:
    """Draw the choice of a push and return it."""
    by_id = {record.id: record for record in records}
    opened = address.opened(keys.PUSH, list(by_id))
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    chosen = left.selectbox(
        "Push", list(by_id), index=list(by_id).index(opened), key=keys.REVIEW_PUSH,
        format_func=lambda push_id: title(by_id[push_id]),
        on_change=address.follow, args=(keys.PUSH, keys.REVIEW_PUSH),
    )  # fmt: skip
    right.button("Read again", icon=":material/refresh:", key=keys.REVIEW_AGAIN,
                 on_click=cached.forget, width="stretch",
                 help="Read the task from CVAT; what is shown is at most 30 s old.")  # fmt: skip
    return by_id[chosen or opened]


def title(record: PushRecord) -> str:
    """Return what a push is called in the list."""
    what = f"{plural(record.summary['add'], 'shape')} to task {record.task_id}"
    return f"{what} {record.summary['task']}, {record.owner}, {ago(record.created)}"


def table(rows: list[ReviewRow], first: dict[str, list[object]]) -> pd.DataFrame:
    """Return the counts of rows as a table behind its first columns."""
    means = [sum(row.ious) / len(row.ious) if row.ious else None for row in rows]
    return pd.DataFrame(
        {
            **first,
            "Pushed": [row.pushed for row in rows],
            "Kept": [row.kept for row in rows],
            "Moved": [row.moved for row in rows],
            "IoU of moved": means,
            "Relabelled": [row.relabelled for row in rows],
            "Deleted": [row.deleted for row in rows],
            "Added": [row.added for row in rows],
        }
    )


IOU_FORMAT = {"IoU of moved": st.column_config.NumberColumn(format="%.2f")}


def figures(review: Review) -> None:
    """Draw the sums, and how much they can say."""
    total = review.total
    names = ("kept", "moved", "relabelled", "deleted", "added")
    for place, name in zip(st.columns(len(names)), names, strict=True):
        count = getattr(total, name)
        of = f"{count / total.pushed:.0%} of {total.pushed:,}" if name != "added" else "by people"
        place.metric(name.capitalize(), f"{count:,}", of, delta_color="off", delta_arrow="off",
                     border=True)  # fmt: skip
    if total.pushed < SMALL_SAMPLE:
        st.caption(
            f":material/info: {plural(total.pushed, 'pushed object')} only: a small sample, the "
            "shares may change much with the next frames."
        )
    labels = review.by_label()
    st.subheader("By label", anchor=False)
    st.dataframe(table(list(labels.values()), {"Label": list(labels)}), hide_index=True,
                 height="content", column_config=IOU_FORMAT,
                 alt="What people did with the objects of each label")  # fmt: skip


def frames(cvat: CvatSession, record: PushRecord, review: Review) -> None:
    """Draw the corrected frames, the worst first, each with its place in CVAT."""
    worst = review.worst_frames()
    st.subheader(f"{plural(len(worst), 'corrected frame')}, the worst first", anchor=False)
    names = {f.frame: f.name for f in cached.task_details(cvat, record.task_id).frames}
    first: dict[str, list[object]] = {
        "Frame": [row.frame for row in worst],
        "Image": [names.get(row.frame, "") for row in worst],
        "Corrections": [row.corrections for row in worst],
    }
    found = table(worst, first)
    found["CVAT"] = [cached.frame_link(cvat, record.task_id, row.frame) for row in worst]
    links = {"CVAT": st.column_config.LinkColumn(display_text="Open")}
    st.dataframe(found, hide_index=True, height=min(318, 38 + 35 * len(worst)),
                 column_config=IOU_FORMAT | links, key=keys.REVIEW_FRAMES,
                 alt="Corrected frames")  # fmt: skip
    learn(cvat, record, [row.frame for row in worst])


def learn(cvat: CvatSession, record: PushRecord, corrected: list[int]) -> None:
    """Offer the corrected frames as a source, so that the next model learns from them."""
    with st.container(border=True, horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name of the new source", f"corrected-{record.task_id}",
                             key=keys.REVIEW_NAME)  # fmt: skip
        pressed = st.button(
            f"Use {plural(len(corrected), 'corrected frame')} as a source", type="primary",
            icon=":material/school:", key=keys.REVIEW_IMPORT,
            help="Imports these frames as people left them, every object on them.",
        )  # fmt: skip
    if pressed:
        with errors_shown():
            activity.submit_import(session.workspace(), cvat, task_id=record.task_id,
                                   name=str(name).strip(), frames=corrected)  # fmt: skip
    run = runs.latest("import", f"task {record.task_id} as {name}")
    if run is not None:
        runs.panel(run.id)
        st.page_link("pages/train.py", label="Train on it", icon=":material/model_training:")


def page() -> None:
    """Draw the page."""
    header("Review", "See what people changed after a push, and learn from it.")
    cvat = session.connection()
    if cvat is None:
        needs_cvat("What people changed after a push")
        return
    records = pushing.list_pushes(session.workspace(), url=cvat.url)
    records = [record for record in records if record.phase == "done" and record.summary["add"]]
    if not records:
        empty("What people changed after a push", "Nothing was pushed yet, or all is undone.",
              page="pages/push.py", label="Push a preview")  # fmt: skip
        return
    with errors_shown():
        record = choose(records)
        review = cached.review(cvat, session.workspace(), record.id)
        if not review.total.corrections:
            st.info(
                f"All {plural(review.total.pushed, 'pushed object')} of task {record.task_id} "
                f"“{escaped(str(record.summary['task']))}” are as they were. Corrections appear "
                "here after people edit pushed frames in CVAT.", icon=":material/hourglass_empty:",
            )  # fmt: skip
            return
        figures(review)
        frames(cvat, record, review)


page()

"""Review: what people did with the objects of a push, and how the model learns from it."""

from __future__ import annotations

import streamlit as st

from lsl_core.services import activity
from lsl_core.services.connections import CvatSession
from lsl_core.services.labelling import pushing
from lsl_core.services.labelling.pushing import PushRecord
from lsl_core.ui import address, cached, keys, runs, session
from lsl_core.ui.errors import error_card, errors_shown, offer_again
from lsl_core.ui.formats import ago, plural
from lsl_core.ui.layout import empty, escaped, header, needs_cvat
from lsl_core.ui.parts import review_panels as panels


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
            st.rerun()
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
    with errors_shown(redraws=True):
        record = choose(records)
        says = st.container()
        review, gone = cached.or_last(
            cvat, keys.REVIEW_FOUND, record.id,
            lambda: cached.review(cvat, session.workspace(), record.id),
        )  # fmt: skip
        if not review.total.corrections:
            st.info(
                f"All {plural(review.total.pushed, 'pushed object')} of task {record.task_id} "
                f"“{escaped(str(record.summary['task']))}” are as they were. Corrections appear "
                "here after people edit pushed frames in CVAT.", icon=":material/hourglass_empty:",
            )  # fmt: skip
        else:
            panels.figures(review)
            worst, unseen = panels.frames(cvat, record, review)
            gone = gone or unseen
            learn(cvat, record, [row.frame for row in worst])
        if gone is None:
            panels.trend(cvat, records)
            return
        with says:
            error_card(gone)
            offer_again(gone)
            st.caption("What is below is as CVAT gave it last.")


page()

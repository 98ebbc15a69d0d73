"""Preview: look at what a model found, choose thresholds, keep and reject, go on to Push."""

from __future__ import annotations

import streamlit as st

from lsl_core.errors import CvatUnreachable
from lsl_core.services import activity
from lsl_core.services.catalogue import TaskInfo
from lsl_core.services.connections import CvatSession
from lsl_core.services.labelling import predicting, previewing
from lsl_core.services.labelling.previewing import PreviewInfo
from lsl_core.ui import cached, keys, previews, runs, session
from lsl_core.ui.errors import error_card, errors_shown, guarded, offer_again
from lsl_core.ui.layout import empty, header
from lsl_core.ui.parts import preview_panels as panels
from lsl_core.ui.viewer import viewer


def predict(subject: str, model: str, *, label: str, key: str, primary: bool) -> None:
    """Offer to let a model look at a task."""
    cvat = session.connection()
    if cvat is None or not subject.isdigit():
        st.caption("Connect to CVAT to predict a task.")
        return
    slide = predicting.proposed_windows(
        session.workspace(), cvat, model=model, task_id=int(subject)
    )
    cuts = slide is not None and st.checkbox(
        f"Look through windows of {slide.width} px, {slide.overlap} px shared",
        value=True,
        key=f"{keys.PREVIEW_WINDOWS}-{key}",
        help="The images are larger than those the model was trained on: windows show it objects "
        "at the size it knows.",
    )
    if st.button(label, type="primary" if primary else "secondary", key=key,
                 icon=":material/play_arrow:"):  # fmt: skip
        with errors_shown():
            activity.submit_prediction(
                session.workspace(), cvat, task_id=int(subject), model=model,
                slide=slide if cuts else None,
            )  # fmt: skip
            st.rerun()


def look(preview_id: str) -> None:
    """Draw a preview: navigation, viewer, film strip, and the whole task beside it."""
    workspace = session.workspace()
    info = previews.whole_percents(previewing.get_preview(workspace, preview_id))
    everything = previewing.frames(workspace, info.id)
    found = [frame for frame in everything if not frame.error]
    if not found:
        st.error("No frame of this task could be looked at.", icon=":material/broken_image:")
    else:
        frame = panels.navigate(info, found)
        viewer(
            previews.message(info, frame, panels.compare(info, frame)),
            key=keys.VIEWER, height=476, scope=info.id, on_change=previews.keep,
            start=previews.start_state(info, frame), part=previews.part_of(info, frame),
        )  # fmt: skip
        left, right = st.columns([3, 2], gap="medium")
        with left:
            panels.actions(info, frame)
            panels.strip(info, found, frame)
        with right, st.container(border=True):
            panels.whole_task(previewing.get_preview(workspace, info.id), found)
    for failed in (frame for frame in everything if frame.error):
        st.warning(
            f"Frame {failed.ref.frame}, {failed.ref.name}, could not be looked at: {failed.error}",
            icon=":material/broken_image:",
        )


def stale(info: PreviewInfo, subject: str) -> None:
    """Say when the preview does not show the task as it is now, and offer to do it again."""
    cvat = session.connection()
    details = None
    if cvat is not None and info.url == cvat.url and info.task_id is not None:
        with errors_shown():
            details = cached.task_details(cvat, info.task_id)
    reasons = previews.stale_reasons(info, previewing.frames(session.workspace(), info.id), details)
    if reasons:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f":orange[:material/update:] **{' '.join(reasons)}**")
            predict(subject, info.model_id, label="Predict again", key=keys.PREVIEW_AGAIN,
                    primary=False)  # fmt: skip


def nothing_yet(subject: str, model: str, title: str) -> None:
    """Say that the model did not look at the task yet, and offer it."""
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown(f"### :material/visibility: {model} has not looked at this task yet")
        st.markdown("It looks once; thresholds, counts and decisions are instant afterwards.")
        predict(subject, model, label=f"Predict {title}", key=keys.PREVIEW_GO, primary=True)


def tasks_of(cvat: CvatSession | None) -> tuple[list[TaskInfo], CvatUnreachable | None]:
    """Return the tasks of the server; none, and why, while it does not answer: previews stay."""
    try:
        return (cached.tasks(cvat) if cvat is not None else []), None
    except CvatUnreachable as error:
        return [], error


def page() -> None:
    """Draw the page: what is chosen, then what is known about it."""
    action = header("Preview", "See what the model finds before anything is written to CVAT.")
    cvat = session.connection()
    workspace = session.workspace()
    known = previewing.list_previews(workspace)
    tasks, gone = tasks_of(cvat)
    titles = previews.subjects(cvat, known, tasks)
    if gone is not None:
        error_card(gone)
        offer_again(gone)
    elif not titles:
        empty("What a model finds in a task", "There is no task to look at.",
              page="pages/connect.py", label="Connect to CVAT")  # fmt: skip
    if not titles:
        return
    left, middle, right = st.columns([4, 3, 3], vertical_alignment="bottom")
    with left:
        subject = previews.choose_subject(titles, known)
    mine = [info for info in known if previews.subject_of(info, cvat) == subject]
    with middle:
        model = previews.choose_model(mine)
    if model is None:
        empty("What a model finds in a task", "There is no model yet.",
              page="pages/train.py", label="Train one")  # fmt: skip
        return
    run = runs.latest("predict", f"task {subject} ")
    if run is not None and (run.phase.is_active or run.phase in ("failed", "lost")):
        runs.panel(run.id)
    info = next((info for info in mine if info.model_id == model), None)
    if info is None:
        if run is None or not run.phase.is_active:
            nothing_yet(subject, model, titles[subject])
        return
    right.caption(previews.about_model(info))
    if action.button("Go to Push", type="primary", icon=":material/arrow_forward:",
                     key=keys.PREVIEW_PUSH, disabled=info.task_id is None):  # fmt: skip
        st.switch_page("pages/push.py", query_params={keys.TASK: subject, keys.MODEL: model})
    if gone is None and (run is None or not run.phase.is_active):
        stale(info, subject)
    st.fragment(lambda: guarded(lambda: look(info.id)))()


page()

"""The selected task on the Tasks page: pictures, labels, jobs, what can be done with it."""

from __future__ import annotations

import re

import streamlit as st

from lsl_core.services import activity
from lsl_core.services.backups import background, repositories
from lsl_core.services.catalogue import TaskDetails, TaskInfo
from lsl_core.services.connections import CvatSession
from lsl_core.types import RunPhase
from lsl_core.ui import cached, keys, runs, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import plural
from lsl_core.ui.layout import escaped, facts

FRAMES_SHOWN = 6


def panel(cvat: CvatSession, task: TaskInfo) -> None:
    """Draw the selected task: pictures, labels, jobs, and what can be done with it."""
    top, actions = st.columns([4, 3], vertical_alignment="center")
    top.subheader(f"{task.id} · {escaped(task.name)}", anchor=False)
    with actions.container(horizontal=True, horizontal_alignment="right"):
        st.link_button("Open in CVAT", task.url, icon=":material/open_in_new:")
        if st.button(
            "Back up", icon=":material/backup:", key=keys.TASKS_BACK_UP, disabled=not task.frames,
            help="Save it now with its images; with its project, when it has one",
        ):  # fmt: skip
            with errors_shown():
                background.submit_backup(
                    session.workspace(), cvat, tier=repositories.Tier.FULL, task=task.id
                )
                st.toast(f"Task {task.id} is being backed up. See the Backups page.")
                st.rerun()
        if st.button(
            "Preview", type="primary", icon=":material/preview:", key=keys.TASKS_PREVIEW,
            disabled=not task.frames, help="Let a model look at its frames",
        ):  # fmt: skip
            st.switch_page("pages/preview.py", query_params={keys.TASK: str(task.id)})
    details = cached.task_details(cvat, task.id)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _pictures(cvat, details)
    with right:
        sizes = {f"{frame.width} × {frame.height}" for frame in details.frames}
        labels = ", ".join(f"{escaped(label.name)} ({label.type})" for label in details.labels)
        facts(
            [
                ("Labels", labels),
                ("Frames", f"{task.frames:,} · {', '.join(sorted(sizes)[:3])} px"),
                ("Jobs", f"{task.jobs_done} of {plural(task.jobs, 'job')} done"),
            ]
        )
        use_as_source(cvat, task)


def _pictures(cvat: CvatSession, details: TaskDetails) -> None:
    task = details.task
    frames = [frame.frame for frame in details.frames if not frame.deleted][:FRAMES_SHOWN]
    if not frames:
        st.info("This task holds no images yet.", icon=":material/image_not_supported:")
    with st.container(key="task-frames"):
        places = [place for _ in range(0, len(frames), 3) for place in st.columns(3, gap="xsmall")]
        for place, frame in zip(places, frames, strict=False):
            place.image(
                cached.thumbnail(cvat, task, frame), width="stretch",
                alt=f"Frame {frame} of task {task.id}",
            )  # fmt: skip


def use_as_source(cvat: CvatSession, task: TaskInfo) -> None:
    """Offer to import the labelled images of a task."""
    with st.form("import", border=True):
        st.markdown("**Use as source** · copy its labelled images, to train on")
        name = st.text_input(
            "Name of the source", re.sub(r"[^\w\- ]+", "", task.name).strip() or f"task-{task.id}",
            key=f"{keys.TASKS_IMPORT_NAME}-{task.id}",
        )  # fmt: skip
        if st.form_submit_button(
            f"Import task {task.id}", icon=":material/download:", key=keys.TASKS_IMPORT,
            disabled=not task.frames,
        ):  # fmt: skip
            with errors_shown():
                activity.submit_import(session.workspace(), cvat, task_id=task.id, name=name or "")
                st.rerun()
    run = runs.latest("import", f"task {task.id} ")
    if run is not None:
        runs.panel(run.id)
        if run.phase is RunPhase.DONE:
            st.page_link("pages/sources.py", label="See it under Sources",
                         icon=":material/arrow_forward:",
                         query_params={keys.SOURCE: str(run.result.get("source", ""))})  # fmt: skip

"""Tasks: what is on the server, and what this workspace did with it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from lsl_core.services import catalogue
from lsl_core.services.catalogue import TaskInfo
from lsl_core.ui import address, cached, keys, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import local, plural
from lsl_core.ui.layout import empty, escaped, header, needs_cvat
from lsl_core.ui.parts import task_panel


def table(tasks: list[TaskInfo], states: dict[int, str]) -> pd.DataFrame:
    """Return what the table shows of each task; nobody reads a column of dashes."""
    found = pd.DataFrame(
        {
            "Id": [task.id for task in tasks],
            "Name": [task.name for task in tasks],
            "Project": [task.project or "–" for task in tasks],
            "Labels": [list(task.labels) for task in tasks],
            "Frames": [task.frames for task in tasks],
            "Jobs done": [task.jobs_done / task.jobs if task.jobs else 0.0 for task in tasks],
            "Assignee": [task.assignee or "–" for task in tasks],
            "Here": [states.get(task.id, "never run") for task in tasks],
            "Updated": [local(task.updated) for task in tasks],
        }
    )
    unused = [name for name in ("Project", "Assignee") if (found[name] == "–").all()]
    return found.drop(columns=unused)


def matching(tasks: list[TaskInfo]) -> list[TaskInfo]:
    """Draw the filters and return the tasks that pass them."""
    left, middle, right = st.columns([3, 3, 1], vertical_alignment="bottom")
    words = left.text_input(
        "Search", key=keys.TASKS_SEARCH, bind="query-params", icon=":material/search:",
        placeholder="name, project, label or number", live=True,
    ) or ""  # fmt: skip
    status = middle.segmented_control(
        "Status", ["all", "annotation", "validation", "completed"], default="all", required=True,
        key=keys.TASKS_STATUS, bind="query-params",
    )  # fmt: skip
    right.button(
        "Refresh", icon=":material/refresh:", key=keys.TASKS_REFRESH, on_click=cached.forget,
        width="stretch", help="Read the list from CVAT again; it is at most 30 s old.",
    )  # fmt: skip
    wanted = words.lower().split()
    return [
        task
        for task in tasks
        if status in ("all", task.status) and all(word in searchable(task) for word in wanted)
    ]


def searchable(task: TaskInfo) -> str:
    """Return the text that a search looks into."""
    return " ".join([str(task.id), task.name, task.project, task.assignee, *task.labels]).lower()


def chosen(tasks: list[TaskInfo], states: dict[int, str]) -> TaskInfo:
    """Draw the table and return the selected task."""
    ids = [task.id for task in tasks]
    row = ids.index(address.opened(keys.TASK, ids))
    picked = st.dataframe(
        table(tasks, states),
        key=keys.TASKS_TABLE + "-" + "-".join(map(str, ids[:50])),
        hide_index=True,
        height=min(318, 38 + 35 * len(tasks)),
        on_select="rerun",
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [row]}},
        column_config={
            "Id": st.column_config.NumberColumn(width=50),
            "Name": st.column_config.TextColumn(width="medium"),
            "Frames": st.column_config.NumberColumn(width=60, format="localized"),
            "Jobs done": st.column_config.ProgressColumn(format="percent", width=90),
            "Updated": st.column_config.DatetimeColumn(format="distance", width=110),
        },
        alt="Tasks of the CVAT server",
    )
    rows = picked["selection"]["rows"]
    task = tasks[rows[0] if rows and rows[0] < len(tasks) else row]
    address.remember(keys.TASK, task.id)
    return task


header("Tasks", "Pick a labelled task to learn from, or an unlabelled one to preview.")
connected = session.connection()
if connected is None:
    needs_cvat("The tasks of your CVAT server")
else:
    everything = cached.tasks(connected)
    found = matching(everything) if everything else []
    if not everything:
        empty(
            "No tasks here",
            f"{escaped(connected.user)} sees no task in "
            f"{escaped(connected.organisation or 'the chosen organisation')}. Switch the "
            "organisation, or create a task in CVAT.",
            page="pages/connect.py",
            label="Switch the organisation",
        )
    elif not found:
        st.info("No task fits these filters.", icon=":material/filter_alt:")
    else:
        st.caption(f"{len(found)} of {plural(len(everything), 'task')}")
        task = chosen(found, catalogue.task_states(session.workspace(), connected))
        with st.container(border=True), errors_shown():
            task_panel.panel(connected, task)

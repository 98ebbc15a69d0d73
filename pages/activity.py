"""Activity: everything that runs, ran or waits in this workspace."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from lsl_core.services import activity
from lsl_core.types import RunState
from lsl_core.ui import address, keys, runs, session
from lsl_core.ui.errors import guarded
from lsl_core.ui.formats import duration, local, plural, when
from lsl_core.ui.layout import empty, escaped, facts, header

LOG_LINES = 200
NAMES = {"ap": "AP", "ap50": "AP50", "left_out": "Left out"}


def table(found: list[RunState]) -> pd.DataFrame:
    """Return what the table shows of each run."""
    return pd.DataFrame(
        {
            "State": [f"{runs.PHASES[run.phase][1]}" for run in found],
            "What": [runs.title(run) for run in found],
            "By": [run.owner or "–" for run in found],
            "Progress": [1.0 if run.phase == "done" else runs.share(run) for run in found],
            "Began": [local(run.created) for run in found],
            "Took": [took(run) for run in found],
        }
    )


def took(run: RunState) -> str:
    """Return how long a run took, or has taken so far."""
    if run.started is None:
        return "–"
    end = run.ended or pd.Timestamp.now("UTC").timestamp()
    return duration(end - run.started)


def details(run: RunState) -> None:
    """Draw one run: where it stands, what came of it, its log, and how to do it by hand."""
    icon, word = runs.PHASES[run.phase]
    st.subheader(f"{icon} {escaped(runs.title(run))}", anchor=False)
    if run.phase.is_active:
        st.progress(runs.share(run), text=runs.position(run))
    elif run.message:
        st.markdown(f"**{word}.** {escaped(run.message)}")
        if run.hint:
            st.markdown(f":material/arrow_forward: {escaped(run.hint)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        if run.phase.is_active:
            st.button("Cancel", icon=":material/stop_circle:", key=keys.ACTIVITY_CANCEL,
                      on_click=runs.cancel, args=(run,),
                      help="Stops the run; what it has finished stays.")  # fmt: skip
        else:
            st.button("Run again", icon=":material/replay:", key=keys.ACTIVITY_AGAIN,
                      on_click=runs.again, args=(run,),
                      help="What is finished already is not done again.")  # fmt: skip
        follow_up(run)
    rows = [("Run", f"`{run.id}`"), ("By", escaped(run.owner)), ("Asked for", when(run.created)),
            ("Took", took(run))]  # fmt: skip
    facts(rows + results(run))
    command = activity.run_command(session.workspace(), run.id)
    if command:
        st.caption("The same by hand")
        st.code(command, language="bash", wrap_lines=True)
    st.caption("Log")
    lines = activity.run_log(session.workspace(), run.id)[-LOG_LINES:]
    text = "\n".join(f"{local(at):%H:%M:%S}  {line}" for at, line in lines)
    st.code(text or "Nothing yet.", language=None, height=220 if len(lines) > 8 else "content")


def results(run: RunState) -> list[tuple[str, str]]:
    """Return what a run brought, in words; empty values are left out."""
    found = []
    for name, value in run.result.items():
        if name in ("seconds", "task_id") or value in (None, [], 0):
            continue
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        if isinstance(value, list):
            parts = [": ".join(map(str, p)) if isinstance(p, list) else str(p) for p in value]
            text = "; ".join(parts)
        found.append((NAMES.get(name, name.capitalize()), escaped(text)))
    return found


def follow_up(run: RunState) -> None:
    """Link to where the result of a finished run is looked at."""
    result = run.result
    if "preview" in result:
        st.page_link("pages/preview.py", label="Open the preview", icon=":material/preview:",
                     query_params={keys.TASK: str(result["task_id"])})  # fmt: skip
    elif "model" in result:
        st.page_link("pages/train.py", label="See the model", icon=":material/model_training:",
                     query_params={keys.MODEL: str(result["model"])})  # fmt: skip
    elif "source" in result:
        st.page_link("pages/sources.py", label="See the source", icon=":material/photo_library:",
                     query_params={keys.SOURCE: str(result["source"])})  # fmt: skip


def look() -> None:
    """Draw all runs and the one that is open."""
    found = activity.list_runs(session.workspace())
    ids = [run.id for run in found]
    row = ids.index(address.opened(keys.RUN, ids))
    left, right = st.columns([5, 4], gap="medium")
    with left:
        waiting = sum(run.phase == "queued" for run in found)
        active = sum(run.phase == "running" for run in found)
        st.caption(f"{plural(len(found), 'run')} · {active} under way · {waiting} waiting")
        picked = st.dataframe(
            table(found),
            key=f"{keys.ACTIVITY_TABLE}-{len(ids)}-{ids[0]}",
            hide_index=True, on_select="rerun", selection_mode="single-row-required",
            selection_default={"selection": {"rows": [row]}},
            height=min(640, 38 + 35 * len(found)),
            column_config={
                "What": st.column_config.TextColumn(width="medium"),
                "Progress": st.column_config.ProgressColumn(format="percent", width=80),
                "Began": st.column_config.DatetimeColumn(format="distance", width=100),
                "Took": st.column_config.TextColumn(width=70),
            },
            alt="Runs of this workspace",
        )  # fmt: skip
        rows = picked["selection"]["rows"]
        run = found[rows[0] if rows and rows[0] < len(found) else row]
        address.remember(keys.RUN, run.id)
    with right, st.container(border=True):
        details(run)


header("Activity", "Everything that runs, ran or waits here. Closing the page stops nothing.")
everything = activity.list_runs(session.workspace())
if not everything:
    empty("Imports, trainings and predictions", "No work was given to the background yet.",
          page="pages/tasks.py", label="Begin with a task")  # fmt: skip
else:
    has_active = any(run.phase.is_active for run in everything)
    st.fragment(lambda: guarded(look), run_every=runs.PERIOD_S if has_active else None)()

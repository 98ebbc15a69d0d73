"""Long work on a page: where it stands, how long it takes, a way to stop it."""

from __future__ import annotations

import streamlit as st

from lsl_core.errors import LslError
from lsl_core.services import activity
from lsl_core.types import RunPhase, RunState
from lsl_core.ui import keys, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import duration

#: Seconds between two looks at a run that is under way.
PERIOD_S = 2.0

VERBS = {
    "import": "Importing",
    "train": "Training",
    "predict": "Predicting",
    "push": "Pushing",
    "backup": "Backing up",
    "scheduled backup": "Backing up",
    "verify": "Verifying",
    "drill": "Trying to restore",
    "restore": "Restoring",
    "export": "Making",
    "pull": "Getting",
}

#: Icon and word for every phase: never colour alone.
PHASES = {
    RunPhase.QUEUED: (":material/schedule:", "Waiting"),
    RunPhase.RUNNING: (":material/play_circle:", "Running"),
    RunPhase.DONE: (":material/check_circle:", "Done"),
    RunPhase.FAILED: (":material/error:", "Failed"),
    RunPhase.CANCELLED: (":material/cancel:", "Cancelled"),
    RunPhase.LOST: (":material/report:", "Stopped unexpectedly"),
}


def title(run: RunState) -> str:
    """Return "Training bolt-v3 on bolts"."""
    return f"{VERBS.get(run.kind, run.kind.capitalize())} {run.subject}"


def share(run: RunState) -> float:
    """Return how much of the current step is done, in [0, 1]."""
    return min(1.0, run.done / run.total) if run.total else 0.0


def position(run: RunState) -> str:
    """Return "Training: 312 of 600 iterations · 4 min left"."""
    if run.phase is RunPhase.QUEUED:
        return "Waiting for its turn"
    parts = [f"{run.step}: {run.done:,} of {run.total:,} {run.unit}" if run.total else run.step]
    left = activity.seconds_left(session.workspace(), run.id)
    if left is not None:
        parts.append(f"{duration(left)} left")
    return " · ".join(part for part in parts if part) or "Starting"


def latest(kind: str, ends: str = "") -> RunState | None:
    """Return the newest run of a kind whose subject begins with `ends`, or None."""
    for run in activity.list_runs(session.workspace(), limit=50):
        if run.kind == kind and run.subject.startswith(ends):
            return run
    return None


def going_on() -> list[RunState]:
    """Return the active runs, those under way before those that wait."""
    found = activity.list_runs(session.workspace(), active=True)
    return sorted(found, key=lambda run: run.phase is not RunPhase.RUNNING)


def newest(kind: str, ends: str) -> RunState | None:
    """Return the newest run of a kind whose subject ends with `ends`, or None."""
    found = activity.list_runs(session.workspace(), limit=50)
    return next((run for run in found if run.kind == kind and run.subject.endswith(ends)), None)


def panel(run_id: str) -> None:
    """Draw a run; while it is active the drawing renews itself, and the page when it ends."""
    run = activity.get_run(session.workspace(), run_id)
    is_active = run.phase.is_active
    st.fragment(_panel, run_every=PERIOD_S if is_active else None)(run_id, was_active=is_active)


def _panel(run_id: str, *, was_active: bool) -> None:
    run = activity.get_run(session.workspace(), run_id)
    if was_active and not run.phase.is_active:
        st.rerun()
    with st.container(border=True):
        if run.phase.is_active:
            _active(run)
        else:
            _ended(run)


def _active(run: RunState) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(share(run), text=f"**{title(run)}** · {position(run)}")
        st.button(
            "Cancel",
            key=f"cancel-{run.id}",
            icon=":material/stop_circle:",
            help="Stops the run; what it has finished stays.",
            on_click=cancel,
            args=(run,),
        )


def _ended(run: RunState) -> None:
    icon, word = PHASES[run.phase]
    took = f" in {duration(run.ended - run.started)}" if run.ended and run.started else ""
    if run.phase is RunPhase.DONE:
        st.markdown(f"{icon} **{title(run)}**: done{took}.")
        return
    says = "" if run.message == f"{word}." else run.message
    st.markdown(f"{icon} **{title(run)}**: {word.lower()}. {says}")
    if run.hint:
        st.markdown(f":material/arrow_forward: {run.hint}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Run again",
            key=f"again-{run.id}",
            icon=":material/replay:",
            on_click=again,
            args=(run,),
        )
        st.page_link(
            "pages/activity.py", label="See its log", icon=":material/notes:",
            query_params={keys.RUN: run.id},
        )  # fmt: skip


def cancel(run: RunState) -> None:
    """Ask a run to stop."""
    activity.cancel_run(session.workspace(), run.id)
    st.toast(f"{title(run)} stops after its current piece of work.")


def again(run: RunState) -> None:
    """Submit a run once more."""
    try:
        activity.run_again(session.workspace(), run.id)
    except LslError as error:
        st.toast(error.message)
        return
    st.toast(f"{title(run)} starts again.")


def strip() -> None:
    """Draw one line for every active run of the workspace; for the sidebar."""
    with errors_shown():
        active = frozenset(run.id for run in activity.list_runs(session.workspace(), active=True))
        st.fragment(_strip, run_every=PERIOD_S if active else None)(active)


def _strip(before: frozenset[str]) -> None:
    runs = going_on()
    if before - {run.id for run in runs}:
        st.rerun()  # one ended: what the page shows may have changed
    for run in runs[:4]:
        st.progress(share(run), text=f"**{title(run)}**  \n{position(run)}")
    label = f"{len(runs)} runs under way" if len(runs) > 1 else "Open Activity"
    if runs:
        st.page_link("pages/activity.py", label=label, icon=":material/pending_actions:")
    else:
        st.caption(":material/check: Nothing is running")

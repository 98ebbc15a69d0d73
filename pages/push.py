"""Push: read what will change in CVAT, then write it, with a way back."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from lsl_core.services import activity
from lsl_core.services.connections import CvatSession
from lsl_core.services.labelling import previewing
from lsl_core.services.labelling.previewing import PreviewInfo
from lsl_core.services.models import versions
from lsl_core.types import RunPhase
from lsl_core.ui import cached, keys, previews, runs, session
from lsl_core.ui.errors import error_card, errors_shown
from lsl_core.ui.formats import plural, when
from lsl_core.ui.layout import empty, escaped, header, needs_cvat
from lsl_core.ui.parts import push_choices
from lsl_core.ui.parts import push_panels as panels


def choose(cvat: CvatSession, known: list[PreviewInfo]) -> PreviewInfo | None:
    """Draw the choice of a preview and return it."""
    titles = {previews.subject_of(info, cvat): previews.title_of(info) for info in reversed(known)}
    left, middle, right = st.columns([4, 3, 3], vertical_alignment="bottom")
    with left:
        subject = previews.choose_subject(titles, known)
    mine = [info for info in known if previews.subject_of(info, cvat) == subject]
    with middle:
        model = previews.choose_model(mine)
    info = next((info for info in mine if info.model_id == model), None)
    if info is None:
        empty(f"{model} has not looked at this task", "There is nothing to push yet.",
              page="pages/preview.py", label="Preview it")  # fmt: skip
        return None
    thresholds = ", ".join(f"{escaped(n)} {t:.2f}" for n, t in info.thresholds.items())
    right.caption(f"Preview of {when(info.created)} · thresholds {thresholds}")
    return info


def steps(cvat: CvatSession, info: PreviewInfo) -> None:
    """Draw the four steps: labels, how, what changes, safety with the button."""
    found = previewing.frames(session.workspace(), info.id)
    details, _ = cached.or_last(  # the plan says what does not answer, if it has to be made
        cvat, keys.PUSH_TASK, info.task_id, lambda: cached.task_details(cvat, info.task_id or 0)
    )
    targets = [label.name for label in details.labels]
    counts = previewing.counts(info, found)
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        st.subheader("1 · Labels", anchor=False)
        labels = push_choices.mapping_editor(cvat, info, details.task, targets, counts)
        values = push_choices.attribute_values(details.labels, labels.mapping if labels else {})
    with right, st.container(border=True, height="stretch"):
        st.subheader("2 · How", anchor=False)
        mode = push_choices.mode_choice()
        drawn = push_choices.shape_choices(has_masks=versions.draws_masks(
            session.workspace(), info.model_id))  # fmt: skip
    if labels is None:
        return
    choices = replace(drawn, mapping=labels.mapping, create=labels.create, mode=mode,
                      attributes=values)  # fmt: skip
    shown = panels.current_plan(cvat, info, choices)
    if shown is not None:
        summary(cvat, shown, len(found))


def summary(cvat: CvatSession, shown: panels.ShownPlan, num_frames: int) -> None:
    """Draw what will change, why that is safe, and the button."""
    plan = shown.plan
    left, right = st.columns([2, 1])
    with left, st.container(border=True, height="stretch"):
        top, again = st.columns([4, 1], vertical_alignment="center")
        top.subheader("3 · What changes", anchor=False)
        again.button(
            "Read again", icon=":material/refresh:", key=keys.PUSH_REFRESH, type="tertiary",
            on_click=panels.forget_plan,
        )  # fmt: skip
        st.dataframe(
            panels.plan_table(plan), hide_index=True, height="content",
            column_config={
                name: st.column_config.NumberColumn(format="localized")
                for name in panels.NUMBERS
            },
            alt="What changes for each label",
        )  # fmt: skip
        touched = sum(bool(row.add or row.remove) for row in plan.frames)
        st.caption(f"{touched:,} of {plural(num_frames, 'frame')} touched")
    with right, st.container(border=True, height="stretch"):
        st.subheader("4 · Safety", anchor=False)
        panels.safety(shown)
        go(cvat, shown)


def go(cvat: CvatSession, shown: panels.ShownPlan) -> None:
    """Draw the buttons: a dry run, and the push; one that takes something away asks once more."""
    plan = shown.plan
    if plan.does_nothing:
        there = f": {plural(plan.num_duplicates, 'object')} already there" if (
            plan.num_duplicates) else ""  # fmt: skip
        st.info(f"There is nothing to push{there}.", icon=":material/done_all:")
        return
    label = f"Push {plural(plan.num_add, panels.noun(plan))} to task {plan.task.id}"
    with st.container():
        if not plan.num_remove:
            pushes = st.button(label, type="primary", icon=":material/cloud_upload:",
                               key=keys.PUSH_GO, width="stretch")  # fmt: skip
        else:
            with st.popover(f"{label}, remove {plan.num_remove:,}…", icon=":material/swap_horiz:"):
                pushes = panels.confirmed(plan)
        panels.dry_run(cvat, plan)
    if pushes:
        with errors_shown():
            activity.submit_push(
                session.workspace(), cvat, plan, shown.choices,
                confirmed_task=panels.typed_task(),
            )  # fmt: skip
            panels.forget_plan()
            st.rerun()


def page() -> None:
    """Draw the page."""
    header("Push", "Read what will change in CVAT. Nothing is written before you press the button.")
    cvat = session.connection()
    if cvat is None:
        needs_cvat("What will change in CVAT")
        return
    known = previewing.list_previews(session.workspace(), url=cvat.url)
    known = [info for info in known if info.task_id is not None]
    if not known:
        empty("What will change in CVAT", "No task was previewed yet.",
              page="pages/preview.py", label="Preview a task")  # fmt: skip
        return
    info = choose(cvat, known)
    if info is None:
        return
    problem = st.session_state.pop(keys.PUSH_PROBLEM, None)
    if problem is not None:
        error_card(problem)
    run = runs.newest("push", f"task {info.task_id}")
    if run is not None and run.phase is not RunPhase.DONE:
        runs.panel(run.id)
    if run is None or not run.phase.is_active:
        with errors_shown(redraws=True):
            steps(cvat, info)
    panels.history(cvat, info.task_id or 0)


page()

"""The parts of the Push page: label mapping, the plan as a table, safety, pushes so far."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from lsl_core.errors import LslError
from lsl_core.services import activity
from lsl_core.services.connections import CvatSession
from lsl_core.services.labelling import previewing, pushing
from lsl_core.services.labelling.previewing import PreviewInfo
from lsl_core.services.labelling.pushing import PushChoices, PushMode, PushPlan, PushRecord
from lsl_core.ui import cached, keys, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import ago, plural, when
from lsl_core.ui.layout import escaped

#: Columns of the table of changes, in the order of `LabelRow`.
NUMBERS = ("Now in CVAT", "Will add", "Already there", "On a person's", "Will remove", "After")


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """A plan that a person can read. inputs: what it was made from. at: when."""

    inputs: str
    choices: PushChoices
    plan: PushPlan
    at: float


def inputs_of(info: PreviewInfo, choices: PushChoices) -> str:
    """Return a name for everything that a plan depends on, but the task itself."""
    decided = [
        (frame.ref.frame, sorted((i, d.value) for i, d in frame.decisions.items()))
        for frame in previewing.frames(session.workspace(), info.id)
    ]
    parts = (info.id, sorted(info.thresholds.items()), info.mask_threshold, decided)
    return hashlib.sha256(repr((parts, choices)).encode()).hexdigest()


def current_plan(cvat: CvatSession, info: PreviewInfo, choices: PushChoices) -> ShownPlan | None:
    """Return the plan for what is chosen now, made anew when something else was chosen."""
    inputs = inputs_of(info, choices)
    shown: ShownPlan | None = st.session_state.get(keys.PUSH_PLAN)
    if shown is not None and shown.inputs == inputs:
        return shown
    with (
        errors_shown(redraws=True),
        st.spinner("Comparing with what CVAT has now…", show_time=True),
    ):
        plan = pushing.plan(cvat, session.workspace(), info.id, choices=choices)
        shown = ShownPlan(inputs, choices, plan, time.time())
        st.session_state[keys.PUSH_PLAN] = shown
        return shown
    return None


def forget_plan() -> None:
    """Make the next plan from a fresh look at the task."""
    st.session_state.pop(keys.PUSH_PLAN, None)
    cached.forget()


def noun(plan: PushPlan) -> str:
    """Return what the objects are drawn as, for people."""
    drawn = {str(match.drawing) for match in plan.matches if match.drawing is not None}
    return {"rectangle": "box"}.get(*drawn, *drawn) if len(drawn) == 1 else "shape"


def plan_table(plan: PushPlan) -> pd.DataFrame:
    """Return what changes per label; the last row is the sum."""
    new = {label.name for label in plan.new_labels}
    rows = [
        (
            f"{r.label} (new)" if r.label in new else r.label,
            r.now,
            r.add,
            r.duplicates,
            r.conflicts,
            r.remove,
            r.after,
        )
        for r in plan.labels
    ]
    sums = [sum(column) for column in list(zip(*rows, strict=True))[1:]] if rows else [0] * 6
    return pd.DataFrame([*rows, ("all", *sums)], columns=["Label", *NUMBERS])


def safety(shown: ShownPlan) -> None:
    """Draw why this push is safe, and what it leaves alone."""
    plan = shown.plan
    ok = ":green[:material/check_circle:]"
    lines = [
        f"{ok} Read at {when(shown.at)}; if the task changes before you push, nothing is written",
        f"{ok} A snapshot is kept first, Undo push takes exactly these shapes back",
    ]
    lines += [
        f":material/new_label: Adds the label “{escaped(label.name)}” to the task, or to its "
        "project; Undo push leaves it there"
        for label in plan.new_labels
    ]
    if plan.mode is PushMode.REPLACE_EVERYTHING:
        lines.append(":red[:material/warning:] **What people drew goes**; Undo push brings it back")
    else:
        lines.append(f"{ok} What people drew or edited stays")
    for skipped in plan.skipped[:5]:
        lines.append(
            f":orange[:material/warning:] Frame {skipped.frame}: "
            f"{plural(skipped.objects, 'object')} not pushed, {escaped(skipped.reason)}"
        )
    lines += [f":orange[:material/warning:] {escaped(warning)}" for warning in plan.warnings]
    st.markdown("\n\n".join(lines))


def confirmed(plan: PushPlan) -> bool:
    """Draw what will be lost and the button for it; say whether it was pressed."""
    is_all = plan.mode is PushMode.REPLACE_EVERYTHING
    kind = "shape" if is_all else "automatic shape"
    st.markdown(
        f"**{plural(plan.num_remove, kind)} of task {plan.task.id} will be taken away** and "
        f"{plan.num_add:,} added. A snapshot is kept first, and Undo push brings them back."
    )
    is_typed = True
    if is_all:
        st.text_input(f"Type {plan.task.id} to take away what people drew", key=keys.PUSH_TYPED)
        is_typed = typed_task() == plan.task.id
    return st.button(f"Replace {plan.num_remove:,} by {plan.num_add:,}", key=keys.PUSH_GO,
                     disabled=not is_typed)  # fmt: skip


def typed_task() -> int | None:
    """Return the number of the task that was typed to take away what people drew."""
    typed = str(st.session_state.get(keys.PUSH_TYPED) or "").strip()
    return int(typed) if typed.isdecimal() else None


def dry_run(cvat: CvatSession, plan: PushPlan) -> None:
    """Draw the button that gives what would be added as a file, and writes nothing."""
    st.download_button(
        "Dry run: download as COCO", lambda: pushing.as_coco(cvat, plan),
        file_name=f"task-{plan.task.id}-to-add.json", mime="application/json", key=keys.PUSH_COCO,
        icon=":material/download:", width="stretch", on_click="ignore",
        help="What would be added, to look at elsewhere. Nothing is written to CVAT.",
    )  # fmt: skip


def history(cvat: CvatSession, task_id: int) -> None:
    """Draw the pushes to a task, newest first, each with its way back."""
    records = pushing.list_pushes(session.workspace(), url=cvat.url, task_id=task_id)
    if not records:
        return
    st.subheader("Pushes to this task", anchor=False)
    for record in records[:5]:
        with st.container(border=True):
            _record(cvat, record)
    undone = st.session_state.get(keys.PUSH_UNDONE)
    if undone is not None and undone.task_id == task_id and undone.kept:
        st.info(
            f"{plural(len(undone.kept), 'object')} stayed, since people edited them: "
            + ", ".join(
                f"{kept.kind.removesuffix('s')} #{kept.id} on frame {kept.frame}"
                for kept in undone.kept[:20]
            ),
            icon=":material/edit:",
        )


def _record(cvat: CvatSession, record: PushRecord) -> None:
    result = record.summary.get("result", {})
    undone = record.summary.get("undone", {})
    by = f"{escaped(record.owner)}, {ago(record.created)}"
    left, right = st.columns([3, 2], vertical_alignment="center")
    with right.container(horizontal=True, horizontal_alignment="right"):
        st.link_button("Open in CVAT", f"{record.url}/tasks/{record.task_id}",
                       icon=":material/open_in_new:", key=f"open-{record.id}")  # fmt: skip
        if record.phase == "open":
            st.button("Finish it", key=f"finish-{record.id}", icon=":material/play_arrow:",
                      on_click=_finish, args=(cvat, record))  # fmt: skip
        if record.phase == "done" and st.button(
            "Review", key=f"review-{record.id}", icon=":material/rate_review:",
            help="What people did with these shapes since.",
        ):  # fmt: skip
            st.switch_page("pages/review.py", query_params={keys.PUSH: record.id})
        if record.phase != "undone":
            st.button("Undo push", key=f"{keys.PUSH_UNDO}-{record.id}", icon=":material/undo:",
                      on_click=_undo, args=(cvat, record.id),
                      help="Takes back exactly these shapes; what people edited since "
                      "stays.")  # fmt: skip
    if record.phase == "undone":
        kept = f", {undone.get('kept')} kept since people edited them" if undone.get("kept") else ""
        left.markdown(
            f":material/undo: **Undone:** {plural(undone.get('deleted', 0), 'shape')} taken "
            f"back{kept} · {by}"
        )
    elif record.phase == "done":
        removed = f", {result['removed']:,} removed" if result.get("removed") else ""
        left.markdown(
            f":green[:material/check_circle:] **Pushed {plural(record.summary['add'], 'shape')}, "
            f"{result.get('added', 0):,} read back**{removed} · {by}"
        )
        for failed in result.get("failed", []):
            left.markdown(f":red[:material/error:] Frame {failed['frame']}: {failed['reason']}")
        if not result.get("human_unchanged", True):
            left.markdown(":orange[:material/warning:] Somebody else changed shapes meanwhile")
    else:
        left.markdown(f":orange[:material/warning:] **Interrupted** · {by}")


def _undo(cvat: CvatSession, push_id: str) -> None:
    try:
        result = pushing.undo(cvat, session.workspace(), push_id)
    except LslError as error:
        st.session_state[keys.PUSH_PROBLEM] = error
        return
    st.session_state[keys.PUSH_UNDONE] = result
    st.toast(f"{plural(result.deleted, 'shape')} taken back.", icon=":material/undo:")
    forget_plan()


def _finish(cvat: CvatSession, record: PushRecord) -> None:
    with errors_shown():
        activity.submit_resume(session.workspace(), cvat, record)

"""Acts on a snapshot that want a second look: restore, protect, forget, prune."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from lsl_core.errors import UserInput
from lsl_core.services.backups import (
    background,
    inspecting,
    repositories,
    restoring,
    restoring_live,
    retaining,
)
from lsl_core.services.backups.repositories import PrunePlan, Repository, Snapshot
from lsl_core.services.backups.restoring_live import PushPlan
from lsl_core.services.connections import CvatSession
from lsl_core.ui import keys, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import plural
from lsl_core.ui.layout import escaped

#: What the choice of an organisation shows for a person's own workspace.
PERSONAL = "– personal workspace –"
#: How many frames are named whose objects are left out.
_LEFT_OUT = 5


def look_and_restore(repository: Repository, one: Snapshot, cvat: CvatSession) -> None:
    """Find out whom this server does not know, and open the dialog that restores."""
    with st.spinner("Looking who is there…", show_time=True):
        strangers, there = restoring.strangers(repository, cvat, one)
    as_new(one, cvat, strangers, there)


@st.dialog("Restore as new")
def as_new(one: Snapshot, cvat: CvatSession, strangers: list[str], there: list[str]) -> None:
    """Ask for the organisation, and for people with other names, then restore in the background."""
    slugs = [organisation.slug for organisation in cvat.organisations()]
    st.markdown(
        f"Makes new projects and tasks on **{escaped(cvat.url)}**; nothing that is there changes. "
        "Stages, assignees, issues and settings are put back, too."
    )
    options = [PERSONAL, *slugs]
    before = one.subject.organisation if one.subject.organisation in slugs else PERSONAL
    if one.subject.kind == "instance":
        options.insert(0, "each where it was")
        before = options[0]
    chosen = st.selectbox(
        "Into", options, index=options.index(before), key=keys.BACKUPS_RESTORE_ORG
    )
    names = _names(strangers, there) if strangers else {}
    if st.button("Restore", type="primary", icon=":material/restore:",
                 key=keys.BACKUPS_RESTORE_GO):  # fmt: skip
        organisation = {PERSONAL: "", "each where it was": None}.get(chosen, chosen)
        with errors_shown():
            background.submit_restore(
                session.workspace(),
                cvat,
                snapshot=one.id,
                organisation=organisation,
                names=names,
            )
            st.rerun()


def _names(strangers: list[str], there: list[str]) -> dict[str, str]:
    """Ask who of the backup is called otherwise on this server."""
    st.markdown(
        "These people of the backup are not on this server. Say who they are here, or leave it "
        "open: what was theirs belongs to nobody then, and is listed at the end."
    )
    table = st.data_editor(
        pd.DataFrame({"In the backup": strangers, "Here": [None] * len(strangers)}),
        hide_index=True, disabled=["In the backup"], key=keys.BACKUPS_RESTORE_PEOPLE,
        column_config={"Here": st.column_config.SelectboxColumn(options=there)},
    )  # fmt: skip
    pairs = zip(table["In the backup"], table["Here"], strict=True)
    return {str(old): str(new) for old, new in pairs if new}


@st.dialog("Restore in place", width="large")
def in_place(repository: Repository, one: Snapshot, cvat: CvatSession) -> None:
    """Show what would change in a live task, and do it when its number is typed."""
    with errors_shown():
        names = dict(inspecting.tasks_of(repository, one))
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        task = left.selectbox(
            "Task", list(names), format_func=lambda i: f"{i} · {names[i]}",
            key=f"{keys.BACKUPS_IN_PLACE}-{one.short_id}",
        )  # fmt: skip
        text = right.text_input(
            "Frames", placeholder="all, or for example 3, 7-9", key=keys.BACKUPS_IN_PLACE_FRAMES
        )
        keep = st.toggle(
            "Keep what came later: only add what is missing", key=keys.BACKUPS_IN_PLACE_KEEP
        )
        asked = (one.id, int(task), text or "", keep)
        plan = _plan(repository, one, cvat, asked)
        _confirm(repository, one, cvat, plan)


def _plan(
    repository: Repository, one: Snapshot, cvat: CvatSession, asked: tuple[str, int, str, bool]
) -> PushPlan:
    """Return the plan that is on the screen; made anew only when something else was asked.

    What is confirmed must be what was read: a rerun of the dialog looks at CVAT no second time.
    """
    before = st.session_state.get(keys.BACKUPS_IN_PLACE_PLAN)
    if before is not None and before[0] == asked:
        shown: PushPlan = before[1]
        return shown
    _, task, text, keep = asked
    with st.spinner("Comparing with what CVAT has now…", show_time=True):
        plan = restoring_live.plan_live(
            repository, cvat, one, task, frames=frames_of(text), keep_newer=keep
        )
    st.session_state[keys.BACKUPS_IN_PLACE_PLAN] = (asked, plan)
    return plan


def frames_of(text: str) -> list[int] | None:
    """Return the frames that a text such as "3, 7-9" names; None for all.

    Raises:
        UserInput: when it names none.
    """
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not part:
            continue
        if not first.isdigit() or (dash and not last.isdigit()):
            raise UserInput(f'"{part}" is no frame.', hint="Write for example 3, 7-9")
        found += range(int(first), int(last or first) + 1)
    return found or None


def _confirm(repository: Repository, one: Snapshot, cvat: CvatSession, plan: PushPlan) -> None:
    st.dataframe(
        pd.DataFrame(
            [
                (row.label, row.kind, row.add, row.remove, row.conflicts, row.now, row.after)
                for row in plan.labels
            ],
            columns=["Label", "Kind", "Comes back", "Goes", "Edited since", "Now", "After"],
        ),
        hide_index=True, alt="What changes in the live task",
    )  # fmt: skip
    left_out = [
        f"Frame {left.frame}: {plural(left.objects, 'object')} left out: {left.reason}"
        for left in plan.skipped[:_LEFT_OUT]
    ]
    if len(plan.skipped) > _LEFT_OUT:
        left_out.append(f"… and on {plural(len(plan.skipped) - _LEFT_OUT, 'more frame')}")
    for warning in (*left_out, *plan.warnings):
        st.markdown(f":orange[:material/warning:] {escaped(warning)}")
    if plan.does_nothing:
        st.markdown(":green[:material/check_circle:] The task is as it was. Nothing to do.")
        return
    st.caption(
        "The snapshot is verified first, and what is there now is kept: Undo on the Push page, "
        "or `lsl undo`, takes exactly this back."
    )
    typed = ""
    if plan.num_remove:
        drawn = sum((entry.get("source") or "manual") != "auto" for entry in plan.remove)
        typed = st.text_input(
            f"{plural(plan.num_remove, 'object')} would go, {drawn:,} of them drawn or edited by "
            f"people. Type the task's number, {plan.task.id}",
            key=keys.BACKUPS_IN_PLACE_TYPED,
        ) or ""  # fmt: skip
    parts = [f"bring back {plural(plan.num_add, 'object')}"] if plan.num_add else []
    parts += [f"take {plan.num_remove:,} away"] if plan.num_remove else []
    label = f"In task {plan.task.id}: {', '.join(parts)}"
    with st.container(horizontal=True):
        if st.button("Cancel", key=keys.BACKUPS_IN_PLACE_CANCEL):
            st.rerun()
        goes = st.button(label, key=keys.BACKUPS_IN_PLACE_GO,
                         icon=":material/settings_backup_restore:")  # fmt: skip
    if not goes:
        return
    # whatever comes of it, the next look is a fresh one
    st.session_state.pop(keys.BACKUPS_IN_PLACE_PLAN, None)
    with st.spinner("Bringing back…", show_time=True):
        result = restoring_live.apply_live(
            cvat, session.workspace(), repository, one, plan, confirm=typed
        )
    st.success(
        f"Brought back {plural(result.added, 'object')}, took {result.removed:,} away. "
        f"Take it back: `lsl undo {result.push_id}`",
        icon=":material/check_circle:",
    )
    st.link_button("Open in CVAT", plan.task.url, icon=":material/open_in_new:")


def protect(repository: Repository, one: Snapshot, changed: Callable[[], None]) -> None:
    """Offer to keep a snapshot whatever the rules say, or to stop that."""
    if one.marks.protected:
        if st.button("Protect no longer", icon=":material/lock_open:", key=keys.BACKUPS_PROTECT):
            with errors_shown():
                repositories.protect(repository, one.id, on=False)
                changed()
                st.rerun()
        return
    with st.popover("Protect…", icon=":material/lock:"), st.form("protect", border=False):
        note = st.text_input(
            "Why, for those after you", key=keys.BACKUPS_PROTECT_NOTE, placeholder="golden set"
        )
        if st.form_submit_button("Protect", key=keys.BACKUPS_PROTECT_GO):
            with errors_shown():
                repositories.protect(repository, one.id, note=note or "")
                changed()
                st.rerun()


def forget(repository: Repository, one: Snapshot, changed: Callable[[], None]) -> None:
    """Offer to forget a snapshot, or to bring it back."""
    if one.marks.forgotten is not None:
        if st.button("Bring back", icon=":material/undo:", key=keys.BACKUPS_FORGET):
            with errors_shown():
                repositories.undelete(repository, [one.id])
                changed()
                st.rerun()
        return
    if one.marks.protected:
        st.button("Forget…", icon=":material/delete:", disabled=True, key=keys.BACKUPS_FORGET,
                  help="It is protected; lift that first")  # fmt: skip
        return
    with st.popover("Forget…", icon=":material/delete:"):
        st.markdown(
            f"The next prune removes **{one.short_id}**. Until then it can be brought back: switch "
            "on *Forgotten* above the list."
        )
        if retaining.is_last_copy(repository, one):
            st.markdown(
                ":orange[:material/warning:] **It is the last whole copy of this.** Back up again "
                "first, unless you want none."
            )
        if st.button(f"Forget {one.short_id}", key=keys.BACKUPS_FORGET):
            with errors_shown():
                repositories.forget(repository, [one.id])
                changed()
                st.rerun()


def look_and_prune(repository: Repository, changed: Callable[[], None]) -> None:
    """Work out what a prune would remove, and open the dialog that asks for it."""
    with st.spinner("Working out what nobody needs…", show_time=True):
        plan = repositories.plan_prune(repository)
    prune(repository, plan, changed)


@st.dialog("Prune", width="large")
def prune(repository: Repository, plan: PrunePlan, changed: Callable[[], None]) -> None:
    """Say what would go for good, and remove just that when the word is typed."""
    with errors_shown():
        if plan.does_nothing:
            st.markdown("Nothing is forgotten, and nothing is unused: there is nothing to remove.")
            return
        st.markdown("\n".join(f"- {escaped(line)}" for line in plan.lines))
        st.markdown(
            ":red[:material/warning:] **There is no way back from this.** Close this and switch on "
            "*Forgotten* above the list to bring a snapshot back instead."
        )
        typed = st.text_input("Type the word prune", key=keys.BACKUPS_PRUNE_TYPED)
        with st.container(horizontal=True):
            if st.button("Cancel", key=keys.BACKUPS_PRUNE_CANCEL):
                st.rerun()
            goes = st.button(
                f"Remove {plural(len(plan.remove), 'snapshot')} for good",
                key=keys.BACKUPS_PRUNE_GO, disabled=typed != "prune",
            )  # fmt: skip
        if goes:
            with st.spinner("Removing…", show_time=True):
                repositories.prune(repository, seen=plan)
            changed()
            st.rerun()

"""Backups: what is saved, how well, and how it comes back."""

from __future__ import annotations

import streamlit as st

from lsl_core.errors import LslError
from lsl_core.services.backups import background, repositories
from lsl_core.services.backups.repositories import Tier
from lsl_core.services.connections import CvatSession
from lsl_core.ui import keys, session
from lsl_core.ui.errors import error_card, errors_shown
from lsl_core.ui.layout import header, needs_cvat
from lsl_core.ui.parts import backup_dialogs, backup_schedule, backup_snapshot
from lsl_core.ui.parts import backup_panels as panels

VIEWS = ["Snapshots", "Coverage", "Schedule and rules"]


def begin(cvat: CvatSession, tier: Tier) -> None:
    """Back up everything that the account can see, in the worker."""
    with errors_shown():
        background.submit_backup(session.workspace(), cvat, tier=tier)
        panels.forget_known()
        st.toast("The backup has begun. The page may be closed.")


def action(place: st.delta_generator.DeltaGenerator, cvat: CvatSession | None) -> None:
    """Draw the page's action: back up now."""
    with place:
        names = {tier: panels.TIERS[tier] for tier in panels.TIERS}
        with st.popover("Back up now", icon=":material/backup:", type="primary",
                        disabled=cvat is None):  # fmt: skip
            tier = st.radio(
                "What", list(names), index=1, key=keys.BACKUPS_NOW_TIER,
                format_func=lambda tier: names[tier].capitalize(),
                captions=[
                    "Objects, jobs, people, issues: seconds a project.",
                    "The same and every image; unchanged images take no room again.",
                    "Everything with organisations and members, in one snapshot that can fill a "
                    "fresh server.",
                ],
            )  # fmt: skip
            if st.button("Back up everything I can see", key=keys.BACKUPS_NOW) and cvat:
                begin(cvat, Tier(tier))


def snapshots(cvat: CvatSession | None) -> None:
    """Draw the list, and the selected snapshot below it."""
    repository, state, _ = panels.known()
    found = panels.filters(state)
    if not found:
        st.info("No snapshot fits these filters.", icon=":material/filter_alt:")
        return
    one = panels.chosen(found)
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True), errors_shown():
        backup_snapshot.about(one)
        backup_snapshot.actions(repository, one, cvat)
    with right, st.container(border=True), errors_shown():
        backup_snapshot.frame_preview(repository, one, cvat)


def nothing_yet(cvat: CvatSession | None) -> None:
    """Draw the page before the first backup."""
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.space("small")
        st.markdown("### :material/backup: No backup yet", text_alignment="center")
        st.markdown(
            "A backup keeps projects and tasks with images, objects, jobs and reviews, and brings "
            "them back.",
            text_alignment="center",
        )
        st.caption(f"It will lie in  \n`{repositories.location_of(session.workspace())}`",
                   text_alignment="center")  # fmt: skip
        st.caption("Another folder, or a bucket: `lsl backup init`", text_alignment="center")
        if cvat is not None and st.button("Make the first backup", icon=":material/backup:",
                                          key=f"{keys.BACKUPS_NOW}-first"):  # fmt: skip
            begin(cvat, Tier.FULL)
        st.space("small")
    if cvat is None:
        needs_cvat("What there is to back up")


def whole(cvat: CvatSession | None) -> None:
    """Draw the page when there is a repository."""
    repository, state, forecast = panels.known()
    panels.standing(state, forecast)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        view = st.segmented_control(
            "View", VIEWS, default=VIEWS[0], required=True, key=keys.BACKUPS_VIEW,
            label_visibility="collapsed",
        )  # fmt: skip
        st.space("stretch")
        verifies = st.button("Verify all", icon=":material/verified:", key=keys.BACKUPS_VERIFY)
        prunes = st.button("Prune…", icon=":material/delete_sweep:", key=keys.BACKUPS_PRUNE)
    with errors_shown():
        if verifies:
            background.submit_verify(session.workspace(), owner=session.owner())
            st.rerun()
        if prunes:
            backup_dialogs.look_and_prune(repository, panels.forget_known)
    if view == VIEWS[1]:
        if cvat is None:
            needs_cvat("What your server has and what of it is backed up")
        else:
            panels.coverage(repository, cvat)
    elif view == VIEWS[2]:
        backup_schedule.settings(repository, cvat, panels.forget_known)
    elif state.snapshots:
        snapshots(cvat)
    else:
        nothing_yet(cvat)


connected = session.connection()
action(
    header(
        "Backups",
        "Saved copies of projects, tasks and the server; each can be tried and brought back.",
    ),
    connected,
)
panels.run_panel()
try:
    has_backups = repositories.has_repository(session.workspace())
except LslError as error:
    error_card(error)
else:
    if has_backups:
        whole(connected)
    else:
        nothing_yet(connected)

"""How often backups are made, what is kept, and when the next ones are."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from lsl_core.services.backups import repositories, retaining, scheduling
from lsl_core.services.backups.repositories import BackupSettings, Repository
from lsl_core.services.connections import CvatSession
from lsl_core.ui import keys, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import local, plural
from lsl_core.ui.parts.backup_panels import TIERS, named

#: What a row of numbers is about, then (setting, label, help) of each.
ROWS = (
    (
        "Hours between two backups; days between two rounds of care",
        (
            ("annotations_hours", "Annotations", "0: never"),
            ("full_hours", "Images", "With annotations. 0: never"),
            ("instance_hours", "Server", "0: only when asked for"),
            ("care_days", "Care", "Verify all, try one, make room; in days. 0: never"),
        ),
    ),
    (
        "How many stay, of each project and kind",
        (
            ("keep_last", "Newest", "Always kept"),
            ("keep_hourly", "Hourly", "Of annotations only"),
            ("keep_daily", "Daily", ""),
            ("keep_weekly", "Weekly", ""),
            ("keep_monthly", "Monthly", ""),
        ),
    ),
)


def settings(repository: Repository, cvat: CvatSession | None, changed: Callable[[], None]) -> None:
    """Draw the schedule, what comes next, and what the rules would forget."""
    now = session.workspace().settings().backups
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True):
        _form(now)
    with right, st.container(border=True):
        st.subheader("What comes next", anchor=False)
        if cvat is None:
            st.markdown("Connect to CVAT to see it.")
        else:
            with errors_shown():
                _next(repository, cvat)
    with st.container(border=True):
        _rules(repository, changed)


def _form(now: BackupSettings) -> None:
    with st.form(keys.BACKUPS_SCHEDULE, border=False):
        st.subheader("How often, and what is kept", anchor=False)
        on = st.toggle(
            "Make backups by itself", now.scheduled,
            help="The worker does it, as long as the dashboard or `lsl worker` runs.",
        )  # fmt: skip
        given: dict[str, object] = {"scheduled": on}
        for about, rows in ROWS:
            st.caption(about)
            places = st.columns(len(rows), vertical_alignment="bottom")
            for place, (name, label, help_) in zip(places, rows, strict=True):
                given[name] = place.number_input(
                    label, min_value=0 if name.startswith("keep") else 0.0,
                    value=getattr(now, name), help=help_ or None,
                )  # fmt: skip
        quota = st.number_input(
            "Quota, GB", min_value=0.0, value=now.quota_gb or 0.0,
            help="What all backups may take together; 0: what the disk has.",
        )  # fmt: skip
        given["quota_gb"] = quota or None
        if st.form_submit_button("Save", icon=":material/save:"):
            with errors_shown():
                repositories.change_settings(session.workspace(), **given)
                st.toast("Saved.")
                st.rerun()
    st.caption(
        "An interval becomes longer when a backup takes more than a twentieth of it, when nothing "
        "changes, and when the room will be full within a month."
    )


def _next(repository: Repository, cvat: CvatSession) -> None:
    with cvat.in_organisation(None) as everywhere:
        found = scheduling.next_times(session.workspace(), repository, everywhere)
    if not session.workspace().settings().backups.scheduled:
        st.markdown(
            ":orange[:material/warning:] Nothing is made by itself: switch it on, or call "
            "`lsl backup run` from cron or systemd."
        )
    st.dataframe(
        pd.DataFrame(
            {
                "When": ["now" if one.is_due else f"{local(one.at.timestamp()):%d %b %H:%M}"
                         for one in found],
                "Of": [one.name for one in found],
                "Holds": [TIERS[one.tier] for one in found],
                "Because": [", ".join(one.reasons) or "–" for one in found],
            }
        ),
        hide_index=True, height=min(318, 38 + 35 * max(1, len(found))),
        alt="When the next backups are made",
    )  # fmt: skip


def _rules(repository: Repository, changed: Callable[[], None]) -> None:
    st.subheader("What the rules keep, and why", anchor=False)
    with errors_shown():
        found = retaining.decisions(session.workspace(), repository)
        going = [one for one in found if not one.keep]
        st.dataframe(
            pd.DataFrame(
                {
                    "Snapshot": [one.snapshot.short_id for one in found],
                    "When": [local(one.snapshot.finished.timestamp()) for one in found],
                    "Of": [named(one.snapshot) for one in found],
                    "Holds": [TIERS[one.snapshot.tier] for one in found],
                    "Verdict": [one.text for one in found],
                }
            ),
            hide_index=True, height=min(318, 38 + 35 * max(1, len(found))),
            column_config={
                "When": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm", width=140),
                "Verdict": st.column_config.TextColumn(width="large"),
            },
            alt="What becomes of each snapshot by the rules",
        )  # fmt: skip
        with st.popover(
            f"Forget {plural(len(going), 'snapshot')}…", disabled=not going,
            icon=":material/delete:", key=keys.BACKUPS_RULES,
        ):  # fmt: skip
            st.markdown(
                "The verdicts above say which, and why. The next prune removes them; until then "
                "each can be brought back: switch on *Forgotten* above the list of snapshots."
            )
            if st.button(f"Forget these {len(going):,}", key=keys.BACKUPS_RULES_GO):
                seen = [one.snapshot.id for one in going]
                retaining.forget_by_rules(session.workspace(), repository, seen=seen)
                changed()
                st.rerun()

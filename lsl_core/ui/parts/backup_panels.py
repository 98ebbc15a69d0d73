"""The parts of the Backups page: the repository, what is wrong with it, its list, coverage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from lsl_core.services import activity
from lsl_core.services.backups import inspecting, repositories, retaining
from lsl_core.services.backups.repositories import (
    Repository,
    RepositoryState,
    Snapshot,
    State,
    Tier,
)
from lsl_core.services.connections import CvatSession
from lsl_core.types import RunState
from lsl_core.ui import address, keys, runs, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import ago, local, plural, size, when
from lsl_core.ui.layout import escaped

#: How many damaged snapshots are named, and for how many seconds an ended run is news.
MOST_DAMAGED, NEWS_S = 5, 600.0
#: Kinds of runs that this page starts or waits for.
RUNS = ("backup", "scheduled backup", "verify", "drill", "restore")
TIERS = {Tier.ANNOTATIONS: "annotations", Tier.FULL: "with images", Tier.INSTANCE: "whole server"}
OK, BAD, WARN = (
    ":green[:material/check_circle:]",
    ":red[:material/error:]",
    ":orange[:material/warning:]",
)


@st.cache_resource(ttl="30s", max_entries=4, show_spinner="Looking at the backups…")
def _known(root: str) -> tuple[Repository, RepositoryState, retaining.Forecast | None]:
    repository = repositories.open_repository(session.workspace())
    forecast = retaining.room(session.workspace(), repository)
    return repository, repositories.state(repository), forecast


def known() -> tuple[Repository, RepositoryState, retaining.Forecast | None]:
    """Return the repository, how it stood at most 30 s ago, and when its room will be full."""
    return _known(str(session.workspace().root))


def forget_known() -> None:
    """Look at the repository anew."""
    _known.clear()


def standing(state: RepositoryState, forecast: retaining.Forecast | None) -> None:
    """Draw one line about the repository, and what is wrong with it."""
    usable = [one for one in state.snapshots if one.marks.forgotten is None]
    parts = [
        f":material/inventory_2: **{escaped(state.location)}**",
        plural(len(usable), "snapshot"),
        f"{size(state.stored_bytes)} stored",
    ]
    if state.free_bytes is not None:
        parts.append(f"{size(state.free_bytes)} free")
    if forecast is not None and forecast.bytes_per_day is not None:
        parts.append(forecast.text)
    if state.is_encrypted:
        parts.append(":material/lock: encrypted")
    verified = f"last verified {ago(state.last_verified)} {OK}" if state.last_verified else ""
    parts.append(verified or f"never verified {WARN}")
    st.markdown(" · ".join(parts))
    _damage(usable, state.damaged)
    for holder in state.holders:
        st.caption(
            f":material/lock_clock: In use by {escaped(holder.text)} since {when(holder.since)}. "
            "Looking and restoring as new go on; what writes here waits. If nothing runs there "
            "any more: `lsl backup unlock`."
        )


def _damage(usable: list[Snapshot], unreadable: Sequence[str]) -> None:
    """Say which snapshots are not what was saved, what is left of each, and what to do."""
    damaged = [one for one in usable if one.is_damaged]
    if damaged:
        good = len(usable) - len(damaged)
        rest = f"{good} {'is' if good == 1 else 'are'} not" if good else "and no other is there"
        lines = [_what_is_left(one, usable) for one in damaged[:MOST_DAMAGED]]
        if len(damaged) > len(lines):
            lines.append(f"… and {len(damaged) - len(lines)} more: `lsl backup check`")
        st.error(
            f"**{plural(len(damaged), 'snapshot')} damaged, {rest}.** Back up again, "
            "then verify: what is still there in CVAT is stored anew, and older snapshots that "
            "share it become whole.\n\n" + "\n".join(f"- {line}" for line in lines),
            icon=":material/broken_image:",
        )
    if unreadable:
        st.error(
            f"**{plural(len(unreadable), 'snapshot')} cannot be read at all**, and nothing is "
            f"pruned until that is settled: {', '.join(f'`{name[:10]}`' for name in unreadable)}. "
            "Bring the file back from a copy of `snapshots/`, or give it up: "
            f"`lsl backup prune --give-up {unreadable[0][:10]}`",
            icon=":material/broken_image:",
        )
    for one in usable:
        if one.marks.drill is not None and not one.marks.drill.good:
            st.warning(
                f"**{escaped(named(one))} did not come back as it was saved** when `{one.short_id}`"
                f" was tried {ago(one.marks.drill.at.timestamp())}. Back it up again and try that "
                "one; delete nothing in CVAT until it comes back whole.",
                icon=":material/science:",
            )
            return


def _what_is_left(one: Snapshot, usable: list[Snapshot]) -> str:
    """Return what is wrong with a damaged snapshot, and which copy of the same is whole."""
    problems = one.marks.verified.problems if one.marks.verified else ()
    whole = [
        other
        for other in usable
        if other.subject.key == one.subject.key
        and other.is_usable
        and not other.is_damaged
        and (other.tier is not Tier.ANNOTATIONS or one.tier is Tier.ANNOTATIONS)
    ]
    left = (
        f"whole is `{whole[0].short_id}` of {when(whole[0].finished.timestamp())}"
        if whole
        else "there is no other copy"
    )
    first = escaped(problems[0]) if problems else "something in it differs"
    return f"`{one.short_id}`, {escaped(named(one))}: {first} ({left})"


def run_panel() -> None:
    """Draw what is under way of backups, verifications and restores, or else what just ended."""
    found = [run for run in activity.list_runs(session.workspace(), limit=30) if run.kind in RUNS]
    active = [run for run in found if run.phase.is_active]
    for run in active:
        runs.panel(run.id)
    if active or not found or found[0].ended is None:
        return
    if time.time() - found[0].ended < NEWS_S:
        runs.panel(found[0].id)
        _restored(found[0])


def _restored(run: RunState) -> None:
    """Link to what a restore made."""
    made = run.result.get("restored")
    for name, url in made if isinstance(made, list) else ():
        st.markdown(f":material/open_in_new: [{escaped(name)} in CVAT]({url})")


def filters(state: RepositoryState) -> list[Snapshot]:
    """Draw the filters and return the snapshots that pass them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            "Search", key=keys.BACKUPS_SEARCH, bind="query-params", icon=":material/search:",
            placeholder="Name, number, reason, person", live=True, width=250,
        ) or ""  # fmt: skip
        tier = st.segmented_control(
            "What", ["all", *TIERS.values()], default="all", required=True, key=keys.BACKUPS_TIER,
            wrap=True,
        )  # fmt: skip
        only = st.toggle("Protected", key=keys.BACKUPS_PROTECTED)
        forgotten = st.toggle(
            "Forgotten", key=keys.BACKUPS_FORGOTTEN, help="Those that the next prune removes, too"
        )
    return [
        one
        for one in state.snapshots
        if all(word in repositories.searchable(one) for word in words.lower().split())
        and tier in ("all", TIERS[one.tier])
        and (not only or one.marks.protected)
        and (forgotten or one.marks.forgotten is None)
    ]


def chosen(found: list[Snapshot]) -> Snapshot:
    """Draw the table of snapshots and return the selected one."""
    ids = [one.short_id for one in found]
    row = ids.index(address.opened(keys.SNAPSHOT, ids))
    picked = st.dataframe(
        pd.DataFrame(
            {
                "When": [local(one.finished.timestamp()) for one in found],
                "Of": [named(one) for one in found],
                "State": [", ".join(_words(one)) for one in found],
                "Why": [one.reason or "–" for one in found],
                "Holds": [TIERS[one.tier] for one in found],
                "Objects": [_objects(one) for one in found],
                "Size": [size(one.size_bytes) for one in found],
                "New": [f"+{size(one.added_bytes)}" for one in found],
            }
        ),
        key=f"{keys.BACKUPS_TABLE}-{len(ids)}-{ids[0]}",
        hide_index=True,
        height=min(318, 38 + 35 * len(found)),
        on_select="rerun",
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [row]}},
        column_config={
            "When": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm", width=140),
            "Of": st.column_config.TextColumn(width="medium"),
            "Objects": st.column_config.NumberColumn(format="localized", width=70),
            "Size": st.column_config.TextColumn(width=70),
            "New": st.column_config.TextColumn(width=70),
        },
        alt="Snapshots, newest first",
    )
    rows = picked["selection"]["rows"]
    one = found[rows[0] if rows and rows[0] < len(found) else row]
    address.remember(keys.SNAPSHOT, one.short_id)
    return one


def coverage(repository: Repository, cvat: CvatSession) -> None:
    """Draw what exists on the server, and how old its newest copies are."""
    with errors_shown(), st.spinner("Comparing the server with the backups…", show_time=True):
        with cvat.in_organisation(None) as everywhere:
            rows = inspecting.coverage(repository, everywhere)
        bare = [row for row in rows if not row.is_covered]
        if bare:
            st.markdown(
                f"{WARN} **{len(bare)} of {len(rows)} have no copy with their images.** "
                "Back up now, above, saves them."
            )
        else:
            st.markdown(f"{OK} Everything that {escaped(cvat.user)} can see is covered.")
        organisations = [row.organisation or "–" for row in rows]
        st.dataframe(
            pd.DataFrame(
                {
                    "Covered": ["yes" if row.is_covered else "NO" for row in rows],
                    "What": [row.key.replace("-", " ") for row in rows],
                    "Name": [row.name for row in rows],
                    **({"Organisation": organisations} if {*organisations} != {"–"} else {}),
                    "Frames": [row.frames for row in rows],
                    "Annotations": [_age(row.annotations) for row in rows],
                    "With images": [_age(row.full) for row in rows],
                    "Verified copy": [_age(row.verified) for row in rows],
                    "Changed since": ["yes" if row.changed else "no" for row in rows],
                }
            ),
            hide_index=True, height=min(640, 38 + 35 * len(rows)),
            alt="What exists on the server and how it is covered",
        )  # fmt: skip


def _age(at: datetime | None) -> str:
    return "never" if at is None else ago(at.timestamp())


def named(one: Snapshot) -> str:
    """Return what a snapshot is of, "task 41 · bolts"."""
    if one.subject.kind == "instance":
        return "whole server"
    return f"{one.subject.kind} {one.subject.id} · {one.subject.name}"


def _objects(one: Snapshot) -> int:
    return sum(one.counts.get(kind, 0) for kind in ("shapes", "tags", "tracks"))


def _words(one: Snapshot) -> list[str]:
    """Return the state of a snapshot, the most important word first."""
    said = []
    if one.marks.forgotten is not None:
        said.append("✗ forgotten")
    if one.is_damaged:
        said.append("✗ damaged")
    if one.state is not State.OK:
        said.append(f"⚠ {one.state}")
    if one.is_verified:
        said.append("✓ verified")
    if one.marks.drill is not None:
        said.append("✓ tried" if one.marks.drill.good else "✗ did not restore")
    if one.marks.protected:
        said.append("🔒 protected")
    return said or ["✓ saved"]

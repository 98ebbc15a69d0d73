"""The parts of the Backups page: the repository, the list of snapshots, one snapshot, coverage."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import streamlit as st

from lsl_core.services import activity, backup_runs, backups, reviewing_backups
from lsl_core.services.backups import Repository, RepositoryState, Snapshot, State, Tier
from lsl_core.services.connections import CvatSession
from lsl_core.types import LabelMap
from lsl_core.ui import address, backup_dialogs, keys, runs, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import ago, local, plural, size, when
from lsl_core.ui.layout import escaped, facts
from lsl_core.ui.viewer import pack, viewer

#: Kinds of runs that this page starts or waits for.
RUNS = ("backup", "scheduled backup", "verify", "drill", "restore")
TIERS = {Tier.ANNOTATIONS: "annotations", Tier.FULL: "with images", Tier.INSTANCE: "whole server"}
OK, BAD, WARN = (
    ":green[:material/check_circle:]",
    ":red[:material/error:]",
    ":orange[:material/warning:]",
)


@st.cache_resource(ttl="30s", max_entries=4, show_spinner="Looking at the backups…")
def _known(root: str) -> tuple[Repository, RepositoryState]:
    repository = backups.open_repository(session.workspace())
    return repository, backups.state(repository)


def known() -> tuple[Repository, RepositoryState]:
    """Return the repository and how it stood at most 30 s ago."""
    return _known(str(session.workspace().root))


def forget_known() -> None:
    """Look at the repository anew."""
    _known.clear()


def standing(repository: Repository, state: RepositoryState) -> None:
    """Draw one line about the repository, and what is wrong with it."""
    usable = [one for one in state.snapshots if one.marks.forgotten is None]
    parts = [
        f":material/inventory_2: **{escaped(state.location)}**",
        plural(len(usable), "snapshot"),
        f"{size(state.stored_bytes)} stored",
    ]
    if state.free_bytes is not None:
        parts.append(f"{size(state.free_bytes)} free")
    forecast = backups.room(session.workspace(), repository)
    if forecast is not None and forecast.bytes_per_day is not None:
        parts.append(forecast.text)
    if state.is_encrypted:
        parts.append(":material/lock: encrypted")
    verified = f"last verified {ago(state.last_verified)} {OK}" if state.last_verified else ""
    parts.append(verified or f"never verified {WARN}")
    st.markdown(" · ".join(parts))
    damaged = [one for one in usable if one.is_damaged]
    if damaged or state.damaged:
        good = len(usable) - len(damaged)
        st.error(
            f"**{plural(len(damaged) + len(state.damaged), 'snapshot')} damaged, "
            f"{good} are not.** Back up again: what is damaged and still there in CVAT is stored "
            "anew, and older snapshots that share it become whole.",
            icon=":material/broken_image:",
        )
    for holder in state.holders:
        st.caption(f":material/edit: In use by {escaped(holder.text)} since {when(holder.since)}.")


def run_panel() -> None:
    """Draw the newest run of a backup, verification or restore, while it matters."""
    for run in activity.list_runs(session.workspace(), limit=20):
        is_new = run.ended is None or (pd.Timestamp.now("UTC").timestamp() - run.ended) < 600
        if run.kind in RUNS and is_new:
            runs.panel(run.id)
            return


def filters(state: RepositoryState) -> list[Snapshot]:
    """Draw the filters and return the snapshots that pass them."""
    left, middle, right = st.columns([3, 4, 3], vertical_alignment="bottom")
    words = left.text_input(
        "Search", key=keys.BACKUPS_SEARCH, bind="query-params", icon=":material/search:",
        placeholder="name, number, reason, note or person", live=True,
    ) or ""  # fmt: skip
    tier = middle.segmented_control(
        "What", ["all", *TIERS.values()], default="all", required=True, key=keys.BACKUPS_TIER
    )
    with right.container(horizontal=True):
        only = st.toggle("Protected only", key=keys.BACKUPS_PROTECTED)
        forgotten = st.toggle(
            "Forgotten", key=keys.BACKUPS_FORGOTTEN, help="Those that the next prune removes, too"
        )
    return [
        one
        for one in state.snapshots
        if all(word in backups.searchable(one) for word in words.lower().split())
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
                "Of": [_of(one) for one in found],
                "Why": [one.reason or "–" for one in found],
                "Holds": [TIERS[one.tier] for one in found],
                "Objects": [_objects(one) for one in found],
                "Size": [size(one.size_bytes) for one in found],
                "New": [f"+{size(one.added_bytes)}" for one in found],
                "State": [", ".join(_words(one)) for one in found],
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


def about(one: Snapshot) -> None:
    """Draw what a snapshot holds, what it lacks, and how well it is known to be whole."""
    st.subheader(f"{escaped(_of(one))} · {when(one.finished.timestamp())}", anchor=False)
    counts = ", ".join(
        plural(count, name.removesuffix("s")) for name, count in sorted(one.counts.items()) if count
    )
    rows = [
        ("Holds", counts or "nothing"),
        ("Server", f"{escaped(one.subject.url)}, CVAT {escaped(one.server_version)}"),
        ("Snapshot", f"`{one.short_id}`, taken by {escaped(one.taken_by)}"),
        ("Why", escaped(one.reason)),
        ("Verified", _verdict(one.marks.verified, "read back, every byte as it was written")),
        ("Drill", _verdict(one.marks.drill, "restored and compared: as it was saved")),
    ]
    if one.marks.protected:
        rows.append(("Protected", escaped(one.marks.note) or "yes"))
    facts(rows)
    for lack in one.missing[:8]:
        st.markdown(f"{WARN} Missing: **{escaped(lack.what)}**: {escaped(lack.why)}")
    if len(one.missing) > 8:
        st.caption(f"… and {len(one.missing) - 8} more: `lsl backup show {one.short_id}`")
    beside = reviewing_backups.left_out(one)
    if beside:
        with st.expander("What CVAT's own archive leaves out", type="compact"):
            st.markdown("\n".join(f"- {escaped(text)}" for text in beside))


def actions(repository: Repository, one: Snapshot, cvat: CvatSession | None) -> None:
    """Draw what can be done with a snapshot."""
    here = _same_server(one, cvat)
    with st.container(horizontal=True):
        if st.button("Restore as new…", icon=":material/restore:", key=keys.BACKUPS_RESTORE,
                     disabled=cvat is None or not one.is_usable) and cvat is not None:  # fmt: skip
            backup_dialogs.as_new(one, cvat)
        if st.button("Restore in place…", icon=":material/settings_backup_restore:",
                     key=keys.BACKUPS_IN_PLACE, help="Frames of the live task, with a way back",
                     disabled=here is None or not one.is_usable) and here is not None:  # fmt: skip
            backup_dialogs.in_place(repository, one, here)
        if st.button("Try to restore", icon=":material/science:", key=keys.BACKUPS_DRILL,
                     help="Into a scratch project, which is compared and removed again",
                     disabled=here is None or not one.is_usable) and here is not None:  # fmt: skip
            with errors_shown():
                backup_runs.submit_drill(session.workspace(), here, snapshot=one.id)
                st.rerun()
    with st.container(horizontal=True):
        if st.button("Verify", icon=":material/verified:", key=keys.BACKUPS_VERIFY_ONE,
                     help="Read everything back and compare its hashes"):  # fmt: skip
            with errors_shown():
                backup_runs.submit_verify(session.workspace(), owner=session.owner(), ids=[one.id])
                forget_known()
                st.rerun()
        backup_dialogs.protect(repository, one, forget_known)
        backup_dialogs.forget(repository, one, forget_known)


def compare_panel(repository: Repository, one: Snapshot, cvat: CvatSession | None) -> None:
    """Draw what changed on the server since a snapshot, when somebody asks."""
    here = _same_server(one, cvat)
    if st.button("Compare with now", icon=":material/difference:", key=keys.BACKUPS_COMPARE,
                 disabled=here is None or not one.is_usable) and here is not None:  # fmt: skip
        with errors_shown(), st.spinner("Reading what CVAT has now…", show_time=True):
            compared = reviewing_backups.compare_live(repository, here, one)
            st.session_state[keys.BACKUPS_COMPARED] = (one.id, compared)
    id_, found = st.session_state.get(keys.BACKUPS_COMPARED, ("", None))
    if id_ != one.id:
        return
    if found.is_same:
        st.markdown(f"{OK} Nothing changed since.")
        return
    st.markdown(f"**{escaped(found.text)}** since this snapshot")
    if found.rows:
        st.dataframe(
            pd.DataFrame(
                [(r.task, r.label, r.person or "–", r.added, r.removed, r.edited)
                 for r in found.rows],
                columns=["Task", "Label", "Person", "Added", "Removed", "Edited"],
            ),
            hide_index=True, alt="What changed since the snapshot",
        )  # fmt: skip


def frame_preview(repository: Repository, one: Snapshot, cvat: CvatSession | None) -> None:
    """Draw a frame of a snapshot with its objects."""
    tasks = reviewing_backups.tasks_of(repository, one)
    if not tasks:
        st.info("This snapshot holds no task with images.", icon=":material/image:")
        return
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    names = dict(tasks)
    task = left.selectbox(
        "Task", list(names), key=f"{keys.BACKUPS_TASK}-{one.short_id}",
        format_func=lambda task_id: f"{task_id} · {names[task_id]}",
    )  # fmt: skip
    frame = right.number_input(
        "Frame", min_value=0, step=1, key=f"{keys.BACKUPS_FRAME}-{one.short_id}-{task}"
    )
    with errors_shown():
        viewer(_frame_message(repository, one, int(task), int(frame), cvat),
               key=keys.BACKUPS_VIEWER, height=380, scope=f"{one.id} {task}")  # fmt: skip


def _frame_message(
    repository: Repository, one: Snapshot, task: int, frame: int, cvat: CvatSession | None
) -> bytes:
    key = f"{repository.location} {one.id} {task} {frame} {cvat.user if cvat else ''}"
    return _packed(repository, one, task, frame, cvat, key)


@st.cache_data(scope="session", max_entries=10, show_spinner="Reading the frame…")
def _packed(
    _repository: Repository,
    _one: Snapshot,
    task: int,
    frame: int,
    _cvat: CvatSession | None,
    key: str,
) -> bytes:
    found = reviewing_backups.saved_frame(
        _repository, _one, task, frame, session=_same_server(_one, _cvat)
    )
    return pack(
        found.pixels, found.instances, LabelMap(found.labels), image_id=key, name=found.name,
        floor_score=0.0,
    )  # fmt: skip


def coverage(repository: Repository, cvat: CvatSession) -> None:
    """Draw what exists on the server, and how old its newest copies are."""
    with errors_shown(), st.spinner("Comparing the server with the backups…", show_time=True):
        with cvat.in_organisation(None) as everywhere:
            rows = reviewing_backups.coverage(repository, everywhere)
        bare = [row for row in rows if not row.is_covered]
        if bare:
            st.markdown(f"{WARN} **{len(bare)} of {len(rows)} have no copy with their images.**")
        else:
            st.markdown(f"{OK} Everything that {escaped(cvat.user)} can see is covered.")
        st.dataframe(
            pd.DataFrame(
                {
                    "Covered": ["yes" if row.is_covered else "NO" for row in rows],
                    "What": [row.key.replace("-", " ") for row in rows],
                    "Name": [row.name for row in rows],
                    "Organisation": [row.organisation or "–" for row in rows],
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


def _same_server(one: Snapshot, cvat: CvatSession | None) -> CvatSession | None:
    """Return the connection when it is to the server that a snapshot was taken from."""
    return cvat if cvat is not None and cvat.url == one.subject.url else None


def _age(at: datetime | None) -> str:
    return "never" if at is None else ago(at.timestamp())


def _of(one: Snapshot) -> str:
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


def _verdict(verdict: backups.Verdict | None, good: str) -> str:
    if verdict is None:
        return "not yet"
    if verdict.good:
        return f"{OK} {good}, {ago(verdict.at.timestamp())}"
    first = escaped(verdict.problems[0]) if verdict.problems else "something is wrong"
    return f"{BAD} {first} ({ago(verdict.at.timestamp())})"

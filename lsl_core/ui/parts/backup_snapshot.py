"""One snapshot on the Backups page: what it holds, what changed since, its frames, what to do."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from lsl_core.services.backups import background, inspecting, repositories
from lsl_core.services.backups.repositories import Repository, Snapshot
from lsl_core.services.connections import CvatSession
from lsl_core.types import LabelMap
from lsl_core.ui import keys, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import ago, plural, when
from lsl_core.ui.layout import escaped, facts
from lsl_core.ui.parts import backup_dialogs
from lsl_core.ui.parts.backup_panels import BAD, OK, WARN, forget_known, named
from lsl_core.ui.viewer import pack, viewer

#: How much of a long list of problems is shown; the rest is told by `lsl backup show`.
_LINES = 6


def about(one: Snapshot) -> None:
    """Draw what a snapshot holds, what it lacks, and how well it is known to be whole."""
    st.subheader(f"{escaped(named(one))} · {when(one.finished.timestamp())}", anchor=False)
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
    if one.marks.forgotten is not None:
        rows.append(("Forgotten", f"{ago(one.marks.forgotten.timestamp())}; the next prune "
                                  "removes it"))  # fmt: skip
    facts(rows)
    for verdict in (one.marks.verified, one.marks.drill):
        if verdict is not None and len(verdict.problems) > 1:
            _lines(one, [f"{BAD} {escaped(text)}" for text in verdict.problems[1:]])
    _lines(
        one,
        [f"{WARN} Missing: **{escaped(lack.what)}**: {escaped(lack.why)}" for lack in one.missing],
    )
    beside = inspecting.left_out(one)
    if beside:
        with st.expander("What CVAT's own archive leaves out", type="compact"):
            st.markdown("\n".join(f"- {escaped(text)}" for text in beside))


def _lines(one: Snapshot, lines: list[str]) -> None:
    for line in lines[:_LINES]:
        st.markdown(line)
    if len(lines) > _LINES:
        st.caption(f"… and {len(lines) - _LINES} more: `lsl backup show {one.short_id}`")


def actions(repository: Repository, one: Snapshot, cvat: CvatSession | None) -> None:
    """Draw what can be done with a snapshot: look closer, bring it back, keep or forget it."""
    why_not, why_not_here = _obstacles(one, cvat)
    here = cvat if not why_not_here else None
    with st.container(horizontal=True, gap="xsmall"):
        is_compared = st.button("Compare with now", icon=":material/difference:",
                                key=keys.BACKUPS_COMPARE, disabled=here is None,
                                help=why_not_here or None)  # fmt: skip
        _verify(one)
        _try(one, here, why_not_here)
    if is_compared and here is not None:
        _compare(repository, one, here)
    _compared(one)
    with st.container(horizontal=True, gap="xsmall"):
        if st.button("Restore as new…", icon=":material/restore:", key=keys.BACKUPS_RESTORE,
                     disabled=bool(why_not), help=why_not or "Nothing that is there changes",
                     ) and cvat is not None:  # fmt: skip
            with errors_shown():
                backup_dialogs.look_and_restore(repository, one, cvat)
        if st.button("Restore in place…", icon=":material/settings_backup_restore:",
                     key=keys.BACKUPS_IN_PLACE, disabled=here is None,
                     help=why_not_here or "Frames of the live task, with a way back",
                     ) and here is not None:  # fmt: skip
            backup_dialogs.in_place(repository, one, here)
    with st.container(horizontal=True, gap="xsmall"):
        backup_dialogs.protect(repository, one, forget_known)
        backup_dialogs.forget(repository, one, forget_known)


def _obstacles(one: Snapshot, cvat: CvatSession | None) -> tuple[str, str]:
    """Say why a snapshot cannot be restored, and why not on the server it came from; "" if so."""
    if cvat is None:
        return ("Connect to CVAT first",) * 2
    if not one.is_usable:
        return ("This backup failed: there is nothing to bring back",) * 2
    if cvat.url != one.subject.url:
        return "", f"It was taken from {one.subject.url}, and you are connected to {cvat.url}"
    return "", ""


def _verify(one: Snapshot) -> None:
    if st.button("Verify", icon=":material/verified:", key=keys.BACKUPS_VERIFY_ONE,
                 help="Read everything back and compare its hashes"):  # fmt: skip
        with errors_shown():
            background.submit_verify(session.workspace(), owner=session.owner(), ids=[one.id])
            forget_known()
            st.rerun()


def _try(one: Snapshot, here: CvatSession | None, why_not: str) -> None:
    if st.button("Try to restore", icon=":material/science:", key=keys.BACKUPS_DRILL,
                 help=why_not or "Into a scratch project, which is compared and removed again",
                 disabled=here is None) and here is not None:  # fmt: skip
        with errors_shown():
            background.submit_drill(session.workspace(), here, snapshot=one.id)
            st.rerun()


def _compare(repository: Repository, one: Snapshot, here: CvatSession) -> None:
    """Find out what changed on the server since a snapshot."""
    st.session_state.pop(keys.BACKUPS_COMPARED, None)
    with errors_shown(), st.spinner("Reading what CVAT has now…", show_time=True):
        compared = inspecting.compare_live(repository, here, one)
        st.session_state[keys.BACKUPS_COMPARED] = (one.id, compared)


def _compared(one: Snapshot) -> None:
    """Draw what changed since, when somebody asked."""
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
    tasks = inspecting.tasks_of(repository, one) if one.is_usable else []
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
    is_here = _cvat is not None and _cvat.url == _one.subject.url
    found = inspecting.saved_frame(
        _repository, _one, task, frame, session=_cvat if is_here else None
    )
    return pack(
        found.pixels, found.instances, LabelMap(found.labels), image_id=key, name=found.name,
        floor_score=0.0, may="look",
    )  # fmt: skip


def _verdict(verdict: repositories.Verdict | None, good: str) -> str:
    if verdict is None:
        return "not yet"
    if verdict.good:
        return f"{OK} {good}, {ago(verdict.at.timestamp())}"
    first = escaped(verdict.problems[0]) if verdict.problems else "something is wrong"
    return f"{BAD} {first} ({ago(verdict.at.timestamp())})"

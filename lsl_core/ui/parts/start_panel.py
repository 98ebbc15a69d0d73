"""What a training starts from: the small network of ours, or weights that others trained."""

from __future__ import annotations

import streamlit as st

from lsl_core.services import activity
from lsl_core.services.models import pretrained, training
from lsl_core.services.models.pretrained import Offered
from lsl_core.types import Mode
from lsl_core.ui import keys, runs, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.layout import escaped

_TITLES = {"compact": "a small network of ours", "foundation": "pretrained weights"}
_USES = {
    pretrained.Role.DETECTOR: "Find objects with",
    pretrained.Role.SEGMENTER: "Draw masks with",
}


def choose_start(mode: Mode) -> tuple[str, tuple[str, ...], bool]:
    """Ask for the family and, of pretrained weights, which.

    Returns:
        The family, the names of the weights, and whether all of them are here.
    """
    family = st.selectbox(
        "Start from", list(training.families()), key=keys.TRAIN_FAMILY,
        format_func=lambda name: _TITLES.get(name, name), persist_state="session",
    )  # fmt: skip
    if family == training.DEFAULT_FAMILY:
        return family, (), True
    st.caption(
        ":material/memory: Made for a GPU. On a processor a step takes up to ten seconds, and the "
        "first look at a window up to eight."
    )
    known = pretrained.offered(session.workspace())
    chosen = [_choose(known, role) for role in pretrained.needed(mode)]
    for one in chosen:
        if not one.is_here:
            _offer(one)
    return family, tuple(one.name for one in chosen), all(one.is_here for one in chosen)


def _choose(known: list[Offered], role: pretrained.Role) -> Offered:
    by_name = {one.name: one for one in known if one.role is role}
    name = st.selectbox(
        _USES[role],
        list(by_name),
        key=f"{keys.TRAIN_BASE}-{role}",
        persist_state="session",
    )
    one = by_name[name]
    where = "here" if one.is_here else "not here yet"
    st.caption(
        f"{escaped(one.title)} · {one.megabytes} MB, {where} · licence {escaped(one.licence)}"
    )
    return one


def _offer(one: Offered) -> None:
    """Offer to download weights, or show how that goes."""
    run = runs.latest("pull", one.name)
    if run is not None and run.phase.is_active:
        runs.panel(run.id)
        return
    if run is not None and run.message:
        st.warning(f"{run.message} {run.hint}".strip(), icon=":material/cloud_off:")
    if st.button(
        f"Get {one.name}, {one.megabytes} MB", icon=":material/download:",
        key=f"{keys.TRAIN_PULL}-{one.name}", help=f"The same: lsl models pull {one.name}",
    ):  # fmt: skip
        with errors_shown():
            activity.submit_pull(session.workspace(), name=one.name, owner=session.owner())
            st.rerun()

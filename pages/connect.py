"""Connect: sign in to the CVAT server where the tasks live."""

from __future__ import annotations

import streamlit as st

from lsl_core.services import connections
from lsl_core.services.connections import CvatSession
from lsl_core.ui import keys, session, sign_in
from lsl_core.ui.errors import error_card, errors_shown
from lsl_core.ui.layout import escaped, facts, header

EVERYTHING, PERSONAL = "Everything I can see", "My personal workspace"


def switch(cvat: CvatSession) -> None:
    """Offer another organisation."""
    slugs = {None: EVERYTHING, "": PERSONAL}
    slugs |= {found.slug: f"{found.name} ({found.slug})" for found in cvat.organisations()}
    chosen = st.selectbox(
        "Organisation",
        list(slugs),
        index=list(slugs).index(cvat.organisation) if cvat.organisation in slugs else 0,
        format_func=lambda slug: slugs[slug],
        key=keys.CONNECT_ORGANISATION + "-switch",
        help="Tasks are listed for one organisation at a time, as in CVAT.",
    )
    if chosen != cvat.organisation and st.button("Switch organisation", key=keys.CONNECT_SWITCH):
        workspace = session.workspace()
        session.connect(
            lambda: connections.sign_in(
                cvat.saved_login,
                url=cvat.url,
                organisation=chosen,
                verify_tls=workspace.settings().cvat.verify_tls,
                remember_in=workspace,
            )
        )
        st.rerun()


def show(cvat: CvatSession) -> None:
    """Show who is signed in where, and what comes next."""
    left, right = st.columns([3, 2], gap="large")
    with left, st.container(border=True):
        st.subheader(":green[:material/check_circle:] Connected", anchor=False)
        server = cvat.server
        scores = "kept in the shapes" if server.keeps_score else "kept in this workspace"
        facts(
            [
                ("Server", f"{escaped(server.name)} at `{cvat.url}`"),
                ("Version", f"{server.version} · supported"),
                ("Signed in as", f"**{escaped(cvat.user)}**"),
                ("Scores of pushed shapes", scores),
            ]
        )
        if server.warning:
            st.warning(server.warning, icon=":material/warning:")
        with errors_shown():
            switch(cvat)
    with right, st.container(border=True):
        st.subheader("What comes next", anchor=False)
        st.page_link("pages/tasks.py", label="1 Pick a labelled task", icon=":material/view_list:")
        st.page_link(
            "pages/train.py", label="2 Train a model on it", icon=":material/model_training:"
        )
        st.page_link("pages/preview.py", label="3 Preview the rest", icon=":material/preview:")
        st.page_link("pages/push.py", label="4 Push what is good", icon=":material/cloud_upload:")


def ask() -> None:
    """Ask for a server and a way to sign in."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        wish = sign_in.form()
    with right:
        st.subheader("What is checked", anchor=False)
        steps = st.empty()
        with steps.container():
            sign_in.checklist({})
        problem = session.sign_in_problem()
        if problem is not None and wish is None:
            error_card(problem)
        if wish is not None and sign_in.attempt(wish, steps):
            st.rerun()


connected = session.connection()
action = header("Connect", "Sign in to the CVAT server where your tasks live.")
if connected is None:
    ask()
else:
    if action.button("Disconnect", key=keys.CONNECT_LEAVE, icon=":material/logout:"):
        session.disconnect()
        st.rerun()
    show(connected)

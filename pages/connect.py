"""Connect: sign in to the CVAT server where the tasks live."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from lsl_core.errors import LslError
from lsl_core.services import connections, sourcing
from lsl_core.services.connections import CvatSession, Organisation
from lsl_core.services.labelling import previewing, pushing
from lsl_core.services.models import versions
from lsl_core.ui import keys, previews, session
from lsl_core.ui.errors import error_card, errors_shown
from lsl_core.ui.formats import ago, plural
from lsl_core.ui.layout import escaped, facts, header, offer_sign_in
from lsl_core.ui.parts import sign_in

#: The main job, page by page.
STEPS = (
    ("pages/tasks.py", "Pick a labelled task", ":material/view_list:"),
    ("pages/train.py", "Train a model on it", ":material/model_training:"),
    ("pages/preview.py", "Preview the rest", ":material/preview:"),
    ("pages/push.py", "Push what is good", ":material/cloud_upload:"),
)
#: Stands for no choice of organisation; no short name can be that.
ANY = "*"
EVERYTHING, PERSONAL = "Everything I can see", "My personal workspace"


def switch(cvat: CvatSession, organisations: Sequence[Organisation]) -> None:
    """Offer another organisation."""
    slugs = {ANY: EVERYTHING, "": PERSONAL}
    slugs |= {found.slug: f"{found.name} ({found.slug})" for found in organisations}
    now = ANY if cvat.organisation is None else cvat.organisation
    chosen = st.selectbox(
        "Organisation",
        list(slugs),
        index=list(slugs).index(now) if now in slugs else 0,
        format_func=lambda slug: slugs[slug],
        key=keys.CONNECT_ORGANISATION + "-switch",
        help="Tasks are listed for one organisation at a time, as in CVAT.",
    )
    if chosen != now and st.button("Switch organisation", key=keys.CONNECT_SWITCH):
        workspace = session.workspace()
        session.connect(
            lambda: connections.sign_in(
                cvat.saved_login,
                url=cvat.url,
                organisation=None if chosen == ANY else chosen,
                verify_tls=workspace.settings().cvat.verify_tls,
                remember_in=workspace,
            )
        )
        st.rerun()


def show(cvat: CvatSession) -> None:
    """Show who is signed in where, and what comes next."""
    left, right = st.columns([3, 2], gap="large")
    with left, st.container(border=True):
        title = st.subheader(":green[:material/check_circle:] Connected", anchor=False)
        server = cvat.server
        scores = "kept in the shapes" if server.keeps_score else "kept in this workspace"
        facts(
            [
                ("Server", f"{escaped(server.name)} at `{cvat.url}`"),
                ("Version", f"{server.version} · supported"),
                ("Signed in as", f"**{escaped(cvat.user)}**"),
                ("May write", escaped(cvat.rights)),
                ("Scores of pushed shapes", scores),
            ]
        )
        if server.warning:
            st.warning(server.warning, icon=":material/warning:")
        try:
            organisations = cvat.organisations()
        except LslError as error:
            title.subheader(":orange[:material/warning:] Signed in, but no answer", anchor=False)
            error_card(error)
        else:
            with errors_shown():
                switch(cvat, organisations)
    with right, st.container(border=True):
        st.subheader("What comes next", anchor=False)
        for number, (page, label, icon, state) in enumerate(main_job(), start=1):
            with st.container(gap=None, key=f"connect-step-{number}"):
                st.page_link(page, label=f"**{number} {label}**", icon=icon)
                st.caption(state)


def main_job() -> list[tuple[str, str, str, str]]:
    """Return the steps of the job: page, what to do, icon, and how far this workspace is."""
    workspace = session.workspace()
    sources = sourcing.list_sources(workspace)
    cards = versions.list_models(workspace)
    looked = previewing.list_previews(workspace)
    pushed = pushing.list_pushes(workspace)
    images = sum(info.num_images for info in sources if info.is_labelled)
    best = f", AP50 {cards[0].metrics.ap50:.2f}" if cards and cards[0].metrics else ""
    states = (
        f"{plural(len(sources), 'source')} with {plural(images, 'image')}" if sources else "",
        f"{cards[0].id}{best}, made {ago(cards[0].created)}" if cards else "",
        f"{previews.title_of(looked[0])}, {ago(looked[0].created)}" if looked else "",
        f"task {pushed[0].task_id}, {ago(pushed[0].created)}" if pushed else "",
    )
    return [
        (page, label, icon, escaped(state or "not yet"))
        for (page, label, icon), state in zip(STEPS, states, strict=True)
    ]


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
            offer_sign_in()
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

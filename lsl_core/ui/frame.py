"""The frame around every page: sign-in, sidebar, sandbox banner, error card."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page

from lsl_core.errors import LslError, WorkspaceError
from lsl_core.services import workspaces
from lsl_core.ui import keys, runs, session
from lsl_core.ui.errors import error_card, guarded
from lsl_core.ui.formats import size
from lsl_core.ui.layout import escaped, style

#: The sign in the browser's tab; Streamlit would fetch an icon by name from the internet.
ICON = str(Path(__file__).with_name("icon.png"))
_LOGO = Path(__file__).with_name("logo.svg").read_text("utf-8")


def enter(folder: Path) -> bool:
    """Open the workspace of the dashboard; say what to do when there is none.

    Returns:
        Whether there is a workspace, and so whether there are pages to show.
    """
    style()
    try:
        st.session_state[keys.WORKSPACE] = workspaces.open_workspace(folder)
    except WorkspaceError as error:
        _no_workspace(error)
        return False
    session.try_saved_sign_in()
    return True


def show(page: Page) -> None:
    """Draw the sidebar and the chosen page."""
    st.logo(_LOGO, size="large")
    with st.sidebar.container(gap="xsmall"):
        _connection()
        _space()
        st.divider()
        runs.strip()
    cvat = session.connection()
    if cvat is not None and cvat.server.is_sandbox:
        with st.container(key="sandbox-banner"):
            st.markdown(
                ":material/science: **Sandbox.** This CVAT is a practice server on this machine: "
                "push, undo and try things as you like."
            )
    guarded(page.run)


def _no_workspace(error: LslError) -> None:
    st.title("No workspace here", anchor=False)
    st.markdown(error.message)
    with st.container(border=True):
        st.markdown("**See the whole job on sample data:** one command makes a demo and opens it.")
        st.code("lsl demo", language="bash")
    with st.container(border=True):
        st.markdown("**Begin your own project:** make a workspace and open it.")
        st.code("lsl create my-project --task fsis\ncd my-project\nlsl up", language="bash")
    if "newer" in error.message:
        error_card(error)


def _connection() -> None:
    cvat = session.connection()
    if cvat is None:
        st.badge("Not connected", icon=":material/link_off:", color="gray")
        st.page_link("pages/connect.py", label="Connect to CVAT", icon=":material/lan:")
        return
    name = "Sandbox" if cvat.server.is_sandbox else "CVAT"
    st.badge(f"{name} {cvat.server.version}", icon=":material/link:", color="green")
    where = {None: "everything you can see", "": "personal workspace"}.get(
        cvat.organisation, escaped(cvat.organisation or "")
    )
    st.caption(
        f":material/person: **{escaped(cvat.user)}** · {where}",
        help=f"Signed in at {cvat.url}. Everyone at this dashboard acts as a CVAT user.",
    )


def _space() -> None:
    workspace = session.workspace()
    st.caption(
        f":material/hard_drive: **{escaped(workspace.root.name)}** · "
        f"{size(workspace.free_bytes())} free"
    )

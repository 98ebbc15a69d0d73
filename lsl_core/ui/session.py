"""Who is at this browser: the workspace, and the connection to CVAT.

The connection belongs to one browser session and is closed with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import streamlit as st

from lsl_core.errors import LslError
from lsl_core.services import connections
from lsl_core.services.connections import CvatSession
from lsl_core.services.workspaces import Workspace
from lsl_core.ui import keys


@dataclass(slots=True)
class _Seat:
    """The one connection of a browser session. error: why the saved sign-in did not work."""

    cvat: CvatSession | None = None
    was_tried: bool = False
    error: LslError | None = None

    def leave(self) -> None:
        if self.cvat is not None:
            self.cvat.close()
        self.cvat = None


@st.cache_resource(scope="session", on_release=_Seat.leave, show_spinner=False)
def _seat(root: str) -> _Seat:
    return _Seat()


def workspace() -> Workspace:
    """Return the workspace that the dashboard was opened on."""
    if keys.WORKSPACE not in st.session_state:
        # The first visit after the server's start, by a link to a page: Streamlit, which finds a
        # folder "pages", runs the page alone until somebody calls st.navigation.
        pages = (Path(__file__).parents[2] / "pages").glob("*.py")
        st.navigation([st.Page(f"pages/{page.name}") for page in pages])
        st.rerun()
    return cast("Workspace", st.session_state[keys.WORKSPACE])


def connection() -> CvatSession | None:
    """Return the session's connection to CVAT, or None."""
    return _mine().cvat


def sign_in_problem() -> LslError | None:
    """Return why the saved sign-in did not work, until somebody signs in."""
    return _mine().error


def try_saved_sign_in() -> None:
    """Connect once with what the workspace keeps; that is how the demo is signed in."""
    seat = _mine()
    if seat.was_tried:
        return
    seat.was_tried = True
    settings = workspace().settings().cvat
    if not settings.url:
        return
    seat.error = None
    try:
        with st.spinner("Signing in to CVAT…"):
            seat.cvat = connections.open_session(settings)
    except LslError as error:
        seat.error = error


def try_again() -> None:
    """Use the saved sign-in once more, when the page is drawn next."""
    _mine().was_tried = False


def connect(sign_in: Callable[[], CvatSession]) -> CvatSession:
    """Put a new connection in place of the old one, which stays when the sign-in fails."""
    seat = _mine()
    new = sign_in()
    seat.leave()
    seat.cvat, seat.error = new, None
    return new


def disconnect() -> None:
    """Sign out, and forget the key of this user on this machine."""
    seat = _mine()
    if seat.cvat is not None:
        connections.sign_out(seat.cvat)
    seat.cvat = None


def owner() -> str:
    """Return the name that runs of this session carry."""
    cvat = connection()
    return cvat.user if cvat is not None else ""


def _mine() -> _Seat:
    return _seat(str(workspace().root))

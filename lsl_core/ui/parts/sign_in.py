"""Signing in: the form, and the list of what was checked."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lsl_core.errors import LslError
from lsl_core.services import connections
from lsl_core.services.connections import ConnectStep, CvatSession, PasswordLogin, TokenLogin
from lsl_core.ui import keys, session
from lsl_core.ui.errors import error_card
from lsl_core.ui.layout import escaped

TOKEN, PASSWORD, PROFILE = "Access token", "User and password", "Profile of cvat-cli"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for in the form."""

    credentials: PasswordLogin | TokenLogin
    url: str
    organisation: str | None
    verify_tls: bool
    remembers: bool


def checklist(found: dict[ConnectStep, str], *, failed: bool = False) -> None:
    """Draw what connecting found out so far; the step that failed says so."""
    lines = []
    for step in ConnectStep:
        if step in found:
            lines.append(f":green[:material/check_circle:] {step} · {escaped(found[step])}")
        elif failed:
            lines.append(f":red[:material/cancel:] **{step}: no**")
            failed = False
        else:
            lines.append(f":gray[:material/radio_button_unchecked: {step}]")
    st.markdown("  \n".join(lines))


def _is_private() -> bool:
    """Whether the page is open on the machine that serves it, where one person sits."""
    host = urlsplit(st.context.url or "").hostname
    return host in ("localhost", "127.0.0.1", "::1")


def form() -> Wish | None:
    """Draw the form and return what was asked for when the button was pressed."""
    profiles = _profiles()
    method = st.segmented_control(
        "Sign in with", [TOKEN, PASSWORD, *([PROFILE] if profiles else [])], default=PASSWORD,
        required=True, key=keys.CONNECT_METHOD,
        help="CVAT 2.48 and newer make access tokens under Settings; older ones know none.",
    )  # fmt: skip
    saved = session.workspace().settings().cvat
    with st.form("connect"):
        if method == PROFILE:
            url, credentials = _from_profile(profiles)
        else:
            url = st.text_input(
                "Server", saved.url, key=keys.CONNECT_URL, placeholder="https://cvat.example.org"
            )
            credentials = _credentials(str(method), saved.user)
        organisation = st.text_input(
            "Organisation (optional)", saved.organisation or "", key=keys.CONNECT_ORGANISATION,
            placeholder="its short name; empty: everything you can see",
            help="A wrong organisation is the commonest cause of an empty task list.",
        )  # fmt: skip
        trusts_any = st.checkbox(
            "Accept a certificate that is not trusted", value=not saved.verify_tls,
            key=keys.CONNECT_TLS,
            help="Only for a server of your own with a self-made certificate.",
        )  # fmt: skip
        remembers = st.checkbox(
            "Sign everybody who opens this dashboard in like this", value=_is_private(),
            key=keys.CONNECT_REMEMBER,
            help="The address and user go to lsl.toml, so that the next visit is signed in. "
            "Leave it off when others can open this page. The password is never kept.",
        )  # fmt: skip
        is_sent = st.form_submit_button(
            "Connect", type="primary", icon=":material/login:", key=keys.CONNECT_GO
        )
    wish = Wish(credentials, url or "", (organisation or "").strip() or None, not trusts_any,
                remembers)  # fmt: skip
    return wish if is_sent else None


def _profiles() -> dict[str, str]:
    """Return the profiles that may be offered: only to who sits at this machine, whose they are."""
    if not _is_private():
        return {}
    try:
        return connections.saved_profiles()
    except LslError:  # a store that cannot be used is no reason not to sign in another way
        return {}


def _from_profile(profiles: dict[str, str]) -> tuple[str, PasswordLogin | TokenLogin]:
    name = st.selectbox(
        "Profile", list(profiles), format_func=lambda one: f"{one} ({profiles[one]})",
        key=keys.CONNECT_PROFILE,
    )  # fmt: skip
    return connections.profile_login(str(name))


def _credentials(method: str, user: str) -> PasswordLogin | TokenLogin:
    if method == TOKEN:
        return TokenLogin(
            st.text_input("Access token", key=keys.CONNECT_TOKEN, type="password") or ""
        )
    left, right = st.columns(2)
    name = left.text_input("User", user, key=keys.CONNECT_USER)
    password = right.text_input("Password", key=keys.CONNECT_PASSWORD, type="password")
    return PasswordLogin(name or "", password or "")


def attempt(wish: Wish, steps: DeltaGenerator) -> bool:
    """Sign in and fill the checklist at `steps`; say whether it worked."""
    found: dict[ConnectStep, str] = {}

    def report(step: ConnectStep, text: str) -> None:
        found[step] = text
        with steps.container():
            checklist(found)

    def sign_in() -> CvatSession:
        return connections.sign_in(
            wish.credentials,
            url=wish.url,
            organisation=wish.organisation,
            verify_tls=wish.verify_tls,
            remember_in=session.workspace() if wish.remembers else None,
            report=report,
        )

    try:
        session.connect(sign_in)
    except LslError as error:
        with steps.container():
            checklist(found, failed=True)
        error_card(error)
        return False
    return True

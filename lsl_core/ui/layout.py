"""Parts that every page is made of: its head, its empty state, small facts."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lsl_core.errors import CvatUnreachable
from lsl_core.ui import session

#: What Streamlit's theme has no setting for: room for the image, quiet tables of facts.
_STYLE = """
<style>
.stMainBlockContainer { padding: 2.9rem 2.2rem 2rem; }
.stAppHeader { background: transparent; height: 2.75rem; min-height: 2.75rem; }
.stMainBlockContainer h1 { font-size: 1.7rem; padding: 0; }
.stMainBlockContainer h2, .stMainBlockContainer h3 { font-size: 1.05rem; padding: 0 0 .3rem; }
.st-key-sandbox-banner { padding: .3rem .75rem; border-radius: .35rem;
  background: rgba(230, 159, 0, .16); border-left: 4px solid #E69F00; }
.st-key-next-strip [data-testid=stHorizontalBlock] { display: grid;
  grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); }
.st-key-review-figures [data-testid=stHorizontalBlock] { display: grid;
  grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr)); }
.st-key-task-frames [data-testid=stHorizontalBlock] { display: grid;
  grid-template-columns: repeat(3, 1fr); }
.st-key-next-strip [data-testid=stColumn], .st-key-review-figures [data-testid=stColumn],
.st-key-task-frames [data-testid=stColumn] { width: auto; min-width: 0; }
.st-key-train-keep-row { padding: .75rem 1rem; border-radius: .35rem;
  background: rgba(0, 114, 178, .1); border-left: 4px solid #0072B2; }
[class*=st-key-connect-step] [data-testid=stCaptionContainer] { padding-left: 2rem; }
.st-key-status button { min-height: 2.5rem; }
.st-key-sandbox-banner .stMarkdown, .st-key-sandbox-banner [data-testid=stMarkdownContainer] {
  margin: 0; }
.st-key-sandbox-banner p { font-size: .875rem; margin: 0; }
.stMarkdown table { width: 100%; font-size: .875rem; }
.stMarkdown table thead { display: none; }
.st-key-train-beside .stMarkdown table thead { display: table-header-group; font-weight: 400; }
.st-key-train-beside .stMarkdown table th { border: 0; padding: .35rem .5rem .35rem 0; }
.stMarkdown table td { border: 0; border-bottom: 1px solid rgba(128, 136, 144, .25);
  padding: .35rem .5rem .35rem 0; vertical-align: top; }
.stMarkdown table td:first-child { opacity: .7; white-space: nowrap; width: 1%;
  padding-right: 1.2rem; }
@media (max-width: 640px) {
  .st-key-status button { padding-inline: .6rem; }
  .stMarkdown table td { overflow-wrap: anywhere; }
  .stMarkdown table td:first-child { white-space: normal; width: 35%; }
}
.st-key-preview-strip img, .st-key-next-strip img, .st-key-gallery img, .st-key-task-frames img {
  aspect-ratio: 4 / 3; object-fit: cover; }
/* Streamlit writes white on the dark theme's light blue, 2.2 : 1; this is 8 : 1. */
.stApp button[kind^=primary]:enabled {
  color: light-dark(#FFFFFF, #14171C); }
/* Streamlit's captions and compact expanders are at 0.6: 4.47 : 1, and 3 : 1 in red. */
.stApp [data-testid=stCaptionContainer], .stApp [data-testid=stExpander] summary { opacity: .8; }
.stSidebar hr { margin: .6rem 0; }
.stSidebar .stProgress p { font-size: .8rem; }
</style>
"""


def style() -> None:
    """Apply the few rules of our own that Streamlit's theme has no setting for."""
    st.html(_STYLE)


def header(title: str, purpose: str) -> DeltaGenerator:
    """Draw the head of a page and return the place of its primary action, at the right."""
    left, right = st.columns([3, 1], vertical_alignment="center")
    with left:
        st.title(title, anchor=False)
        st.caption(purpose)
    return right.container(key="page-action", horizontal=True, horizontal_alignment="right")


def empty(what: str, why: str, *, page: str = "", label: str = "", icon: str = "") -> None:
    """Say what a page will show, why it shows nothing, and link to what mends it."""
    with st.container(border=True, horizontal_alignment="center", gap="small", height="stretch"):
        st.space("small")
        st.markdown(f"### {icon or ':material/inbox:'} {what}", text_alignment="center")
        st.markdown(why, text_alignment="center")
        if page:
            st.page_link(page, label=label, icon=":material/arrow_forward:")
        st.space("small")


def needs_cvat(what: str) -> None:
    """Draw the empty state of a page that shows what is in CVAT, with what stood in the way."""
    problem = session.sign_in_problem()
    why = "You are not signed in to CVAT."
    if problem is not None:
        refused = "" if isinstance(problem, CvatUnreachable) else "The saved sign-in did not work. "
        why = f"{refused}{escaped(str(problem))}"
    empty(what, why, page="pages/connect.py", label="Connect to CVAT", icon=":material/link_off:")
    offer_sign_in()


def offer_sign_in() -> None:
    """Offer the saved sign-in once more, when the server did not answer to it."""
    if isinstance(session.sign_in_problem(), CvatUnreachable):
        st.button("Try again", icon=":material/refresh:", on_click=session.try_again)


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Draw a short list of names and values."""
    lines = [f"| {name} | {value or '–'} |" for name, value in rows]
    st.markdown("\n".join(["| | |", "|:--|:--|", *lines]))


def escaped(text: str) -> str:
    """Return text that people chose, safe inside Markdown."""
    for sign in "\\`*_{}[]()#+!|<>~$:":
        text = text.replace(sign, "\\" + sign)
    return text

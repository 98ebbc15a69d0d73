"""The one way an error is shown: what happened, what to do now, and where to look."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from lsl_core.errors import CvatUnreachable, LslError, PartlyDone

logger = logging.getLogger(__name__)


def error_card(error: LslError) -> None:
    """Show an error; its detail goes to the log under the number that the card shows."""
    number = uuid.uuid4().hex[:6]
    logger.warning("report %s: %s %s", number, error, error.detail)
    with st.container(border=True):
        st.error(f"**{error.message}**", icon=":material/error:")
        if error.hint:
            st.markdown(f":material/arrow_forward: {error.hint}")
        if isinstance(error, PartlyDone):
            for name, reason in error.failed:
                st.markdown(f"- {name}: {reason}")
        with st.expander("Details", type="compact"):
            st.caption(f"{type(error).__name__}, report {number} in the log of the dashboard.")


@contextmanager
def errors_shown(*, redraws: bool = False) -> Iterator[None]:
    """Show an `LslError` of the block as a card, and go on after it.

    Args:
        redraws: whether the next run of the page comes to this block anyway, as it does not to
            what a press of a button does; then a server that went away is offered once more.
    """
    try:
        yield
    except LslError as error:
        error_card(error)
        if redraws:
            offer_again(error)


def offer_again(error: LslError) -> None:
    """Offer to draw the page once more, when that may help."""
    if isinstance(error, CvatUnreachable):
        st.button("Try again", icon=":material/refresh:", key=f"again-{uuid.uuid4().hex[:6]}")


def guarded(draw: Callable[[], None]) -> None:
    """Draw a page; whatever it raises becomes a card, never a traceback."""
    try:
        draw()
    except LslError as error:
        error_card(error)
        offer_again(error)
    except Exception:
        number = uuid.uuid4().hex[:6]
        logger.exception("report %s", number)
        with st.container(border=True):
            st.error(
                f"**Something went wrong in our code (report {number}).** "
                "Your data was not changed.",
                icon=":material/bug_report:",
            )
            st.markdown(
                ":material/arrow_forward: Reload the page. If it happens again, send us the lines "
                f"around `report {number}` of the dashboard's log."
            )

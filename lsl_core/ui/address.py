"""What is open, kept in the page's address, so that a link opens the same view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import streamlit as st

from lsl_core.ui import keys

Option = TypeVar("Option", int, str)


def opened(name: str, options: Sequence[Option], *, default: Option | None = None) -> Option:
    """Return which option the address names; else what was open before, the default, the first.

    Args:
        name: of the query parameter.
        options: what can be open; at least one.
        default: when neither the address nor this session names an option.
    """
    by_text = {str(option): option for option in options}
    before = st.session_state.get(_slot(name), "")
    wishes = (st.query_params.get(name, ""), before, str(default))
    found = next((by_text[text] for text in wishes if text in by_text), options[0])
    remember(name, found)
    return found


def remember(name: str, value: int | str) -> None:
    """Put what is open into the address, and keep it while other pages are looked at."""
    if st.query_params.get(name) != str(value):
        st.query_params[name] = str(value)
    st.session_state[_slot(name)] = str(value)


def follow(name: str, widget: str) -> None:
    """Open what a widget was just set to: its `on_change`."""
    value = st.session_state[widget]
    if value is not None:
        remember(name, value)


def _slot(name: str) -> str:
    return f"{keys.OPENED}-{name}"

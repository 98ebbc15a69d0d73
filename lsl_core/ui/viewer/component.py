"""The viewer as a Streamlit component: registered once, mounted by `viewer`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from lsl_core.ui.viewer.message import framed, read_head
from lsl_core.ui.viewer.state import ViewerState

_HERE = Path(__file__).parent
#: Concatenated to the one module that Streamlit loads, in this order.
_SCRIPTS = ("scene.js", "paint.js", "viewer.js", "input.js")


def _text(*names: str) -> str:
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


_component = st.components.v2.component(
    "lsl_viewer", html=_text("viewer.html"), css=_text("viewer.css"), js=_text(*_SCRIPTS)
)


def viewer(
    message: bytes,
    *,
    key: str,
    height: int = 600,
    start: ViewerState | None = None,
    scope: str = "",
    on_change: Callable[[ViewerState], None] | None = None,
) -> ViewerState:
    """Show a packed image with its objects, and return what was chosen.

    Until the browser has answered for this image, the answer is `start`. `start` is read when an
    image first appears in a scope; later values are ignored, so it may be the last answer itself.

    Args:
        message: from `pack`; the same bytes as long as the same image is shown.
        key: Streamlit's key of the element.
        height: of the picture, CSS pixels; less where the window is lower.
        start: thresholds and decisions to begin with; default: all that the run kept.
        scope: what thresholds belong to, for example the prediction run. They stay as chosen
            from image to image within a scope; a new scope takes them from `start` again.
        on_change: called with what was chosen before the page runs again. Its `image` may be
            the one before: a decision just before a change of image arrives with that change.
    """
    head = read_head(message)
    begin = _frozen_start(head, start, key=key, scope=scope)

    def changed() -> None:
        answer = _answer(st.session_state.get(key), scope)
        if on_change is not None and answer is not None:
            on_change(answer)

    mount = {"key": key, "scope": scope, "height": height, "start": begin.to_message()}
    result = _component(
        data=framed(mount) + message, key=key, default={"state": None}, on_state_change=changed
    )
    return _merged(_answer(result, scope), begin)


def _frozen_start(
    head: dict[str, Any], start: ViewerState | None, *, key: str, scope: str
) -> ViewerState:
    """Return `start` as it was when this image appeared, so that the message stays the same."""
    image = head["image"]
    slot = f"{key}-start"
    stored = st.session_state.get(slot)
    if stored is None or stored[0] != (image, scope):
        first = start or ViewerState(threshold=head["floor"] / 100)
        if first.image in ("", image):
            first = replace(first, image=image)
        else:
            first = ViewerState(first.threshold, first.thresholds, image=image)
        st.session_state[slot] = stored = ((image, scope), first)
    begin: ViewerState = stored[1]
    return begin


def _answer(result: Any, scope: str) -> ViewerState | None:  # noqa: ANN401 - Streamlit's mapping
    """Return what the browser said, unless it spoke of another scope."""
    message = None if result is None else result.get("state")
    if not message or message["scope"] != scope:
        return None
    return ViewerState.from_message(message)


def _merged(answer: ViewerState | None, begin: ViewerState) -> ViewerState:
    """Thresholds outlive an image; what was selected and decided belongs to its image."""
    if answer is None or answer.image == begin.image:
        return answer or begin
    return ViewerState(
        answer.threshold, answer.thresholds, begin.selected, begin.decisions, begin.image
    )

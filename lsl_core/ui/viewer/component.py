"""The viewer as a Streamlit component: registered once, mounted by `viewer`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from lsl_core.types import Window
from lsl_core.ui.viewer.message import framed, jpeg, read_head
from lsl_core.ui.viewer.state import ViewerState

_HERE = Path(__file__).parent
#: Concatenated to the one module that Streamlit loads, in this order.
_SCRIPTS = ("scene.js", "paint.js", "viewer.js", "regions.js", "input.js")
#: Widest part of an image that is sent, pixels: more than any screen shows.
_WIDEST_PX = 4096

Pixels = NDArray[np.uint8]
#: Returns a part of the image, some pixels wide.
Part = Callable[[Window, int], Pixels]


def _text(*names: str) -> str:
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


_component = st.components.v2.component(
    "lsl_viewer", html=_text("viewer.html"), css=_text("viewer.css"), js=_text(*_SCRIPTS)
)
#: Carries parts of an image to the viewer of the same key; there is nothing of it to be seen.
_carrier = st.components.v2.component("lsl_region", html="<i hidden></i>", js=_text("region.js"))


def viewer(
    message: bytes,
    *,
    key: str,
    height: int = 600,
    start: ViewerState | None = None,
    scope: str = "",
    on_change: Callable[[ViewerState], None] | None = None,
    part: Part | None = None,
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
        part: returns a window of the image, so many pixels wide; asked where somebody zooms into
            an image that was sent reduced.
    """
    head = read_head(message)
    begin = _frozen_start(head, start, key=key, scope=scope)

    def changed() -> None:
        answer = _answer(st.session_state.get(key), scope)
        if on_change is not None and answer is not None:
            on_change(answer)

    has_parts = part is not None and head["reduced"]
    mount = {"key": key, "scope": scope, "height": height, "start": begin.to_message(),
             "regions": has_parts}  # fmt: skip
    result = _component(
        data=framed(mount) + message,
        key=key,
        default={"state": None, "region": None},
        on_state_change=changed,
        on_region_change=lambda: None,  # draws the page anew, which answers below
    )
    if part is not None and has_parts:
        _carrier(data=_asked_part(result, head, part, key=key), key=f"{key}-part")
    return _merged(_answer(result, scope), begin)


def _asked_part(result: Any, head: dict[str, Any], part: Part, *, key: str) -> bytes:  # noqa: ANN401
    """Return the part of the image that the browser asked for last, packed; made once."""
    asked = None if result is None else result.get("region")
    if not asked or asked["image"] != head["image"]:
        return b""
    slot, name = f"{key}-part-sent", repr(sorted(asked.items()))
    if st.session_state.get(slot, ("",))[0] != name:
        window = _inside(asked, head["width"], head["height"])
        pixels = part(window, min(int(asked["pixels"]), _WIDEST_PX))
        place = {"key": key, "image": head["image"], **asdict(window)}
        st.session_state[slot] = (name, framed(place) + jpeg(pixels))
    packed: bytes = st.session_state[slot][1]
    return packed


def _inside(asked: dict[str, Any], width: int, height: int) -> Window:
    """Return the window that was asked for as far as it lies in the image, a pixel at least."""
    x, y = (min(max(0, int(asked[at])), side - 1) for at, side in (("x", width), ("y", height)))
    return Window(
        x,
        y,
        min(max(1, int(asked["width"])), width - x),
        min(max(1, int(asked["height"])), height - y),
    )


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

"""A page with nothing but the viewer, and what Python makes of its answer."""

from __future__ import annotations

import json

import streamlit as st
from viewer_sample import boxes_only, crowd, in_cvat, large, large_part, sample

from lsl_core.ui.viewer import ViewerState, pack, shown, viewer

st.set_page_config(layout="wide")
what = st.query_params.get("what", "masks")
image = st.segmented_control("image", ["one", "two"], default="one", key="image") or "one"


@st.cache_resource
def message(what: str, image: str) -> tuple:
    pixels, instances, labels = sample()
    if what == "crowd":
        pixels, instances, labels = crowd()
    elif what == "large":
        pixels, instances, labels = large()
    elif what == "cells":
        pixels, instances, labels = sample("cells")
    elif what == "boxes":
        instances = boxes_only()
    packed = pack(
        pixels, instances, labels, image_id=image, name=f"{image}.jpg",
        existing=None if what == "large" else in_cvat(),
        floor_score=0.05, may="cut" if what == "cut" else "judge",
    )  # fmt: skip
    return packed, instances


@st.fragment
def view() -> None:
    packed, instances = message(what, image)

    def changed(state: ViewerState) -> None:
        log = st.session_state.setdefault("log", [])
        log.append([state.image, {int(k): str(v) for k, v in state.decisions.items()}])

    state = viewer(
        packed,
        key="viewer",
        scope=what,
        start=ViewerState(threshold=0.5),
        on_change=changed,
        part=large_part if what == "large" else None,
    )
    answer = {
        "threshold": state.threshold,
        "thresholds": {str(k): v for k, v in state.thresholds.items()},
        "selected": state.selected,
        "decisions": {str(k): str(v) for k, v in state.decisions.items()},
        "shown": len(shown(instances, state)),
        "found": len(instances),
        "log": st.session_state.get("log", []),
        "bytes": len(packed),
    }
    with st.container(key="answer"):
        st.text(json.dumps(answer))


view()

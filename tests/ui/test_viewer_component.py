from __future__ import annotations

from streamlit.testing.v1 import AppTest

PAGE = """
import numpy as np
import streamlit as st
from lsl_core.types import Instances, LabelMap
from lsl_core.ui.viewer import Decision, ViewerState, pack, viewer

image = st.session_state.get("image", "one")
message = pack(np.zeros((40, 60, 3), np.uint8), Instances.empty((40, 60)), LabelMap(("bolt",)),
               image_id=image, floor_score=0.05)
start = st.session_state.get("start")
st.session_state["answer"] = viewer(message, key="viewer", start=start, scope="run")
"""


def test_the_slider_starts_at_the_floor_of_the_run():
    app = AppTest.from_string(PAGE).run()
    assert not app.exception
    assert app.session_state["answer"].threshold == 0.05


def test_start_is_read_when_an_image_appears_and_not_again():
    from lsl_core.ui.viewer import ViewerState

    app = AppTest.from_string(PAGE)
    app.session_state["start"] = ViewerState(threshold=0.4)
    app.run()
    app.session_state["start"] = ViewerState(threshold=0.9)
    app.run()
    assert app.session_state["answer"].threshold == 0.4
    app.session_state["image"] = "two"
    app.run()
    assert app.session_state["answer"] == ViewerState(threshold=0.9, image="two")


def test_decisions_of_another_image_do_not_start_this_one():
    from lsl_core.ui.viewer import Decision, ViewerState

    app = AppTest.from_string(PAGE)
    app.session_state["start"] = ViewerState(0.4, {}, 3, {3: Decision.REJECT}, "two")
    app.run()
    assert app.session_state["answer"] == ViewerState(threshold=0.4, image="one")


PARTS = """
import numpy as np
import streamlit as st
from lsl_core.types import Window
from lsl_core.ui.viewer import component

def part(window, pixels):
    st.session_state.setdefault("parts", []).append((window, pixels))
    return np.zeros((3, 4, 3), np.uint8)

head = {"image": "one", "width": 6000, "height": 5000}
st.session_state["sent"] = component._asked_part(
    {"region": st.session_state["asked"]}, head, part, key="viewer")
"""
ASKED = {"image": "one", "x": 5900, "y": -9, "width": 400, "height": 300, "pixels": 10**6}


def test_a_part_is_cut_to_the_image_and_made_once():
    from lsl_core.types import Window
    from lsl_core.ui.viewer.message import read_head

    app = AppTest.from_string(PARTS)
    app.session_state["asked"] = ASKED
    app.run()
    app.run()
    assert not app.exception
    assert app.session_state["parts"] == [(Window(5900, 0, 100, 300), 4096)]
    head = read_head(app.session_state["sent"])
    assert head == {"key": "viewer", "image": "one", "x": 5900, "y": 0, "width": 100, "height": 300}


def test_a_part_of_the_image_before_is_not_sent():
    app = AppTest.from_string(PARTS)
    app.session_state["asked"] = {**ASKED, "image": "another"}
    app.run()
    assert app.session_state["sent"] == b""
    assert "parts" not in app.session_state

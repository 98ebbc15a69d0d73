from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsl_core.types import Instances
from lsl_core.ui.viewer import Decision, ViewerState, shown, shown_mask
from lsl_core.ui.viewer.state import levels


def boxes(scores, class_ids=None) -> Instances:
    n = len(scores)
    ids = np.zeros(n, np.int32) if class_ids is None else np.array(class_ids, np.int32)
    return Instances(np.zeros((n, 4), np.float32), np.array(scores, np.float32), ids, None, (9, 9))


@pytest.mark.parametrize("percent", range(101))
def test_a_score_on_the_boundary_is_shown_and_its_neighbour_below_is_not(percent):
    on = np.float32(percent / 100)
    scores = [on, np.nextafter(on, np.float32(-1)), np.nextafter(on, np.float32(2))]
    found = boxes(scores)
    state = ViewerState(threshold=percent / 100)
    assert shown_mask(found, state).tolist() == [True, False, True]
    assert (levels(found.scores) >= percent).tolist() == [True, False, True]
    assert len(found.above(percent / 100)) == 2


@given(st.lists(st.floats(0, 1, width=32), max_size=40), st.integers(0, 100))
def test_levels_compare_as_above_does(scores, percent):
    found = boxes(scores)
    by_level = levels(found.scores) >= percent
    assert np.array_equal(by_level, shown_mask(found, ViewerState(threshold=percent / 100)))
    assert by_level.sum() == len(found.above(percent / 100))


def test_a_label_follows_its_own_threshold():
    found = boxes([0.6, 0.6, 0.6], [0, 1, 2])
    state = ViewerState(threshold=0.5, thresholds={1: 0.7})
    assert shown(found, state).class_ids.tolist() == [0, 2]
    assert state.limits(3).tolist() == pytest.approx([0.5, 0.7, 0.5])


def test_kept_stays_at_any_threshold_and_rejected_goes():
    found = boxes([0.9, 0.8, 0.1])
    state = ViewerState(threshold=0.85, decisions={0: Decision.REJECT, 2: Decision.KEEP})
    assert shown_mask(found, state).tolist() == [False, False, True]


def test_decisions_follow_the_ids_that_were_packed():
    found = boxes([0.9, 0.8])
    state = ViewerState(threshold=0.5, decisions={40: Decision.REJECT, 7: Decision.REJECT})
    assert shown_mask(found, state, ids=np.array([40, 41])).tolist() == [False, True]


def test_no_objects_are_no_trouble():
    assert len(shown(boxes([]), ViewerState(decisions={3: Decision.KEEP}))) == 0


def test_a_state_survives_the_way_to_the_browser_and_back():
    state = ViewerState(0.62, {2: 0.07}, 5, {3: Decision.KEEP}, "one")
    assert ViewerState.from_message(state.to_message()) == state

import numpy as np
import pytest

from lsl_core.training import best_thresholds
from lsl_core.training.scoring.correcting import (
    DELETE_S,
    DRAW_BOX_S,
    LOOK_S,
    MEND,
    correction_seconds,
)
from lsl_core.training.scoring.score import Matches
from lsl_core.types import Instances

HW = (40, 400)


def boxes(lefts: list[float], scores: list[float]) -> Instances:
    column = np.array([[x, 0, x + 10, 10] for x in lefts], np.float32).reshape(-1, 4)
    ids = np.zeros(len(lefts), np.int32)
    return Instances(column, np.array(scores, np.float32), ids, None, HW)


def test_work_is_looking_deleting_mending_and_drawing() -> None:
    of = Matches(
        np.array([0.9, 0.8, 0.7]),
        right=np.array([True, True, False]),
        close=np.array([True, False, False]),
        wanted=4,
    )
    work = correction_seconds(of, DRAW_BOX_S)
    assert work[0] == 4 * DRAW_BOX_S
    assert work[1] == pytest.approx(3 * DRAW_BOX_S + LOOK_S)
    assert work[2] == pytest.approx((2 + MEND) * DRAW_BOX_S + 2 * LOOK_S)
    assert work[3] == pytest.approx(work[2] + LOOK_S + DELETE_S)


def test_a_false_object_is_cheaper_than_a_missed_one_so_the_threshold_goes_below_it() -> None:
    truth = boxes([0, 20, 40, 60], [1, 1, 1, 1])
    found = boxes([0, 20, 200, 40], [0.9, 0.8, 0.6, 0.4])
    # one look and deletion (3.2 s) buys one box less to draw (7 s)
    assert best_thresholds([truth], [found], ("a",))["a"] <= 0.4


def test_many_false_objects_are_not_worth_the_one_behind_them() -> None:
    truth = boxes([0, 20, 40, 60], [1, 1, 1, 1])
    false = [200 + 15 * i for i in range(8)]
    found = boxes([0, 20, *false, 40], [0.9, 0.8, *[0.6] * 8, 0.4])
    assert best_thresholds([truth], [found], ("a",))["a"] > 0.6


def test_a_label_that_was_never_found_gets_the_usual_threshold() -> None:
    truth, nothing = boxes([0], [1]), boxes([], [])
    assert best_thresholds([truth], [nothing], ("a", "b")) == {"a": 0.3, "b": 0.3}

import numpy as np
import pytest

from lsl_core.models.calibrated import LEAST_RAW, calibrate, raw_floor
from lsl_core.training.scoring.calibration import calibration_error, fit_calibration
from lsl_core.types import Instances

HW = (20, 20000)


def overconfident(count: int) -> tuple[Instances, Instances]:
    """Boxes whose scores promise more than is right: of those at 0.9, six in ten are."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.99, count).astype(np.float32)
    right = rng.random(count) < scores**3
    left = np.arange(count, dtype=np.float32) * 12
    column = np.stack([left, left * 0, left + 10, left * 0 + 10], axis=1)
    ids = np.zeros(count, np.int32)
    found = Instances(column, scores, ids, None, HW)
    return found.take(right), found


def test_calibrated_scores_are_nearer_to_what_is_right() -> None:
    truth, found = overconfident(600)
    calibration = fit_calibration([truth], [found], ("a",))
    assert calibration is not None
    better = Instances(found.boxes, calibrate(found.scores, calibration), found.class_ids, None, HW)
    before = calibration_error([truth], [found], ("a",))
    after = calibration_error([truth], [better], ("a",))
    assert before > 0.15
    assert after < before / 3


def test_few_examples_leave_scores_as_they_are() -> None:
    truth, found = overconfident(40)
    assert fit_calibration([truth], [found], ("a",)) is None
    assert fit_calibration([], [], ("a",)) is None


def test_the_order_of_scores_stays_and_the_floor_is_that_of_calibrated_scores() -> None:
    calibration = (1.7, -0.8)
    scores = np.linspace(0.03, 0.99, 50, dtype=np.float32)
    assert (np.diff(calibrate(scores, calibration)) > 0).all()
    raw = raw_floor(0.25, calibration)
    assert calibrate(np.array([raw], np.float32), calibration)[0] == pytest.approx(0.25, abs=1e-4)
    assert raw_floor(0.0, calibration) == LEAST_RAW

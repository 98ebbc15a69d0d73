import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lsl_core.errors import BadThreshold, LabelMismatch, TooBusy, TooLarge, TooLate, UserInput
from lsl_core.inference.cache import PredictionCache
from lsl_core.serve import Detector, DetectSettings
from lsl_core.types import SlideWindows

from .fakes import POISON, BrightModel, image_with, looks, png, ring


@pytest.fixture
def model():
    return BrightModel()


@pytest.fixture
def detector(model):
    with Detector(model) as opened:
        yield opened


def boxes(found):
    return found.boxes.astype(int).tolist()


def test_objects_at_the_models_own_thresholds_have_binary_masks(detector):
    pixels = image_with((10, 10, 5, 6))
    pixels[50:60, 50:60] = 100

    found = detector.detect(png(pixels))

    assert boxes(found) == [[10, 10, 15, 16]]
    assert found.masks.areas().tolist() == [30]


def test_a_threshold_of_the_caller_wins_over_the_models_own(detector):
    pixels = image_with((10, 10, 5, 6))
    pixels[50:60, 50:60] = 100

    found = detector.detect(png(pixels), DetectSettings(threshold=0.3))

    assert found.class_ids.tolist() == [0, 1]


def test_only_wanted_labels_come_back(detector):
    pixels = image_with((10, 10, 5, 6))
    pixels[50:60, 50:60] = 100

    found = detector.detect(png(pixels), DetectSettings(threshold=0.1, labels=("dim cell",)))

    assert boxes(found) == [[50, 50, 60, 60]]


def test_a_label_that_the_model_lacks_is_refused_by_name(detector):
    with pytest.raises(LabelMismatch, match='no label "bolt"'):
        detector.detect(png(ring()), DetectSettings(labels=("bolt",)))


def test_holes_survive_and_are_filled_on_request(detector):
    assert detector.detect(png(ring())).masks.areas().tolist() == [1500]
    filled = detector.detect(png(ring()), DetectSettings(fill_holes=True))
    assert filled.masks.areas().tolist() == [1600]


def test_windows_are_looked_at_and_joined(detector, model):
    data = png(image_with((50, 20, 60, 12), hw=(64, 200)))

    found = detector.detect(data, DetectSettings(slide=SlideWindows(64, 64, 16)))

    assert boxes(found) == [[50, 20, 110, 32]]
    assert all(hw == (64, 64) for batch in model.batches for hw in batch)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_thresholds_outside_their_range_are_refused(value):
    with pytest.raises(BadThreshold):
        DetectSettings(threshold=value)


@pytest.mark.parametrize(
    "data", [b"", b"no image", png(ring())[:200]], ids=["empty", "text", "cut"]
)
def test_what_is_no_whole_image_is_refused(detector, data):
    with pytest.raises(UserInput, match=r"x\.png"):
        detector.detect(data, name="x.png")


def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(model, monkeypatch):
    monkeypatch.setattr(
        "lsl_core.serve.detector.decode_rgb", lambda *_, **__: pytest.fail("decoded")
    )
    with (
        Detector(model, looks(model, max_pixels=100)) as detector,
        pytest.raises(TooLarge, match="120×100"),
    ):
        detector.detect(png(ring()))


def detected_together(detector, model, images):
    """Return what is found; while the model looks at the first image, all others come to wait."""
    model.may_go.clear()
    with ThreadPoolExecutor(len(images)) as pool:
        first = pool.submit(detector.detect, images[0])
        assert model.has_begun.wait(60)
        others = [pool.submit(detector.detect, image) for image in images[1:]]
        while len(detector._batching._waiting) < len(others):
            threading.Event().wait(0.01)
        model.may_go.set()
        return [future.result(60) for future in (first, *others)]


def test_callers_at_the_same_time_share_a_batch(detector, model):
    images = [png(image_with((10 + i, 10, 5, 6))) for i in range(9)]
    answers = detected_together(detector, model, images)
    assert [boxes(found) for found in answers] == [[[10 + i, 10, 15 + i, 16]] for i in range(9)]
    assert [len(batch) for batch in model.batches] == [1, 8]


def test_batches_have_few_sizes_so_that_memory_comes_to_rest(detector, model):
    detected_together(detector, model, [png(image_with((10 + i, 10, 5, 6))) for i in range(14)])
    assert [len(batch) for batch in model.batches] == [1, 8, 4, 1]


def test_a_huge_image_does_not_hold_up_a_small_one(model):
    with Detector(model, batch_size=2) as detector:
        model.may_go.clear()
        with ThreadPoolExecutor(2) as pool:
            slide = DetectSettings(slide=SlideWindows(64, 64, 0))
            large = pool.submit(detector.detect, png(image_with(hw=(64, 640))), slide)
            assert model.has_begun.wait(60)
            small = pool.submit(detector.detect, png(ring()))
            while len(detector._batching._waiting) < 2:
                threading.Event().wait(0.01)
            model.may_go.set()
            assert len(small.result(60)) == 1
            assert len(large.result(60)) == 0

    assert (100, 120) in model.batches[1]
    assert len(model.batches) == 6


def test_a_window_that_breaks_a_batch_fails_its_own_image_only(detector, model):
    poisoned = image_with((10, 10, 5, 6))
    poisoned[0, 0] = POISON
    model.may_go.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(detector.detect, png(image_with((1, 1, 5, 5))))
        assert model.has_begun.wait(60)
        bad = pool.submit(detector.detect, png(poisoned))
        good = pool.submit(detector.detect, png(ring()))
        while len(detector._batching._waiting) < 2:
            threading.Event().wait(0.01)
        model.may_go.set()
        assert len(first.result(60)) == len(good.result(60)) == 1
        with pytest.raises(RuntimeError, match="poisoned"):
            bad.result(60)


def test_one_image_is_looked_at_once_at_any_thresholds(model, tmp_path):
    cache = PredictionCache(tmp_path, max_bytes=10**6)
    with Detector(model, looks(model, cache=cache)) as detector, ThreadPoolExecutor(4) as pool:
        asked = [DetectSettings(threshold=t) for t in (0.1, 0.5, 0.95, 0.2)]
        found = list(pool.map(lambda settings: len(detector.detect(png(ring()), settings)), asked))
        again = detector.detect(png(ring()))

    assert found == [1, 1, 0, 1]
    assert len(again) == 1
    assert model.batches == [[(100, 120)]]


def test_a_caller_that_waits_too_long_is_told_and_its_windows_are_dropped(detector, model):
    model.may_go.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(detector.detect, png(ring()))
        assert model.has_begun.wait(60)
        with pytest.raises(TooLate):
            detector.detect(png(image_with((1, 1, 3, 3))), timeout_s=0.01)
        model.may_go.set()
        assert len(first.result(60)) == 1
    detector.close()

    assert len(model.batches) == 1


def test_more_pixels_than_there_is_room_for_wait_their_turn(model, monkeypatch):
    monkeypatch.setattr("lsl_core.serve.detector.DECODED_BYTES", 100 * 120 * 3)
    model.may_go.clear()
    with Detector(model) as detector, ThreadPoolExecutor(2) as pool:
        first = pool.submit(detector.detect, png(ring()))
        assert model.has_begun.wait(60)
        with pytest.raises(TooBusy):
            detector.detect(png(image_with((1, 1, 3, 3))), timeout_s=0.01)
        second = pool.submit(detector.detect, png(image_with((2, 1, 3, 3))))
        model.may_go.set()
        assert len(first.result(60)) == len(second.result(60)) == 1


def test_closing_answers_those_who_wait_and_refuses_the_next(model):
    detector = Detector(model)
    model.may_go.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(detector.detect, png(ring()))
        assert model.has_begun.wait(60)
        closing = pool.submit(detector.close)
        model.may_go.set()
        assert len(first.result(60)) == 1
        closing.result(60)

    with pytest.raises(TooBusy):
        detector.detect(png(image_with((2, 1, 3, 3))))


def test_answers_are_the_same_with_and_without_company(detector, model):
    rng = np.random.default_rng(3)
    images = [png((rng.random((40, 40, 3)) > 0.7).astype(np.uint8) * 255) for _ in range(12)]
    alone = [detector.predict(image) for image in images]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(detector.predict, images))

    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.masks.values, other.masks.values)

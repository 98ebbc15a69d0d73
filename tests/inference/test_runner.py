import subprocess
import sys
import threading

import numpy as np
import pytest

from lsl_core.errors import (
    CvatUnreachable,
    DiskFull,
    OutOfGpuMemory,
    RunCancelled,
    UserInput,
)
from lsl_core.inference import runner
from lsl_core.inference.cache import PredictionCache
from lsl_core.inference.runner import FailedImage, predict_images
from lsl_core.types import Mode, Prediction, SlideWindows

from .fakes import BrightModel, Images, Listener, bright, card, image_with

SLIDE = SlideWindows(64, 64, 16)


@pytest.fixture
def cache(tmp_path):
    return PredictionCache(tmp_path / "cache", max_bytes=10**7)


def run(load, images, cache, **changed):
    values = {
        "card": card(),
        "transform_version": "bright-1",
        "images": images,
        "slide": SLIDE,
        "cache": cache,
    }
    return predict_images(load, **(values | changed))


def never():
    raise AssertionError("the model was loaded")


def test_an_object_over_four_windows_is_found_once_and_whole(cache):
    pixels = image_with((30, 20, 60, 60))
    (found,) = run(BrightModel, Images(pixels), cache)
    assert isinstance(found, Prediction)
    assert found.model_id == "cells-1"
    assert found.instances.boxes.tolist() == [[30, 20, 90, 80]]
    masks = found.instances.binary().masks
    assert masks.areas().tolist() == [3600]


def test_a_cached_task_makes_no_model_call_and_reads_no_image(cache):
    images = Images(image_with((1, 2, 30, 40)), image_with((50, 50, 9, 9)))
    model = BrightModel()
    first = list(run(lambda: model, images, cache))
    assert model.batches
    again = Images(*images.images, task_id=7)
    second = list(run(never, again, cache, card=card(id="cells-copy")))
    assert again.reads == []
    assert [p.image for p in second] == [again.ref(0), again.ref(1)]
    assert {p.model_id for p in second} == {"cells-copy"}
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.instances.masks.values, b.instances.masks.values)
        assert np.array_equal(a.instances.boxes, b.instances.boxes)


@pytest.mark.parametrize(
    "changed",
    [
        {"slide": None},
        {"slide": SlideWindows(64, 64, 17)},
        {"floor_score": 0.1},
        {"transform_version": "bright-2"},
        {"card": card(weights_sha256="cd" * 32)},
    ],
)
def test_whatever_changes_the_answer_asks_the_model_again(cache, changed):
    images = Images(image_with((1, 2, 30, 40)))
    list(run(BrightModel, images, cache))
    model = BrightModel()
    list(run(lambda: model, images, cache, **changed))
    assert len(model.batches) > 0


def test_windows_of_several_images_share_batches(cache):
    model = BrightModel()
    images = Images(*[image_with((5 * i, 5, 9, 9), hw=(60, 60)) for i in range(6)])
    everything_read = threading.Event()

    def read():
        for frame, (ref, pixels) in enumerate(images):
            yield ref, pixels
            if frame == 5:
                everything_read.set()

    def load():
        everything_read.wait(5)
        return model

    found = list(run(load, read(), cache, batch_size=4))
    assert [len(batch) for batch in model.batches] == [4, 2]
    assert [p.image.frame for p in found] == list(range(6))
    assert [p.instances.boxes[0, 0] for p in found] == [0, 5, 10, 15, 20, 25]


def test_the_first_result_is_there_before_the_last_image_is_read(cache):
    gate = threading.Event()
    images = Images(image_with((1, 1, 9, 9)), image_with((2, 2, 9, 9)))

    def slow():
        for frame, (ref, read) in enumerate(images):
            if frame == 1:
                assert gate.wait(5)
            yield ref, read

    found = run(BrightModel, slow(), cache, batch_size=16)
    assert next(found).image.frame == 0
    gate.set()
    assert next(found).image.frame == 1


def test_an_unreadable_image_fails_alone_and_says_why(cache):
    images = Images(
        image_with((1, 1, 9, 9)),
        UserInput("1.png is cut off.", hint="Copy it again."),
        OSError("disk gone"),
        image_with((2, 2, 9, 9)),
    )
    listener = Listener()
    found = list(run(BrightModel, images, cache, progress=listener))
    assert [type(outcome) for outcome in found] == [
        Prediction,
        FailedImage,
        FailedImage,
        Prediction,
    ]
    assert found[1].reason == "1.png is cut off. Copy it again."
    assert "disk gone" in found[2].reason
    assert found[1].ref.frame == 1
    assert listener.steps == [("Predicting", 4, "images")]
    assert listener.done == 4


def test_an_image_of_another_size_than_announced_fails_alone(cache):
    images = Images(image_with((1, 1, 9, 9)))
    ref = images.ref(0)
    (found,) = run(BrightModel, [(ref, lambda: np.zeros((5, 6, 3), np.uint8))], cache)
    assert isinstance(found, FailedImage)
    assert "6×5" in found.reason
    assert "120×100" in found.reason


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, None])
def test_out_of_memory_halves_the_batch_for_good_and_says_so(cache, error):
    model = BrightModel(capacity=3)
    if error is not None:
        model.error = lambda _: error("CUDA out of memory")
    listener = Listener()
    images = Images(image_with((30, 20, 60, 60)), image_with((1, 1, 9, 9)))
    found = list(run(lambda: model, images, cache, batch_size=8, progress=listener))
    assert max(len(batch) for batch in model.batches) <= 3
    assert found[0].instances.boxes.tolist() == [[30, 20, 90, 80]]
    assert found[1].instances.boxes.tolist() == [[1, 1, 10, 10]]
    assert listener.notes[-1].endswith("going on with 2.") or listener.notes[-1].endswith("with 3.")
    assert len(listener.notes) <= 2


def test_one_window_that_does_not_fit_is_an_error_with_a_way_out(cache):
    with pytest.raises(OutOfGpuMemory, match="64×64") as failed:
        list(run(lambda: BrightModel(capacity=0), Images(image_with()), cache))
    assert failed.value.hint


def test_a_bug_of_the_model_is_not_taken_for_lack_of_memory(cache):
    class Broken(BrightModel):
        def predict(self, windows, *, floor_score):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(run(Broken, Images(image_with()), cache))


def test_stopping_keeps_what_is_done(cache):
    images = Images(*[image_with((i, i, 9, 9)) for i in range(5)])
    found = run(BrightModel, images, cache, batch_size=6, progress=Listener(stop_after=2))
    done = [next(found), next(found)]
    with pytest.raises(RunCancelled):
        next(found)
    assert len(done) == 2
    model = BrightModel()
    rest = list(run(lambda: model, images, cache))
    assert len(rest) == 5
    assert sum(len(batch) for batch in model.batches) == 3 * 6


def test_leaving_early_ends_the_reading_thread(cache):
    images = Images(*[image_with((i, i, 9, 9)) for i in range(5)])
    found = run(BrightModel, images, cache)
    next(found)
    found.close()
    assert not [t for t in threading.enumerate() if t.name == "read-ahead"]


def test_images_are_read_a_bounded_number_of_bytes_ahead(cache, monkeypatch):
    images = Images(*[image_with((i, i, 9, 9)) for i in range(20)])
    monkeypatch.setattr(runner, "AHEAD_BYTES", 2 * images.images[0].nbytes)
    found = run(BrightModel, images, cache, batch_size=1)
    for frame, _ in enumerate(found):
        # two waiting; none is decoded before there is room for it
        assert len(images.reads) <= frame + 1 + 2


def test_trouble_while_listing_images_arrives_after_what_was_read(cache):
    images = Images(image_with((1, 1, 9, 9)))

    def breaks():
        yield from images
        raise CvatUnreachable("The server is gone.")

    found = run(BrightModel, breaks(), cache)
    assert isinstance(next(found), Prediction)
    with pytest.raises(CvatUnreachable):
        next(found)


def test_windows_of_no_use_are_refused_before_anything_is_read(cache):
    images = Images(image_with())
    with pytest.raises(UserInput):
        run(never, images, cache, slide=SlideWindows(64, 64, 64))
    assert images.reads == []


def test_a_damaged_entry_is_predicted_again_and_noted(cache, tmp_path):
    images = Images(image_with((1, 1, 9, 9)))
    list(run(BrightModel, images, cache))
    (entry,) = (tmp_path / "cache").rglob("*.pred")
    entry.write_bytes(entry.read_bytes()[:-40])
    listener, model = Listener(), BrightModel()
    (found,) = run(lambda: model, images, cache, progress=listener)
    assert model.batches
    assert found.instances.boxes.tolist() == [[1, 1, 10, 10]]
    assert "0.png is predicted again" in listener.notes[0]
    list(run(never, images, cache))


def test_a_full_disk_ends_the_keeping_and_not_the_predicting(tmp_path):
    class Full(PredictionCache):
        def put(self, key, prediction):
            raise DiskFull("There is no space left.")

    listener = Listener()
    images = Images(image_with((1, 1, 9, 9)), image_with((2, 2, 9, 9)))
    found = list(run(BrightModel, images, Full(tmp_path, max_bytes=9), progress=listener))
    assert all(isinstance(outcome, Prediction) for outcome in found)
    assert listener.notes == ["Predictions are not kept from here on: There is no space left."]


def test_the_whole_image_pass_shows_the_model_a_window_sized_image(cache):
    model = BrightModel()
    slide = SlideWindows(64, 64, 16, whole_image=True)
    pixels = image_with((10, 10, 260, 30), (200, 80, 20, 20), hw=(120, 320))
    (found,) = run(lambda: model, Images(pixels), cache, slide=slide)
    assert (24, 64) in {hw for batch in model.batches for hw in batch}
    assert sorted(found.instances.boxes.tolist()) == [[10, 10, 270, 40], [200, 80, 220, 100]]


def test_what_is_larger_than_windows_can_tell_comes_from_the_whole_image(cache):
    class Blind(BrightModel):
        """Sees nothing where a window is bright from side to side."""

        def predict(self, windows, *, floor_score):
            found = super().predict(windows, floor_score=floor_score)
            areas = [instances.binary().masks.areas().sum() for instances in found]
            return [
                f.take(slice(0, 0)) if a > 0.5 * w.shape[0] * w.shape[1] else f
                for w, f, a in zip(windows, found, areas, strict=True)
            ]

    pixels = image_with((20, 20, 280, 100), hw=(320, 320))
    slide = SlideWindows(64, 64, 16, whole_image=True)
    (found,) = run(Blind, Images(pixels), cache, slide=slide)
    (box,) = found.instances.boxes.tolist()
    assert box == pytest.approx([20, 20, 300, 120], abs=5)
    area = found.instances.binary().masks.areas()[0]
    assert area == pytest.approx(280 * 100, rel=0.1)


def test_predictions_do_not_depend_on_the_batch(tmp_path):
    rng = np.random.default_rng(0)
    rects = [tuple(rng.integers([0, 0, 5, 5], [180, 180, 60, 60])) for _ in range(12)]
    pixels = image_with(*rects, hw=(200, 210))
    whole = bright(pixels, 0.05)
    for size in (1, 3, 50):
        cache = PredictionCache(tmp_path / str(size), max_bytes=10**7)
        (found,) = run(BrightModel, Images(pixels), cache, batch_size=size)
        assert sorted(found.instances.boxes.tolist()) == sorted(whole.boxes.tolist())


class FirstWindowOnly(BrightModel):
    """Finds nothing in any window after the first."""

    def predict(self, windows, *, floor_score):
        found = super().predict(windows, floor_score=floor_score)
        is_first = [len(self.batches) == 1 and i == 0 for i in range(len(found))]
        return [f if keep else f.above(2) for f, keep in zip(found, is_first, strict=True)]


@pytest.mark.parametrize(("mode", "right"), [(Mode.FSIS, 64), (Mode.FSIS_SEGONLY, 56)])
def test_windows_of_a_semantic_model_all_have_a_say(cache, mode, right):
    images = Images(image_with((10, 10, 90, 30), hw=(64, 112)))
    (found,) = run(FirstWindowOnly, images, cache, card=card(mode=mode))
    assert found.instances.boxes.tolist() == [[10, 10, right, 40]]


def test_importing_the_runner_loads_no_torch():
    code = "import sys, lsl_core.inference.runner; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

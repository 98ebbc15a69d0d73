"""A model in a process of its own answers like one at hand, and outlives its process."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from lsl_core.errors import LabelMismatch, ModelError, UserInput, WeightsMissing
from lsl_core.geometry.drawable import Drawing
from lsl_core.inference.cache import PredictionCache
from lsl_core.models import load_model, read_card, save_model, transform_version
from lsl_core.models.compact.network import CompactNetwork
from lsl_core.models.devices import use_threads
from lsl_core.serve import Detector
from lsl_core.serve.apart import ModelProcess
from lsl_core.serve.looking import DetectSettings, Looks, Question
from lsl_core.types import Mode, SlideWindows

from .fakes import card, png


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = card(settings={"width": 8, "least_range": 8.0, "invert": False})
    state = CompactNetwork(Mode.FSIS, num_labels=2, width=8).state_dict()
    state["heads.heat.bias"].fill_(0.0)  # untrained, it would see hardly anything
    state["heads.foreground.bias"].fill_(2.0)
    path = tmp_path_factory.mktemp("apart") / made.id
    save_model(path, made, state)
    return path


@pytest.fixture(autouse=True)
def one_thread():
    """Compute with as many as the process does: two round differently."""
    before = torch.get_num_threads()
    use_threads(1)
    yield
    use_threads(before)


def looks(folder, **changed):
    made = read_card(folder)
    return Looks(made, transform_version(made.family), floor_score=0.01, **changed)


@pytest.fixture
def apart(folder):
    model = ModelProcess(folder, "cpu", looks(folder))
    yield model
    model.close()


def windows(count):
    rng = np.random.default_rng(3)
    return [rng.integers(0, 255, (64, 48, 3), np.uint8) for _ in range(count)]


def columns(found):
    return [(one.boxes.tolist(), one.scores.tolist(), one.masks.values.tobytes()) for one in found]


def test_it_answers_to_the_bit_as_the_model_at_hand(folder, apart):
    here = load_model(folder, device="cpu")
    for shown in (windows(1), windows(4)):
        found = apart.predict(shown, floor_score=0.01)
        assert sum(map(len, found)) > 0
        assert columns(found) == columns(here.predict(shown, floor_score=0.01))
    assert (apart.card, apart.device, apart.transform_version) == (
        here.card, here.device, here.transform_version,
    )  # fmt: skip


def test_a_process_that_died_is_told_and_started_again(apart):
    before = columns(apart.predict(windows(2), floor_score=0.01))
    os.kill(apart._process.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match="started again"):
        apart.predict(windows(2), floor_score=0.01)
    assert columns(apart.predict(windows(2), floor_score=0.01)) == before


def test_a_process_that_worked_long_is_followed_by_another(apart, monkeypatch):
    monkeypatch.setattr("lsl_core.serve.apart._WINDOWS", 3)
    processes, answers = [], []
    for _ in range(5):
        answers.append(columns(apart.predict(windows(2), floor_score=0.01)))
        processes.append(apart._process)
    first, _, second, _, third = processes
    assert processes == [first, first, second, second, third]
    assert (first.exitcode, second.exitcode, third.exitcode) == (0, 0, None)
    assert answers == answers[:1] * 5


def test_what_goes_wrong_there_is_raised_here_and_the_next_is_answered(apart):
    with pytest.raises(AttributeError):
        apart.predict([None], floor_score=0.01)
    assert len(apart.predict(windows(1), floor_score=0.01)) == 1


def test_a_model_that_is_not_there_is_named(folder, tmp_path):
    (tmp_path / "card.json").write_bytes((folder / "card.json").read_bytes())
    with pytest.raises(WeightsMissing):
        ModelProcess(tmp_path, "cpu", looks(folder))


def test_a_detector_that_closes_ends_its_processes(folder):
    with Detector.open(folder, device="cpu", at_once=2) as detector:
        processes = [model._process for model in detector._apart]
        assert all(process.is_alive() for process in processes)
        found = detector.predict(windows(1)[0])
    assert [process.exitcode for process in processes] == [0, 0]
    with Detector.open(folder, device="cpu") as alone:
        assert columns([alone.predict(windows(1)[0])]) == columns([found])


def asked(*images, slide=None, threshold=0.02):
    settings = DetectSettings(threshold, slide=slide)
    return [Question(png(image), settings, Drawing.MASK) for image in images]


def test_questions_are_answered_to_the_bit_as_by_a_detector_at_hand(folder, apart):
    images = windows(7)
    with Detector(load_model(folder, device="cpu"), looks(folder)) as here:
        right = [
            here.answer(png(image), DetectSettings(0.02), Drawing.MASK, timeout_s=60)
            for image in images
        ]
    assert all(text.startswith(b'[{"confidence"') for text in right)
    assert apart.answers(asked(*images)) == right
    assert apart.answers(asked(images[3])) == right[3:4]


def test_what_was_looked_at_is_kept_and_not_looked_at_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("lsl_core.serve.apart._WINDOWS", 4)
    cache = PredictionCache(tmp_path, max_bytes=10**7)
    model = ModelProcess(folder, "cpu", looks(folder, cache=cache))
    try:
        images = windows(3)
        first = model.answers(asked(*images, images[0]))
        assert len(set(first)) == 3
        assert first[0] == first[3]
        process = model._process
        assert model.answers(asked(*images)) == first[:3]
        assert len(model.answers(asked(images[0], threshold=0.9))[0]) < len(first[0])
        assert model._process is process, "nothing was looked at"
        more = np.random.default_rng(9).integers(0, 255, (64, 48, 3), np.uint8)
        model.answers(asked(more))
        model.answers(asked(more))
        assert model._process is not process, "four images were"
    finally:
        model.close()


def test_a_bad_image_or_wish_fails_alone(apart):
    good, wish = asked(*windows(2))
    cut = replace(good, image=good.image[:-20])
    strange = replace(wish, settings=DetectSettings(0.02, labels=("dog",)))
    answers = apart.answers([good, cut, strange, wish])
    assert [type(one) for one in answers] == [bytes, UserInput, LabelMismatch, bytes]
    assert 'no label "dog"' in str(answers[2])


def test_large_images_are_handed_back_and_looked_at_in_parts(folder, apart):
    slide = SlideWindows(64, 64, 8)
    large = np.random.default_rng(5).integers(0, 255, (64, 200, 3), np.uint8)
    assert apart.answers(asked(large, slide=slide)) == [None]
    assert type(apart.answers(asked(large))[0]) is bytes
    wanted = DetectSettings(0.02, slide=slide)
    with Detector.open(folder, device="cpu", at_once=2, floor_score=0.01) as two:
        text = two.answer(png(large), wanted, Drawing.MASK, timeout_s=60)
    with Detector.open(folder, device="cpu", floor_score=0.01) as one:
        assert one.answer(png(large), wanted, Drawing.MASK, timeout_s=60) == text


def test_a_detector_answers_many_callers_through_its_processes(folder):
    images = windows(12)
    with Detector.open(folder, device="cpu", at_once=2, floor_score=0.01) as detector:

        def ask(i):
            data = png(images[i % 12])
            if i == 5:
                data = data[:-20]
            if i == 17:  # while others are answered
                os.kill(detector._apart[0]._process.pid, signal.SIGKILL)
            return detector.answer(data, DetectSettings(0.02), Drawing.MASK, timeout_s=60)

        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(ask, i) for i in range(36)]
            errors = [future.exception(60) for future in futures]
        assert isinstance(errors[5], UserInput)
        died = [i for i, error in enumerate(errors) if isinstance(error, ModelError)]
        assert len(died) <= 1, "a batch that failed is tried one by one"
        answered = [i for i in range(36) if i != 5 and i not in died]
        texts = {i: futures[i].result() for i in answered}
        assert all(texts[i] == texts[j] for i in texts for j in texts if i % 12 == j % 12)

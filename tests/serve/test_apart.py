"""A model in a process of its own answers like one at hand, and outlives its process."""

import os
import signal

import numpy as np
import pytest
import torch

from lsl_core.errors import ModelError, WeightsMissing
from lsl_core.models import load_model, save_model
from lsl_core.models.compact.network import CompactNetwork
from lsl_core.models.devices import use_threads
from lsl_core.serve import Detector
from lsl_core.serve.apart import ModelProcess
from lsl_core.types import Mode

from .fakes import card


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


@pytest.fixture
def apart(folder):
    model = ModelProcess(folder, "cpu")
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
        ModelProcess(tmp_path, "cpu")


def test_a_detector_that_closes_ends_its_processes(folder):
    with Detector.open(folder, device="cpu", at_once=2) as detector:
        processes = [model._process for model in detector._apart]
        assert all(process.is_alive() for process in processes)
        found = detector.predict(windows(1)[0])
    assert [process.exitcode for process in processes] == [0, 0]
    with Detector.open(folder, device="cpu") as alone:
        assert columns([alone.predict(windows(1)[0])]) == columns([found])

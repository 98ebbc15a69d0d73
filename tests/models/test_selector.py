"""Clicks on tiny random segmenters, against what transformers itself answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lsl_core.errors import TooLate, WeightsDamaged
from lsl_core.models.foundation import store
from lsl_core.models.foundation.loading import load_network
from lsl_core.models.foundation.pixels import prepared
from lsl_core.models.foundation.selector import Selector
from tests.tiny import NAMES, SIDE

NONE = np.zeros((0, 2), np.float32)


def window(hw: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (*hw, 3), np.uint8)


def points(*given: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(given, np.float32).reshape(-1, 2)


def published(shelf: Path, kind: str, pixels: NDArray[np.uint8], **asked: object) -> NDArray:
    """Return the mask that transformers draws, bool (h, w), in the pixels of the window."""
    folder = shelf / NAMES[kind]
    network = load_network(folder, store.check(folder))
    size = Selector.open(folder)._segmenter.size_of(pixels.shape[:2])
    zoom = torch.tensor([size[1] / pixels.shape[1], size[0] / pixels.shape[0]])
    words = {}
    if "points" in asked:
        words["input_points"] = (torch.tensor(asked["points"]) * zoom)[None, None]
        words["input_labels"] = torch.tensor(asked["labels"])[None, None]
    if "box" in asked:
        words["input_boxes"] = (torch.tensor(asked["box"]) * zoom.repeat(2))[None, None]
    is_ambiguous = len(words) == 2 and len(asked["points"]) == 1
    with torch.no_grad():
        said = network(
            prepared([pixels], [size], SIDE, torch.device("cpu")),
            **words,
            multimask_output=is_ambiguous,
        )
    best = int(said.iou_scores[0, 0].argmax())
    logits = said.pred_masks[0, 0, best][None, None]
    whole = functional.interpolate(logits, (SIDE, SIDE), mode="bilinear")
    whole = whole[:, :, : size[0], : size[1]]
    return (functional.interpolate(whole, pixels.shape[:2], mode="bilinear")[0, 0] > 0).numpy()


def drawn(selector: Selector, pixels: NDArray[np.uint8], *asked: object) -> NDArray[np.bool_]:
    crop, (x, y) = selector.select(pixels, *asked, timeout_s=60)
    whole = np.zeros(pixels.shape[:2], bool)
    whole[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return whole


@pytest.mark.parametrize("kind", ["sam", "sam2"])
@pytest.mark.parametrize(
    ("clicks", "labels", "box"),
    [
        ([(20.0, 15.0)], [1], None),
        ([(20.0, 15.0), (50.0, 30.0)], [1, 0], None),
        ([(20.0, 15.0), (40.0, 8.0), (5.0, 35.0)], [1, 1, 0], [4.0, 2.0, 55.0, 38.0]),
        ([], [], [4.0, 2.0, 55.0, 38.0]),
    ],
    ids=["one click", "two clicks", "clicks in a box", "a box"],
)
def test_a_mask_is_what_transformers_draws_for_those_clicks(
    shelf: Path, kind: str, clicks: list, labels: list[int], box: list[float] | None
) -> None:
    pixels = window((40, 60))
    asked = {"points": clicks, "labels": labels} if clicks else {}
    asked |= {"box": box} if box else {}
    selector = Selector.open(shelf / NAMES[kind])
    ours = drawn(
        selector, pixels, points(*clicks), np.array(labels, bool),
        np.array(box, np.float32) if box else None,
    )  # fmt: skip
    theirs = published(shelf, kind, pixels, **asked)
    assert 0.02 < theirs.mean() < 0.98, "a mask that says something"
    # ours is enlarged in one step, at 8 bits: rims of noise differ by a pixel here and there
    assert (ours != theirs).mean() < 0.06


def test_an_image_is_encoded_once_however_often_people_click(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selector = Selector.open(shelf / NAMES["sam2"])
    encode, seen = selector._segmenter.encode, []
    monkeypatch.setattr(selector._segmenter, "encode", lambda w: seen.append(len(w)) or encode(w))
    for click in ((20, 15), (30, 20), (20, 15)):
        selector.select(window((40, 60)), points(click), np.ones(1, bool), None, timeout_s=60)
    assert seen == [1]
    selector.select(window((40, 60), 1), points((3, 3)), np.ones(1, bool), None, timeout_s=60)
    assert seen == [1, 1]


def test_weights_that_answer_no_clicks_are_refused(shelf: Path) -> None:
    with pytest.raises(WeightsDamaged, match="answers no clicks"):
        Selector.open(shelf / NAMES["detector"])


def test_who_waits_too_long_for_a_turn_is_told_so(shelf: Path) -> None:
    selector = Selector.open(shelf / NAMES["sam"])
    with selector._turn, pytest.raises(TooLate):
        selector.select(window((9, 9)), NONE, np.zeros(0, bool), points((1, 1), (5, 5)).ravel(),
                        timeout_s=0.01)  # fmt: skip

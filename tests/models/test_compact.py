"""Pixels in, instances out, with outputs made by hand instead of a trained network."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from lsl_core.models.compact import entry, transform
from lsl_core.models.compact.decode import decode
from lsl_core.models.compact.network import (
    HEADS,
    MULTIPLE,
    STRIDE,
    UNIT,
    CompactNetwork,
    fold_norms,
)
from lsl_core.models.soft import Frame
from lsl_core.types import Hw, Mode, SoftMasks


def frame_of(image_hw: Hw, input_hw: Hw) -> Frame:
    return Frame.of(image_hw, input_hw, stride=STRIDE)


def maps_of(discs: list[tuple[int, int, int, float]], grid_hw: tuple[int, int]) -> dict:
    """Perfect outputs for discs (x, y, radius, score) on output pixels, label 1 of 2."""
    y, x = np.mgrid[0 : grid_hw[0], 0 : grid_hw[1]].astype(np.float32)
    heat, foreground = np.zeros((1, *grid_hw), np.float32), np.zeros((1, *grid_hw), np.float32)
    offset, ltrb = np.zeros((2, *grid_hw), np.float32), np.ones((4, *grid_hw), np.float32)
    for cx, cy, radius, score in discs:
        inside = np.hypot(x - cx, y - cy) <= radius
        heat[0, cy, cx] = score
        foreground[0][inside] = 0.9
        offset[0][inside], offset[1][inside] = (cx - x)[inside] / UNIT, (cy - y)[inside] / UNIT
        ltrb[:, cy, cx] = (radius + 0.5) / UNIT
    label = np.stack([np.zeros(grid_hw, np.float32), np.ones(grid_hw, np.float32)])
    return {
        "heat": heat,
        "label": label,
        "foreground": foreground,
        "offset": offset,
        "ltrb": ltrb,
    }


def test_touching_discs_come_apart_at_full_resolution() -> None:
    maps = maps_of([(12, 20, 7, 0.9), (27, 20, 7, 0.8)], (40, 48))
    frame = frame_of((160, 192), (80, 96))  # the window was halved
    found = decode(Mode.FSIS, maps, frame, 0.1)
    assert frame.zoom == (4.0, 4.0)
    assert np.allclose(found.scores, [0.81, 0.72], atol=1e-3)
    assert found.class_ids.tolist() == [1, 1]
    assert isinstance(found.masks, SoftMasks)
    areas = found.binary().masks.areas()
    disc = int((maps["foreground"] > 0).sum()) / 2
    assert np.allclose(areas, disc * 16, rtol=0.05)
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    assert np.allclose(centres, [[50, 82], [110, 82]], atol=1)


def test_a_weak_peak_takes_nothing_from_a_strong_one() -> None:
    alone = decode(
        Mode.FSIS, maps_of([(20, 20, 9, 0.9)], (40, 40)), frame_of((80, 80), (80, 80)), 0.05
    )
    maps = maps_of([(20, 20, 9, 0.9)], (40, 40))
    maps["heat"][0, 20, 26] = 0.2  # a false peak whose box is small
    both = decode(Mode.FSIS, maps, frame_of((80, 80), (80, 80)), 0.05)
    assert np.array_equal(both.masks.crop(0), alone.masks.crop(0))


def test_an_object_at_the_rim_reaches_the_rim() -> None:
    maps = maps_of([(0, 10, 6, 0.9), (39, 10, 6, 0.9)], (20, 40))
    found = decode(Mode.FSIS, maps, frame_of((40, 80), (40, 80)), 0.1)
    boxes = found.boxes[np.argsort(found.boxes[:, 0])]
    assert boxes[0, 0] == 0
    assert boxes[1, 2] == 80


def test_padding_is_never_answered() -> None:
    maps = maps_of([(10, 10, 5, 0.9), (45, 10, 5, 0.9)], (24, 56))
    for mode in (Mode.FSIS, Mode.FSOD):
        found = decode(mode, maps, frame_of((40, 70), (40, 70)), 0.1)
        assert len(found) == 1
        assert found.boxes[0, 2] <= 70


def test_nothing_above_the_floor_gives_no_objects_of_the_right_kind() -> None:
    maps = maps_of([(10, 10, 5, 0.3)], (24, 24))
    frame = frame_of((48, 48), (48, 48))
    assert len(decode(Mode.FSIS, maps, frame, 0.5)) == 0
    assert isinstance(decode(Mode.FSIS, maps, frame, 0.5).masks, SoftMasks)
    assert decode(Mode.FSOD, maps, frame, 0.5).masks is None


def test_connected_parts_of_a_label_are_its_instances() -> None:
    semantic = np.zeros((3, 30, 40), np.float32)
    semantic[2] = 1
    for label, (y, x) in ((0, (5, 5)), (0, (20, 30)), (1, (5, 30))):
        semantic[label, y - 4 : y + 5, x - 4 : x + 5] = 0.9
        semantic[2, y - 4 : y + 5, x - 4 : x + 5] = 0.1
    semantic[0, 5, 5] = 0  # a hole
    found = decode(Mode.FSIS_SEGONLY, {"semantic": semantic}, frame_of((60, 80), (60, 80)), 0.1)
    assert sorted(found.class_ids.tolist()) == [0, 0, 1]
    areas = found.binary().masks.areas()
    assert areas.min() < areas.max()
    assert (
        len(
            decode(
                Mode.FSIS_SEGONLY, {"semantic": semantic[:, :1, :1]}, frame_of((2, 2), (2, 2)), 0.1
            )
        )
        == 0
    )


@pytest.mark.parametrize("mode", HEADS)
def test_a_mode_has_its_heads_at_half_resolution(mode: Mode) -> None:
    network = CompactNetwork(mode, num_labels=3, width=8).eval()
    with torch.inference_mode():
        out = network(torch.zeros(2, 3, 4 * MULTIPLE, 2 * MULTIPLE))
    assert set(out) == {name for name, _ in HEADS[mode]}
    for value in out.values():
        assert value.shape[0] == 2
        assert value.shape[2:] == (4 * MULTIPLE // STRIDE, 2 * MULTIPLE // STRIDE)


@pytest.mark.parametrize("input_hw", [(16, 16), (96, 128), (176, 224), (224, 224)])
def test_a_window_alone_is_answered_to_the_bit_as_among_others(input_hw: Hw) -> None:
    torch.manual_seed(7)
    network = CompactNetwork(Mode.FSIS, num_labels=3, width=24).eval()
    windows = torch.randn(4, *input_hw, 3).permute(0, 3, 1, 2)
    with torch.inference_mode():
        together, alone = network(windows), network(windows[2:3])
    for name, value in together.items():
        assert torch.equal(value[2:3], alone[name])


@pytest.mark.parametrize("mode", HEADS)
def test_folded_norms_leave_the_answers_as_they_are(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = CompactNetwork(mode, num_labels=3, width=8)
    monkeypatch.setattr("lsl_core.models.compact.network.has_bfloat16", lambda device: False)
    images = torch.randn(2, 3, 4 * MULTIPLE, 6 * MULTIPLE)
    network(images)  # the norms see some statistics
    with torch.inference_mode():
        before = network.eval()(images)
        folded = fold_norms(network)
        after = folded(images)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in folded.modules())
    for name, value in before.items():
        assert torch.allclose(after[name], value, atol=1e-4), name


def test_levelling_does_not_depend_on_light_and_gain() -> None:
    rng = np.random.default_rng(0)
    dim = rng.integers(20, 80, (300, 300, 3)).astype(np.uint8)
    bright = dim * 2 + 40
    first, second = (transform.levelled(p, 8.0) for p in (dim, bright))
    assert np.allclose(first, second, atol=0.05)
    assert -1.3 < first.min() < first.max() < 1.3


def test_a_dim_half_beside_a_bright_half_keeps_its_contrast() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 30, (1024, 2048, 3)).astype(np.uint8)
    pixels[:, 1024:] *= 8
    levels = transform.levelled(pixels, 8.0)
    assert levels[:, :500].std() > 0.7 * levels[:, -500:].std()


def test_empty_ground_is_not_stretched_beyond_what_training_saw() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 66, (200, 200, 3)).astype(np.uint8)
    levels = transform.levelled(pixels, 60.0)
    assert np.ptp(levels) < 0.3


def test_two_windows_agree_on_the_strip_they_share() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(30, 90, (600, 1800, 3)).astype(np.uint8)
    for y, x in rng.integers(0, (590, 1790), (150, 2)):
        image[y : y + 10, x : x + 10] = 200
    left, right = (transform.levelled(w, 20.0) for w in (image[:, :1024], image[:, 776:]))
    assert np.abs(left[:, 776:] - right[:, :248]).mean() < 0.15


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("hw", [(512, 512), (300, 700), (8, 40)])
def test_a_device_levels_windows_as_training_does(hw: tuple[int, int], invert: bool) -> None:
    rng = np.random.default_rng(hw[1])
    dark = rng.integers(0, 60, (*hw, 3)).astype(np.uint8)
    dark[: hw[0] // 4] += 100
    windows = [dark, 255 - dark]
    how = {"least_range": 8.0, "invert": invert}
    place = torch.device("cpu")
    sent = entry.on_device(windows, place, **how)
    assert torch.allclose(sent, entry.on_processor(windows, place, **how), atol=1e-5)
    for image, window in zip(sent, windows, strict=True):
        learnt = transform.levelled(window, 8.0)
        learnt = transform.dark_ground(learnt) if invert else learnt
        assert np.allclose(image[: hw[0], : hw[1]], learnt, atol=1e-5)
        assert not image[hw[0] :].any()
        assert not image[:, hw[1] :].any()
    shown = entry.network_input(windows, place, **how)
    assert shown.shape == (2, 3, hw[0] + -hw[0] % MULTIPLE, hw[1] + -hw[1] % MULTIPLE)
    assert shown.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("hw", [(1024, 1024), (700, 1300), (384, 900), (64, 2000), (8, 8)])
def test_levels_are_percentiles_of_regions_and_bilinear_between_their_middles(
    hw: tuple[int, int],
) -> None:
    rng = np.random.default_rng(hw[1])
    ramp = np.linspace(0.1, 1, hw[1])[:, None] * rng.uniform(0.5, 1, (hw[0], 1, 1))
    whole = rng.random((hw[0], hw[1] + 5, 3)) ** 2 * 250
    whole[:, 5:] *= ramp
    pixels = whole.astype(np.uint8)[:, 5:]  # as a window lies in its image
    rows, columns = (max(1, round(side / transform.BLOCK_PX)) for side in hw)
    reach = hw[0] / rows / 2, hw[1] / columns / 2
    low, span = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    for i, j in np.ndindex(rows, columns):
        (top, bottom), (left, right) = (
            (max(0, int((k * 2 - 1) * r)), int((k * 2 + 3) * r))
            for k, r in ((i, reach[0]), (j, reach[1]))
        )
        part = pixels[top:bottom, left:right]
        step = max(1, round((part.shape[0] * part.shape[1] / 16_000) ** 0.5))
        ends = np.percentile(part[::step, ::step], (transform.LOW, transform.HIGH))
        low[i, j], span[i, j] = ends[0], max(ends[1] - np.float32(ends[0]), 12.0)
    lows, spans = (cv2.resize(v, hw[::-1], interpolation=cv2.INTER_LINEAR) for v in (low, span))
    wanted = (pixels - lows[..., None]) * (2 / spans[..., None]) - 1
    assert np.allclose(transform.levelled(pixels, 12.0), wanted, atol=1e-4)


def test_importing_the_models_loads_no_torch() -> None:
    code = "import sys, lsl_core.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lsl_core.types import CropMasks, Instances, LabelMap, SoftMasks
from lsl_core.ui.viewer import pack
from lsl_core.ui.viewer.message import MAX_MASK_PX, read_head

LABELS = LabelMap(("bolt", "</script><b>nut 螺母"))


def ring(side: int) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    cv2.circle(mask, (side // 2, side // 2), side // 3, 1, max(1, side // 6))
    return mask


def instances(sides, image_hw=(300, 400)) -> Instances:
    masks = CropMasks.from_crops([ring(s) for s in sides], [(3 * i, 5) for i in range(len(sides))])
    x, y, w, h = masks.crops.T
    box = np.stack([x, y, x + w, y + h], 1).astype(np.float32)
    n = len(sides)
    scores = np.linspace(0.9, 0.2, n).astype(np.float32)
    return Instances(box, scores, (np.arange(n) % 2).astype(np.int32), masks, image_hw)


def parts(message: bytes) -> dict:
    """Read a message as the browser does."""
    head = read_head(message)
    at = 4 + int.from_bytes(message[:4], "little")
    assert at % 4 == 0
    out = {"head": head}

    def column(dtype: str, n: int, width: int = 1) -> np.ndarray:
        nonlocal at
        values = np.frombuffer(message, dtype, n * width, at)
        at += values.nbytes
        return values.reshape(n, width) if width > 1 else values

    for which in ("objects", "existing"):
        n = (head[which] or [0, 0])[0]
        out[which] = {name: column("<i4", n) for name in ("ids", "classes", "levels", "num_runs")}
        out[which] |= {"crops": column("<i4", n, 4), "grids": column("<i4", n, 2)}
        out[which] |= {"boxes": column("<f4", n, 4), "scores": column("<f4", n)}
    for which in ("objects", "existing"):
        out[which]["runs"] = column("<u4", (head[which] or [0, 0])[1])
    out["image"] = cv2.imdecode(np.frombuffer(message, np.uint8, offset=at), cv2.IMREAD_COLOR_RGB)
    return out


def test_a_message_holds_the_runs_of_every_mask_and_the_image_in_rgb():
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[...] = (200, 40, 90)
    found = instances([20, 31, 44])
    message = parts(pack(pixels, found, LABELS, image_id="a", floor_score=0.05))
    assert np.array_equal(message["objects"]["runs"], found.masks.runs)
    assert message["objects"]["num_runs"].tolist() == np.diff(found.masks.starts).tolist()
    assert np.array_equal(message["objects"]["crops"], found.masks.crops)
    assert np.array_equal(message["objects"]["grids"], found.masks.crops[:, 2:])
    assert message["objects"]["levels"].tolist() == [90, 55, 20]
    assert np.abs(message["image"][150, 200].astype(int) - (200, 40, 90)).max() < 4
    assert message["head"]["floor"] == 5
    assert [label["name"] for label in message["head"]["labels"]] == list(LABELS.names)
    assert message["head"]["existing"] is None


def test_what_is_in_cvat_travels_beside_what_was_found():
    found, there = instances([20, 31]), instances([25])
    message = parts(
        pack(np.zeros((300, 400, 3), np.uint8), found, LABELS, image_id="a", existing=there)
    )
    assert np.array_equal(message["existing"]["runs"], there.masks.runs)
    assert np.array_equal(message["objects"]["runs"], found.masks.runs)


def test_boxes_travel_without_masks():
    found = instances([20, 31])
    only = Instances(found.boxes, found.scores, found.class_ids, None, found.image_hw)
    message = parts(pack(np.zeros((300, 400, 3), np.uint8), only, LABELS, image_id="a"))
    assert message["objects"]["num_runs"].tolist() == [0, 0]
    assert np.array_equal(message["objects"]["boxes"], found.boxes)


def test_a_large_image_and_its_masks_are_reduced_in_step_and_holes_stay():
    found = instances([120, 12], image_hw=(900, 1200))
    message = parts(
        pack(np.zeros((900, 1200, 3), np.uint8), found, LABELS, image_id="a", max_side_px=300)
    )
    assert message["image"].shape == (225, 300, 3)
    assert message["objects"]["crops"][0].tolist() == [0, 5, 120, 120]
    assert message["objects"]["grids"].tolist() == [[30, 30], [3, 3]]
    runs = message["objects"]["runs"][: message["objects"]["num_runs"][0]]
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(30, 30)
    assert not mask[15, 15]
    assert mask[15, 5] or mask[15, 4]
    assert mask.sum() * 16 == pytest.approx(found.masks.areas()[0], rel=0.1)


def test_masks_beyond_the_budget_are_reduced_but_never_vanish():
    huge = CropMasks.from_crops([np.ones((4000, 3900), np.uint8)] * 2 + [ring(9)], [(0, 0)] * 3)
    n = len(huge)
    found = Instances(
        np.zeros((n, 4), np.float32), np.ones(n, np.float32), np.zeros(n, np.int32), huge, (4000, 4)
    )
    message = parts(pack(np.zeros((4000, 4, 3), np.uint8), found, LABELS, image_id="a"))
    assert message["objects"]["grids"].prod(axis=1).sum() <= MAX_MASK_PX * 1.01
    assert (message["objects"]["num_runs"] > 1).all()


def test_the_version_tells_frames_of_equal_pixels_apart():
    pixels, found = np.zeros((300, 400, 3), np.uint8), instances([20])
    one, same, two = (pack(pixels, found, LABELS, image_id=name) for name in ("1", "1", "2"))
    assert one == same
    assert read_head(one)["version"] != read_head(two)["version"]


def test_misuse_is_refused():
    pixels, found = np.zeros((300, 400, 3), np.uint8), instances([20])
    with pytest.raises(ValueError, match="image"):
        pack(pixels[:-1], found, LABELS, image_id="a")
    with pytest.raises(ValueError, match="ids"):
        pack(pixels, found, LABELS, image_id="a", ids=np.arange(2))
    soft = SoftMasks.from_crops([np.full((4, 4), 200, np.uint8)], [(0, 0)])
    fuzzy = Instances(found.boxes, found.scores, found.class_ids, soft, found.image_hw)
    with pytest.raises(TypeError, match="binary"):
        pack(pixels, fuzzy, LABELS, image_id="a")

"""Masks found in boxes, beside the masks that the boxes were taken from."""

import numpy as np

from lsl_core.training import Sample
from lsl_core.training.compact.box_masks import with_masks
from lsl_core.types import Instances
from tests.training.easy import HW, easy_samples


def boxed(sample: Sample) -> Sample:
    xywh = sample.instances.masks.crops.astype(np.float32)
    boxes = []
    for i, (x, y, _, _) in enumerate(xywh.tolist()):
        v, u = np.nonzero(sample.instances.masks.crop(i))
        boxes.append((x + u.min(), y + v.min(), x + u.max() + 1, y + v.max() + 1))
    n = len(boxes)
    ids = sample.instances.class_ids
    drawn = Instances(np.array(boxes, np.float32), np.ones(n, np.float32), ids, None, HW)
    return Sample(sample.name, sample.pixels, drawn)


def on_canvas(instances: Instances, i: int) -> np.ndarray:
    canvas = np.zeros(HW, bool)
    x, y, w, h = instances.masks.crops[i].tolist()
    canvas[y : y + h, x : x + w] = instances.masks.crop(i)
    return canvas


def test_rings_with_holes_and_bars_are_found_in_their_boxes() -> None:
    sample = easy_samples(1)[0]
    found = with_masks(boxed(sample)).instances
    for i in range(len(found)):
        drawn, ours = on_canvas(sample.instances, i), on_canvas(found, i)
        assert (drawn & ours).sum() / (drawn | ours).sum() > 0.8


def test_no_mask_leaves_its_box() -> None:
    sample = boxed(easy_samples(1)[0])
    found = with_masks(sample).instances
    for i, (x1, y1, x2, y2) in enumerate(sample.instances.boxes.astype(int).tolist()):
        mask = on_canvas(found, i)
        assert mask.any()
        mask[y1:y2, x1:x2] = False
        assert not mask.any()


def test_a_box_on_even_ground_is_filled_by_an_ellipse() -> None:
    boxes = np.array([[20, 20, 60, 40]], np.float32)
    even = np.full((*HW, 3), 90, np.uint8)
    drawn = Instances(boxes, np.ones(1, np.float32), np.zeros(1, np.int32), None, HW)
    found = with_masks(Sample("even", lambda: even, drawn)).instances
    assert 0.7 < found.masks.areas()[0] / 800 < 0.85


def test_a_box_without_area_and_an_image_without_boxes_do_no_harm() -> None:
    even = np.full((*HW, 3), 90, np.uint8)
    flat = np.array([[20, 20, 20, 40]], np.float32)
    drawn = Instances(flat, np.ones(1, np.float32), np.zeros(1, np.int32), None, HW)
    found = with_masks(Sample("flat", lambda: even, drawn)).instances
    assert found.masks.areas().tolist() == [0]
    nothing = with_masks(Sample("none", lambda: even, Instances.empty(HW))).instances
    assert len(nothing) == 0

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lsl_core.geometry.overlay import render_overlay
from lsl_core.types import CropMasks, Instances, SoftMasks
from lsl_core.types.palette import COLOURS, label_style

GREY = 128


def one_ring(image_hw=(1600, 1600), class_id=0) -> tuple[np.ndarray, Instances]:
    """A ring of radius 200 around (600, 500), with a hole of radius 100."""
    crop = np.zeros((401, 401), np.uint8)
    cv2.circle(crop, (200, 200), 200, 1, -1)
    cv2.circle(crop, (200, 200), 100, 0, -1)
    masks = CropMasks.from_crops([crop], [(400, 300)])
    box = np.array([[400, 300, 801, 701]], np.float32)
    ids = np.array([class_id], np.int32)
    pixels = np.full((*image_hw, 3), GREY, np.uint8)
    return pixels, Instances(box, np.ones(1, np.float32), ids, masks, image_hw)


def changed(drawn: np.ndarray) -> np.ndarray:
    return (np.abs(drawn.astype(int) - GREY) > 3).any(axis=2)


def test_the_object_is_tinted_and_its_hole_shows_the_image():
    pixels, found = one_ring()
    drawn = render_overlay(pixels, found, ["ring"], with_text=False)
    assert drawn.shape == pixels.shape
    assert changed(drawn)[500, 450]
    assert not changed(drawn)[500, 600]
    assert not changed(drawn)[900, 900]
    assert (pixels == GREY).all()


def test_the_outline_has_the_label_colour_between_dark_and_light():
    pixels, found = one_ring()
    row = render_overlay(pixels, found, ["ring"], with_text=False)[500, 380:420].astype(int)
    reach = [np.abs(row - np.array(c)).sum(axis=1).min() for c in (COLOURS[0], (0, 0, 0))]
    assert reach[0] < 30
    assert reach[1] < 200
    assert row.sum(axis=1).max() > 3 * GREY + 150


def test_a_thumbnail_keeps_place_and_hole():
    pixels, found = one_ring()
    drawn = render_overlay(pixels, found, ["ring"], max_side_px=160, with_text=False)
    assert drawn.shape == (160, 160, 3)
    assert changed(drawn)[50, 45]
    assert not changed(drawn)[50, 60]
    assert not changed(drawn)[100, 100]


def test_boxes_are_drawn_where_there_are_no_masks():
    pixels, found = one_ring()
    box = Instances(found.boxes, found.scores, found.class_ids, None, found.image_hw)
    drawn = render_overlay(pixels, box, ["ring"], with_text=False)
    assert changed(drawn)[300, 500]
    assert changed(drawn)[500, 800]
    assert not changed(drawn)[250, 500]


def test_existing_objects_get_a_dashed_outline_without_tint():
    pixels, there = one_ring()
    none = Instances.empty(there.image_hw, masks=CropMasks.empty())
    drawn = render_overlay(pixels, none, ["ring"], existing=there, with_text=False)
    assert not changed(drawn)[500, 450]
    edge = drawn[changed(drawn)].sum(axis=1)
    assert (edge > 700).any()
    assert (edge < 120).any()


def test_names_in_any_script_are_written_and_a_legend_adds_a_strip():
    pixels, found = one_ring()
    bare = render_overlay(pixels, found, ["螺母"], with_text=False)
    named = render_overlay(pixels, found, ["螺母"])
    other = render_overlay(pixels, found, ["Schraube"])
    assert (bare != named).any()
    assert (named != other).any()
    legend = render_overlay(pixels, found, ["螺母", "b"], with_legend=True)
    assert legend.shape[0] > pixels.shape[0]
    assert legend.shape[1] == pixels.shape[1]


@pytest.mark.parametrize("class_id", range(7))
def test_every_pattern_is_drawn_and_differs(class_id):
    pixels, found = one_ring(class_id=class_id)
    drawn = render_overlay(pixels, found, [str(i) for i in range(7)], with_text=False)
    inside = drawn[460:540, 430:480].reshape(-1, 3)
    kinds = len(np.unique(inside, axis=0))
    assert kinds == (1 if label_style(class_id).pattern == "solid" else 2)


def test_colour_and_pattern_together_tell_49_labels_apart():
    styles = {(label_style(i).colour, label_style(i).pattern) for i in range(49)}
    assert len(styles) == 49


def test_soft_masks_and_a_wrong_size_are_refused():
    pixels, found = one_ring()
    soft = SoftMasks.from_crops([np.full((9, 9), 200, np.uint8)], [(0, 0)])
    fuzzy = Instances(found.boxes, found.scores, found.class_ids, soft, found.image_hw)
    with pytest.raises(TypeError, match="binary"):
        render_overlay(pixels, fuzzy, ["a"])
    with pytest.raises(ValueError, match="image"):
        render_overlay(pixels[:-1], found, ["a"])


def test_an_object_that_leaves_the_image_is_cut_and_no_error():
    pixels, found = one_ring()
    moved = found.moved(-500, 1300, found.image_hw)
    drawn = render_overlay(pixels, moved, ["ring"])
    assert changed(drawn).any()

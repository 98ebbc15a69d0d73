import random

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsl_core.types import CropMasks, Instances, SlideWindows, SoftMasks, Window
from lsl_core.windows import plan, stitch

from .scenes import drawn, exact_parts, instances_of, random_scene, tries

seeds = st.integers(0, 10**9)
SLIDE = SlideWindows(100, 100, 20)


@settings(max_examples=tries(80), deadline=None)
@given(seeds, st.sampled_from([8, 9, 13, 20, 31]), st.booleans(), st.booleans())
def test_exact_window_results_give_exactly_the_truth(seed, overlap, soft, whole_image):
    rng = random.Random(seed)
    image_hw = (rng.randint(20, 190), rng.randint(20, 190))
    slide = SlideWindows(rng.randint(40, 70), rng.randint(40, 70), overlap, whole_image)
    ids = random_scene(rng, image_hw, rng.randint(0, 12))
    n = int(ids.max()) + 1
    labels = np.array([rng.randrange(3) for _ in range(n)])
    scores = np.array([rng.uniform(0.1, 1) for _ in range(n)])
    parts = exact_parts(ids, plan(image_hw, slide), labels, scores, soft=soft)
    stitched = stitch(parts, image_hw=image_hw)
    truth = instances_of(ids, labels, scores, soft=soft)
    assert drawn(stitched) == drawn(truth)
    assert (np.diff(stitched.scores) <= 0).all()
    assert sorted(stitched.boxes.tolist()) == sorted(truth.boxes.tolist())
    assert sorted(stitched.scores.tolist()) == pytest.approx(sorted(truth.scores.tolist()))


@settings(max_examples=tries(40), deadline=None)
@given(seeds, st.sampled_from([8, 13, 20]))
def test_exact_boxes_of_separate_objects_give_exactly_the_truth(seed, overlap):
    rng = random.Random(seed)
    image_hw = (rng.randint(60, 190), rng.randint(60, 190))
    slide = SlideWindows(rng.randint(40, 70), rng.randint(40, 70), overlap)
    ids, n = np.zeros(image_hw, np.int32), 0
    for _ in range(12):
        x, y = rng.randrange(image_hw[1]), rng.randrange(image_hw[0])
        w, h = rng.randint(1, 90), rng.randint(1, 90)
        if not ids[y : y + h, x : x + w].any():
            n += 1
            ids[y : y + h, x : x + w] = n
    labels = np.array([rng.randrange(2) for _ in range(n + 1)])
    scores = np.array([rng.uniform(0.1, 1) for _ in range(n + 1)])
    stitched = stitch(
        exact_parts(ids, plan(image_hw, slide), labels, scores, soft=None), image_hw=image_hw
    )
    truth = instances_of(ids, labels, scores, soft=None)
    assert stitched.masks is None
    assert sorted(stitched.boxes.tolist()) == sorted(truth.boxes.tolist())


def scene(*shapes, hw=(100, 180)):
    """Number shapes (x, y, w, h) 1 … N on an image."""
    ids = np.zeros(hw, np.int32)
    for i, (x, y, w, h) in enumerate(shapes, 1):
        ids[y : y + h, x : x + w] = i
    return ids


def seen(ids, *, slide=SLIDE, soft=True, labels=None, scores=None):
    n = int(ids.max()) + 1
    labels = np.zeros(n, int) if labels is None else np.array([0, *labels])
    scores = np.full(n, 0.5) if scores is None else np.array([0, *scores])
    return exact_parts(ids, plan(ids.shape, slide), labels, scores, soft=soft)


def relabelled(found, class_id, score):
    return Instances(
        found.boxes,
        np.full(len(found), score, np.float32),
        np.full(len(found), class_id, np.int32),
        found.masks,
        found.image_hw,
    )


def test_a_ring_over_four_windows_is_one_mask_with_its_hole():
    ids = np.zeros((180, 180), np.int32)
    cv2.circle(ids, (90, 90), 70, 1, 9)
    stitched = stitch(seen(ids), image_hw=ids.shape)
    assert len(stitched) == 1
    assert drawn(stitched) == [(0, np.packbits(ids == 1).tobytes())]


def test_touching_objects_of_one_label_stay_apart():
    ids = scene((60, 10, 70, 20), (60, 30, 70, 20), (85, 50, 10, 30), (95, 50, 40, 30))
    stitched = stitch(seen(ids), image_hw=ids.shape)
    assert sorted(stitched.boxes.tolist()) == [
        [60, 10, 130, 30],
        [60, 30, 130, 50],
        [85, 50, 95, 80],
        [95, 50, 135, 80],
    ]


def test_an_800_by_600_image_is_seen_whole_by_a_larger_window():
    ids = scene((0, 0, 5, 5), (795, 595, 5, 5), (300, 200, 200, 200), hw=(600, 800))
    stitched = stitch(seen(ids, slide=SlideWindows()), image_hw=ids.shape)
    assert drawn(stitched) == drawn(instances_of(ids, np.zeros(4), np.zeros(4), soft=True))


@pytest.mark.parametrize("soft", [True, False, None])
def test_windows_that_disagree_on_the_label_of_one_object_vote(soft):
    (a, left), (b, right) = seen(scene((60, 10, 40, 20)), soft=soft)
    parts = [(a, relabelled(left, 1, 0.9)), (b, relabelled(right, 2, 0.3))]
    stitched = stitch(parts, image_hw=(100, 180))
    assert stitched.class_ids.tolist() == [1]
    assert stitched.boxes.tolist() == [[60, 10, 100, 30]]
    parts = [(a, relabelled(left, 1, 0.2)), (b, relabelled(right, 2, 0.9))]
    assert stitch(parts, image_hw=(100, 180)).class_ids.tolist() == [2]


@pytest.mark.parametrize("soft", [True, False, None])
def test_objects_of_different_labels_on_one_place_stay_two(soft):
    one, two = scene((60, 10, 70, 40)), scene((70, 15, 60, 30))
    parts = []
    for first, second in zip(seen(one, soft=soft), seen(two, soft=soft), strict=True):
        both = Instances.concat([relabelled(first[1], 0, 0.8), relabelled(second[1], 1, 0.7)])
        parts.append((first[0], both))
    stitched = stitch(parts, image_hw=(100, 180))
    assert stitched.class_ids.tolist() == [0, 1]
    assert stitched.boxes.tolist() == [[60, 10, 130, 50], [70, 15, 130, 45]]


@pytest.mark.parametrize("soft", [True, False, None])
def test_what_one_window_found_twice_is_one(soft):
    (a, left), (b, right) = seen(scene((10, 10, 40, 20), (60, 50, 90, 20)), soft=soft)
    doubled = Instances.concat([relabelled(left, 0, 0.9), relabelled(left, 0, 0.6)])
    stitched = stitch([(a, doubled), (b, right)], image_hw=(100, 180))
    assert sorted(stitched.boxes.tolist()) == [[10, 10, 50, 30], [60, 50, 150, 70]]
    assert stitched.scores[0] == np.float32(0.9)


def test_parts_of_a_bent_object_that_one_window_sees_apart_become_one():
    ids = np.zeros((100, 180), np.int32)
    ids[10:80, 70:90] = 1  # the back of a U, left of the right window
    ids[10:30, 70:150] = ids[60:80, 70:150] = 1
    left, (b, right) = seen(ids)
    whole = right.masks.crop(0)
    apart = SoftMasks.from_crops(
        [whole[:20], whole[20:50], whole[50:]], [(0, 10), (0, 30), (0, 60)]
    )
    boxes = np.array([[0, 10, 70, 30], [0, 30, 10, 60], [0, 60, 70, 80]], np.float32)
    pieces = Instances(boxes, np.ones(3, np.float32), np.zeros(3, np.int32), apart, (100, 100))
    stitched = stitch([left, (b, pieces)], image_hw=ids.shape)
    assert drawn(stitched) == [(0, np.packbits(ids == 1).tobytes())]


def test_a_sliver_of_a_neighbour_at_a_cut_is_no_object():
    (a, left), (b, right) = seen(scene((40, 10, 43, 30)))
    assert right.boxes.tolist() == [[0, 10, 3, 40]]
    moved = Instances(
        right.boxes + np.float32([0, 40, 0, 40]),
        right.scores,
        right.class_ids,
        right.masks.moved(0, 40),
        right.image_hw,
    )
    stitched = stitch([(a, left), (b, moved)], image_hw=(100, 180))
    assert stitched.boxes.tolist() == [[40, 10, 83, 40]]


def redrawn(found, *masks):
    """The same objects drawn as these (x, y, pixels)."""
    crops = [np.asarray(pixels, np.uint8) * 255 for _, _, pixels in masks]
    soft = SoftMasks.from_crops(crops, [(x, y) for x, y, _ in masks])
    xywh = soft.crops
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1).astype(np.float32)
    return Instances(boxes, found.scores, found.class_ids, soft, found.image_hw)


@pytest.mark.parametrize(("thickness", "label", "stays"), [(6, 0, 1), (6, 1, 2), (12, 0, 2)])
def test_the_rim_of_an_object_at_a_cut_is_none_where_its_neighbour_shows_one(
    thickness, label, stays
):
    """The left window ends the object at 81, the right one, which begins at 80, draws it to 86."""
    (a, left), (b, right) = seen(scene((40, 10, 43, 60)))
    left = redrawn(left, (40, 10, np.ones((60, 41))))
    right = redrawn(right, (0, 62, np.ones((30, thickness))))
    stitched = stitch([(a, left), (b, relabelled(right, label, 0.4))], image_hw=(100, 180))
    assert len(stitched) == stays


@pytest.mark.parametrize("soft", [True, False])
def test_two_windows_that_draw_a_thin_object_differently_are_both_believed(soft):
    (a, left), (b, right) = seen(scene((84, 20, 12, 3)))
    bar = np.ones((3, 12))
    parts = [(a, redrawn(left, (84, 19, bar))), (b, redrawn(right, (4, 21, bar)))]
    if not soft:
        parts = [(window, found.binary()) for window, found in parts]
    stitched = stitch(parts, image_hw=(100, 180))
    assert len(stitched) == 1
    binary = stitched.binary().masks
    pixels = np.zeros((100, 180), bool)
    x, y, w, h = binary.crops[0].tolist()
    pixels[y : y + h, x : x + w] = binary.crop(0)
    assert np.argwhere(pixels).tolist() == [[r, c] for r in (20, 21, 22) for c in range(84, 96)]
    # where they nearly agree, the window that sees it deeper is taken alone
    parts[0] = (
        a,
        redrawn(left, (83, 21, bar)).binary() if not soft else redrawn(left, (83, 21, bar)),
    )
    assert stitch(parts, image_hw=(100, 180)).binary().masks.areas().tolist() == [3 * 12]


@pytest.mark.parametrize("soft", [True, False])
def test_views_of_a_thin_object_that_agree_by_three_quarters_give_what_lies_between(soft):
    (a, left), (b, right) = seen(scene((83, 20, 14, 3)))
    bar = np.ones((3, 14))
    parts = [(a, redrawn(left, (82, 20, bar))), (b, redrawn(right, (4, 20, bar)))]
    if not soft:
        parts = [(window, found.binary()) for window, found in parts]
    masks = stitch(parts, image_hw=(100, 180)).binary().masks
    assert masks.areas().tolist() == [14 * 3]
    rows, columns = np.nonzero(masks.crop(0))
    x, y = masks.crops[0, :2].tolist()
    assert (x + columns.min(), y + rows.min()) == (83, 20)


@pytest.mark.parametrize("soft", [True, False])
def test_a_thin_object_is_doubted_where_the_window_that_cuts_it_shows_something_else(soft):
    """The left window, up to 100, shows 13 px of the bar two pixels above the right one's."""
    (a, left), (b, right) = seen(scene((87, 20, 40, 3)))
    left = redrawn(left, (87, 18, np.ones((3, 13))))
    parts = [(a, left), (b, redrawn(right, (7, 20, np.ones((3, 40)))))]
    if not soft:
        parts = [(window, found.binary()) for window, found in parts]
    stitched = stitch(parts, image_hw=(100, 180)).binary().masks
    assert len(stitched) == 1
    crop = stitched.crop(0)
    y = int(stitched.crops[0, 1])
    middles = [float(np.flatnonzero(crop[:, c]).mean()) + y for c in (4, 35)]
    assert middles == [20, 21]


def blocks_in(window, *boxes):
    """Solid blocks, x1, y1, x2, y2 in the image, as a window shows what it sees of them."""
    x, y = window.x, window.y
    inside = np.array(boxes) - (x, y, x, y)
    inside = np.clip(inside, 0, [window.width, window.height] * 2)
    crops = [np.full((y1 - y0, x1 - x0), 255, np.uint8) for x0, y0, x1, y1 in inside.tolist()]
    masks = SoftMasks.from_crops(crops, [tuple(xy) for xy in inside[:, :2].tolist()])
    n = len(boxes)
    hw = (window.height, window.width)
    return Instances(
        inside.astype(np.float32), np.ones(n, np.float32), np.zeros(n, np.int32), masks, hw
    )


#: Two windows above, two below; all see columns 80 to 100 of rows 40 to 60.
FOUR = plan((100, 180), SlideWindows(100, 60, 20))


def test_what_two_windows_cut_to_the_same_sliver_is_no_object():
    """The left ones show two columns of what the right ones show from the next column on."""
    ends = [(98, 42, 100, 58), (100, 42, 130, 58)] * 2
    parts = [(window, blocks_in(window, box)) for window, box in zip(FOUR, ends, strict=True)]
    assert stitch(parts, image_hw=(100, 180)).boxes.tolist() == [[100, 42, 130, 58]]


def test_a_sliver_that_touches_what_the_deeper_window_drew_is_no_object():
    parts = [(FOUR[0], blocks_in(FOUR[0], (95, 20, 100, 27)))]
    parts += [(FOUR[1], blocks_in(FOUR[1], (100, 10, 150, 40)))]
    assert stitch(parts, image_hw=(100, 180)).boxes.tolist() == [[100, 10, 150, 40]]


def test_the_edge_of_a_neighbour_at_a_cut_joins_no_two_objects():
    """The upper right window draws one object over the edge that left windows show of the other."""
    left = [(60, 42, 94, 58), (95, 42, 100, 58)]
    drawn_too_far = [(80, 42, 100, 58), (100, 42, 150, 58)]
    well = [(80, 42, 94, 58), (95, 42, 150, 58)]
    shown = zip(FOUR, (left, drawn_too_far, left, well), strict=True)
    parts = [(window, blocks_in(window, *boxes)) for window, boxes in shown]
    first, second = sorted(stitch(parts, image_hw=(100, 180)).boxes.tolist())
    assert first[0] == 60
    assert second == [95, 42, 150, 58]


def boxes_in(window, *boxes, label=0):
    """Boxes of the image as a window shows them."""
    own = np.array(boxes, np.float32).reshape(-1, 4) - np.float32([window.x, window.y] * 2)
    ones = np.ones(len(boxes), np.float32)
    return window, Instances(own, ones, np.full(len(boxes), label, np.int32), None, (100, 100))


def test_boxes_of_a_cut_object_are_one_though_the_strip_shows_little_of_it():
    left, right = plan((100, 180), SLIDE)
    # the left window sees the tip of it: in the strip their boxes have an IoU of 0.2
    parts = [boxes_in(left, (90, 44, 100, 56)), boxes_in(right, (90, 20, 150, 80))]
    stitched = stitch(parts, image_hw=(100, 180))
    assert stitched.boxes.tolist() == [[90, 20, 150, 80]]


def test_a_box_with_a_partner_is_no_piece_of_another_whose_box_it_lies_in():
    views = plan((180, 180), SLIDE)
    large, small = (20, 20, 130, 130), (85, 84, 97, 95)
    parts = []
    for view in views:
        shown = []
        for x0, y0, x1, y1 in (large, small):
            low, high = (
                (max(x0, view.x), max(y0, view.y)),
                (min(x1, view.x + 100), min(y1, view.y + 100)),
            )
            shown.append((*low, *high))
        parts.append(boxes_in(view, *shown))
    # one window does not find the small one
    parts[0] = boxes_in(views[0], (20, 20, 100, 100))
    stitched = stitch(parts, image_hw=(180, 180))
    assert sorted(stitched.boxes.tolist()) == [[20, 20, 130, 130], [85, 84, 97, 95]]


def test_a_box_that_two_windows_show_uncut_is_the_mean_of_both():
    left, right = plan((100, 180), SLIDE)
    # the right window shows it in two parts: they count together
    parts = [boxes_in(left, (82, 40, 96, 62)), boxes_in(right, (84, 40, 98, 52), (84, 52, 98, 64))]
    stitched = stitch(parts, image_hw=(100, 180))
    assert stitched.boxes.tolist() == [[83, 40, 97, 63]]


def test_a_box_does_not_shrink_where_a_window_that_cuts_it_saw_it_reach_out():
    left, right = plan((100, 180), SLIDE)
    uncut = [(82, 40, 94, 60), (82, 40, 98, 60)]
    parts = [boxes_in(left, uncut[0]), boxes_in(right, uncut[1])]
    assert stitch(parts, image_hw=(100, 180)).boxes.tolist() == [[82, 40, 96, 60]]
    parts = [boxes_in(left, uncut[0]), boxes_in(right, (80, 40, 110, 60))]
    assert stitch(parts, image_hw=(100, 180)).boxes.tolist() == [[80, 40, 110, 60]]


def test_a_small_box_on_a_large_one_that_only_one_window_shows_is_no_piece_of_it():
    left, right = plan((100, 180), SLIDE)
    large, small = (82, 20, 130, 80), (86, 40, 96, 50)
    shown = [(82, 20, 100, 80), small]
    parts = [boxes_in(left, *shown), boxes_in(right, large)]
    assert sorted(stitch(parts, image_hw=(100, 180)).boxes.tolist()) == sorted(
        [list(large), list(small)]
    )


def test_an_object_that_one_window_missed_is_kept():
    (a, left), (b, _) = seen(scene((60, 10, 60, 30)))
    stitched = stitch([(a, left), (b, Instances.empty((100, 100)))], image_hw=(100, 180))
    assert stitched.boxes.tolist() == [[60, 10, 100, 40]]


def test_soft_masks_change_without_a_step_from_one_window_to_the_next():
    (a, left), (b, right) = seen(scene((20, 10, 140, 30)))
    low = SoftMasks.from_crops([np.full((30, 80), 160, np.uint8)], [(20, 10)])
    high = SoftMasks.from_crops([np.full((30, 80), 240, np.uint8)], [(0, 10)])
    parts = [
        (a, Instances(left.boxes, left.scores, left.class_ids, low, (100, 100))),
        (b, Instances(right.boxes, right.scores, right.class_ids, high, (100, 100))),
    ]
    stitched = stitch(parts, image_hw=(100, 180))
    row = stitched.masks.crop(0)[15].astype(int)
    assert row[0] == 160
    assert row[-1] == 240
    assert np.diff(row).min() >= 0
    assert np.diff(row).max() <= 6
    assert stitched.binary(0.9).masks.areas()[0] < stitched.binary(0.6).masks.areas()[0]


def test_outlines_a_few_pixels_off_change_no_count():
    rng = np.random.default_rng(1)
    kernel = np.ones((3, 3), np.uint8)
    ids = scene(
        *[(x, y, 34, 34) for x in range(3, 420, 40) for y in range(3, 420, 40)], hw=(450, 450)
    )
    parts = []
    for window, found in seen(ids, soft=True, slide=SlideWindows(160, 160, 40)):
        pixels, places = [], []
        for i in range(len(found)):
            x, y = found.masks.crops[i, :2].tolist()
            change = cv2.dilate if rng.random() < 0.5 else cv2.erode
            changed = change(
                cv2.copyMakeBorder(found.masks.crop(i), 2, 2, 2, 2, 0), kernel, iterations=2
            )
            changed = changed[max(0, 2 - y) :, max(0, 2 - x) :]
            x, y = max(0, x - 2), max(0, y - 2)
            changed = changed[: window.height - y, : window.width - x]
            if changed.any():
                pixels.append(changed)
                places.append((x, y))
        masks = SoftMasks.from_crops(pixels, places)
        xywh = masks.crops
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1).astype(np.float32)
        scores = rng.uniform(0.4, 0.9, len(masks)).astype(np.float32)
        parts.append(
            (
                window,
                Instances(boxes, scores, np.zeros(len(masks), np.int32), masks, found.image_hw),
            )
        )
    stitched = stitch(parts, image_hw=ids.shape)
    assert len(stitched) == ids.max()
    assert stitched.binary().masks.areas().min() >= 28 * 28
    assert stitched.binary().masks.areas().max() <= 40 * 40


def test_windows_without_objects_give_no_objects_of_the_same_kind():
    nothing = Instances.empty((100, 100), masks=SoftMasks.empty())
    parts = [(window, nothing) for window in plan((100, 180), SLIDE)]
    stitched = stitch(parts, image_hw=(100, 180))
    assert len(stitched) == 0
    assert isinstance(stitched.masks, SoftMasks)
    assert stitch([], image_hw=(100, 180)).masks is None


def test_one_window_returns_what_it_found_highest_score_first():
    ids = scene((1, 1, 5, 5), (50, 50, 5, 5), hw=(90, 90))
    parts = seen(ids, soft=False, scores=[0.2, 0.8])
    stitched = stitch(parts, image_hw=(90, 90))
    assert isinstance(stitched.masks, CropMasks)
    assert stitched.boxes.tolist() == [[50, 50, 55, 55], [1, 1, 6, 6]]


def test_a_window_outside_the_image_is_our_bug():
    with pytest.raises(ValueError, match="leaves"):
        stitch([(Window(90, 0, 100, 100), Instances.empty((100, 100)))], image_hw=(100, 180))


@pytest.mark.parametrize("soft", [True, False, None])
def test_a_cut_part_under_another_label_gives_way_to_the_window_that_sees_more(soft):
    (a, left), (b, right) = seen(scene((92, 10, 60, 40)), soft=soft)
    (_, larger), _ = seen(scene((82, 6, 60, 48)), soft=soft)
    assert left.boxes.tolist() == [[92, 10, 100, 50]]
    parts = [(a, relabelled(larger, 1, 0.9)), (b, relabelled(right, 2, 0.6))]
    stitched = stitch(parts, image_hw=(100, 180))
    assert stitched.class_ids.tolist() == [2]
    assert stitched.boxes.tolist() == [[92, 10, 152, 50]]


@pytest.mark.parametrize("soft", [True, False])
def test_an_outline_over_a_small_neighbour_gives_way_to_it(soft):
    hole = scene((30, 10, 40, 40))
    hole[26:34, 46:54] = 2
    (a, left), (b, right) = seen(hole, soft=soft)
    drawn_too_far = left.masks.crop(0).copy()
    drawn_too_far[16:20, 16:24] = drawn_too_far.max()
    kind = SoftMasks if soft else CropMasks
    masks = kind.from_crops([drawn_too_far, left.masks.crop(1)], [(30, 10), (46, 26)])
    too_far = Instances(left.boxes, left.scores, left.class_ids, masks, left.image_hw)
    stitched = stitch([(a, too_far), (b, right)], image_hw=hole.shape)
    assert sorted(stitched.binary().masks.areas().tolist()) == [64, 40 * 40 - 64]


def test_an_outline_along_a_thin_bar_gives_way_to_it():
    ids = np.zeros((100, 180), np.int32)
    cv2.line(ids, (20, 68), (60, 74), 2, 3)
    ids[10:67, 10:70] = 1
    (a, left), (b, right) = seen(ids)
    x, y, _, _ = left.masks.crops[1].tolist()
    bar = left.masks.crop(1) > 0
    left = redrawn(left, (10, 10, np.ones((60, 60))), (x, y, bar))  # three rows too far down
    stitched = stitch([(a, left), (b, right)], image_hw=ids.shape)
    lost = int((ids[67:70] == 2).sum())
    assert lost > bar.sum() / 4
    assert stitched.binary().masks.areas().tolist() == [60 * 60 - lost, bar.sum()]


@pytest.mark.parametrize("soft", [True, False])
def test_an_object_that_lies_on_another_takes_nothing_from_it(soft):
    below, above = scene((10, 10, 60, 60)), scene((60, 30, 14, 14))
    (a, left), (b, right) = seen(below, soft=soft)
    parts = [(a, Instances.concat([left, seen(above, soft=soft)[0][1]])), (b, right)]
    stitched = stitch(parts, image_hw=below.shape)
    assert sorted(stitched.binary().masks.areas().tolist()) == [14 * 14, 60 * 60]

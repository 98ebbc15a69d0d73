from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from cvat_sdk.masks import decode_mask, encode_mask

from lsl_core.cvat import CvatLabel, FrameInfo, JobInfo, JobKind, to_instances

HW = (40, 50)
LABELS = [CvatLabel(11, "cell", "any", "#f00"), CvatLabel(17, "bolt", "any", "#0f0")]
FRAMES = [FrameInfo(i, f"{i}.png", HW[1], HW[0]) for i in range(6)]


def shape(kind, points, **more):
    return {"id": 1, "type": kind, "frame": 0, "label_id": 11, "points": points, **more}


def read(*shapes, **more):
    return to_instances({"shapes": list(shapes), **more}, FRAMES, LABELS)


def whole(annotations, i=0):
    """Return the full-size mask of object i."""
    masks = annotations.instances.masks
    x, y, w, h = masks.crops[i]
    full = np.zeros(HW, bool)
    full[y : y + h, x : x + w] = masks.crop(i)
    return full


def ring():
    full = np.zeros(HW, bool)
    full[5:25, 10:40] = True
    full[10:15, 15:20] = False
    full[30, 3] = True  # a stray part, far away
    return full


def test_a_mask_keeps_its_holes_and_parts():
    (got,) = [read(shape("mask", [float(v) for v in encode_mask(ring())])).frames[0]]
    assert np.array_equal(whole(got), ring())
    assert got.instances.boxes.tolist() == [[3, 5, 40, 31]]
    assert got.has_mask.tolist() == [True]


def test_a_mask_drawn_in_a_loose_box_comes_back_tight():
    full = np.zeros(HW, bool)
    full[8:12, 9:14] = True
    got = read(shape("mask", encode_mask(full, [2, 2, 30, 30]))).frames[0]
    assert got.instances.masks.crops.tolist() == [[9, 8, 5, 4]]
    assert np.array_equal(whole(got), full)


def test_a_rectangle_is_a_whole_box_that_nobody_drew_as_mask():
    got = read(shape("rectangle", [10.25, 5.5, 20.75, 15.5])).frames[0]
    assert got.instances.boxes.tolist() == [[10.25, 5.5, 20.75, 15.5]]
    assert got.has_mask.tolist() == [False]
    mask = whole(got)
    assert mask[5:15, 10:21].all()
    assert mask.sum() == 110


def test_a_rectangle_that_leaves_the_image_is_cut_at_its_border():
    got = read(shape("rectangle", [-50, -50, 5000, 5000])).frames[0]
    assert got.instances.boxes.tolist() == [[0, 0, 50, 40]]
    assert whole(got).all()


def test_a_rectangle_turned_by_ninety_degrees_swaps_its_sides():
    got = read(shape("rectangle", [10, 15, 30, 25], rotation=90.0)).frames[0]
    assert got.instances.boxes.tolist() == [[15, 10, 25, 30]]
    assert got.has_mask.tolist() == [False]


def test_rotation_is_clockwise_as_one_sees_it():
    mask = whole(read(shape("rectangle", [10, 18, 40, 22], rotation=30.0)).frames[0])
    # clockwise: the right end goes down, the left end goes up
    assert mask[26, 36]
    assert mask[13, 13]
    assert not mask[13, 36]


def test_polygons_of_one_group_are_one_object():
    one = [5, 5, 10, 5, 10, 10, 5, 10]
    two = [20, 20, 30, 20, 30, 30, 20, 30]
    got = read(
        shape("polygon", one, id=1, group=3),
        shape("polygon", two, id=2, group=3),
        shape("polygon", one, id=3, group=0),
        shape("polygon", two, id=4, group=3, label_id=17),
        shape("polygon", two, id=5, group=3, frame=1),
    )
    here = got.frames[0]
    assert here.shape_ids == ((1, 2), (3,), (4,))
    assert here.instances.class_ids.tolist() == [0, 0, 1]
    assert whole(here)[5:10, 5:10].all()
    assert whole(here)[20:30, 20:30].all()
    assert got.frames[1].shape_ids == ((5,),)


def test_grouped_rectangles_and_masks_stay_single():
    points = encode_mask(ring())
    got = read(
        shape("rectangle", [1, 1, 5, 5], id=1, group=2),
        shape("rectangle", [6, 6, 9, 9], id=2, group=2),
        shape("mask", points, id=3, group=2),
        shape("mask", points, id=4, group=2),
    )
    assert got.frames[0].shape_ids == ((1,), (2,), (3,), (4,))


def test_an_ellipse_is_given_by_its_centre_right_and_top():
    got = read(shape("ellipse", [25, 20, 35, 12])).frames[0]
    rows, columns = np.mgrid[: HW[0], : HW[1]] + 0.5
    exact = ((columns - 25) / 10) ** 2 + ((rows - 20) / 8) ** 2 <= 1
    assert (whole(got) ^ exact).sum() <= 0.03 * exact.sum()
    assert got.has_mask.tolist() == [True]


def test_labels_are_class_ids_by_position_never_by_cvat_id():
    got = read(shape("rectangle", [1, 1, 5, 5], label_id=17)).frames[0]
    assert got.instances.class_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (shape("points", [1, 1, 2, 2]), "a points, which has no area"),
        (shape("polyline", [1, 1, 2, 2]), "a polyline"),
        (shape("skeleton", []), "a skeleton"),
        (shape("rectangle", [1, 1, 5, 5], label_id=99), "does not list"),
        (shape("rectangle", [1, 1, 5, 5], frame=77), "outside the task"),
        (shape("rectangle", [60, 5, 70, 9]), "outside the image"),
        (shape("rectangle", [1, 1, 5]), "four numbers"),
        (shape("mask", [0, 3, 1, 1, 2, 2]), "do not fill"),
        (shape("mask", [0, 4, 200, 200, 201, 201]), "outside the image"),
        (shape("mask", [0.5, 3.5, 1, 1, 2, 2]), "no run lengths"),
        (shape("mask", [4, 1, 1, 2, 2]), "without a pixel"),
        (shape("mask", []), "no run lengths"),
        (shape("polygon", [1, 1, 2, 2]), "damaged"),
        (shape("polygon", [1, 1, 2, 2, 3, 3, 4]), "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["type"],
)
def test_what_cvat_stores_and_we_cannot_use_is_reported_and_stops_nothing(bad, reason):
    got = read(bad, shape("rectangle", [1, 1, 5, 5]))
    assert len(got.frames[0]) == 1
    (left,) = got.left_out
    assert reason in left.reason
    assert (left.count, left.frames) == (1, (bad["frame"],))


def test_tags_and_deleted_frames_are_reported():
    frames = [FRAMES[0], FrameInfo(1, "1.png", 50, 40, deleted=True)]
    tags = [{"frame": 0, "label_id": 11}]
    shapes = [shape("rectangle", [1, 1, 5, 5], frame=1)]
    got = to_instances({"shapes": shapes, "tags": tags, "tracks": []}, frames, LABELS)
    assert set(got.frames) == {0}
    assert {(left.reason, left.frames) for left in got.left_out} == {
        ("a tag, which marks no place", (0,)),
        ("on a deleted frame", (1,)),
    }


def test_frames_that_are_to_be_left_out_are_not_mixed_in():
    shapes = {"shapes": [shape("rectangle", [1, 1, 5, 5], frame=2)]}
    got = to_instances(shapes, FRAMES, LABELS, left_out_frames={2: "on a frame of ground truth"})
    assert 2 not in got.frames
    assert got.left_out[0].reason == "on a frame of ground truth"


def job(first, last, kind=JobKind.ANNOTATION):
    return JobInfo(first + 1, 1, kind, "annotation", "new", "", first, last, "", "")


def track(*keys, **more):
    return {"id": 5, "frame": 0, "label_id": 11, "shapes": list(keys), **more}


def key(frame, points, kind="rectangle", **more):
    return {"frame": frame, "type": kind, "points": points, **more}


def expanded(*keys, jobs=None):
    jobs = jobs or (job(0, 5),)
    got = to_instances({"tracks": [track(*keys)]}, FRAMES, LABELS, jobs=jobs)
    return {n: f.instances.boxes.tolist()[0] for n, f in got.frames.items() if len(f)}


def test_a_track_moves_in_a_straight_line_between_its_keyframes():
    boxes = expanded(key(0, [0, 0, 10, 10]), key(4, [20, 8, 30, 18], outside=True))
    assert boxes == {
        0: [0, 0, 10, 10],
        1: [5, 2, 15, 12],
        2: [10, 4, 20, 14],
        3: [15, 6, 25, 16],
    }


def test_a_track_stays_until_its_job_ends():
    jobs = (job(0, 2), job(3, 5), job(0, 5, JobKind.GROUND_TRUTH))
    assert list(expanded(key(1, [0, 0, 10, 10]), jobs=jobs)) == [1, 2]


def test_a_track_may_leave_and_come_back():
    boxes = expanded(
        key(0, [0, 0, 10, 10]), key(2, [0, 0, 10, 10], outside=True), key(5, [5, 5, 9, 9])
    )
    assert list(boxes) == [0, 1, 5]


def test_a_polygon_track_is_held_between_keyframes():
    boxes = expanded(
        key(0, [0, 0, 10, 0, 10, 10, 0, 10], "polygon"),
        key(2, [20, 20, 30, 20, 30, 30, 20, 30], "polygon"),
        jobs=(job(0, 2),),
    )
    assert boxes[1] == boxes[0] == [0, 0, 10, 10]
    assert boxes[2] == [20, 20, 30, 30]


def test_a_track_turns_the_shorter_way():
    got = to_instances(
        {
            "tracks": [
                track(
                    key(0, [20, 15, 30, 25], rotation=350.0),
                    key(2, [20, 15, 30, 25], rotation=10.0, outside=True),
                )
            ]
        },
        FRAMES,
        LABELS,
        jobs=(job(0, 5),),
    )
    # half way it stands straight: a box as drawn, with no corner outside it
    assert got.frames[1].instances.boxes.tolist() == [[20, 15, 30, 25]]


def test_what_the_sdk_decodes_is_what_we_decode():
    points = encode_mask(ring())
    full = decode_mask(points, image_width=HW[1], image_height=HW[0])
    assert np.array_equal(whole(read(shape("mask", points)).frames[0]), full)


def test_a_frame_among_many_is_read_as_it_is_alone():
    rng = np.random.default_rng(3)
    frames = [FrameInfo(i, f"{i}.png", 50 - i % 2, 40) for i in range(700)]
    kinds = ("mask", "rectangle", "polygon")
    shapes = []
    for i in range(2500):
        frame, kind = int(rng.integers(700)), kinds[i % 3]
        x, y = rng.integers(-6, 45, 2).tolist()
        points = {
            "mask": [0, 12, x, y, x + 3, y + 2] if i % 7 else [5, 5, x, y, x, y],
            "rectangle": [x, y, x + 9, y + 4],
            "polygon": [x, y, x + 9, y, x, y + 9],
        }[kind]
        shapes.append(shape(kind, points, id=i, frame=frame, label_id=LABELS[i % 2].id))
    together = to_instances({"shapes": shapes}, frames, LABELS)
    assert list(together.frames) == list(range(700))
    left_out = Counter()
    for frame in frames:
        mine = [one for one in shapes if one["frame"] == frame.frame]
        alone = to_instances({"shapes": mine}, [frame], LABELS)
        left_out.update({one.reason: one.count for one in alone.left_out})
        got, expected = together.frames[frame.frame], alone.frames[frame.frame]
        assert got.shape_ids == expected.shape_ids
        assert got.has_mask.tolist() == expected.has_mask.tolist()
        assert got.instances.boxes.tolist() == expected.instances.boxes.tolist()
        assert got.instances.class_ids.tolist() == expected.instances.class_ids.tolist()
        assert got.instances.masks.runs.tolist() == expected.instances.masks.runs.tolist()
        assert got.instances.masks.crops.tolist() == expected.instances.masks.crops.tolist()
    assert {one.reason: one.count for one in together.left_out} == left_out
    assert len(left_out) > 1

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from .conftest import BENCH

TROUBLES = ("missed", "doubles", "fragments", "over", "strange")


def small_scene(**faults):
    from scenes import Faults, Plan, make

    return make(Plan(objects=150, side=1898, seed=5, faults=Faults(**faults)))


def joined(scene):
    from peers import Ours

    peer = Ours()
    return peer.read(scene, peer.merge(peer.ready(scene)))


def scene_of(truth, found, shows):
    """A scene that one window shows, in which objects were drawn as `found`."""
    from scenes import Fragments, Scene

    windows = np.array([[0, 0, 300, 300]], np.int32)
    columns = (found.box, found.score, found.label, found.masks)
    fragments = Fragments(*columns, np.zeros(len(found), np.int32))
    return Scene(300, windows, truth, np.zeros(len(truth), bool), fragments, np.array(shows))


@pytest.mark.parametrize("by_boxes", [False, True])
def test_the_truth_itself_has_no_errors(by_boxes):
    from judge import errors

    scene = small_scene()
    found = errors(scene, scene.truth, by_boxes=by_boxes)
    assert [found[name] for name in TROUBLES] == [0] * 5
    assert found["iou"] == 1
    assert scene.cut.sum() > 5


def test_every_kind_of_error_is_counted_once():
    from judge import errors
    from scenes import Objects

    ones = np.ones((20, 20), np.uint8)
    box = np.array([[0, 0, 20, 20], [20, 0, 40, 20], [60, 60, 80, 80], [90, 0, 110, 20]], np.int32)
    truth = Objects(box, np.ones(4, np.float32), np.zeros(4, np.int32), [ones] * 4)
    result = Objects(
        np.array(
            [
                [0, 0, 40, 20],  # two objects fused: one is found, the other swallowed and missed
                [60, 60, 80, 74],
                [60, 62, 80, 72],  # doubled
                [60, 74, 80, 80],  # a fragment
                [200, 200, 220, 220],  # on nothing
            ],
            np.int32,
        ),
        np.ones(5, np.float32),
        np.zeros(5, np.int32),
        [np.ones((20, 40), np.uint8), ones[:14], ones[:10], ones[:6], ones],
    )
    found = errors(scene_of(truth, truth, range(4)), result)
    assert found["over"] == 1
    assert found["missed"] == 2  # the swallowed one and the last
    assert found["doubles"] == 1
    assert found["fragments"] == 1
    assert found["strange"] == 1
    assert found["unfindable"] == 0


def test_an_object_that_no_window_drew_well_is_missed_by_nobody():
    """Three thin bars: one drawn beside itself, one so by one of two windows, one in two halves."""
    from judge import errors, findable
    from scenes import Objects

    def bars(*places):
        box = np.array([(x, y, x + w, y + 2) for x, y, w in places], np.int32)
        n = len(places)
        masks = [np.ones((2, w), np.uint8) for _, _, w in places]
        return Objects(box, np.ones(n, np.float32), np.zeros(n, np.int32), masks)

    truth = bars((10, 10, 40), (10, 30, 40), (10, 50, 40))
    drawn = bars((10, 11, 40), (10, 31, 40), (10, 30, 40), (10, 50, 18), (28, 50, 18))
    scene = scene_of(truth, drawn, [0, 1, 1, 2, 2])
    assert findable(scene).tolist() == [False, True, True]
    nothing = Objects(np.zeros((0, 4), np.int32), np.zeros(0), np.zeros(0), [])
    found = errors(scene, nothing)
    assert (found["missed"], found["unfindable"]) == (2, 1)
    # whoever finds it all the same has found it
    assert errors(scene, truth)["unfindable"] == 0


def test_boxes_alone_are_judged_by_boxes():
    from judge import errors, findable
    from scenes import Objects

    scene = small_scene()
    hollow = Objects(scene.truth.box, scene.truth.score, scene.truth.label, [])
    found = errors(scene, hollow, by_boxes=True)
    assert sum(found[name] for name in TROUBLES) == 0
    assert found["iou"] == 1
    assert findable(scene, by_boxes=True).all()


@pytest.mark.parametrize("overlapping", [0.0, 0.3])
def test_exact_windows_are_joined_without_an_error(overlapping):
    from judge import errors

    scene = small_scene(jitter=0, relabelled=0, overlapping=overlapping)
    found = errors(scene, joined(scene))
    assert [found[name] for name in TROUBLES] == [0] * 5
    assert found["label"] == 1
    if not overlapping:
        assert found["iou"] == 1


@pytest.mark.parametrize(
    ("faults", "most"),
    [
        ({"jitter": 1}, 1),
        ({"relabelled": 0.3}, 1),
        ({"doubled": 0.3}, 3),
        ({"overlapping": 0.4}, 1),
    ],
    ids=str,
)
def test_what_windows_get_wrong_is_put_right(faults, most):
    from judge import errors

    scene = small_scene(**faults)
    found = errors(scene, joined(scene))
    assert sum(found[name] for name in TROUBLES) <= most


@pytest.mark.parametrize("faults", [{"missed": 0.2}, {"split": 0.2}, {"jitter": 5}], ids=str)
def test_the_result_is_no_worse_than_uniting_what_overlaps(faults):
    """pycocotools with intersection over the smaller is the strongest simple peer."""
    from judge import errors
    from peers import Coco

    scene = small_scene(**faults)
    coco = Coco()
    ours = errors(scene, joined(scene))
    theirs = errors(scene, coco.read(scene, coco.merge(coco.ready(scene))))
    assert sum(ours[n] for n in TROUBLES) <= sum(theirs[n] for n in TROUBLES)


@pytest.mark.parametrize(
    ("faults", "most"),
    [({}, 0), ({"relabelled": 0.3}, 0), ({"doubled": 0.3}, 4), ({"overlapping": 0.4}, 2)],
    ids=str,
)
def test_boxes_without_masks_are_joined_as_well(faults, most):
    from judge import errors
    from peers import OurBoxes

    scene, peer = small_scene(**faults), OurBoxes()
    result = peer.read(scene, peer.merge(peer.ready(scene)))
    found = errors(scene, result, by_boxes=True)
    assert sum(found[name] for name in TROUBLES) <= most
    assert found["iou_cut"] > 0.95


def test_a_mask_alone_in_its_window_is_passed_through_without_a_copy():
    from ours import merge

    scene = small_scene(jitter=0)
    result = merge(scene.side, scene.side, scene.windows, scene.found)
    given = {id(mask) for mask in scene.found.masks}
    assert sum(id(mask) in given for mask in result.masks) > 0.7 * len(result.masks)


def work_of(function):
    """Return how many calls a function makes, and its peak of memory: the same in every run."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return np.array([calls, peak])


def test_work_and_memory_grow_with_the_objects_and_not_with_their_square():
    from ours import merge
    from scenes import Plan, make

    few, many = (make(Plan(objects=count, seed=2)) for count in (250, 1500))
    spent = [work_of(lambda s=s: merge(s.side, s.side, s.windows, s.found)) for s in (few, many)]
    assert (spent[1] < 6**1.4 * spent[0]).all()


def test_the_command_prints_a_table_of_ours_and_whoever_is_installed():
    asked = [
        "merge",
        "--objects",
        "60",
        "--side",
        "1800",
        "--repeat",
        "1",
        "--peers",
        "pycocotools",
    ]
    done = subprocess.run(
        [sys.executable, str(BENCH / "run.py"), *asked], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("ours") for line in lines)
    assert any(line.startswith("pycocotools") for line in lines)

import subprocess
import sys

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


def test_the_truth_itself_has_no_errors():
    from scenes import errors

    scene = small_scene()
    found = errors(scene.truth, scene.cut, scene.truth)
    assert [found[name] for name in TROUBLES] == [0] * 5
    assert found["iou"] == 1
    assert scene.cut.sum() > 5


def test_every_kind_of_error_is_counted_once():
    from scenes import Objects, errors

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
    found = errors(truth, np.zeros(4, bool), result)
    assert found["over"] == 1
    assert found["missed"] == 2  # the swallowed one and the last
    assert found["doubles"] == 1
    assert found["fragments"] == 1
    assert found["strange"] == 1


@pytest.mark.parametrize("overlapping", [0.0, 0.3])
def test_exact_windows_are_joined_without_an_error(overlapping):
    from scenes import errors

    scene = small_scene(jitter=0, relabelled=0, overlapping=overlapping)
    result = joined(scene)
    found = errors(scene.truth, scene.cut, result)
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
    from scenes import errors

    scene = small_scene(**faults)
    found = errors(scene.truth, scene.cut, joined(scene))
    assert sum(found[name] for name in TROUBLES) <= most


@pytest.mark.parametrize("faults", [{"missed": 0.2}, {"split": 0.2}, {"jitter": 5}], ids=str)
def test_the_result_is_no_worse_than_uniting_what_overlaps(faults):
    """pycocotools with intersection over the smaller is the strongest simple peer."""
    from peers import Coco
    from scenes import errors

    scene = small_scene(**faults)
    coco = Coco()
    ours = errors(scene.truth, scene.cut, joined(scene))
    theirs = errors(scene.truth, scene.cut, coco.read(scene, coco.merge(coco.ready(scene))))
    assert sum(ours[n] for n in TROUBLES) <= sum(theirs[n] for n in TROUBLES)


def test_a_mask_alone_in_its_window_is_passed_through_without_a_copy():
    from ours import merge

    scene = small_scene(jitter=0)
    result = merge(scene.side, scene.side, scene.windows, scene.found)
    given = {id(mask) for mask in scene.found.masks}
    assert sum(id(mask) in given for mask in result.masks) > 0.7 * len(result.masks)


def test_cost_grows_with_the_objects_and_not_with_their_square():
    import time

    from ours import merge
    from scenes import Plan, make

    spent = []
    for count in (500, 4000):
        scene = make(Plan(objects=count, seed=2))
        merge(scene.side, scene.side, scene.windows, scene.found)
        times = []
        for _ in range(3):
            begin = time.process_time()
            merge(scene.side, scene.side, scene.windows, scene.found)
            times.append(time.process_time() - begin)
        spent.append(min(times))
    assert spent[1] < 8**1.4 * spent[0]


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

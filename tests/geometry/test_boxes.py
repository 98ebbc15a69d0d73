import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsl_core.geometry import boxes as geometry
from lsl_core.geometry.boxes import area, iou, iou_matrix, meeting_pairs, nms

corner = st.integers(0, 40)
box = st.tuples(corner, corner, st.integers(-1, 20), st.integers(-1, 20)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
columns = st.lists(box, max_size=40).map(lambda b: np.array(b, np.float32).reshape(-1, 4))


def meets(a, b):
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


@given(columns, st.sampled_from([5, 1 << 22]))
def test_the_sweep_finds_exactly_the_pairs_that_share_area(boxes, chunk):
    expected = [
        (i, j)
        for i in range(len(boxes))
        for j in range(i + 1, len(boxes))
        if meets(boxes[i], boxes[j])
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "_CHUNK", chunk)
        left, right = meeting_pairs(boxes)
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == expected


def test_areas_and_overlaps_are_those_of_a_worked_example():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 20, 30]], np.float32)
    assert area(boxes).tolist() == [100, 100, 0]
    assert iou(boxes[:2], boxes[1:]).tolist() == pytest.approx([50 / 150, 0])
    assert iou_matrix(boxes, boxes[:2]).tolist() == pytest.approx(
        np.array([[1, 1 / 3], [1 / 3, 1], [0, 0]])
    )


def greedy(boxes, scores, class_ids, limit):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        rivals = [k for k in kept if class_ids[k] == class_ids[i]]
        if not any(iou(boxes[i : i + 1], boxes[k : k + 1])[0] > limit for k in rivals):
            kept.append(i)
    return kept


@given(columns, st.randoms(use_true_random=False), st.sampled_from([0.0, 0.3, 0.7]))
def test_suppression_keeps_what_the_plain_greedy_loop_keeps(boxes, random, limit):
    scores = np.array([random.choice([0.1, 0.5, 0.9]) for _ in boxes], np.float32)
    ids = np.array([random.choice([0, 1]) for _ in boxes], np.int32)
    kept = nms(boxes, scores, ids, iou_limit=limit)
    assert kept.tolist() == greedy(boxes, scores, ids, limit)

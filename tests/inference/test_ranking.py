import numpy as np
import pytest

from lsl_core.inference.ranking import Seen, Way, rank
from lsl_core.types import Instances

#: Three looks that have nothing in common.
DARK, BRIGHT, RED = np.eye(3, 32, dtype=np.float32)


def seen(look, scores, label=0):
    n = len(scores)
    boxes = np.tile(np.array([10, 10, 30, 30], np.float32), (n, 1))
    ids = np.full(n, label, np.int32)
    return Seen(look, Instances(boxes, np.array(scores, np.float32), ids, None, (100, 100)))


def order(candidates, labelled, way=Way.BOTH, num_labels=2, num=None):
    return [
        one.index for one in rank(candidates, labelled, num_labels=num_labels, way=way, num=num)
    ]


def test_of_images_alike_the_one_with_more_doubt_comes_first():
    candidates = [seen(BRIGHT, [0.98, 0.97]), seen(BRIGHT, [0.5, 0.6]), seen(BRIGHT, [0.9, 0.5])]
    assert order(candidates, [seen(DARK, [1.0])])[0] == 1
    assert order(candidates, [seen(DARK, [1.0])], Way.UNSURE) == [1, 2, 0]


def test_of_equal_doubt_what_is_unlike_the_labelled_images_comes_first():
    candidates = [seen(DARK, [0.5]), seen(BRIGHT, [0.5])]
    found = rank(candidates, [seen(DARK, [1.0])], num_labels=2)
    assert [one.index for one in found] == [1, 0]
    assert [one.is_unlike for one in found] == [True, False]


def test_a_twin_of_a_chosen_image_waits_until_the_others_were_chosen():
    candidates = [seen(BRIGHT, [0.5] * 3), seen(BRIGHT, [0.5] * 3), seen(RED, [0.6])]
    assert order(candidates, [seen(DARK, [1.0])]) == [0, 2, 1]
    assert order(candidates, [seen(DARK, [1.0])], Way.UNSURE) == [0, 1, 2]


def test_an_image_where_nothing_was_found_is_not_forgotten():
    candidates = [seen(DARK, [0.9]), seen(RED, [])]
    found = rank(candidates, [seen(DARK, [1.0])], num_labels=2)
    assert found[0].index == 1
    assert found[0].label is None


def test_doubt_about_a_rare_label_weighs_more():
    labelled = [seen(DARK, [1.0] * 24, label=0), seen(DARK, [1.0], label=1)]
    candidates = [seen(BRIGHT, [0.5, 0.5], label=0), seen(BRIGHT, [0.5], label=1)]
    assert order(candidates, labelled, Way.UNSURE)[0] == 0
    assert order(candidates, labelled, Way.RARE)[0] == 1


@pytest.mark.parametrize("way", list(Way))
def test_every_image_is_ranked_once_by_falling_scores(way):
    rng = np.random.default_rng(0)
    looks = np.abs(rng.normal(size=(20, 32))).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    candidates = [
        seen(look, rng.uniform(0.05, 1, rng.integers(0, 9)), label=i % 2)
        for i, look in enumerate(looks[2:])
    ]
    labelled = [seen(look, [1.0, 1.0]) for look in looks[:2]]
    found = rank(candidates, labelled, num_labels=2, way=way)
    assert sorted(one.index for one in found) == list(range(18))
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] < scores[0] <= 1
    assert rank(candidates, labelled, num_labels=2, way=way, num=3) == found[:3]


def test_it_ranks_without_a_labelled_image_and_without_a_candidate():
    assert sorted(order([seen(DARK, [0.5]), seen(RED, [])], [])) == [0, 1]
    assert order([], [seen(DARK, [1.0])]) == []

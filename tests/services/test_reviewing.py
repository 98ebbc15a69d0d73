"""What a review says beyond counting: advice on thresholds, and pairs of a frame."""

from __future__ import annotations

import numpy as np
import pytest

from lsl_core import cvat
from lsl_core.cvat import Fate, Judged, Review
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.errors import UserInput
from lsl_core.services.labelling import reviewing
from lsl_core.types.effort import DELETE_S, DRAW_BOX_S, DRAW_MASK_S, LOOK_S, MEND


def judged(fate: Fate, score: float, *, label: str = "cell", iou: float = 1.0) -> Judged:
    now = {Fate.DELETED: "", Fate.RELABELLED: "other"}.get(fate, label)
    return Judged(0, label, fate, now, score, iou, 0, 0)


def review(*objects: Judged, has_masks: bool = True) -> Review:
    return Review("p", 1, objects, has_masks)


def test_it_says_how_many_deletions_a_higher_threshold_had_spared() -> None:
    false = [judged(Fate.DELETED, 0.30 + i / 300) for i in range(31)]
    right = [judged(Fate.KEPT, 0.5 + i / 100) for i in range(40)]
    (one,) = reviewing.advice(review(*false, *right))
    assert one.threshold == 0.41
    assert one.pushed == 71
    assert str(one) == "at 0.41 you would have deleted 31 fewer"
    assert one.saved_s == pytest.approx(31 * (LOOK_S + DELETE_S))


def test_a_threshold_that_would_lose_right_masks_is_not_advised() -> None:
    mixed = [judged(Fate.DELETED if i % 3 else Fate.KEPT, 0.3 + i / 100) for i in range(40)]
    assert reviewing.advice(review(*mixed)) == []


def test_boxes_are_soon_drawn_so_more_of_them_may_go() -> None:
    low = [judged(Fate.KEPT, 0.3), *[judged(Fate.DELETED, 0.31)] * 4]
    found = [*low, *[judged(Fate.KEPT, 0.9)] * 20]
    assert reviewing.advice(review(*found, has_masks=True)) == []
    (one,) = reviewing.advice(review(*found, has_masks=False))
    assert (one.threshold, one.fewer_deleted, one.more_drawn) == (0.32, 4, 1)
    assert "and drawn 1 more" in str(one)


def test_few_objects_and_added_ones_give_no_advice() -> None:
    few = [judged(Fate.DELETED, 0.3)] * (reviewing.LEAST_PUSHED - 1)
    assert reviewing.advice(review(*few, *[judged(Fate.ADDED, 1.0)] * 50)) == []
    assert reviewing.advice(review()) == []


@pytest.mark.parametrize("seed", range(20))
def test_the_advice_is_the_best_of_all_whole_percents(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = np.round(rng.uniform(0.05, 1, 60), 4)
    fates = [
        Fate.DELETED if rng.random() > score else rng.choice([Fate.KEPT, Fate.MOVED])
        for score in scores
    ]
    found = [judged(Fate(f), float(s), iou=0.6) for f, s in zip(fates, scores, strict=True)]
    draw_s = DRAW_BOX_S if seed % 2 else DRAW_MASK_S

    def saved_s(percent: int) -> float:
        gone = [one for one in found if one.score < percent / 100]
        seconds = {
            Fate.DELETED: LOOK_S + DELETE_S,
            Fate.KEPT: LOOK_S - draw_s,
            Fate.MOVED: LOOK_S + MEND * draw_s - draw_s,
        }
        return sum(seconds[one.fate] for one in gone)

    best = max(saved_s(percent) for percent in range(101))
    advice = reviewing.advice(review(*found, has_masks=not seed % 2))
    if best <= 0:
        assert advice == []
    else:
        assert advice[0].saved_s == pytest.approx(best)
        assert saved_s(round(advice[0].threshold * 100)) == pytest.approx(best)


def test_a_pair_shows_what_was_pushed_and_what_people_left(world) -> None:
    session, workspace = world.session, world.workspace
    label = cvat.task_labels(session, world.unlabelled)[0].name
    objects = world.truth[0].take(np.arange(3))
    objects = objects.relabelled([label] * 9, [label])
    journal = cvat.Journal(workspace.journal)
    plan = cvat.plan_push(session, world.unlabelled, {0: objects}, (label,), journal=journal)
    push = cvat.apply_push(session, plan, journal, snapshot=workspace.snapshots / "s.gz")
    shapes = cvat.task_annotations(session, world.unlabelled)["shapes"]
    (job,) = cvat.task_jobs(session, world.unlabelled)
    change_job(session, job.id, Action.DELETE, shapes[:1])

    changed = reviewing.pair(session, workspace, push.push_id, 0)
    assert (len(changed.pushed), len(changed.now)) == (1, 0)
    assert changed.pixels.shape[:2] == changed.pushed.image_hw == changed.now.image_hw
    whole = reviewing.pair(session, workspace, push.push_id, 0, only_changed=False)
    assert (len(whole.pushed), len(whole.now)) == (3, 2)
    with pytest.raises(UserInput, match="nothing on frame 1"):
        reviewing.pair(session, workspace, push.push_id, 1)

from __future__ import annotations

import copy
from typing import Any

from lsl_core.backups import DiffRow, JobAnnotations, compare, summary

LABELS = {1: "bolt", 2: "nut"}


def box(id_: int, x: float, *, label: int = 1, frame: int = 0, **more: Any) -> dict[str, Any]:
    points = [x, 0.0, x + 10, 10.0]
    return {
        "id": id_, "type": "rectangle", "frame": frame, "label_id": label, "points": points,
        "occluded": False, "attributes": [], "group": 0, "source": "manual", **more,
    }  # fmt: skip


def job(
    *shapes: dict[str, Any], task: int = 41, person: str = "ana", **more: Any
) -> JobAnnotations:
    return JobAnnotations(task, person, LABELS, {"shapes": list(shapes), **more})


def kinds(before: JobAnnotations, after: JobAnnotations) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.kind, one.label, one.fields) for one in compare([before], [after])]


def test_equal_annotations_have_no_difference_whatever_their_ids_and_order() -> None:
    assert kinds(job(box(1, 0), box(2, 50)), job(box(8, 50), box(9, 0))) == []


def test_a_moved_object_was_edited() -> None:
    assert kinds(job(box(1, 0)), job(box(1, 300))) == [("edited", "bolt", ("points",))]


def test_an_object_that_was_saved_under_a_new_id_was_edited_where_it_overlaps() -> None:
    assert kinds(job(box(1, 0)), job(box(7, 2, label=2))) == [
        ("edited", "nut", ("label", "points"))
    ]


def test_what_lies_elsewhere_was_removed_and_added() -> None:
    found = kinds(job(box(1, 0), box(3, 200)), job(box(2, 50), box(4, 200, frame=1)))
    assert sorted(kind for kind, _, _ in found) == ["added", "added", "removed", "removed"]


def test_one_of_two_equal_objects_removed_is_one_removed() -> None:
    assert kinds(job(box(1, 0), box(2, 0)), job(box(1, 0))) == [("removed", "bolt", ())]


def test_masks_overlap_by_their_boxes() -> None:
    def mask(id_: int, x: int) -> dict[str, Any]:
        return {**box(id_, 0), "type": "mask", "points": [0, 100, x, 5, x + 9, 14]}

    assert kinds(job(mask(1, 0)), job(mask(2, 1))) == [("edited", "bolt", ("points",))]
    assert len(kinds(job(mask(1, 0)), job(mask(2, 40)))) == 2


def test_tags_and_tracks_are_compared_as_whole_things() -> None:
    tag = {"id": 1, "frame": 3, "label_id": 2, "attributes": []}
    track = {
        "id": 5, "frame": 0, "label_id": 1, "attributes": [],
        "shapes": [{"id": 9, "type": "rectangle", "frame": 0, "points": [0, 0, 9, 9]}],
    }  # fmt: skip
    moved = copy.deepcopy(track)
    moved["shapes"][0]["points"][0] = 4
    moved["shapes"][0]["id"] = 77
    found = compare([job(tags=[tag], tracks=[track])], [job(tags=[], tracks=[moved])])
    assert [(one.kind, one.what, one.frame) for one in found] == [
        ("edited", "track", 0), ("removed", "tag", 3),
    ]  # fmt: skip


def test_the_summary_counts_by_task_label_and_person() -> None:
    before = [job(box(1, 0), box(2, 100)), job(box(3, 0), task=7, person="bob")]
    after = [job(box(1, 0), box(4, 400, label=2), box(5, 500, label=2)), job(box(3, 1), task=7)]
    assert summary(compare(before, after)) == [
        DiffRow(7, "bolt", "ana", 0, 0, 1),
        DiffRow(41, "bolt", "ana", 0, 1, 0),
        DiffRow(41, "nut", "ana", 2, 0, 0),
    ]

from __future__ import annotations

import copy
import tracemalloc
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

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
    held = {"shapes": list(shapes), **more}
    entries = [(kind, entry) for kind, some in held.items() for entry in some]
    return JobAnnotations(task, person, LABELS, lambda: entries)


def kinds(before: JobAnnotations, after: JobAnnotations) -> list[tuple[str, str]]:
    return [(one.kind, one.label) for one in compare([before], [after])]


def test_equal_annotations_have_no_difference_whatever_their_ids_and_order() -> None:
    assert kinds(job(box(1, 0), box(2, 50)), job(box(8, 50), box(9, 0))) == []


def test_a_moved_object_was_edited() -> None:
    assert kinds(job(box(1, 0)), job(box(1, 300))) == [("edited", "bolt")]


def test_an_object_that_was_saved_under_a_new_id_was_edited_where_it_overlaps() -> None:
    assert kinds(job(box(1, 0)), job(box(7, 2, label=2))) == [("edited", "nut")]


def test_what_lies_elsewhere_was_removed_and_added() -> None:
    found = kinds(job(box(1, 0), box(3, 200)), job(box(2, 50), box(4, 200, frame=1)))
    assert sorted(kind for kind, _ in found) == ["added", "added", "removed", "removed"]


def test_one_of_two_equal_objects_removed_is_one_removed() -> None:
    assert kinds(job(box(1, 0), box(2, 0)), job(box(1, 0))) == [("removed", "bolt")]


def test_masks_overlap_by_their_boxes() -> None:
    def mask(id_: int, x: int) -> dict[str, Any]:
        return {**box(id_, 0), "type": "mask", "points": [0, 100, x, 5, x + 9, 14]}

    assert kinds(job(mask(1, 0)), job(mask(2, 1))) == [("edited", "bolt")]
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


def test_points_in_arrays_are_those_in_lists_and_fine_decimals_are_nothing() -> None:
    shape = box(1, 0)
    there = {**shape, "points": array("d", [value + 0.001 for value in shape["points"]])}
    assert kinds(job(shape), job(there)) == []
    assert kinds(job(shape), job({**there, "points": array("d", [0, 0, 11, 10])})) == [
        ("edited", "bolt")
    ]


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_equal_objects_leave_in_pairs(before: list[int], after: list[int]) -> None:
    old, new = ([box(-1, 100 * x) | {"id": None} for x in side] for side in (before, after))
    found = Counter(one.kind for one in compare([job(*old)], [job(*new)]))
    gone, more = Counter(before) - Counter(after), Counter(after) - Counter(before)
    assert found == +Counter(removed=gone.total(), added=more.total())


def test_memory_does_not_grow_with_what_stayed_the_same() -> None:
    def entries(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for n in range(count):
            yield "shapes", {**box(n, n), "points": [float(n)] * 100}

    def peak(count: int) -> int:
        job = JobAnnotations(41, "ana", LABELS, lambda: entries(count))
        tracemalloc.start()
        assert compare([job], [job]) == []
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(10)
    few, many = peak(250), peak(1_000)  # 0.2 and 0.8 MB of points a side
    assert many - few < 750 * 300


def test_the_summary_counts_by_task_label_and_person() -> None:
    before = [job(box(1, 0), box(2, 100)), job(box(3, 0), task=7, person="bob")]
    after = [job(box(1, 0), box(4, 400, label=2), box(5, 500, label=2)), job(box(3, 1), task=7)]
    assert summary(compare(before, after)) == [
        DiffRow(7, "bolt", "ana", 0, 0, 1),
        DiffRow(41, "bolt", "ana", 0, 1, 0),
        DiffRow(41, "nut", "ana", 2, 0, 0),
    ]

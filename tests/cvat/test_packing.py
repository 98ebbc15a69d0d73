"""Points of shapes in arrays: the same numbers, the same keys, a fraction of the memory."""

from __future__ import annotations

import json
import sqlite3
from array import array

import pytest
from cvat_helpers import discs, make_task
from push_helpers import draw_by_hand, rectangle

from lsl_core.cvat import Journal, apply_push, plan_push, task_annotations, undo_push
from lsl_core.cvat.annotations.content import content_key, key_of
from lsl_core.cvat.annotations.packing import dumps, packed, unpacked, whole
from lsl_core.cvat.annotations.reading import stored_entries
from lsl_core.cvat.push.journal import Part

MASK = {"type": "mask", "frame": 0, "label_id": 3, "points": [0, 12, 0, 0, 3, 2], "attributes": []}


def test_a_packed_shape_is_sent_as_it_was_read():
    shape = {**MASK, "points": [0.5, 2.25], "elements": [{"points": [1.0]}]}
    read = json.loads(json.dumps(shape), object_hook=packed)
    assert isinstance(read["points"], array)
    assert isinstance(read["elements"][0]["points"], array)
    assert unpacked([read]) == [shape]
    assert json.loads(dumps([read])) == [shape]


@pytest.mark.parametrize("points", [None, "12", [1, "a"], [[1]], [10**400]])
def test_points_that_are_no_numbers_stay_as_they_are(points):
    assert packed({"points": points})["points"] == points


def test_what_is_no_json_is_still_refused():
    with pytest.raises(ValueError, match="object is no JSON"):
        dumps([object()])


@pytest.mark.parametrize("pack", [whole, packed])
def test_a_shape_has_the_key_that_journals_hold_for_it(pack):
    known = "0c7793d97f2932873d2b71ccacc1caa81070c4343b0ebd9f3b5d1fd31e069950"
    assert content_key(pack(dict(MASK))) == content_key(MASK) == known


def test_numbers_of_a_mask_that_are_no_whole_ones_keep_their_key_too():
    odd = {**MASK, "points": [0.5, 1e16, 3.0]}
    assert content_key(odd) == content_key(packed(dict(odd))) != content_key(MASK)


def test_the_entries_of_a_task_are_its_shapes(session, tmp_path):
    task = make_task(session, tmp_path)
    for frame in range(3):
        draw_by_hand(session, task, rectangle(session, task, [1, 1, 9, 9], frame=frame))
    shapes = task_annotations(session, task.id)["shapes"]
    expected = {("shapes", shape["id"]): content_key(shape) for shape in shapes}
    assert len(expected) == 3
    found = {key_of(entry): content_key(entry) for entry in stored_entries(session, task)}
    assert found == expected


def test_a_push_of_an_older_journal_can_be_undone(session, tmp_path):
    task = make_task(session, tmp_path)
    journal = Journal(tmp_path / "j.sqlite")
    plan = plan_push(session, task.id, {0: discs([(15, 15, 8), (40, 30, 6)])}, ("cell",))
    push = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    with sqlite3.connect(tmp_path / "j.sqlite") as db:
        db.execute("UPDATE cvat_batches SET num_shapes = NULL")
    db.close()
    assert sum(len(batch.entries) for batch in journal.batches(push.push_id, Part.PUSH)) == 2
    assert undo_push(session, journal, push.push_id).deleted == 2

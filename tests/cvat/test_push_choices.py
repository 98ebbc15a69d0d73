"""What people choose about a push: labels, attributes, tidy masks, and the mode that takes all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from cvat_helpers import discs, make_task, write_images

from lsl_core.cvat import (
    Drawing,
    LabelMaps,
    PushChoices,
    PushMode,
    add_label,
    apply_push,
    create_task,
    plan_push,
    task_annotations,
    task_jobs,
    task_labels,
    undo_push,
)
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.cvat.annotations.content import content_key
from lsl_core.cvat.push.budget import CORNERS_A_FRAME, SHAPES_A_FRAME, over_budget
from lsl_core.errors import LabelMismatch, SnapshotMissing, UserInput
from lsl_core.geometry.cleaning import Cleaning
from lsl_core.types import CropMasks

TWO = [(15, 15, 8), (45, 20, 10)]
EVERYTHING = PushChoices(mode=PushMode.REPLACE_EVERYTHING)


@pytest.fixture
def task(session, tmp_path):
    return make_task(session, tmp_path)


def shapes_of(session, task):
    return task_annotations(session, task.id)["shapes"]


def draw(session, task, frame, places, *, job=0, **more):
    """Draw as a person does, in one of the jobs that cover a frame."""
    label = task_labels(session, task.id)[0]
    jobs = [j for j in task_jobs(session, task.id) if j.covers(frame)]
    base = {"type": "rectangle", "frame": frame, "label_id": label.id, "source": "manual"}
    shapes = [{**base, "points": [x - r, y - r, x + r, y + r], **more} for x, y, r in places]
    ids = change_job(session, jobs[job].id, Action.CREATE, shapes)
    return [{**shape, "id": number} for shape, number in zip(shapes, ids, strict=True)]


def with_attributes(session, tmp_path):
    specs = [
        {"name": "kind", "mutable": False, "input_type": "select", "values": ["round", "long"],
         "default_value": "round"},
        {"name": "size", "mutable": True, "input_type": "number", "values": ["0", "10", "1"],
         "default_value": "3"},
        {"name": "sure", "mutable": True, "input_type": "checkbox", "values": [],
         "default_value": "false"},
        {"name": "note", "mutable": True, "input_type": "text", "values": [], "default_value": ""},
    ]  # fmt: skip
    made = create_task(session, "specs", [("old", "any")], write_images(tmp_path / "a", 1))
    label = {"name": "cell", "type": "mask", "attributes": specs}
    session.transport.json(
        "PATCH", f"/api/tasks/{made.id}", doing="adding a label", body={"labels": [label]}
    )
    return made


def test_attributes_have_the_chosen_value_or_their_default(session, journal, tmp_path):
    task = with_attributes(session, tmp_path)
    choices = PushChoices(attributes={"cell": {"kind": "long", "size": "7", "note": "by ana"}})
    plan = plan_push(session, task.id, {0: discs(TWO)}, ("cell",), choices=choices)
    apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    cell = task_labels(session, task.id)[1]
    names = {attribute.id: attribute.name for attribute in cell.attributes}
    for shape in shapes_of(session, task):
        values = {names[a["spec_id"]]: a["value"] for a in shape["attributes"]}
        assert values == {"kind": "long", "size": "7", "sure": "false", "note": "by ana"}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"cell": {"colour": "red"}}, 'no attribute "colour"'),
        ({"nut": {"kind": "long"}}, 'of a label "nut"'),
        ({"cell": {"kind": "square"}}, '"square" is no value'),
        ({"cell": {"size": "11"}}, '"11" is no value'),
        ({"cell": {"size": "large"}}, '"large" is no value'),
        ({"cell": {"sure": "perhaps"}}, '"perhaps" is no value'),
    ],
)
def test_an_attribute_or_value_that_cvat_lacks_is_refused(session, tmp_path, wanted, words):
    task = with_attributes(session, tmp_path)
    choices = PushChoices(attributes=wanted)
    with pytest.raises(LabelMismatch, match=words):
        plan_push(session, task.id, {0: discs(TWO)}, ("cell",), choices=choices)


def test_a_label_map_is_kept_by_task_and_server(tmp_path):
    maps = LabelMaps(tmp_path / "lsl.sqlite")
    maps.save({"bolt": "screw", "nut": None, "cell": "cell"}, url="http://a", task_id=4)
    maps.save({"bolt": "pin"}, url="http://b", task_id=4)
    again = LabelMaps(tmp_path / "lsl.sqlite")
    assert again.get(url="http://a", task_id=4) == {"bolt": "screw", "nut": None}
    assert again.get(url="http://a", task_id=5) == {}
    again.save({"bolt": "bolt"}, url="http://a", task_id=4)
    assert again.get(url="http://a", task_id=4) == {"nut": None}


def test_masks_are_tidied_before_they_are_compared_and_pushed(session, task, journal, tmp_path):
    disc = discs([(30, 30, 12)])
    full = disc.masks.crop(0).copy()
    full[30, 30] = False
    full[2, 2] = True
    found = replace(disc, masks=CropMasks.from_crops([full], [(0, 0)]))
    choices = PushChoices(cleaning=Cleaning(strays_px=5, holes_px=5))
    plan = plan_push(session, task.id, {0: found}, ("cell",), choices=choices)
    clean = plan_push(session, task.id, {0: disc}, ("cell",))
    assert [s["points"] for s in plan.create] == [s["points"] for s in clean.create]
    apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    again = plan_push(session, task.id, {0: found}, ("cell",), choices=choices, journal=journal)
    assert again.does_nothing


def test_simple_polygons_say_how_many_pixels_they_cost(session, task):
    choices = PushChoices(mapping={"cell": "outline"}, tolerance=2.0)
    plan = plan_push(session, task.id, {0: discs(TWO)}, ("cell",), choices=choices)
    exact = plan_push(
        session, task.id, {0: discs(TWO)}, ("cell",), choices=replace(choices, tolerance=0.0)
    )
    assert sum(len(s["points"]) for s in plan.create) < sum(len(s["points"]) for s in exact.create)
    assert any("2 objects differ by" in warning for warning in plan.warnings)
    assert not any("differ by" in warning for warning in exact.warnings)


def test_too_many_shapes_or_corners_on_a_frame_are_a_warning():
    box = {"type": "rectangle", "frame": 3, "points": [0, 0, 1, 1]}
    assert over_budget({}, [box] * SHAPES_A_FRAME, []) == []
    (words,) = over_budget({3: [box] * SHAPES_A_FRAME}, [box], [])
    assert "1,000 shapes, frame 3" in words
    assert over_budget({3: [box] * SHAPES_A_FRAME}, [box], [box]) == []
    ring = {"type": "polygon", "frame": 1, "points": [0, 0] * (CORNERS_A_FRAME // 2 + 1)}
    (words,) = over_budget({}, [ring, ring], [])
    assert "10,000 corners" in words


def test_replacing_everything_needs_the_typed_number(session, task, journal, tmp_path):
    draw(session, task, 0, TWO)
    before = shapes_of(session, task)
    plan = plan_push(session, task.id, {0: discs(TWO[:1])}, ("cell",), choices=EVERYTHING)
    assert plan.num_remove == 2
    assert any("2 of the shapes that go were drawn" in warning for warning in plan.warnings)
    for typed in (None, task.id + 1):
        with pytest.raises(UserInput, match=f"2 objects of task {task.id} .*whoever drew"):
            apply_push(session, plan, journal, snapshot=tmp_path / "s.gz", confirmed_task=typed)
    assert shapes_of(session, task) == before
    assert journal.pushes() == []


def test_replacing_everything_is_undone_whole(session, task, journal, tmp_path):
    draw(session, task, 0, TWO, occluded=True, z_order=2)
    draw(session, task, 2, TWO[:1])
    kept = draw(session, task, 3, TWO)
    before = shapes_of(session, task)
    found = {0: discs(TWO[:1]), 2: discs([])}
    plan = plan_push(session, task.id, found, ("cell",), choices=EVERYTHING, journal=journal)
    result = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz", confirmed_task=task.id)
    assert (result.added, result.removed, result.is_verified) == (1, 3, True)
    now = shapes_of(session, task)
    assert [s["id"] for s in now if s["source"] == "manual"] == [s["id"] for s in kept]
    undone = undo_push(session, journal, result.push_id)
    assert (undone.deleted, undone.restored, undone.is_verified) == (1, 3, True)
    back = shapes_of(session, task)
    assert Counter(map(content_key, back)) == Counter(map(content_key, before))


def test_a_snapshot_that_cannot_be_read_back_stops_it(
    session, task, journal, tmp_path, monkeypatch
):
    draw(session, task, 0, TWO)
    before = shapes_of(session, task)
    plan = plan_push(session, task.id, {0: discs(TWO[:1])}, ("cell",), choices=EVERYTHING)
    snapshot = tmp_path / "s.gz"
    monkeypatch.setattr(
        "lsl_core.cvat.push.applying.write_snapshot", lambda path, *rest: path.write_bytes(b"half")
    )
    with pytest.raises(SnapshotMissing):
        apply_push(session, plan, journal, snapshot=snapshot, confirmed_task=task.id)
    assert shapes_of(session, task) == before


def test_where_jobs_overlap_shapes_of_both_are_replaced(session, journal, tmp_path):
    images = write_images(tmp_path / "o", 4)
    labels = [("cell", "any")]
    task = create_task(session, "overlap", labels, images, segment_size=2, overlap=1)
    draw(session, task, 1, [(15, 15, 8)], job=0)
    draw(session, task, 1, [(50, 40, 9)], job=1)
    before = shapes_of(session, task)
    assert len(before) == 2
    plan = plan_push(session, task.id, {1: discs([])}, ("cell",), choices=EVERYTHING)
    result = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz", confirmed_task=task.id)
    assert result.removed == 2
    assert shapes_of(session, task) == []
    assert undo_push(session, journal, result.push_id).restored == 2
    back = shapes_of(session, task)
    assert Counter(map(content_key, back)) == Counter(map(content_key, before))


def test_tracks_and_tags_stay_and_are_said(session, task):
    label = task_labels(session, task.id)[0]
    job = task_jobs(session, task.id)[0]
    key = {"type": "rectangle", "frame": 0, "points": [1, 1, 9, 9], "outside": False}
    session.transport.json(
        "PATCH",
        f"/api/jobs/{job.id}/annotations/",
        doing="drawing a track",
        query={"action": "create"},
        body={
            "version": 0,
            "tags": [],
            "shapes": [],
            "tracks": [{"frame": 0, "label_id": label.id, "shapes": [key]}],
        },
    )
    plan = plan_push(session, task.id, {0: discs(TWO)}, ("cell",), choices=EVERYTHING)
    assert any("1 tracks and tags stay" in warning for warning in plan.warnings)
    assert not plan.remove


def test_a_plan_shows_a_label_that_would_be_made_and_makes_none(session, task, journal, tmp_path):
    found = {0: discs(TWO), 1: discs(TWO[:1], class_id=1)}
    labels, choices = ("cell", "platelet", "unseen"), PushChoices(create=("platelet", "unseen"))
    plan = plan_push(session, task.id, found, labels, choices=choices)
    assert [(label.name, label.type) for label in plan.new_labels] == [("platelet", "mask")]
    assert [(row.label, row.now, row.add) for row in plan.labels] == [
        ("cell", 0, 2), ("platelet", 0, 1),
    ]  # fmt: skip
    assert "platelet" not in {label.name for label in task_labels(session, task.id)}
    with pytest.raises(LabelMismatch, match='no label "platelet" yet'):
        apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    assert not shapes_of(session, task)


def test_making_the_label_changes_nothing_else_of_a_plan(session, task, journal, tmp_path):
    found = {0: discs(TWO), 1: discs(TWO[:1], class_id=1)}
    labels, choices = ("cell", "platelet"), PushChoices(create=("platelet",))
    shown = plan_push(session, task.id, found, labels, choices=choices)
    made = add_label(session, task.id, "platelet", Drawing.MASK)
    plan = plan_push(session, task.id, found, labels, choices=choices)
    assert plan.token == shown.token
    assert not plan.new_labels
    assert apply_push(session, plan, journal, snapshot=tmp_path / "s.gz").is_verified
    assert sum(shape["label_id"] == made.id for shape in shapes_of(session, task)) == 1


def test_a_label_that_is_mapped_elsewhere_is_not_made(session, task):
    choices = PushChoices(create=("platelet",), mapping={"platelet": "cell"})
    plan = plan_push(session, task.id, {0: discs(TWO)}, ("platelet",), choices=choices)
    assert not plan.new_labels
    assert [row.label for row in plan.labels] == ["cell"]

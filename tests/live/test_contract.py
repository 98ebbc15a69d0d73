"""What LSL needs of a CVAT server, asked of a real one: `pytest -m live`."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cvat_helpers import (
    HW,
    LABELS,
    FaultProxy,
    add_track,
    discs,
    make_video_task,
    rectangle,
    write_images,
    write_kinds,
    write_video,
)
from random_work import draw_people, random_predictions, require_planned, shapes_of

from lsl_core.cvat import (
    Drawing,
    PasswordLogin,
    PushChoices,
    PushMode,
    add_label,
    apply_push,
    connect,
    create_task,
    delete_task,
    frame_bytes,
    frame_url,
    list_tasks,
    plan_push,
    pull_frames,
    read_task,
    resume_push,
    task_frames,
    task_jobs,
    task_labels,
    undo_push,
)
from lsl_core.cvat.annotations.content import content_key
from lsl_core.cvat.images import packed
from lsl_core.errors import CvatAuth, CvatError, CvatNotFound, CvatRequestFailed
from lsl_core.progress import NULL
from lsl_core.workspace.images import decode_rgb, read_rgb

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"), 4)


@pytest.fixture(scope="module")
def task(session, project, images):
    return create_task(
        session, "cells", [], images, project_id=project, segment_size=2, image_quality=70
    )


@pytest.fixture
def push(session, task, journal, tmp_path):
    def run(found, **choices):
        wanted = PushChoices(**choices)
        plan = plan_push(session, task.id, found, ("cell",), choices=wanted, journal=journal)
        confirmed = task.id if wanted.mode is PushMode.REPLACE_EVERYTHING else None
        return plan, apply_push(
            session, plan, journal, snapshot=tmp_path / "before.gz", confirmed_task=confirmed
        )

    return run


def test_a_wrong_password_and_an_unknown_organisation_are_named(live_login):
    url, login = live_login
    with pytest.raises(CvatAuth, match="password"):
        connect(url, PasswordLogin(login.user, "not the password"))
    with pytest.raises(CvatNotFound, match="no-such-organisation"):
        connect(url, login, organisation="no-such-organisation")


def test_a_later_process_signs_in_without_the_password(session, live_login):
    url, login = live_login
    with connect(url, session.saved_login, organisation="") as again:
        assert again.user == login.user
    assert login.password not in repr(session)


def test_a_task_of_a_project_lists_labels_jobs_and_frames(session, task, project, images):
    listed = next(t for t in list_tasks(session, project_id=project) if t.id == task.id)
    assert set(listed.labels) == {name for name, _ in LABELS}
    assert {label.name: label.type for label in task_labels(session, task.id)} == dict(LABELS)
    jobs = task_jobs(session, task.id)
    assert [(job.start_frame, job.stop_frame) for job in jobs] == [(0, 1), (2, 3)]
    found = task_frames(session, task.id)
    assert [(f.name, f.image_hw) for f in found] == [(path.name, HW) for path in images]
    assert str(jobs[1].id) in frame_url(session, jobs, 3)


def test_images_arrive_byte_for_byte_and_only_once(session, task, images, tmp_path):
    first = pull_frames(session, task.id, tmp_path / "store")
    assert [path.read_bytes() for path in first.paths] == [path.read_bytes() for path in images]
    assert pull_frames(session, task.id, tmp_path / "store").fetched == 0
    single = pull_frames(session, task.id, tmp_path / "one", frames=[2])
    assert single.paths[0].read_bytes() == images[2].read_bytes()
    assert frame_bytes(session, task.id, 1)[:2] == b"\xff\xd8"


def test_every_kind_of_image_and_name_arrives_right(session, project, tmp_path):
    files = write_kinds(tmp_path / "kinds")
    made = create_task(session, "kinds ü", [], list(files), project_id=project)
    sizes = [frame.image_hw for frame in task_frames(session, made.id)]
    assert sizes == list(files.values())
    pulled = pull_frames(session, made.id, tmp_path / "store")
    assert len({ref.name for ref in pulled.refs}) == len(files)
    for path, sent, size in zip(pulled.paths, files, sizes, strict=True):
        arrived, original = read_rgb(path), read_rgb(sent)
        assert arrived.shape[:2] == size, sent.name
        # CVAT may store a turned image anew, upright: JPEG, so not bit for bit
        assert np.abs(arrived.astype(int) - original).mean() < 2, sent.name


def test_a_backup_brings_the_images_that_chunks_bring(session, project, tmp_path, monkeypatch):
    files = [*write_kinds(tmp_path / "kinds"), *write_images(tmp_path / "plain", 12)]
    made = create_task(session, "packed", [], files, project_id=project)
    chunks = pull_frames(session, made.id, tmp_path / "chunks")
    monkeypatch.setattr(packed, "_MIN_CHUNKS", 0)
    assert pull_frames(session, made.id, tmp_path / "packed").refs == chunks.refs
    path = packed.pack_images(session, made, NULL)
    brought = [*packed.packed_images(session, made, path, task_frames(session, made.id))]
    assert len(brought) >= 18, "all but the turned one and the TIFF, and what shares a name"


def test_everything_a_task_can_be_replaced_and_comes_back(session, task, push, journal):
    people = draw_people(session, task, np.random.default_rng(7))
    frames = {shape["frame"] for shape in people}
    found = {frame: discs([(15, 15, 8)]) for frame in frames}
    plan, result = push(found, mode=PushMode.REPLACE_EVERYTHING)
    assert result.is_verified
    assert plan.num_remove > 0
    assert {shape["source"] for shape in shapes_of(session, task)} == {"auto"}
    assert undo_push(session, journal, result.push_id).is_verified
    now = Counter(map(content_key, shapes_of(session, task)))
    assert now == Counter(map(content_key, people))


def test_attributes_have_the_values_that_were_chosen(session, images, journal, tmp_path):
    made = create_task(session, "attributes", [("old", "any")], images[:1])
    spec = {"name": "kind", "mutable": False, "input_type": "select",
            "values": ["round", "long"], "default_value": "round"}  # fmt: skip
    label = {"name": "cell", "type": "mask", "attributes": [spec]}
    session.transport.json(
        "PATCH", f"/api/tasks/{made.id}", doing="adding a label", body={"labels": [label]}
    )
    try:
        choices = PushChoices(attributes={"cell": {"kind": "long"}})
        plan = plan_push(session, made.id, {0: discs([(9, 9, 5)])}, ("cell",), choices=choices)
        apply_push(session, plan, journal, snapshot=tmp_path / "a.gz")
        (shape,) = shapes_of(session, made)
        assert [one["value"] for one in shape["attributes"]] == ["long"]
    finally:
        delete_task(session, made.id)


def test_jobs_overlap_and_a_subset_is_kept(session, project, images):
    made = create_task(
        session, "parts", [], images, project_id=project, segment_size=2, overlap=1, subset="Train"
    )
    jobs = [(job.start_frame, job.stop_frame) for job in task_jobs(session, made.id)]
    assert jobs == [(0, 1), (1, 2), (2, 3)]
    entry = session.transport.json("GET", f"/api/tasks/{made.id}", doing="reading the task")
    assert entry["subset"] == "Train"


def test_what_cvat_cannot_read_leaves_no_task_behind(session, project, tmp_path):
    before = [t.id for t in list_tasks(session, project_id=project)]
    bad = tmp_path / "notimage.png"
    bad.write_bytes(b"this is no image")
    with pytest.raises(CvatRequestFailed):
        create_task(session, "bad", [], [bad], project_id=project)
    assert [t.id for t in list_tasks(session, project_id=project)] == before


@pytest.mark.parametrize("seed", range(int(os.environ.get("LSL_LIVE_RUNS", "5"))))
def test_a_random_push_is_exact_repeats_nothing_and_comes_undone(
    session, task, push, journal, seed
):
    rng = np.random.default_rng(seed)
    people = draw_people(session, task, rng)
    found = random_predictions(rng)
    plan, result = push(found)
    assert result.is_verified
    assert result.human_unchanged
    after = shapes_of(session, task)
    require_planned(people, plan, after)
    assert plan_push(session, task.id, found, ("cell",), journal=journal).does_nothing
    objects = read_task(session, task.id).objects()
    assert sum(map(len, objects.frames.values())) == len(after)
    assert undo_push(session, journal, result.push_id).is_verified
    assert shapes_of(session, task) == people


@pytest.mark.parametrize("mode", [PushMode.REPLACE_OWN, PushMode.REPLACE_AUTOMATIC])
def test_replacing_takes_ours_and_undo_brings_it_back(session, task, push, journal, mode):
    people = draw_people(session, task, np.random.default_rng(5))
    push({0: discs([(15, 15, 8)]), 2: discs([(40, 30, 9)])})
    before = shapes_of(session, task)
    plan, result = push({0: discs([(15, 15, 11)])}, mode=mode)
    require_planned(before, plan, shapes_of(session, task))
    assert result.removed == 1
    assert undo_push(session, journal, result.push_id).restored == 1
    now = shapes_of(session, task)
    assert Counter(map(content_key, now)) == Counter(map(content_key, before))
    assert [shape for shape in now if shape["source"] != "auto"] == people


def test_masks_polygons_and_boxes_come_back_as_they_went(session, task, push):
    draw_people(session, task, np.random.default_rng(3))
    found = discs([(15, 15, 8), (60, 40, 12)])
    plan, _ = push({1: found}, mapping={"cell": "outline"})
    assert {shape["type"] for shape in plan.create} == {"polygon"}
    state = read_task(session, task.id)
    label = [known.name for known in state.labels].index("outline")
    back = state.objects().frames[1].instances
    areas = sorted(back.masks.areas()[back.class_ids == label].tolist())
    assert areas == sorted(found.masks.areas().tolist())
    boxes = replace(found, masks=None)
    plan, result = push({3: boxes}, mapping={"cell": "box"})
    assert {shape["type"] for shape in plan.create} == {"rectangle"}
    assert result.is_verified


def test_an_answer_that_got_lost_is_found_again(session, live_login, task, journal, tmp_path):
    url, login = live_login
    if not url.startswith("http://"):
        pytest.skip("the proxy of this test speaks plain http")
    people = draw_people(session, task, np.random.default_rng(9))
    lost = []

    def lose_the_first(method, path, forward):
        answer = forward()
        if method == "PATCH" and "action=create" in path and not lost:
            lost.append(path)
            return None
        return answer

    with FaultProxy(session.url) as proxy, connect(proxy.url, login, organisation="") as through:
        proxy.fault = lose_the_first
        found = random_predictions(np.random.default_rng(9))
        plan = plan_push(through, task.id, found, ("cell",))
        try:
            result = apply_push(through, plan, journal, snapshot=tmp_path / "s.gz")
        except CvatError:
            result = resume_push(through, journal, journal.pushes()[0].id)
    assert lost
    assert result.is_verified
    require_planned(people, plan, shapes_of(session, task))


def test_deleted_frames_are_left_alone(session, project, images, tmp_path):
    made = create_task(session, "deleted", [], images, project_id=project)
    path = f"/api/tasks/{made.id}/data/meta"
    session.transport.json("PATCH", path, doing="deleting", body={"deleted_frames": [1]})
    assert [r.frame for r in pull_frames(session, made.id, tmp_path / "s").refs] == [0, 2, 3]
    plan = plan_push(session, made.id, {1: discs([(15, 15, 8)])}, ("cell",))
    assert [skipped.frame for skipped in plan.skipped] == [1]
    assert plan.does_nothing


def test_a_video_comes_by_frame_and_takes_a_push(session, journal, tmp_path):
    frames = write_video(tmp_path / "walk.avi")
    made = make_video_task(session, tmp_path / "walk.avi", segment=6)
    try:
        assert [f.image_hw for f in task_frames(session, made.id)] == [HW] * len(frames)
        add_track(session, made, rectangle(0, 5.0), rectangle(4, 45.0, outside=True))
        pulled = pull_frames(session, made.id, tmp_path / "store")
        assert len(pulled.paths) == len(frames)
        for path, sent in zip(pulled.paths, frames, strict=True):
            # CVAT makes chunks of the video anew, so not bit for bit
            assert read_rgb(path).shape == sent.shape
        plan = plan_push(session, made.id, {7: discs([(20, 30, 8)])}, ("cell",))
        assert apply_push(session, plan, journal, snapshot=tmp_path / "v.gz").is_verified
        objects = read_task(session, made.id).objects().frames
        assert [n for n, found in objects.items() if len(found)] == [0, 1, 2, 3, 7]
        assert objects[2].instances.boxes[0].tolist() == [25.0, 10.0, 35.0, 20.0]
    finally:
        delete_task(session, made.id)


def test_a_label_can_be_added_and_is_kept_apart(session, images):
    made = create_task(session, "own labels", [("cell", "mask")], images[:1])
    try:
        added = add_label(session, made.id, "new", Drawing.MASK)
        assert added.name in [label.name for label in task_labels(session, made.id)]
    finally:
        delete_task(session, made.id)
    with pytest.raises(CvatNotFound):
        read_task(session, made.id)


def test_thumbnails_can_be_decoded(session, task):
    assert decode_rgb(frame_bytes(session, task.id, 0), name="0").shape == (*HW, 3)

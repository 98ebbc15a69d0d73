from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from cvat_helpers import FaultProxy, write_images, write_kinds

from lsl_core.cvat import (
    PasswordLogin,
    apply_push,
    connect,
    create_task,
    list_tasks,
    plan_push,
    pull_frames,
    read_task,
    task_frames,
    task_labels,
)
from lsl_core.cvat.new_tasks.create import unique_names
from lsl_core.errors import CvatError, CvatRequestFailed, UserInput
from lsl_core.geometry.drawable import within_image
from lsl_core.types import CropMasks, Instances
from lsl_core.workspace.images import read_rgb

LABELS = [("cell", "mask")]


def masked(full):
    masks = CropMasks.from_crops([full], [(0, 0)])
    rows, columns = np.nonzero(full)
    box = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    ones = np.ones(1, np.float32)
    found = Instances(np.array(box, np.float32), ones, np.zeros(1, np.int32), masks, full.shape)
    return within_image(found)


def test_frames_come_in_the_order_of_the_images(session, tmp_path):
    paths = write_images(tmp_path, 3)
    task = create_task(session, "ordered", LABELS, [paths[1], paths[0], paths[2]])
    names = [f.name for f in task_frames(session, task.id)]
    assert names == [paths[1].name, paths[0].name, paths[2].name]


def test_equal_names_and_other_alphabets_arrive_right(session, tmp_path):
    paths = [write_images(tmp_path / f"day {i}", 1, seed=i)[0] for i in range(2)]
    odd = write_images(tmp_path / "odd", 1, seed=7)[0].rename(tmp_path / "Zelle große 細胞 #1.png")
    images = [*paths, odd]
    task = create_task(session, "names", LABELS, images)
    pulled = pull_frames(session, task.id, tmp_path / "store")
    assert [p.read_bytes() for p in pulled.paths] == [p.read_bytes() for p in images]
    assert len({ref.name for ref in pulled.refs}) == 3


def test_every_kind_of_image_and_its_shapes_arrive_right(session, journal, tmp_path):
    files = write_kinds(tmp_path / "kinds")
    task = create_task(session, "kinds", LABELS, list(files))
    assert [frame.image_hw for frame in task_frames(session, task.id)] == list(files.values())
    pulled = pull_frames(session, task.id, tmp_path / "store")
    objects = {}
    for ref, path, (sent, size) in zip(pulled.refs, pulled.paths, files.items(), strict=True):
        pixels = read_rgb(path)
        assert pixels.shape[:2] == ref.image_hw == size, sent.name
        assert np.array_equal(pixels, read_rgb(sent)), sent.name
        corner = np.zeros(size, bool)
        corner[-9:, -5:] = True  # where a turned image that was not turned ends
        objects[ref.frame] = masked(corner)
    plan = plan_push(session, task.id, objects, ("cell",))
    assert apply_push(session, plan, journal, snapshot=tmp_path / "s.gz").is_verified
    back = read_task(session, task.id).objects().frames
    for frame, sent in objects.items():
        assert back[frame].instances.masks.crops.tolist() == sent.masks.crops.tolist()


def test_pictures_look_as_people_see_them(tmp_path):
    plain, *_, printed, turned = (read_rgb(path) for path in write_kinds(tmp_path))
    assert np.abs(turned.astype(int) - np.rot90(plain, -1)).mean() < 3
    assert np.abs(printed.astype(int) - plain).mean() < 3


def test_large_and_small_files_travel_side_by_side(sandbox, session, tmp_path, monkeypatch):
    monkeypatch.setattr("lsl_core.cvat.new_tasks.upload._BULK_BYTES", 16_000)
    paths = write_images(tmp_path, 6)
    at_once, most, lock = set(), [], threading.Lock()

    def slow(method, path, forward):
        if "/data/" in path and method in ("POST", "PATCH") and len(forward.body) > 9000:
            with lock:
                at_once.add(id(forward))
                most.append(len(at_once))
            time.sleep(0.1)
            answer = forward()
            with lock:
                at_once.discard(id(forward))
            return answer
        return forward()

    with FaultProxy(sandbox.url) as proxy:
        proxy.fault = slow
        with connect(proxy.url, PasswordLogin("demo", "demo-password"), organisation="lab") as one:
            task = create_task(one, "many", LABELS, paths)
    assert 1 < max(most) <= 3
    with connect(sandbox.url, PasswordLogin("demo", "demo-password"), organisation="lab") as lab:
        pulled = pull_frames(lab, task.id, tmp_path / "store")
        assert [t.id for t in list_tasks(lab) if t.id == task.id] == [task.id]
    assert [p.read_bytes() for p in pulled.paths] == [p.read_bytes() for p in paths]
    assert task.id not in [t.id for t in list_tasks(session)]


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        ({"segment_size": 0}, "at least one image"),
        ({"segment_size": 2, "overlap": 2}, "can share 0 to 1"),
        ({"overlap": -1}, "can share 0 to 1"),
        ({"image_quality": 0}, "between 1 and 100"),
    ],
)
def test_a_job_size_or_overlap_that_cvat_would_change_is_refused(session, tmp_path, cut, words):
    with pytest.raises(UserInput, match=words):
        create_task(session, "cut", LABELS, write_images(tmp_path, 3), **cut)


def test_names_are_told_apart_as_a_file_system_would():
    assert unique_names(["a.png", "A.png", "a.png", "x/b.png", "x_b.png"]) == [
        "a.png",
        "A (2).png",
        "a (3).png",
        "x_b.png",
        "x_b (2).png",
    ]


def test_a_large_file_goes_in_parts_and_survives_a_broken_one(
    sandbox, session, tmp_path, monkeypatch
):
    monkeypatch.setattr("lsl_core.cvat.new_tasks.upload._BULK_BYTES", 3000)
    monkeypatch.setattr("lsl_core.cvat.connection.tus._PART_BYTES", 4000)
    paths = write_images(tmp_path, 2)
    assert paths[0].stat().st_size > 8000
    parts: list[str] = []

    def lose_some(method, path, forward):
        answer = forward()
        if method == "PATCH":
            parts.append(path)
            return None if len(parts) in (2, 3) else answer
        return answer

    with FaultProxy(sandbox.url) as proxy:
        proxy.fault = lose_some
        with connect(proxy.url, PasswordLogin("demo", "demo-password"), organisation="") as through:
            task = create_task(through, "large", LABELS, paths)
    assert len(parts) > 6
    pulled = pull_frames(session, task.id, tmp_path / "store")
    assert [p.read_bytes() for p in pulled.paths] == [p.read_bytes() for p in paths]


def test_an_image_that_cvat_cannot_read_leaves_no_task_behind(session, tmp_path):
    before = [t.id for t in list_tasks(session)]
    bad = tmp_path / "notimage.png"
    bad.write_bytes(b"this is no image")
    with pytest.raises(CvatRequestFailed, match=r"notimage\.png") as caught:
        create_task(session, "bad", LABELS, [*write_images(tmp_path / "good", 1), bad])
    assert "\n" not in caught.value.message
    assert [t.id for t in list_tasks(session)] == before


def test_a_broken_connection_leaves_no_task_behind(sandbox, session, tmp_path):
    before = [t.id for t in list_tasks(session)]
    with FaultProxy(sandbox.url) as proxy:
        proxy.fault = lambda m, path, forward: None if path.endswith("/data/") else forward()
        login = PasswordLogin("demo", "demo-password")
        with connect(proxy.url, login, organisation="") as through, pytest.raises(CvatError):
            create_task(through, "cut", LABELS, write_images(tmp_path, 2))
    assert [t.id for t in list_tasks(session)] == before


@pytest.mark.parametrize(
    ("name", "labels", "count", "words"),
    [
        ("", LABELS, 1, "task name"),
        ("x" * 257, LABELS, 1, "task name"),
        ("ok", [("y" * 65, "mask")], 1, "64 characters"),
        ("ok", LABELS, 0, "no image"),
    ],
)
def test_what_cvat_would_refuse_is_refused_before(session, tmp_path, name, labels, count, words):
    before = len(list_tasks(session))
    with pytest.raises(UserInput, match=words):
        create_task(session, name, labels, write_images(tmp_path, count))
    assert len(list_tasks(session)) == before


def test_a_missing_file_is_named(session, tmp_path):
    with pytest.raises(UserInput, match=r"gone\.png"):
        create_task(session, "x", LABELS, [tmp_path / "gone.png"])


def test_a_task_goes_into_the_organisation_that_was_chosen(sandbox, session, tmp_path):
    login = PasswordLogin("demo", "demo-password")
    with connect(sandbox.url, login, organisation="lab") as in_lab:
        task = create_task(in_lab, "ours", LABELS, write_images(tmp_path, 1))
        assert task.id in [t.id for t in list_tasks(in_lab)]
    assert task.organisation_id is not None
    assert task.id not in [t.id for t in list_tasks(session)]


def test_a_task_of_a_project_has_its_labels(session, tmp_path):
    body = {"name": "p", "labels": [{"name": "bolt", "type": "mask"}]}
    project = session.transport.json("POST", "/api/projects", doing="creating", body=body)
    paths = write_images(tmp_path, 1)
    task = create_task(session, "in p", [], paths, project_id=project["id"])
    assert (task.project, task.labels) == ("p", ("bolt",))
    assert [label.name for label in task_labels(session, task.id)] == ["bolt"]
    listed = next(t for t in list_tasks(session, project_id=project["id"]) if t.id == task.id)
    assert (listed.project, listed.labels) == ("p", ("bolt",))
    with pytest.raises(UserInput, match="labels of its project"):
        create_task(session, "in p", LABELS, paths, project_id=project["id"])


def test_every_byte_arrives_on_the_oldest_server(tmp_path):
    from lsl_core.sandbox import Sandbox

    with (
        Sandbox(tmp_path / "sandbox", version="2.30.0") as old,
        connect(old.url, PasswordLogin("demo", "demo-password")) as session,
    ):
        paths = write_images(tmp_path, 3)
        task = create_task(session, "old", LABELS, paths)
        pulled = pull_frames(session, task.id, tmp_path / "store")
    assert [p.read_bytes() for p in pulled.paths] == [p.read_bytes() for p in paths]
    assert np.unique([ref.sha256 for ref in pulled.refs]).size == 3

from __future__ import annotations

import numpy as np
import pytest
from cvat_helpers import FaultProxy, write_images

from lsl_core.cvat import (
    PasswordLogin,
    connect,
    create_task,
    list_tasks,
    pull_frames,
    task_frames,
    task_labels,
)
from lsl_core.cvat.create import unique_names
from lsl_core.errors import CvatError, CvatRequestFailed, UserInput

LABELS = [("cell", "mask")]


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
    monkeypatch.setattr("lsl_core.cvat.create._BULK_BYTES", 3000)
    monkeypatch.setattr("lsl_core.cvat.tus._PART_BYTES", 4000)
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

from __future__ import annotations

import pytest
from cvat_helpers import LABELS, make_task

from lsl_core.cvat import (
    Drawing,
    JobKind,
    PasswordLogin,
    add_label,
    connect,
    frame_url,
    get_task,
    list_tasks,
    require_images,
    task_frames,
    task_jobs,
    task_labels,
)
from lsl_core.cvat.tasks.entities import frames_of
from lsl_core.errors import CvatError, CvatNotFound, UserInput


@pytest.fixture
def task(session, tmp_path):
    return make_task(session, tmp_path, frames=5, segment=2)


def test_a_task_tells_what_the_tasks_page_shows(session, task):
    found = next(t for t in list_tasks(session) if t.id == task.id)
    assert found == task == get_task(session, task.id)
    assert (found.name, found.frames, found.jobs) == ("cells", 5, 3)
    assert found.labels == tuple(name for name, _ in LABELS)
    assert found.url == f"{session.url}/tasks/{task.id}"


def test_tasks_are_searched_by_name(session, task):
    assert task.id in [t.id for t in list_tasks(session, search="ell")]
    assert list_tasks(session, search="nothing is called so") == []


def test_labels_keep_their_order_and_type(session, task):
    assert [(label.name, label.type) for label in task_labels(session, task.id)] == LABELS


def test_a_label_can_be_added_once(session, task):
    added = add_label(session, task.id, "scratch", Drawing.MASK)
    assert (added.name, added.type) == ("scratch", "mask")
    assert [label.name for label in task_labels(session, task.id)][-1] == "scratch"
    with pytest.raises(UserInput, match="already"):
        add_label(session, task.id, "scratch", Drawing.MASK)


def test_frames_have_name_and_size(session, task):
    frames = task_frames(session, task.id)
    assert [f.frame for f in frames] == list(range(5))
    assert frames[0].name == "z0.png"
    assert frames[0].image_hw == (60, 80)


def test_a_deleted_frame_is_marked_and_keeps_its_number(session, task):
    path = f"/api/tasks/{task.id}/data/meta"
    session.transport.json("PATCH", path, doing="deleting", body={"deleted_frames": [2]})
    assert [f.frame for f in task_frames(session, task.id) if f.deleted] == [2]


def test_a_frame_opens_in_the_job_that_covers_it(session, task):
    found = task_jobs(session, task.id)
    assert [(j.start_frame, j.stop_frame) for j in found] == [(0, 1), (2, 3), (4, 4)]
    assert all(job.kind is JobKind.ANNOTATION for job in found)
    url = frame_url(session, found, 3)
    assert url == f"{session.url}/tasks/{task.id}/jobs/{found[1].id}?frame=3"


def test_an_unknown_task_is_named(session):
    with pytest.raises(CvatNotFound, match="Task 987654 does not exist"):
        get_task(session, 987654)


def test_somebody_elses_task_is_not_shown(sandbox, task):
    with (
        connect(sandbox.url, PasswordLogin("ben", "ben-password")) as other,
        pytest.raises(CvatError, match=f"Task {task.id} does not exist, or ben may not see it"),
    ):
        get_task(other, task.id)


def test_a_task_without_images_is_told_before_cvat_fails_on_it(session):
    body = {"name": "empty", "labels": [{"name": "x"}]}
    entry = session.transport.json("POST", "/api/tasks", doing="creating", body=body)
    with pytest.raises(UserInput, match='"empty" holds no images'):
        task_frames(session, entry["id"])
    with pytest.raises(UserInput, match="holds no images"):
        require_images(get_task(session, entry["id"]))


def test_a_task_of_another_organisation_shows_its_labels_and_jobs(sandbox, session, tmp_path):
    login = PasswordLogin("demo", "demo-password")
    with connect(sandbox.url, login, organisation="lab") as in_lab:
        task = make_task(in_lab, tmp_path)
    assert task.id not in [t.id for t in list_tasks(session)]
    assert len(task_labels(session, task.id)) == len(LABELS)
    assert len(task_jobs(session, task.id)) == 2


def test_a_video_has_one_entry_for_all_its_frames(task):
    meta = {
        "frames": [{"name": "walk.mp4", "width": 640, "height": 480}],
        "size": 3,
        "deleted_frames": [1],
    }
    frames = frames_of(task, meta)
    assert [(f.frame, f.image_hw, f.deleted) for f in frames] == [
        (0, (480, 640), False),
        (1, (480, 640), True),
        (2, (480, 640), False),
    ]
    assert len({f.name for f in frames}) == 3

"""Tasks made of a video: frames by number, tracks expanded, pushed to like any other."""

from __future__ import annotations

import io

import numpy as np
import pytest
from cvat_helpers import FaultProxy, add_track, discs, make_video_task, rectangle, write_video
from PIL import Image

from lsl_core.cvat import (
    PasswordLogin,
    apply_push,
    connect,
    plan_push,
    pull_frames,
    read_task,
    task_frames,
    undo_push,
)
from lsl_core.cvat.new_tasks.upload import wait_for_request
from lsl_core.services import sourcing
from lsl_core.types import Mode
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import read_rgb

FRAMES = 12


@pytest.fixture
def frames(tmp_path):
    return write_video(tmp_path / "walk.avi")


@pytest.fixture
def task(session, frames, tmp_path):
    return make_video_task(session, tmp_path / "walk.avi", segment=6)


def test_every_frame_of_a_video_arrives_as_it_was(session, task, frames, tmp_path):
    assert not task.has_image_chunks
    pulled = pull_frames(session, task.id, tmp_path / "store")
    assert [ref.frame for ref in pulled.refs] == list(range(FRAMES))
    assert len({ref.name for ref in pulled.refs}) == FRAMES
    for path, sent in zip(pulled.paths, frames, strict=True):
        assert np.array_equal(read_rgb(path), sent)
    assert pull_frames(session, task.id, tmp_path / "store").fetched == 0


def test_a_video_is_asked_for_by_frame_since_its_chunks_are_no_images(sandbox, task, tmp_path):
    asked = []
    with FaultProxy(sandbox.url) as proxy:

        def note(method, path, forward):
            asked.append(path)
            return forward()

        proxy.fault = note
        with connect(proxy.url, PasswordLogin("demo", "demo-password"), organisation="") as through:
            pull_frames(through, task.id, tmp_path / "store", frames=[3, 7])
    wanted = [path for path in asked if "/data?" in path]
    assert len(wanted) == 2
    assert all("type=frame" in path for path in wanted)


def test_deleted_frames_of_a_video_are_left_out(session, task, tmp_path):
    path = f"/api/tasks/{task.id}/data/meta"
    session.transport.json("PATCH", path, doing="the test", body={"deleted_frames": [0, 5]})
    assert [f.frame for f in task_frames(session, task.id) if f.deleted] == [0, 5]
    pulled = pull_frames(session, task.id, tmp_path / "store")
    assert [ref.frame for ref in pulled.refs] == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    plan = plan_push(session, task.id, {5: discs([(15, 15, 8)])}, ("cell",))
    assert plan.does_nothing
    assert [skipped.frame for skipped in plan.skipped] == [5]


def test_a_track_of_a_video_becomes_a_labelled_object_on_every_frame(session, task, tmp_path):
    add_track(session, task, rectangle(0, 5.0), rectangle(4, 45.0, outside=True))
    workspace = Workspace.create(tmp_path / "work", mode=Mode.FSOD)
    got = sourcing.import_task(session, workspace, task.id, name="walk")
    assert (got.info.num_images, got.left_out) == (4, ())
    source = sourcing.load_source(workspace, "walk")
    assert [image.instances.boxes[0].tolist() for image in source.images] == [
        [x, 10.0, x + 10.0, 20.0] for x in (5.0, 15.0, 25.0, 35.0)
    ]
    assert [image.ref.frame for image in source.images] == [0, 1, 2, 3]


def test_a_push_to_a_video_is_exact_and_comes_undone(session, task, journal, tmp_path):
    add_track(session, task, rectangle(1, 5.0), rectangle(9, 45.0, outside=True))
    before = read_task(session, task.id).annotations
    found = {frame: discs([(20, 30, 8), (55, 30, 9)]) for frame in (0, 5, 6, 11)}
    plan = plan_push(session, task.id, found, ("cell",), journal=journal)
    result = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    assert (result.added, result.is_verified, result.human_unchanged) == (8, True, True)
    after = read_task(session, task.id).annotations
    assert after["tracks"] == before["tracks"]
    assert sorted({shape["frame"] for shape in after["shapes"]}) == [0, 5, 6, 11]
    assert undo_push(session, journal, result.push_id).is_verified
    now = read_task(session, task.id).annotations
    assert {kind: list(now[kind]) for kind in now} == {kind: list(before[kind]) for kind in before}


def test_a_frame_is_read_without_holding_what_lies_on_others(session, task, push):
    add_track(session, task, rectangle(1, 5.0), rectangle(9, 45.0, outside=True))
    push({frame: discs([(20, 30, 8), (55, 30, 9)]) for frame in (0, 5, 6)})
    everything = read_task(session, task.id).objects().frames[5]
    state = read_task(session, task.id, frames=[5])
    assert {shape["frame"] for shape in state.annotations["shapes"]} == {5}
    one = state.objects().frames[5]
    assert len(one) == 3
    assert one.shape_ids == everything.shape_ids
    assert one.instances.boxes.tolist() == everything.instances.boxes.tolist()
    assert one.instances.masks.runs.tolist() == everything.instances.masks.runs.tolist()


def test_the_sandbox_serves_chunks_of_a_video_as_cvat_does(session, task, frames):
    def chunk(quality):
        return session.transport.send(
            "GET", f"/api/tasks/{task.id}/data", doing="the test",
            query={"type": "chunk", "number": 0, "quality": quality},
        )  # fmt: skip

    assert chunk("original").headers["Content-Type"] == "video/mp4"
    assert chunk("compressed").headers["Content-Type"] == "application/zip"
    frame = session.transport.send(
        "GET", f"/api/tasks/{task.id}/data", doing="the test",
        query={"type": "frame", "number": 2, "quality": "original"},
    )  # fmt: skip
    assert frame.headers["Content-Type"] == "image/png"
    assert np.array_equal(np.array(Image.open(io.BytesIO(frame.data))), frames[2])


def test_the_sandbox_takes_every_second_frame_when_asked(session, frames, tmp_path):
    body = {"name": "half", "labels": [{"name": "x"}]}
    made = session.transport.json("POST", "/api/tasks", doing="the test", body=body)
    url = f"/api/tasks/{made['id']}/data/"
    data = (tmp_path / "walk.avi").read_bytes()
    session.transport.send("POST", url, doing="the test", headers={"Upload-Start": ""})
    session.transport.send(
        "POST", url, doing="the test", headers={"Upload-Multiple": ""},
        fields={"image_quality": "70", "client_files[0]": ("walk.avi", data)},
    )  # fmt: skip
    answer = session.transport.json(
        "POST", url, doing="the test", headers={"Upload-Finish": ""},
        body={"image_quality": 70, "frame_filter": "step=2", "start_frame": 1},
    )  # fmt: skip
    wait_for_request(session, answer["rq_id"], doing="the test")
    pulled = pull_frames(session, made["id"], tmp_path / "store")
    assert len(pulled.paths) == 6
    assert np.array_equal(read_rgb(pulled.paths[1]), frames[3])

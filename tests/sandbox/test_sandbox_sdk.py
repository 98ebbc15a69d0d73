"""cvat-sdk 2.80 against the sandbox: login, images, annotations, other people."""

from __future__ import annotations

import json
import zipfile

import cv2
import numpy as np
import pytest
from cvat_sdk import make_client, models
from cvat_sdk.api_client import exceptions
from cvat_sdk.core.client import AccessTokenCredentials
from cvat_sdk.core.exceptions import BackgroundRequestException
from cvat_sdk.core.proxies.annotations import AnnotationUpdateAction
from cvat_sdk.core.uploading import DataUploader
from cvat_sdk.datasets import TaskDataset
from cvat_sdk.masks import decode_mask
from sandbox_helpers import draw_images, signed_in
from sandbox_sdk import LABELS, a_mask, a_task, bare, label_ids, put, shapes_of

from lsl_core.sandbox import Sandbox

# cvat-sdk leaves the temporary file of a downloaded frame to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# ---- login


def test_a_password_opens_a_session_and_logout_closes_it(sandbox):
    with make_client(sandbox.url, credentials=("demo", "demo-password")) as client:
        assert client.users.retrieve_current_user().username == "demo"
        cookies = dict(client.api_client.cookies)
        client.logout()
        client.api_client.cookies.update(cookies)
        with pytest.raises(exceptions.UnauthorizedException):
            client.users.retrieve_current_user()


def test_a_wrong_password_is_refused(sandbox):
    with pytest.raises(exceptions.ApiException) as caught:
        make_client(sandbox.url, credentials=("demo", "wrong"))
    assert caught.value.status == 400


def test_an_access_token_opens_the_door_of_a_new_server_only(tmp_path):
    with Sandbox(tmp_path / "new") as new:
        client = make_client(new.url, access_token=new.make_token("demo"))
        assert client.users.retrieve_current_user().username == "demo"
        stranger = make_client(new.url, access_token="wrong")
        with pytest.raises(exceptions.UnauthorizedException):
            stranger.users.retrieve_current_user()
    with Sandbox(tmp_path / "old", version="2.30.0") as old, make_client(old.url) as client:
        client.login(AccessTokenCredentials(old.make_token("demo")))
        with pytest.raises(exceptions.UnauthorizedException):
            client.users.retrieve_current_user()


def test_the_sdk_accepts_the_version_without_a_warning(sandbox, caplog):
    with make_client(sandbox.url) as client:
        client.check_server_version(fail_if_unsupported=True)
    assert "not compatible" not in caplog.text


# ---- data


def test_a_task_is_cut_into_jobs_and_gives_its_images_back(client, tmp_path):
    task = a_task(client, tmp_path)
    assert (task.size, task.mode, task.image_quality, task.data_chunk_size) == (
        5,
        "annotation",
        90,
        72,
    )
    jobs = sorted((job.start_frame, job.stop_frame) for job in task.get_jobs())
    assert jobs == [(0, 2), (3, 4)]
    image = tmp_path / "images" / "img_003.png"
    assert task.get_frame(3, quality="original").read() == image.read_bytes()
    small = cv2.imdecode(
        np.frombuffer(task.get_frame(3, quality="compressed").read(), np.uint8), cv2.IMREAD_COLOR
    )
    assert np.abs(small.astype(int) - cv2.imread(str(image)).astype(int)).mean() < 8
    assert task.get_preview().read()[:2] == b"\xff\xd8"
    meta = task.get_meta()
    assert [frame.name for frame in meta.frames] == [f"img_{i:03d}.png" for i in range(5)]
    assert (meta.frames[0].width, meta.frames[0].height) == (96, 72)
    second = next(job for job in task.get_jobs() if job.start_frame == 3)
    assert second.get_frame(4, quality="original").read()[:4] == b"\x89PNG"
    assert [frame.name for frame in second.get_meta().frames] == ["img_003.png", "img_004.png"]
    with pytest.raises(exceptions.ApiException) as caught:
        second.get_frame(1, quality="original")
    assert caught.value.status == 400


def test_chunks_hold_the_originals_in_order(client, tmp_path):
    images = draw_images(tmp_path / "images", 5)
    task = client.tasks.create_from_data(
        {"name": "chunks", "labels": LABELS}, images, data_params={"chunk_size": 2}
    )
    packed = tmp_path / "chunk.zip"
    with packed.open("wb") as out:
        task.download_chunk(1, out, quality="original")
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["000000.png", "000001.png"]
        assert archive.read("000001.png") == images[3].read_bytes()
    dataset = TaskDataset(client, task.id)
    assert [sample.frame_name for sample in dataset.samples] == [path.name for path in images]
    assert np.array_equal(
        np.asarray(dataset.samples[4].media.load_image().convert("RGB"))[..., ::-1],
        cv2.imread(str(images[4])),
    )


def test_large_files_go_in_by_tus_and_a_predefined_order_is_kept(client, tmp_path, monkeypatch):
    monkeypatch.setattr("cvat_sdk.core.uploading.MAX_REQUEST_SIZE", 200)
    monkeypatch.setattr("cvat_sdk.core.uploading.TUS_CHUNK_SIZE", 100)
    monkeypatch.setattr(
        DataUploader.__init__, "__kwdefaults__", {"max_request_size": 200}, raising=True
    )
    images = draw_images(tmp_path / "images", 3)[::-1]
    assert min(path.stat().st_size for path in images) > 200
    task = client.tasks.create({"name": "tus", "labels": LABELS})
    task.upload_data(images, params={"sorting_method": "predefined", "image_quality": 70})
    assert [frame.name for frame in task.get_frames_info()] == [path.name for path in images]
    assert task.get_frame(0, quality="original").read() == images[0].read_bytes()


def test_names_are_sorted_as_the_upload_asks(client, tmp_path):
    folder = tmp_path / "images"
    for path, number in zip(draw_images(folder, 3), (10, 9, 1), strict=True):
        path.rename(folder / f"a{number}.png")
    files = sorted(folder.glob("*.png"))
    for method, wanted in (
        ("lexicographical", ["a1.png", "a10.png", "a9.png"]),
        ("natural", ["a1.png", "a9.png", "a10.png"]),
    ):
        task = client.tasks.create_from_data(
            {"name": method, "labels": LABELS}, files, data_params={"sorting_method": method}
        )
        assert [frame.name for frame in task.get_frames_info()] == wanted


def test_start_stop_and_step_choose_the_frames(client, tmp_path):
    task = client.tasks.create_from_data(
        {"name": "some", "labels": LABELS},
        draw_images(tmp_path / "images", 8),
        data_params={"start_frame": 1, "stop_frame": 6, "frame_step": 2},
    )
    assert [frame.name[4:7] for frame in task.get_frames_info()] == ["001", "003", "005"]


def test_a_broken_image_fails_the_request_and_leaves_the_task_empty(client, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"this is no image")
    task = client.tasks.create({"name": "broken", "labels": LABELS})
    with pytest.raises(BackgroundRequestException, match="cannot identify image file 'broken"):
        task.upload_data([tmp_path / "broken.png"])
    task.fetch()
    assert task.jobs.count == 0
    assert getattr(task, "size", None) is None


def test_a_large_image_is_served(client, tmp_path):
    pixels = np.zeros((4000, 4000, 3), np.uint8)
    cv2.circle(pixels, (2000, 2000), 900, (10, 200, 90), -1)
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), pixels)
    task = client.tasks.create_from_data({"name": "large", "labels": LABELS}, [path])
    info = task.get_frames_info()[0]
    assert (info.width, info.height) == (4000, 4000)
    assert task.data_chunk_size == 4
    assert task.get_frame(0, quality="original").read() == path.read_bytes()
    assert task.get_frame(0, quality="compressed").read()[:2] == b"\xff\xd8"


def test_deleted_frames_are_remembered(client, tmp_path):
    task = a_task(client, tmp_path)
    task.remove_frames_by_ids([1, 4])
    assert task.get_meta().deleted_frames == [1, 4]
    second = next(job for job in task.get_jobs() if job.start_frame == 3)
    assert second.get_meta().deleted_frames == [4]
    second.remove_frames_by_ids([3])
    assert task.get_meta().deleted_frames == [1, 3]


# ---- annotations


def test_annotations_come_back_as_they_went_in(client, tmp_path):
    task = a_task(client, tmp_path)
    ids = label_ids(task)
    put(
        task,
        shapes_of(ids),
        tags=[{"label_id": ids["anyl"], "frame": 2}],
        tracks=[
            {
                "label_id": ids["box"],
                "frame": 0,
                "shapes": [
                    {"type": "rectangle", "frame": 0, "points": [1, 2, 11, 12]},
                    {"type": "rectangle", "frame": 2, "points": [5, 6, 15, 16], "outside": True},
                ],
            }
        ],
    )
    found = task.get_annotations()
    assert sorted(map(bare, found.shapes)) == sorted(
        (s["frame"], s["label_id"], s["type"], tuple(map(float, s["points"])))
        for s in shapes_of(ids)
    )
    box = next(shape for shape in found.shapes if str(shape.type) == "rectangle")
    assert (box.rotation, box.z_order, box.occluded, box.source, box.score) == (
        30.0,
        2,
        True,
        "manual",
        1.0,
    )
    assert [(tag.frame, tag.label_id) for tag in found.tags] == [(2, ids["anyl"])]
    assert [shape.frame for shape in found.tracks[0].shapes] == [0, 2]
    cell = next(shape for shape in found.shapes if shape.label_id == ids["cell"])
    assert cell.attributes[0].value == "50", "the default is filled in"
    points = decode_mask([int(value) for value in cell.points], image_width=96, image_height=72)
    assert np.array_equal(points, a_mask())


def test_job_updates_create_change_and_delete(client, tmp_path):
    task = a_task(client, tmp_path)
    ids = label_ids(task)
    job = next(job for job in task.get_jobs() if job.start_frame == 0)
    before = task.updated_date
    job.update_annotations(
        models.PatchedLabeledDataRequest(
            shapes=[
                {
                    "type": "rectangle",
                    "frame": 1,
                    "label_id": ids["box"],
                    "points": [1.0, 2.0, 3.0, 4.0],
                    "source": "auto",
                    "score": 0.25,
                }
            ]
        ),
        action=AnnotationUpdateAction.CREATE,
    )
    made = job.get_annotations().shapes[0]
    assert (made.source, made.score) == ("auto", 0.25)
    task.fetch()
    assert task.updated_date > before
    job.update_annotations(
        models.PatchedLabeledDataRequest(
            shapes=[
                {
                    "id": made.id,
                    "type": "rectangle",
                    "frame": 1,
                    "label_id": ids["box"],
                    "points": [5.0, 6.0, 7.0, 8.0],
                }
            ]
        ),
        action=AnnotationUpdateAction.UPDATE,
    )
    changed = job.get_annotations().shapes
    assert [(shape.id, shape.points) for shape in changed] == [(made.id, [5.0, 6.0, 7.0, 8.0])]
    job.remove_annotations(ids=[made.id])
    assert job.get_annotations().shapes == []


def test_an_older_server_keeps_no_score(tmp_path):
    with Sandbox(tmp_path / "sandbox", version="2.30.0") as old, signed_in(old.url) as client:
        task = a_task(client, tmp_path)
        put(
            task,
            [
                {
                    "type": "rectangle",
                    "frame": 0,
                    "label_id": label_ids(task)["box"],
                    "points": [1.0, 2.0, 3.0, 4.0],
                    "score": 0.5,
                }
            ],
        )
        text = client.api_client.tasks_api.retrieve_annotations(task.id)[1].data
        assert "score" not in json.loads(text)["shapes"][0]


# ---- organisations and other people


def test_organisations_hold_their_own_tasks(sandbox, client, tmp_path):
    sandbox.add_user("second", "second-password")
    sandbox.add_organisation("lab", "demo", ["second"], name="Lab")
    a_task(client, tmp_path, name="personal")
    with client.organization_context("lab"):
        a_task(client, tmp_path / "lab", name="of the lab")
        assert [task.name for task in client.tasks.list()] == ["of the lab"]
    with client.organization_context(""):
        assert [task.name for task in client.tasks.list()] == ["personal"]
    assert {task.name for task in client.tasks.list()} == {"personal", "of the lab"}
    assert [org.slug for org in client.organizations.list()] == ["lab"]
    with signed_in(sandbox.url, "second", "second-password") as second:
        assert [task.name for task in second.tasks.list()] == ["of the lab"]
        (task,) = client.tasks.list(name="personal")
        with pytest.raises(exceptions.ForbiddenException):
            second.tasks.retrieve(task.id)
        second.organization_slug = "nowhere"
        with pytest.raises(exceptions.NotFoundException):
            second.tasks.list()


def test_ground_truth_stays_out_of_the_tasks_annotations(client, tmp_path):
    task = a_task(client, tmp_path)
    ids = label_ids(task)
    truth, _ = client.api_client.jobs_api.create(
        models.JobWriteRequest(
            type="ground_truth", task_id=task.id, frame_selection_method="manual", frames=[0, 3]
        )
    )
    job = client.jobs.retrieve(truth.id)
    job.set_annotations(models.LabeledDataRequest(shapes=shapes_of(ids)[:1]))
    assert job.frame_count == 2
    assert job.get_meta().included_frames == [0, 3]
    assert len(job.get_annotations().shapes) == 1
    assert task.get_annotations().shapes == []


def test_an_upload_may_ask_for_ground_truth(client, tmp_path):
    task = client.tasks.create({"name": "gt", "labels": LABELS})
    assert client.api_client.tasks_api.retrieve_validation_layout(task.id)[0].mode is None
    wanted = {
        "mode": "gt",
        "frame_selection_method": "manual",
        "frames": ["img_001.png", "img_003.png"],
    }
    task.upload_data(draw_images(tmp_path / "i", 5), params={"validation_params": wanted})
    assert task.validation_mode == "gt"
    layout, _ = client.api_client.tasks_api.retrieve_validation_layout(task.id)
    assert layout.validation_frames == [1, 3]
    assert sorted(str(job.type) for job in task.get_jobs()) == ["annotation", "ground_truth"]


def test_consensus_replicas_belong_to_their_job(client, tmp_path):
    task = a_task(client, tmp_path, consensus_replicas=2)
    jobs = sorted(task.get_jobs(), key=lambda job: job.id)
    assert [str(job.type) for job in jobs] == [
        "annotation",
        "consensus_replica",
        "consensus_replica",
    ] * 2
    assert [job.parent_job_id for job in jobs] == [
        None,
        jobs[0].id,
        jobs[0].id,
        None,
        jobs[3].id,
        jobs[3].id,
    ]
    assert jobs[0].replicas_count == 2


def test_issues_and_their_comments_are_kept(client, tmp_path):
    task = a_task(client, tmp_path)
    job = task.get_jobs()[0]
    issue = client.issues.create(
        {"frame": 3, "position": [1.0, 2.0, 3.0, 4.0], "job": job.id, "message": "look"}
    )
    assert [found.id for found in job.get_issues()] == [issue.id]
    assert [comment.message for comment in issue.get_comments()] == ["look"]
    issue.update({"resolved": True})
    assert client.issues.retrieve(issue.id).resolved


def test_all_tasks_are_found_over_several_pages(client):
    for number in range(23):
        client.tasks.create({"name": f"task {number}", "labels": [{"name": "x"}]})
    assert len(client.tasks.list()) == 23
    assert [task.name for task in client.tasks.list(name="task 7")] == ["task 7"]

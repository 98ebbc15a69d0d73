"""What real servers answered is read right: needs the folder of recorded exchanges."""

from __future__ import annotations

import json

import pytest
from cvat_sdk.api_client.exceptions import ApiException

from lsl_core.cvat import JobKind, to_instances
from lsl_core.cvat.annotations.content import content_key
from lsl_core.cvat.annotations.reading import validation_frames
from lsl_core.cvat.connection.errors import cvat_errors, may_have_happened
from lsl_core.cvat.new_tasks.upload import wait_for_request
from lsl_core.cvat.tasks.entities import frames_of, read_job, read_label, read_task_info
from lsl_core.errors import (
    CvatAuth,
    CvatNotFound,
    CvatRequestFailed,
)

VERSIONS = ("2.30.0", "2.39.0")


@pytest.fixture(params=VERSIONS)
def exchanges(request, shared):
    folder = shared / "cvat-contract" / request.param
    if not folder.is_dir():
        pytest.skip(f"no recorded exchanges in {folder}")
    return [json.loads(path.read_text()) for path in sorted(folder.glob("[0-9]*.json"))]


def answer(exchanges, step, method="GET", path=""):
    """Return the last JSON answer of a step."""
    found = [
        e["response"]["body"]["json"]
        for e in exchanges
        if e["step"] == step and e["request"]["method"] == method and path in e["request"]["path"]
    ]
    assert found, f"no recorded {method} of {step!r}"
    return found[-1]


def the_task(exchanges):
    return read_task_info(answer(exchanges, "task retrieve"), "http://x", project="", labels=())


def test_a_task_and_its_frames_are_read(exchanges):
    task = the_task(exchanges)
    assert (task.frames, task.jobs, task.chunk_size) == (6, 2, 72)
    assert task.has_image_chunks
    assert task.organisation_id == 1
    frames = frames_of(task, answer(exchanges, "task data meta"))
    assert [f.name for f in frames] == [f"img_{i:03d}.png" for i in range(6)]
    assert all(f.image_hw == (72, 96) and not f.deleted for f in frames)
    deleted = frames_of(task, answer(exchanges, "deleted frames", "PATCH"))
    assert [f.frame for f in deleted if f.deleted] == [5]


def test_jobs_of_every_kind_are_told_apart(exchanges):
    jobs = [
        read_job(e, "http://x") for e in answer(exchanges, "jobs incl. ground truth")["results"]
    ]
    assert sorted(j.kind for j in jobs) == [JobKind.ANNOTATION] * 2 + [JobKind.GROUND_TRUTH]
    replicas = [read_job(e, "http://x") for e in answer(exchanges, "consensus jobs")["results"]]
    assert sum(j.kind is JobKind.CONSENSUS_REPLICA for j in replicas) == 4
    assert [j.kind for j in replicas].count(JobKind.ANNOTATION) == 2


def test_labels_are_read_with_type_and_attributes(exchanges):
    labels = [read_label(e) for e in answer(exchanges, "task labels")["results"]]
    types = [(label.name, label.type) for label in labels]
    assert types == [("box", "rectangle"), ("cell", "mask"), ("poly", "polygon"), ("anyl", "any")]
    assert [(a.name, a.default) for a in labels[1].attributes] == [("conf", "50")]


def test_stored_shapes_become_objects(exchanges):
    task = the_task(exchanges)
    frames = frames_of(task, answer(exchanges, "task data meta"))
    labels = [read_label(e) for e in answer(exchanges, "task labels")["results"]]
    got = to_instances(answer(exchanges, "annotations get task"), frames, labels)
    first, fifth = got.frames[0], got.frames[4]
    assert [labels[i].name for i in first.instances.class_ids] == ["cell", "poly"]
    assert len(first.shape_ids[1]) == 2  # two polygons of one group
    assert sorted(labels[i].name for i in fifth.instances.class_ids) == ["box", "cell"]
    assert [left.reason for left in got.left_out] == ["a tag, which marks no place"]
    # the recorded discs have these areas
    sent = answer(exchanges, "annotations get task")["shapes"]
    masks = [s["points"] for s in sent if s["type"] == "mask"]
    areas = {int(sum(points[:-4][1::2])) for points in masks}
    ours = [f.instances.masks.areas()[list(f.has_mask).index(True)] for f in (first, fifth)]
    assert areas == set(ours)


def test_every_nonsense_that_cvat_stored_is_reported_and_stops_nothing(exchanges):
    task = the_task(exchanges)
    frames = frames_of(task, answer(exchanges, "task data meta"))
    labels = [read_label(e) for e in answer(exchanges, "task labels")["results"]]
    odd = answer(exchanges, "annotations get job 1 after the odd creates")
    got = to_instances(odd, frames, labels)
    objects = sum(len(ids) for f in got.frames.values() for ids in f.shape_ids)
    left = sum(left.count for left in got.left_out)
    assert objects + left == len(odd["shapes"]) + len(odd["tags"])
    assert left > 5


def test_what_was_sent_has_the_content_of_what_is_read_later(exchanges):
    step = "annotations PATCH create job 1: mask with attribute, source auto"
    (sent,) = [
        e["request"]["body"]["json"]["shapes"]
        for e in exchanges
        if e["step"] == step and e["request"]["method"] == "PATCH"
    ]
    created = answer(exchanges, step, "PATCH")["shapes"]
    read = {s["id"]: s for s in answer(exchanges, "annotations PATCH update job 1")["shapes"]}
    for ours, theirs in zip(sent, created, strict=True):
        assert content_key(ours) == content_key(theirs) == content_key(read[theirs["id"]])


def test_a_failed_creation_is_told_by_its_last_line(exchanges):
    class Recorded:
        transport = None

        @staticmethod
        def json(*args, **options):
            return answer(exchanges, "data upload of a broken image", "GET", "/requests/")

    session = Recorded()
    session.transport = Recorded
    with pytest.raises(CvatRequestFailed, match=r"cannot identify image file .*notimage\.png"):
        wait_for_request(session, "create:task-27", doing="creating task 27")


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("anonymous call", CvatAuth),
        ("unknown task", CvatNotFound),
        ("unknown project", CvatNotFound),
        ("unknown path", CvatNotFound),
        ("organization unknown slug", CvatNotFound),
        ("bad password", CvatRequestFailed),
        ("task without data: annotations get", CvatRequestFailed),
        ("task without data: frame", CvatRequestFailed),
        ("annotations create: bad attribute spec id", CvatRequestFailed),
        ("wrong method", CvatRequestFailed),
    ],
)
def test_recorded_failures_become_our_errors(exchanges, step, kind):
    (response,) = [e["response"] for e in exchanges if e["step"] == step]
    with pytest.raises(kind) as caught, cvat_errors("trying"):
        raise _raised(response)
    assert type(caught.value) is kind
    assert caught.value.hint
    assert "<" not in caught.value.message
    assert may_have_happened(caught.value) is (response["status"] >= 500)


def test_a_refusal_says_what_the_server_says(exchanges):
    step = "annotations create: negative group"
    (response,) = [e["response"] for e in exchanges if e["step"] == step]
    with pytest.raises(CvatRequestFailed, match="group: Ensure this value"), cvat_errors("trying"):
        raise _raised(response)


def test_the_pool_of_ground_truth_and_its_copies_are_no_ordinary_frames(exchanges):
    from dataclasses import replace

    class Layout:
        @staticmethod
        def json(*args, **options):
            return {"mode": "gt_pool", "honeypot_frames": [1], "validation_frames": [4, 5]}

    class Session:
        transport = Layout

    jobs = [
        read_job(e, "http://x") for e in answer(exchanges, "jobs incl. ground truth")["results"]
    ]
    jobs = [j for j in jobs if j.kind is JobKind.GROUND_TRUTH or j.start_frame == 0]
    task = replace(the_task(exchanges), validation="gt_pool")
    assert set(validation_frames(Session(), task, jobs)) == {1, 3, 4, 5}
    assert validation_frames(Session(), replace(task, validation="gt"), jobs) == {}


def _raised(response):
    body = response["body"]
    text = "" if body is None else body.get("text") or json.dumps(body.get("json"))
    error = ApiException(status=response["status"], reason="recorded")
    error.body, error.headers = text.encode(), response["headers"]
    return error

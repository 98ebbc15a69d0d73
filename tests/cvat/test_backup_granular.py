"""Tags, shapes and tracks of a backup into the live task: planned, resumed, taken back exactly."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter

import numpy as np
import pytest
from backup_world import api, documents, saved
from cvat_helpers import Answer, FaultProxy, write_images
from nursery import Nursery

from lsl_core.cvat import (
    Journal,
    PasswordLogin,
    PushPhase,
    apply_push,
    connect,
    create_task,
    delete_task,
    resume_push,
    task_jobs,
    undo_push,
)
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.cvat.annotations.content import KINDS, content_key, kind_of
from lsl_core.cvat.annotations.reading import stored_entries
from lsl_core.cvat.backup import plan_restore
from lsl_core.cvat.backup.saved import Relabel
from lsl_core.cvat.push import sending
from lsl_core.errors import RestoreRefused
from lsl_core.progress import NULL

KILLS = int(os.environ.get("LSL_KILL_RUNS", "5"))
LABELS = [
    {"name": "car", "type": "any", "attributes": [
        {"name": "colour", "mutable": False, "input_type": "text", "default_value": "?",
         "values": []},
        {"name": "parked", "mutable": True, "input_type": "checkbox", "default_value": "false",
         "values": []},
    ]},
    {"name": "night", "type": "tag", "attributes": []},
]  # fmt: skip


def make(session, folder, *, overlap=0):
    """Make a task of two jobs, 0-2 and 3-5 when they do not overlap, with all kinds in both."""
    images = write_images(folder / "images", 6 - overlap)
    project = api(session, "POST", "/api/projects", {"name": "street", "labels": LABELS})["id"]
    task = create_task(
        session, "street", [], images, project_id=project, segment_size=3, overlap=overlap
    )
    labels = api(session, "GET", "/api/labels", query={"task_id": task.id})["results"]
    ids = {label["name"]: label["id"] for label in labels}
    specs = {a["name"]: a["id"] for label in labels for a in label["attributes"]}
    for job in task_jobs(session, task.id):
        change_job(session, job.id, Action.CREATE, drawn(job.start_frame, ids, specs))
    return task


def drawn(first, ids, specs):
    """Return a tag and a shape on a frame, and two tracks that begin there."""
    colour = [{"spec_id": specs["colour"], "value": "red"}]
    keys = [
        {"type": "rectangle", "frame": first, "points": [1.0 + first, 1, 20, 20],
         "attributes": [{"spec_id": specs["parked"], "value": "true"}]},
        {"type": "rectangle", "frame": first + 1, "points": [5.0, 5, 24, 24], "occluded": True,
         "attributes": [{"spec_id": specs["parked"], "value": "false"}]},
        {"type": "rectangle", "frame": first + 2, "points": [5.0, 5, 24, 24], "outside": True},
    ]  # fmt: skip
    later = [{"type": "polygon", "frame": first + 1, "points": [1.0, 1, 9, 1, 9, 9]}]
    return [
        {"frame": first, "label_id": ids["night"], "group": 0, "source": "manual",
         "attributes": []},
        {"type": "rectangle", "frame": first, "label_id": ids["car"], "points": [30.0, 5, 40, 15],
         "attributes": colour, "group": 2, "source": "manual", "rotation": 12.5},
        {"frame": first, "label_id": ids["car"], "group": 1, "source": "manual",
         "attributes": colour, "shapes": keys, "elements": []},
        {"frame": first + 1, "label_id": ids["car"], "group": 0, "source": "auto",
         "attributes": [], "shapes": later, "elements": []},
    ]  # fmt: skip


@pytest.fixture
def task(session, tmp_path):
    made = make(session, tmp_path)
    yield made
    delete_task(session, made.id)


def backup(session, task):
    (found,) = saved(documents(session, f"project-{task.project_id}")).tasks()
    return found


def stored(session, task):
    """Return what the jobs of a task hold."""
    found = {kind: [] for kind in KINDS}
    for entry in stored_entries(session, task):
        found[kind_of(entry)].append(entry)
    return found


def contents(session, task):
    """Return how often each content is there, told apart by kind."""
    entries = stored_entries(session, task)
    return Counter((kind_of(entry), content_key(entry)) for entry in entries)


def empty(session, task, job=None):
    where = f"jobs/{job}" if job else f"tasks/{task.id}"
    session.transport.send("DELETE", f"/api/{where}/annotations/", doing="the test")


def edited(session, task, kind, **changes):
    """Change the first annotation of a kind as a person does; return it as it was."""
    entry = stored(session, task)[kind][0]
    job = next(j for j in task_jobs(session, task.id) if j.covers(entry["frame"]))
    body = {**{k: [] for k in KINDS}, kind: [json.loads(json.dumps({**entry, **changes},
            default=list))]}  # fmt: skip
    path = f"/api/jobs/{job.id}/annotations/"
    api(session, "PATCH", path, body, query={"action": "update"})
    return entry


def by_kind(plan, column):
    counts = Counter()
    for row in plan.labels:
        counts[row.kind] += getattr(row, column)
    return dict(counts)


def test_tags_and_tracks_come_back_and_undo_takes_them_away_again(session, task, journal, tmp_path):
    before, found = contents(session, task), backup(session, task)
    assert plan_restore(session, found).does_nothing
    empty(session, task)
    plan = plan_restore(session, found)
    assert by_kind(plan, "add") == {"shapes": 2, "tags": 2, "tracks": 4}
    result = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    assert (result.added, result.is_verified, result.human_unchanged) == (8, True, True)
    assert contents(session, task) == before
    again = plan_restore(session, found)
    assert again.does_nothing
    assert by_kind(again, "duplicates") == {"shapes": 2, "tags": 2, "tracks": 4}
    undone = undo_push(session, journal, result.push_id)
    assert (undone.deleted, undone.is_verified) == (8, True)
    assert not contents(session, task)


def test_what_came_later_goes_and_undo_brings_it_back(session, task, journal, tmp_path):
    found = backup(session, task)
    first = stored(session, task)["tracks"][0]
    second = {**first, "shapes": first["shapes"][:1], "group": 7}
    (tag,) = stored(session, task)["tags"][:1]
    job = task_jobs(session, task.id)[0]
    for entry in (second, {**tag, "group": 5}):
        bare = {k: v for k, v in entry.items() if k != "id"}
        change_job(session, job.id, Action.CREATE, [bare])
    later = contents(session, task)
    plan = plan_restore(session, found)
    assert by_kind(plan, "remove") == {"shapes": 0, "tags": 1, "tracks": 1}
    assert plan_restore(session, found, keep_newer=True).does_nothing
    result = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    assert (result.removed, result.is_verified) == (2, True)
    undone = undo_push(session, journal, result.push_id)
    assert (undone.restored, undone.is_verified) == (2, True)
    assert contents(session, task) == later


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_person_edited_since_becomes_what_it_was_or_stays(
    session, task, journal, tmp_path, kind
):
    before, found = contents(session, task), backup(session, task)
    edited(session, task, kind, group=9)
    theirs = contents(session, task)
    kept = plan_restore(session, found, keep_newer=True)
    assert kept.does_nothing  # not drawn beside what the person made of it
    assert by_kind(kept, "conflicts")[kind] == 1
    assert any("stay as they are now" in line for line in kept.warnings)
    plan = plan_restore(session, found)
    assert by_kind(plan, "conflicts")[kind] == by_kind(plan, "remove")[kind] == 1
    result = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    assert contents(session, task) == before
    assert undo_push(session, journal, result.push_id).is_verified
    assert contents(session, task) == theirs


def test_a_keyframe_that_a_person_moved_is_an_edit(session, task):
    found = backup(session, task)
    track = stored(session, task)["tracks"][0]
    moved = [{**track["shapes"][0], "points": [2.0, 2, 20, 20]}, *track["shapes"][1:]]
    edited(session, task, "tracks", shapes=moved)
    assert by_kind(plan_restore(session, found), "conflicts")["tracks"] == 1


def test_a_track_comes_back_with_all_frames_of_its_job_only(session, task):
    found = backup(session, task)
    empty(session, task)
    plan = plan_restore(session, found, frames=[0, 1, 4])
    assert by_kind(plan, "add") == {"shapes": 1, "tags": 1}
    first, second = (job.id for job in task_jobs(session, task.id))
    assert [(s.frame, s.objects) for s in plan.skipped] == [(0, 1), (1, 1), (4, 2)]
    assert f"job {first}" in plan.skipped[0].reason
    assert f"job {second}" in plan.skipped[2].reason
    whole = plan_restore(session, found, frames=[0, 1, 2])
    assert by_kind(whole, "add") == {"shapes": 1, "tags": 1, "tracks": 2}
    assert whole.skipped == ()
    assert whole.labels == plan_restore(session, found, job=first).labels


def test_a_track_that_is_not_seen_on_the_frame_is_not_spoken_of(session, task):
    found = backup(session, task)
    empty(session, task)
    # the first track is outside from frame 2 on, the second one goes on
    (left,) = plan_restore(session, found, frames=[2]).skipped
    assert (left.frame, left.objects) == (2, 1)


def test_where_jobs_overlap_each_gets_back_its_own(session, journal, tmp_path):
    task = make(session, tmp_path, overlap=1)
    first, second = (job.id for job in task_jobs(session, task.id))
    alike = next(e for e in stored(session, task)["tags"] if e["frame"] == 2)
    change_job(session, first, Action.CREATE, [{k: v for k, v in alike.items() if k != "id"}])
    found = backup(session, task)
    before = contents(session, task)
    empty(session, task, job=second)
    lost = contents(session, task)
    plan = plan_restore(session, found)
    # an equal tag of the other job is no reason to leave this one out
    assert by_kind(plan, "add") == {"shapes": 1, "tags": 1, "tracks": 2}
    assert set(plan.create.counts) == {second}
    result = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    assert (result.is_verified, result.human_unchanged) == (True, True)
    assert contents(session, task) == before
    assert undo_push(session, journal, result.push_id).is_verified
    assert contents(session, task) == lost
    delete_task(session, task.id)


def test_an_attribute_that_a_label_got_since_has_its_default_as_cvat_answers_it():
    def spec(id_, name, *, mutable):
        return {"id": id_, "name": name, "mutable": mutable, "default_value": "none"}

    old = [{"id": 1, "name": "car", "attributes": [spec(1, "colour", mutable=False)]}]
    new = [
        {"id": 5, "name": "car", "attributes": [
            spec(6, "colour", mutable=False), spec(7, "maker", mutable=False),
            spec(8, "lights", mutable=True),
        ]}
    ]  # fmt: skip
    red = [{"spec_id": 1, "value": "red"}]
    tag = {"id": 1, "frame": 0, "label_id": 1, "attributes": red}
    track = {**tag, "shapes": [{"id": 2, "type": "rectangle", "frame": 0, "attributes": []}]}
    shape, along = Relabel(old, new)([tag, track])

    def values(entry):
        return {a["spec_id"]: a["value"] for a in entry["attributes"]}

    assert values(shape) == {6: "red", 7: "none", 8: "none"}
    assert values(along) == {6: "red", 7: "none"}  # CVAT refuses one that changes on a track itself
    assert values(along["shapes"][0]) == {8: "none"}


def test_a_task_that_is_cut_into_other_jobs_is_refused(session, task, tmp_path):
    found = backup(session, task)
    images = write_images(tmp_path / "images", 6)
    other = create_task(session, "whole", [], images, project_id=task.project_id, segment_size=6)
    with pytest.raises(RestoreRefused, match="cut into other jobs"):
        plan_restore(session, found, task_id=other.id)


def test_undo_leaves_tags_and_tracks_that_a_person_edited(session, task, journal, tmp_path):
    found = backup(session, task)
    empty(session, task)
    plan = plan_restore(session, found)
    result = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    changed = {(kind, edited(session, task, kind, group=9)["id"]) for kind in ("tags", "tracks")}
    undone = undo_push(session, journal, result.push_id)
    assert {(kept.kind, kept.id) for kept in undone.kept} == changed
    assert (undone.deleted, undone.is_verified) == (6, True)
    left = stored(session, task)
    assert {(kind, entry["id"]) for kind in KINDS for entry in left[kind]} == changed


class _Killed(BaseException):
    """Stands for the end of the process."""


def test_killed_between_commit_and_journal_it_resumes_without_doubles(
    session, task, journal, tmp_path
):
    class Dying(Journal):
        def mark_done(self, *args):
            raise _Killed

    before, found = contents(session, task), backup(session, task)
    empty(session, task)
    with pytest.raises(_Killed):
        apply_push(
            session, plan_restore(session, found), Dying(tmp_path / "lsl.sqlite"),
            snapshot=tmp_path / "s.gz",
        )  # fmt: skip
    stored = contents(session, task)
    assert {kind for kind, _ in stored} == set(KINDS)
    (record,) = journal.pushes(url=session.url, task_id=task.id)
    assert not journal.count_created(record.id)
    result = resume_push(session, journal, record.id, settle_s=0.1)
    assert (result.added, result.is_verified) == (8, True)
    assert contents(session, task) == before
    assert undo_push(session, journal, record.id).deleted == 8


@pytest.mark.parametrize("kind", ["before", "lost", "half", "504", "500"])
def test_an_answer_that_got_lost_doubles_no_tag_and_no_track(
    sandbox, session, task, journal, tmp_path, kind
):
    before, found = contents(session, task), backup(session, task)
    empty(session, task)
    hits = []

    def fault(method, path, forward):
        if method != "PATCH" or "action=create" not in path or len(hits) >= 2:
            return forward()
        hits.append(path)
        if kind == "before":
            return None
        answer = forward()
        if kind == "half":
            answer.body = answer.body[: len(answer.body) // 2]
            return answer
        return Answer(int(kind), [], b"<h1>trouble</h1>") if kind.isdigit() else None

    login = PasswordLogin("demo", "demo-password")
    with FaultProxy(sandbox.url) as proxy, connect(proxy.url, login, organisation="") as through:
        plan = plan_restore(through, found)
        proxy.fault = fault
        result = apply_push(through, plan, journal, snapshot=tmp_path / "s.gz", settle_s=0.1)
    assert (result.added, result.is_verified) == (8, True)
    assert contents(session, task) == before


def test_no_id_of_a_keyframe_or_of_a_part_is_sent(session, task, journal, tmp_path, monkeypatch):
    sent = []

    def noted(session, job_id, action, entries):
        if action is Action.CREATE:
            sent.extend(entries)
        return change_job(session, job_id, action, entries)

    monkeypatch.setattr(sending, "change_job", noted)
    found = backup(session, task)
    edited(session, task, "tracks", group=9)
    plan = plan_restore(session, found)
    result = apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
    undo_push(session, journal, result.push_id)  # sends the track as it was read, ids and all
    assert [kind_of(entry) for entry in sent] == ["tracks", "tracks"]
    assert not any("id" in part for track in sent for part in (track, *track["shapes"]))


def test_a_skeleton_is_told_by_its_parts():
    part = {"type": "points", "frame": 0, "label_id": 2, "points": [1.0, 1.0], "attributes": []}
    bone = {"type": "skeleton", "frame": 0, "label_id": 1, "points": [], "elements": [part]}
    moved = {**bone, "elements": [{**part, "points": [2.0, 1.0]}]}
    assert content_key(bone) != content_key(moved)
    track = {"frame": 0, "label_id": 1, "shapes": [{"type": "skeleton", "frame": 0, "points": []}]}
    leg = {"frame": 0, "label_id": 2, "shapes": [{"type": "points", "frame": 0, "points": [1, 1]}]}
    hidden = {**leg, "shapes": [{**leg["shapes"][0], "outside": True}]}
    assert content_key({**track, "elements": [leg]}) != content_key({**track, "elements": [hidden]})


def test_killed_at_any_instant_a_restore_resumes_and_an_undo_goes_on(
    sandbox, session, task, tmp_path
):
    rng = np.random.default_rng(62)
    before = contents(session, task)
    path = tmp_path / "documents.json"
    path.write_text(json.dumps(documents(session, f"project-{task.project_id}")))
    phases = Counter()
    with Nursery(sandbox.url) as nursery:
        empty(session, task)
        whole_s = nursery.run(_folder(tmp_path, "whole"), task.id, 0, restore=path)
        assert contents(session, task) == before
        for number in range(KILLS):
            empty(session, task)
            folder = _folder(tmp_path, str(number))
            pause = rng.uniform(0, 1.1 * whole_s)
            nursery.run(folder, task.id, 0, restore=path, kill_after_s=pause)
            push_id = _finished(session, task, folder, path, phases)
            assert contents(session, task) == before
            nursery.run(folder, task.id, 0, undo=push_id, kill_after_s=rng.uniform(0, whole_s))
            journal = Journal(folder / "j.sqlite")
            if journal.get(push_id).phase is not PushPhase.UNDONE:
                assert undo_push(session, journal, push_id, settle_s=0.25).is_verified
            assert not contents(session, task)
    sys.stdout.write(f"{KILLS} kills of a restore, {KILLS} of an undo; found {dict(phases)}\n")


def _folder(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    return folder


def _finished(session, task, folder, path, phases):
    """Go on with a restore that was killed, or begin it; return its id."""
    time.sleep(0.05)  # what the dead child sent may still be on its way
    journal = Journal(folder / "j.sqlite")
    found = journal.pushes()
    phases[found[0].phase.value if found else "not begun"] += 1
    if found and found[0].phase is PushPhase.DONE:
        return found[0].id
    if found:
        return resume_push(session, journal, found[0].id, settle_s=0.25).push_id
    (one,) = saved(json.loads(path.read_text())).tasks()
    plan = plan_restore(session, one)
    return apply_push(session, plan, journal, snapshot=folder / "s.gz", progress=NULL).push_id

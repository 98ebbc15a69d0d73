"""Backups against a real server: saved, compared, drilled, restored whole and in part."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from cvat_helpers import write_images
from random_work import draw_people

from lsl_core.backups import Repository, State, Tier
from lsl_core.cvat import (
    apply_push,
    create_task,
    task_annotations,
    task_jobs,
    task_labels,
    undo_push,
)
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.cvat.annotations.content import KINDS, content_key
from lsl_core.cvat.backup import (
    differences,
    list_units,
    plan_restore,
    read_live,
)
from lsl_core.services.backups import backing_up, drilling, inspecting, repositories, restoring

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def task(session, project, tmp_path_factory):
    images = write_images(tmp_path_factory.mktemp("images"), 4)
    made = create_task(session, "backed up", [], images, project_id=project, segment_size=2)
    draw_people(session, made, np.random.default_rng(1))
    job = task_jobs(session, made.id)[0]
    path = f"/api/jobs/{job.id}"
    session.transport.json("PATCH", path, doing="the test", body={"stage": "validation"})
    issue = {"job": job.id, "frame": 0, "position": [1.0, 1.0, 9.0, 9.0], "message": "sure?"}
    session.transport.json("POST", "/api/issues", doing="the test", body=issue)
    return made


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return Repository.create(tmp_path_factory.mktemp("backups") / "repository")


def take(repository, session, project, tier):
    report = backing_up.back_up_now(repository, session, tier, project=project, reason="live test")
    assert report.failed == []
    return report.taken[0]


@pytest.fixture(scope="module")
def full(repository, session, project, task):
    return take(repository, session, project, Tier.FULL)


def test_a_project_is_saved_whole(full, repository, project, session, task):
    assert full.state is State.OK, full.missing
    assert full.counts["frames"] == 4
    assert full.counts["issues"] == 1
    shapes = task_annotations(session, task.id)["shapes"]
    assert full.counts["shapes"] == len(shapes)
    images = repository.members(full, f"project-{project}/archive.zip")
    assert sum(member.name.endswith(".png") for member in images) == 4


def test_a_second_backup_takes_next_to_no_room(full, repository, session, project):
    again = take(repository, session, project, Tier.FULL)
    assert again.added_bytes < full.added_bytes / 2


def test_what_was_saved_reads_back(full, repository):
    assert repositories.verify(repository, [full.id]).is_good
    assert repository.snapshot(full.id).is_verified


def test_nothing_changed_since(full, repository, session):
    assert inspecting.compare_live(repository, session, full).is_same


def test_coverage_knows_the_project(full, repository, session, project):
    rows = {row.key: row for row in inspecting.coverage(repository, session)}
    assert rows[f"project-{project}"].is_covered


def test_a_frame_can_be_looked_at(full, repository, task):
    found = inspecting.saved_frame(repository, full, task.id, 0)
    assert found.pixels.ndim == 3
    assert not found.from_server


def test_a_drill_finds_everything_as_it_was(full, repository, session):
    verdict = drilling.drill(repository, session, full).marks.drill
    assert verdict is not None
    assert verdict.problems == ()
    assert not any(u.name.startswith(drilling.SCRATCH) for u in list_units(session).units)


@pytest.mark.parametrize("tier", [Tier.FULL, Tier.ANNOTATIONS])
def test_a_project_comes_back_as_a_new_one(full, repository, session, project, tier):
    one = full if tier is Tier.FULL else take(repository, session, project, tier)
    (unit,) = restoring.units_of(repository, one)
    made = restoring.restore_unit(repository, session, one, unit, name="LSL live test restored")
    try:
        assert made.not_restored == ()
        live = list_units(session).find(f"project-{made.id}")
        assert live is not None
        after = read_live(session, live)
        assert differences(unit, after, made.tasks) == []
        (restored,) = after.tasks()
        assert len(restored.document("issues")) == 1
    finally:
        restoring.remove_unit(session, unit.kind, made.id)


def test_one_job_comes_back_into_the_live_task_and_undo_takes_it_away(
    full, repository, session, task, journal, tmp_path
):
    job = task_jobs(session, task.id)[0]
    before = Counter(map(content_key, task_annotations(session, task.id)["shapes"]))
    path = f"/api/jobs/{job.id}/annotations/"
    session.transport.send("DELETE", path, doing="the test")
    lost = Counter(map(content_key, task_annotations(session, task.id)["shapes"]))
    rows = inspecting.compare_live(repository, session, full).rows
    assert sum(row.removed for row in rows) >= (before - lost).total() > 0
    assert sum(row.added + row.edited for row in rows) == 0
    plan = plan_restore(session, restoring.saved_task(repository, full, task.id), job=job.id)
    result = apply_push(session, plan, journal, snapshot=tmp_path / "before.gz")
    assert result.is_verified
    assert Counter(map(content_key, task_annotations(session, task.id)["shapes"])) == before
    assert undo_push(session, journal, result.push_id).is_verified
    assert Counter(map(content_key, task_annotations(session, task.id)["shapes"])) == lost


def test_tags_and_tracks_come_back_into_the_live_task_too(
    repository, session, project, task, journal, tmp_path
):
    job = task_jobs(session, task.id)[0]
    label = next(found for found in task_labels(session, task.id) if found.name == "thing")
    common = {"frame": job.start_frame, "label_id": label.id, "attributes": [], "group": 0,
              "source": "manual"}  # fmt: skip
    keys = [
        {"type": "rectangle", "frame": job.start_frame, "points": [1.0, 1.0, 9.0, 9.0]},
        {"type": "rectangle", "frame": job.stop_frame, "points": [3.0, 3.0, 9.0, 9.0],
         "outside": True},
    ]  # fmt: skip
    tracks = [{**common, "shapes": shapes} for shapes in (keys, keys[:1])]  # one stays open
    change_job(session, job.id, Action.CREATE, [common, *tracks])
    one = take(repository, session, project, Tier.ANNOTATIONS)
    found = restoring.saved_task(repository, one, task.id)
    assert plan_restore(session, found).does_nothing
    before = contents(session, task)
    session.transport.send("DELETE", f"/api/jobs/{job.id}/annotations/", doing="the test")
    lost = contents(session, task)
    plan = plan_restore(session, found, job=job.id)
    assert {row.kind for row in plan.labels if row.add} >= {"tags", "tracks"}
    result = apply_push(session, plan, journal, snapshot=tmp_path / "before.gz")
    assert (result.is_verified, result.human_unchanged) == (True, True)
    assert contents(session, task) == before
    assert plan_restore(session, found).does_nothing
    assert undo_push(session, journal, result.push_id).is_verified
    assert contents(session, task) == lost


def contents(session, task):
    found = task_annotations(session, task.id)
    return Counter((kind, content_key(entry)) for kind in KINDS for entry in found[kind])

"""The Backups page as people see it: empty, loaded, damaged, out of reach."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st
from app_world import World

from lsl_core.backups import Verdict, make_key_file
from lsl_core.runs import Lane, Queue
from lsl_core.sandbox import Sandbox
from lsl_core.services.backups import backing_up, repositories
from lsl_core.services.backups.repositories import Tier
from lsl_core.ui import keys


def saved(world, tier: Tier = Tier.FULL):
    """Back up one drawn task and return its snapshot."""
    task = world.add_task("bolts", labelled=True)
    repository = repositories.open_repository(world.workspace, make=True)
    (one,) = backing_up.back_up_now(
        repository, world.session, tier, task=task.info.id, reason="before push"
    ).taken
    return repository, one


def words(app) -> str:
    return " ".join(element.value for element in (*app.markdown, *app.error, *app.caption))


def test_before_the_first_backup_the_page_says_what_it_is_for(open_page, world):
    app = open_page("backups")
    assert not app.exception
    assert "No backup yet" in words(app)


def test_the_first_backup_is_a_run(open_page, world, monkeypatch):
    monkeypatch.setattr(Queue, "ensure_worker", lambda self: None)
    app = open_page("backups")
    app.button(key=f"{keys.BACKUPS_NOW}-first").click().run()
    runs = Queue(world.workspace, Lane.BACKUP).store.recent()
    assert [(run.kind, run.subject) for run in runs] == [("backup", "everything")]


def test_a_snapshot_is_listed_with_why_and_compared_with_now(open_page, world):
    _, one = saved(world)
    app = open_page("backups", snapshot=one.short_id)
    assert not app.exception
    assert "bolts" in words(app)
    assert "never verified" in words(app)
    app.button(key=keys.BACKUPS_COMPARE).click().run()
    assert "Nothing changed since" in words(app)


def test_a_snapshot_is_protected_forgotten_and_brought_back(open_page, world):
    repository, one = saved(world)
    app = open_page("backups")
    app.button(key=keys.BACKUPS_FORGET).click().run()
    assert repository.snapshots() == []
    app.toggle(key=keys.BACKUPS_FORGOTTEN).set_value(True).run()
    app.button(key=keys.BACKUPS_FORGET).click().run()
    assert [back.id for back in repository.snapshots()] == [one.id]


def test_damage_is_said_in_plain_words_until_it_is_mended(open_page, world):
    repository, one = saved(world)
    packs = [*world.workspace.backups.joinpath("packs").rglob("*")]
    for pack in (path for path in packs if path.is_file()):
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 0xFF
        pack.write_bytes(data)
    repositories.verify(repository)
    app = open_page("backups")
    assert not app.exception
    assert "1 snapshot damaged, and no other is there" in words(app)
    assert "there is no other copy" in words(app)
    # the next backup stores anew what is damaged
    backing_up.back_up_now(
        repository, world.session, Tier.FULL, task=one.subject.id, reason="again"
    )
    repositories.verify(repository)
    st.cache_resource.clear()
    assert "damaged" not in words(open_page("backups"))


def test_a_snapshot_that_cannot_be_read_says_how_pruning_goes_on(open_page, world):
    repository, one = saved(world)
    (world.workspace.backups / "snapshots" / one.id).write_bytes(b"rubbish")
    text = words(open_page("backups"))
    assert "1 snapshot cannot be read at all" in text
    assert f"lsl backup prune --give-up {one.short_id}" in text
    repositories.prune(repository, seen=repositories.plan_prune(repository, give_up=[one.short_id]))
    assert repositories.check(repository).is_good


def test_a_drill_that_found_differences_is_the_first_thing_to_read(open_page, world):
    repository, one = saved(world)
    with repository.lock("test"):
        verdict = Verdict(at=datetime.now(UTC), good=False, problems=("1 of 2 images is gone",))
        repository.mark(one, drill=verdict)
    app = open_page("backups")
    assert "did not come back as it was saved" in app.warning[0].value
    assert "1 of 2 images is gone" in words(app)


def test_whoever_holds_the_lock_is_named_and_what_writes_is_refused(open_page, world, monkeypatch):
    repository, one = saved(world)
    other = repositories.open_repository(world.workspace)
    with other.lock("verify"):
        app = open_page("backups")
        assert "In use by" in words(app)
        assert "(verify" in words(app)
        app.button(key=keys.BACKUPS_FORGET).click().run()
        assert "are in use by" in words(app)
    assert repository.snapshots() == [one]


def test_the_wrong_key_of_an_encrypted_repository_is_a_card_with_a_next_step(
    open_page, world, tmp_path
):
    key = tmp_path / "key"
    repositories.create_repository(world.workspace, str(tmp_path / "sealed"), key_file=str(key))
    key.unlink()
    assert "holds no backup key" in words(open_page("backups"))
    make_key_file(key)
    app = open_page("backups")
    assert "This is not the key of these backups" in words(app)
    assert "lsl backup init PLACE --key-file FILE" in words(app)


def test_a_server_that_went_away_is_told_where_it_is_needed(open_page, world, tmp_path):
    with Sandbox(tmp_path / "other") as sandbox:
        World.signed_in(sandbox, world.workspace)
    app = open_page("backups")
    assert not app.exception
    assert "does not answer" in words(app)


def test_a_repository_that_cannot_be_opened_is_a_card_not_a_crash(open_page, world):
    settings = world.workspace.settings()
    settings.backups.location = str(world.workspace.root / "gone")
    world.workspace.save(settings)
    app = open_page("backups")
    assert not app.exception
    assert "There are no backups in" in words(app)


def test_coverage_and_schedule_open(open_page, world):
    saved(world)
    app = open_page("backups")
    for view in ("Coverage", "Schedule and rules"):
        app.segmented_control(key=keys.BACKUPS_VIEW).set_value(view).run()
        assert not app.exception
    assert app.get("dataframe")


def test_a_task_can_be_backed_up_from_the_tasks_page(open_page, world, monkeypatch):
    monkeypatch.setattr(Queue, "ensure_worker", lambda self: None)
    task = world.add_task("nuts")
    app = open_page("tasks", task=task.info.id)
    app.button(key=keys.TASKS_BACK_UP).click().run()
    (run,) = Queue(world.workspace, Lane.BACKUP).store.recent()
    assert run.subject == f"task {task.info.id}"

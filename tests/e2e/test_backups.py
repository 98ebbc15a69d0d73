"""Backups in two browsers: what is confirmed is what was read, and acts have ways back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lsl_core import cvat
from lsl_core.runs import Lane, Queue
from lsl_core.sandbox import Sandbox
from lsl_core.services import workspaces
from lsl_core.services.backups import backing_up, repositories
from lsl_core.services.backups.repositories import Repository, Snapshot, Tier
from lsl_core.services.labelling import pushing

sys.path.insert(0, str(Path(__file__).parents[1] / "app"))  # its world of tasks

from app_world import Task, World

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture
def world(tmp_path: Path):
    """A signed-in workspace, as of the demo: whoever opens the page may act."""
    with Sandbox(tmp_path / "sandbox") as sandbox:
        world = World.signed_in(sandbox, workspaces.create_workspace(tmp_path / "belt"))
        yield world
        world.session.close()


def take(world: World, task: Task) -> tuple[Repository, Snapshot]:
    repository = repositories.open_repository(world.workspace, make=True)
    (one,) = backing_up.back_up_now(
        repository, world.session, Tier.FULL, task=task.info.id, reason="nightly"
    ).taken
    return repository, one


def opened(page, url: str, one: Snapshot):
    page.goto(f"{url}/backups?snapshot={one.short_id}")
    page.get_by_role("button", name="Restore as new…").wait_for()
    page.locator("canvas.lsl-viewer").wait_for()
    return page


def shapes(world: World, task: Task) -> int:
    return len(cvat.task_annotations(world.session, task.info.id)["shapes"])


def test_a_prune_takes_what_was_read_and_nothing_that_was_forgotten_since(
    world, serve, new_page
) -> None:
    task = world.add_task("belt", labelled=True)
    repository, old = take(world, task)
    _, newer = take(world, task)
    repositories.forget(repository, [old.id])
    url = serve(APP, LSL_WORKSPACE=str(world.workspace.root))
    one, other = opened(new_page(), url, newer), opened(new_page(), url, newer)

    one.get_by_role("button", name="Prune…").click()
    one.get_by_text(old.short_id).wait_for()
    other.get_by_role("button", name="Forget…").click()
    other.get_by_text("It is the last whole copy").wait_for()
    other.get_by_role("button", name=f"Forget {newer.short_id}").click()
    other.get_by_text("No snapshot fits").wait_for()

    agree(one)
    one.get_by_text(f"{newer.short_id} would go too").wait_for()
    assert {s.id for s in repository.snapshots(forgotten=True)} == {old.id, newer.id}

    other.get_by_text("Forgotten", exact=True).click()
    other.get_by_role("button", name="Bring back").click()
    other.get_by_role("button", name="Forget…").wait_for()
    assert [s.id for s in repository.snapshots()] == [newer.id]
    agree(one)
    one.get_by_role("dialog").wait_for(state="detached")
    assert [s.id for s in repository.snapshots(forgotten=True)] == [newer.id]
    assert repositories.verify(repository).is_good


def agree(page) -> None:
    field = page.get_by_label("Type the word prune")
    field.fill("")
    field.fill("prune")
    field.press("Enter")
    assert page.get_by_role("dialog").is_visible()  # Enter commits the text, it removes nothing
    page.get_by_role("button", name="Remove 1 snapshot for good").click()


def test_two_people_who_ask_for_the_same_restore_get_one(world, serve, new_page) -> None:
    task = world.add_task("belt", labelled=True)
    _, one = take(world, task)
    queue = Queue(world.workspace, Lane.BACKUP)
    with queue.lock:  # as if a worker were busy: what is asked for waits
        url = serve(APP, LSL_WORKSPACE=str(world.workspace.root))
        pages = [opened(new_page(), url, one) for _ in range(2)]
        for page in pages:
            page.get_by_role("button", name="Restore as new…").click()
            page.get_by_role("button", name="Restore", exact=True).wait_for()
        first, second = pages
        first.get_by_role("button", name="Restore", exact=True).click()
        first.get_by_text("Waiting for its turn").first.wait_for()
        second.get_by_role("button", name="Restore", exact=True).click()
        second.get_by_text("is under way already, asked for by demo").wait_for()
        first.reload()
        first.get_by_text("Waiting for its turn").first.wait_for()
    runs = queue.store.recent()
    assert [run.kind for run in runs] == ["restore"]


def test_a_restore_in_place_writes_what_was_read_or_nothing_and_can_be_undone(
    world, serve, new_page
) -> None:
    task = world.add_task("belt", labelled=True)
    _, one = take(world, task)
    before = shapes(world, task)
    task.draw({0: task.scenes[1].instances})
    url = serve(APP, LSL_WORKSPACE=str(world.workspace.root))
    page = opened(new_page(), url, one)

    page.get_by_role("button", name="Restore in place…").click()
    typed = page.get_by_label("would go")
    typed.wait_for()
    task.draw({1: task.scenes[0].instances})  # somebody draws while the summary is read
    most = shapes(world, task)
    typed.fill(str(task.info.id))
    typed.press("Enter")
    page.get_by_role("button", name=f"In task {task.info.id}").click()
    page.get_by_text("was changed").first.wait_for()
    assert shapes(world, task) == most

    typed.fill("")
    typed.press("Enter")
    page.get_by_role("button", name=f"take {most - before} away").wait_for()
    typed.fill(str(task.info.id))
    typed.press("Enter")
    page.get_by_role("button", name=f"take {most - before} away").click()
    page.get_by_text("Take it back").wait_for()
    assert shapes(world, task) == before
    push = pushing.list_pushes(world.workspace)[0]
    pushing.undo(world.session, world.workspace, push.id)
    assert shapes(world, task) == most


def test_a_saved_frame_is_looked_at_and_not_judged(world, serve, new_page) -> None:
    task = world.add_task("belt", labelled=True)
    _, one = take(world, task)
    page = opened(new_page(), serve(APP, LSL_WORKSPACE=str(world.workspace.root)), one)
    total = page.locator("[data-id=total]")
    page.wait_for_function("e => e.innerText.includes('of')", arg=total.element_handle())
    shown = total.inner_text()
    assert not page.get_by_role("button", name="Reject").is_visible()
    page.locator("canvas.lsl-viewer").focus()
    for key in ("Tab", "x", "]", "}"):
        page.keyboard.press(key)
    assert total.inner_text() == shown

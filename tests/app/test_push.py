from __future__ import annotations

import json

import pytest
from app_world import LABELS, World, words

from lsl_core import cvat
from lsl_core.runs import Lane, Queue
from lsl_core.sandbox import Sandbox
from lsl_core.services import activity, catalogue
from lsl_core.services.labelling import previewing, pushing
from lsl_core.services.labelling.pushing import PushMode
from lsl_core.types import RunPhase
from lsl_core.ui import cached, keys

pytestmark = pytest.mark.usefixtures("worker_here")


def shapes(world: World, task_id: int) -> int:
    return len(cvat.task_annotations(world.session, task_id)["shapes"])


def expected(world: World, preview_id: str) -> int:
    info = previewing.get_preview(world.workspace, preview_id)
    return sum(shown for shown, _ in previewing.counts(
        info, previewing.frames(world.workspace, preview_id)).values())  # fmt: skip


def test_without_a_sign_in_it_links_to_connect(open_page) -> None:
    assert "not signed in to CVAT" in words(open_page("push"))


def test_without_a_preview_it_links_to_preview(open_page, world) -> None:
    assert "No task was previewed yet" in words(open_page("push"))


def test_the_summary_is_read_before_anything_is_written(open_page, world) -> None:
    task = world.add_task("bolts")
    info = task.predict(world.add_model())
    app = open_page("push", task=task.info.id)
    assert app.button(key=keys.PUSH_GO).label == (
        f"Push {expected(world, info.id)} masks to task {task.info.id}"
    )
    assert shapes(world, task.info.id) == 0


def test_push_reads_back_and_undo_takes_all_away(open_page, world) -> None:
    task = world.add_task("bolts")
    info = task.predict(world.add_model())
    app = open_page("push", task=task.info.id)
    app.button(key=keys.PUSH_GO).click().run()
    count = expected(world, info.id)
    assert shapes(world, task.info.id) == count
    assert f"Pushed {count} shapes, {count} read back" in words(app)
    (record,) = pushing.list_pushes(world.workspace)
    app.button(key=f"{keys.PUSH_UNDO}-{record.id}").click().run()
    assert shapes(world, task.info.id) == 0
    assert f"{count} shapes taken back" in words(app)


def test_pushing_twice_adds_nothing(open_page, world) -> None:
    task = world.add_task("bolts")
    task.predict(world.add_model())
    app = open_page("push", task=task.info.id)
    app.button(key=keys.PUSH_GO).click().run()
    before = shapes(world, task.info.id)
    assert any("nothing to push" in str(info.value) for info in app.info)
    assert shapes(world, task.info.id) == before


def test_a_task_that_changed_since_the_summary_stops_the_push(open_page, world) -> None:
    task = world.add_task("bolts")
    task.predict(world.add_model())
    app = open_page("push", task=task.info.id)
    task.draw({0: task.scenes[0].instances})
    before = shapes(world, task.info.id)
    app.button(key=keys.PUSH_GO).click().run()
    assert "was changed since the summary was made" in words(app)
    assert shapes(world, task.info.id) == before


def test_replacing_asks_once_more_and_names_the_numbers(open_page, world) -> None:
    task = world.add_task("bolts")
    task.predict(world.add_model())
    app = open_page("push", task=task.info.id)
    app.button(key=keys.PUSH_GO).click().run()
    info = previewing.list_previews(world.workspace)[0]
    previewing.choose(
        world.workspace,
        info.id,
        thresholds=dict.fromkeys(info.labels, 0.9),
        mask_threshold=0.5,
    )
    app.radio(key=keys.PUSH_MODE).set_value(PushMode.REPLACE_OWN).run()
    button = app.button(key=keys.PUSH_GO)
    assert button.label.startswith("Replace ")
    assert "A snapshot is kept first" in words(app)


def test_a_label_that_the_task_lacks_must_be_mapped_first(open_page, world) -> None:
    task = world.add_task("bolts", labels=("part",))
    task.predict(world.add_model())
    app = open_page("push", task=task.info.id)
    assert "The task has no label" in words(app)
    assert not any(button.key == keys.PUSH_GO for button in app.button)


def test_a_label_that_the_task_lacks_can_be_made_from_the_page(open_page, world) -> None:
    task = world.add_task("bolts", labels=(LABELS[0],))
    info = task.predict(world.add_model())
    app = open_page("push", task=task.info.id)
    for label in LABELS[1:]:
        app.button(key=f"{keys.PUSH_CREATE}-{label}").click().run()
    assert [label.name for label in cvat.task_labels(world.session, task.info.id)] == [LABELS[0]]
    table = next(frame.value for frame in app.dataframe if "Will add" in frame.value.columns)
    assert {f"{label} (new)" for label in LABELS[1:]} <= set(table["Label"])
    app.button(key=keys.PUSH_GO).click().run()
    assert shapes(world, task.info.id) == expected(world, info.id)
    made = cvat.task_labels(world.session, task.info.id)
    assert {label.name: label.type for label in made[1:]} == dict.fromkeys(LABELS[1:], "mask")


def test_a_push_is_a_run_that_goes_on_when_the_page_is_closed(
    open_page, world, monkeypatch
) -> None:
    monkeypatch.setattr(Queue, "ensure_worker", lambda self: None)
    task = world.add_task("bolts")
    info = task.predict(world.add_model())
    app = open_page("push", task=task.info.id)
    app.button(key=keys.PUSH_GO).click().run()
    (run,) = activity.list_runs(world.workspace)
    assert (run.kind, run.phase) == ("push", RunPhase.QUEUED)
    assert shapes(world, task.info.id) == 0
    assert not any(button.key == keys.PUSH_GO for button in app.button)
    assert Queue(world.workspace, Lane.CVAT).work_once()
    assert shapes(world, task.info.id) == expected(world, info.id)
    assert f"{expected(world, info.id)} read back" in words(open_page("push", task=task.info.id))


def test_a_dry_run_gives_what_would_be_added_and_writes_nothing(open_page, world) -> None:
    task = world.add_task("bolts")
    info = task.predict(world.add_model())
    open_page("push", task=task.info.id)
    plan = pushing.plan(world.session, world.workspace, info.id)
    document = json.loads(pushing.as_coco(world.session, plan))
    assert len(document["annotations"]) == plan.num_add == expected(world, info.id)
    assert shapes(world, task.info.id) == 0


def test_replacing_everything_asks_for_the_number_of_the_task(open_page, world) -> None:
    task = world.add_task("bolts")
    task.draw({0: task.scenes[0].instances, 1: task.scenes[1].instances})
    info = task.predict(world.add_model())
    previewing.choose(
        world.workspace, info.id, thresholds=dict.fromkeys(info.labels, 0.97), mask_threshold=0.9
    )
    before = shapes(world, task.info.id)
    app = open_page("push", task=task.info.id)
    app.radio(key=keys.PUSH_MODE).set_value(PushMode.REPLACE_EVERYTHING).run()
    assert app.button(key=keys.PUSH_GO).disabled
    app.text_input(key=keys.PUSH_TYPED).set_value("999").run()
    assert app.button(key=keys.PUSH_GO).disabled
    app.text_input(key=keys.PUSH_TYPED).set_value(str(task.info.id)).run()
    app.button(key=keys.PUSH_GO).click().run()
    assert shapes(world, task.info.id) == expected(world, info.id) < before
    (record,) = pushing.list_pushes(world.workspace)
    app.button(key=f"{keys.PUSH_UNDO}-{record.id}").click().run()
    assert shapes(world, task.info.id) == before


def test_masks_are_tidied_and_drawn_as_polygons_on_request(open_page, world) -> None:
    task = world.add_task("bolts")
    task.predict(world.add_model())
    app = open_page("push", task=task.info.id)
    app.number_input(key=keys.PUSH_HOLES).set_value(100_00).run()
    app.segmented_control(key=keys.PUSH_DRAW).set_value("Polygons").run()
    assert "polygons to task" in app.button(key=keys.PUSH_GO).label
    assert "differ by" in words(app)
    app.button(key=keys.PUSH_GO).click().run()
    live = cvat.task_annotations(world.session, task.info.id)["shapes"]
    assert {shape["type"] for shape in live} == {"polygon"}


@pytest.fixture
def leaving(tmp_path, workspace, monkeypatch, open_page):
    """A sandbox that a test may stop, its world, a task and the page open on it.

    The task is read anew at every look.
    """
    monkeypatch.setattr(cached, "task_details", catalogue.task_details)
    with Sandbox(tmp_path / "leaving") as sandbox:
        world = World.signed_in(sandbox, workspace)
        task = world.add_task("bolts")
        task.predict(world.add_model())
        yield sandbox, world, task, open_page("push", task=task.info.id)


def cards(app) -> list[str]:
    return [str(error.value) for error in app.error if "does not answer" in str(error.value)]


def test_while_the_server_is_gone_what_was_chosen_stays_and_trying_again_is_offered(
    leaving,
) -> None:
    sandbox, _, _, app = leaving
    sandbox.stop()
    app.radio(key=keys.PUSH_MODE).set_value(PushMode.REPLACE_OWN).run()
    assert len(cards(app)) == 1
    sandbox.start()
    next(button for button in app.button if button.label == "Try again").click().run()
    assert not app.error
    assert app.radio(key=keys.PUSH_MODE).value == PushMode.REPLACE_OWN
    assert app.button(key=keys.PUSH_GO)


def test_an_undo_without_the_server_says_so_once_and_keeps_the_push_in_sight(leaving) -> None:
    sandbox, world, task, app = leaving
    app.button(key=keys.PUSH_GO).click().run()
    (record,) = pushing.list_pushes(world.workspace)
    sandbox.stop()
    app.button(key=f"{keys.PUSH_UNDO}-{record.id}").click().run()
    assert len(cards(app)) == 1
    assert app.button(key=f"{keys.PUSH_UNDO}-{record.id}")
    sandbox.start()
    app.button(key=f"{keys.PUSH_UNDO}-{record.id}").click().run()
    assert shapes(world, task.info.id) == 0

from __future__ import annotations

from app_world import World, words

from lsl_core import cvat
from lsl_core.services import previewing, pushing
from lsl_core.services.pushing import PushMode
from lsl_core.ui import keys


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
    assert "was changed in CVAT since this plan" in words(app)
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

from __future__ import annotations

import numpy as np
from app_world import World, words

from lsl_core import cvat
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.sandbox import Sandbox
from lsl_core.services import activity, catalogue
from lsl_core.services.labelling import previewing
from lsl_core.types import View, Window
from lsl_core.ui import cached, keys, previews
from lsl_core.ui.previews import Order
from lsl_core.ui.viewer import Decision as ViewerDecision
from lsl_core.ui.viewer import ViewerState, shown_mask


def test_without_a_server_and_previews_it_links_to_connect(open_page) -> None:
    assert "There is no task to look at" in words(open_page("preview"))


def test_without_a_model_it_links_to_train(open_page, world) -> None:
    task = world.add_task("bolts")
    assert "There is no model yet" in words(open_page("preview", task=task.info.id))


def test_an_unseen_task_offers_to_predict_it_in_the_worker(open_page, world, monkeypatch) -> None:
    monkeypatch.setattr("lsl_core.runs.queue.Queue.ensure_worker", lambda self: None)
    task, card = world.add_task("bolts"), world.add_model()
    app = open_page("preview", task=task.info.id, model=card.id)
    assert "has not looked at this task yet" in words(app)
    app.button(key=keys.PREVIEW_GO).click().run()
    run = activity.list_runs(world.workspace)[0]
    assert (run.kind, run.subject) == ("predict", f"task {task.info.id} with {card.id}")


def test_a_preview_shows_counts_of_the_whole_task(open_page, world) -> None:
    task, card = world.add_task("bolts"), world.add_model()
    info = task.predict(card)
    app = open_page("preview", task=task.info.id, model=card.id)
    found = previewing.frames(world.workspace, info.id)
    expected = sum(
        len(previewing.view_of(info, f).of(previewing.frame_instances(world.workspace, info, f)))
        for f in found
    )
    assert f"Whole task: {expected} objects shown" in words(app)
    assert not app.error


def test_next_and_previous_walk_through_the_frames(open_page, world) -> None:
    task, card = world.add_task("bolts", frames=3), world.add_model()
    task.predict(card)
    app = open_page("preview", task=task.info.id, frame=0)
    app.selectbox(key=keys.PREVIEW_SORT).set_value(Order.FRAME).run()
    app.button(key=keys.PREVIEW_NEXT).click().run()
    assert app.query_params["frame"] == "1"
    app.button(key=keys.PREVIEW_NEXT).click().run()
    assert app.button(key=keys.PREVIEW_NEXT).disabled
    app.button(key=keys.PREVIEW_PREVIOUS).click().run()
    assert app.query_params["frame"] == "1"


def test_flagging_a_frame_is_kept_in_the_workspace(open_page, world) -> None:
    task, card = world.add_task("bolts"), world.add_model()
    info = task.predict(card)
    app = open_page("preview", task=task.info.id, frame=1)
    app.button(key=keys.PREVIEW_FLAG).click().run()
    flagged = [f.ref.frame for f in previewing.frames(world.workspace, info.id) if f.is_flagged]
    assert flagged == [1]


def test_the_mask_threshold_is_kept_and_needs_no_model(open_page, world) -> None:
    task, card = world.add_task("bolts"), world.add_model()
    info = task.predict(card)
    app = open_page("preview", task=task.info.id)
    app.slider(key=keys.PREVIEW_MASKS).set_value(0.3).run()
    assert previewing.get_preview(world.workspace, info.id).mask_threshold == 0.3
    assert not app.error


def test_a_newer_model_makes_the_preview_stale(open_page, world) -> None:
    task, card = world.add_task("bolts"), world.add_model()
    task.predict(card)
    world.add_model(version=2)
    text = words(open_page("preview", task=task.info.id, model=card.id))
    assert "parts-v2 is newer than parts-v1" in text


def test_what_the_viewer_says_is_kept_and_counts_the_same(world, monkeypatch) -> None:
    monkeypatch.setattr("lsl_core.ui.session.workspace", lambda: world.workspace)
    info = world.add_task("bolts").predict(world.add_model())
    state = ViewerState(
        threshold=0.43,
        thresholds={1: 0.7},
        decisions={0: ViewerDecision.REJECT, 9: ViewerDecision.KEEP},
        image=f"{info.id}:1",
    )
    previews.keep(state)
    kept = previewing.get_preview(world.workspace, info.id)
    frame = previewing.frames(world.workspace, info.id)[1]
    instances = previewing.frame_instances(world.workspace, kept, frame)
    view = previewing.view_of(kept, frame)
    assert isinstance(view, View)
    assert len(frame.decisions) == 2
    np.testing.assert_array_equal(view.shows(instances), shown_mask(instances, state))


def test_the_order_of_looking_puts_the_unsure_first(world) -> None:
    info = world.add_task("bolts", frames=3).predict(world.add_model())
    found = previewing.frames(world.workspace, info.id)
    unsure = [int(((f.scores >= 0.25) & (f.scores <= 0.75)).sum()) for f in found]
    ordered = previews.in_order(found, Order.UNSURE)
    assert [unsure[f.ref.frame] for f in ordered] == sorted(unsure, reverse=True)


def test_the_order_of_label_next_leaves_labelled_frames_to_the_end_and_says_why(
    open_page, world
) -> None:
    task, card = world.add_task("bolts", frames=3), world.add_model()
    task.predict(card)
    task.draw({1: task.scenes[1].instances})
    shape = cvat.task_annotations(world.session, task.info.id)["shapes"][0]
    shape = {**shape, "source": "manual"}  # what `draw` pushed is a program's
    del shape["id"]
    (job,) = cvat.task_jobs(world.session, task.info.id)
    change_job(world.session, job.id, Action.CREATE, [shape])
    app = open_page("preview", task=task.info.id, frame=1)
    app.selectbox(key=keys.PREVIEW_SORT).set_value(Order.NEXT).run()
    assert "3 of 3" in words(app)
    assert "Label next" not in words(app)
    app.button(key=keys.PREVIEW_PREVIOUS).click().run()
    assert "Label next: 2 of 2" in words(app)
    app.button(key=keys.PREVIEW_PREVIOUS).click().run()
    assert "Label next: 1 of 2" in words(app)
    first = app.query_params["frame"]
    assert "unsure" in app.button(key=f"{keys.PREVIEW_STRIP}-{first[0]}").help
    assert not app.exception


def test_a_part_of_a_frame_is_that_of_its_image(world) -> None:
    info = world.add_task("bolts").predict(world.add_model())
    whole = previewing.frame_view(world.workspace, info.id, 0).pixels
    part = previewing.frame_part(world.workspace, info.id, 0, Window(30, 40, 200, 100), pixels=200)
    assert part.shape == (100, 200, 3)
    assert np.abs(part.astype(int) - whole[40:140, 30:230]).mean() < 4


def test_without_the_server_a_preview_stays_and_one_card_says_so(
    open_page, tmp_path, workspace, monkeypatch
) -> None:
    monkeypatch.setattr(cached, "tasks", catalogue.list_tasks)
    with Sandbox(tmp_path / "leaving") as sandbox:
        world = World.signed_in(sandbox, workspace)
        task = world.add_task("bolts")
        task.predict(world.add_model())
        app = open_page("preview", task=task.info.id)
        sandbox.stop()
        app.run()
        (card,) = app.error
        assert "does not answer" in str(card.value)
        assert "Whole task" in words(app)
        assert app.selectbox(key=keys.PREVIEW_TASK).value == str(task.info.id)

from __future__ import annotations

import pytest
from app_world import LABELS, Task, World, words

from lsl_core import cvat
from lsl_core.cvat.annotations.packing import unpacked
from lsl_core.sandbox import Sandbox
from lsl_core.services import sourcing
from lsl_core.services.labelling import pushing
from lsl_core.ui import keys

pytestmark = pytest.mark.usefixtures("worker_here")


def pushed(world: World) -> Task:
    task = world.add_task("bolts")
    info = task.predict(world.add_model())
    plan = pushing.plan(world.session, world.workspace, info.id)
    pushing.apply(world.session, world.workspace, plan)
    return task


def correct(world: World, task: Task) -> None:
    """Delete one shape of frame 0 and relabel another, as a person does in CVAT."""
    job = cvat.task_jobs(world.session, task.info.id)[0]
    live = cvat.task_annotations(world.session, task.info.id)["shapes"]
    first, second = [shape for shape in live if shape["frame"] == 0][:2]
    other = next(
        label.id
        for label in cvat.task_labels(world.session, task.info.id)
        if label.id != second["label_id"]
    )
    for action, shape in (("delete", first), ("update", {**second, "label_id": other})):
        world.session.transport.json(
            "PATCH",
            f"/api/jobs/{job.id}/annotations/",
            doing="correcting",
            query={"action": action},
            body={"version": 0, "tags": [], "shapes": unpacked([shape]), "tracks": []},
        )


def test_without_a_push_it_links_to_push(open_page, world) -> None:
    assert "Nothing was pushed yet" in words(open_page("review"))


def test_before_anybody_edits_it_says_where_corrections_will_appear(open_page, world) -> None:
    pushed(world)
    assert "are as they were" in words(open_page("review"))


def test_corrections_are_counted_by_label_and_frame_and_small_n_is_said(open_page, world) -> None:
    task = pushed(world)
    correct(world, task)
    app = open_page("review")
    counts = {metric.label: metric.value for metric in app.metric}
    assert (counts["Deleted"], counts["Relabelled"], counts["Added"]) == ("1", "1", "0")
    assert "a small sample" in words(app)
    by_label, by_frame = (element.value for element in app.dataframe)
    assert set(by_label["Label"]) <= set(LABELS)
    assert by_frame["Frame"].tolist() == [0]
    assert by_frame["Corrections"].tolist() == [2]


def test_corrected_frames_become_a_source(open_page, world) -> None:
    task = pushed(world)
    correct(world, task)
    app = open_page("review")
    app.text_input(key=keys.REVIEW_NAME).set_value("better").run()
    app.button(key=keys.REVIEW_IMPORT).click().run()
    (source,) = sourcing.list_sources(world.workspace)
    live = cvat.task_annotations(world.session, task.info.id)["shapes"]
    on_frame = sum(shape["frame"] == 0 for shape in live)
    assert (source.name, source.num_images, source.num_objects) == ("better", 1, on_frame)


def test_the_worst_frame_is_shown_as_a_pair_and_small_numbers_give_no_advice(
    open_page, world
) -> None:
    task = pushed(world)
    correct(world, task)
    app = open_page("review")
    said = words(app)
    assert "**Pushed** · 2 objects moved, relabelled or deleted since" in said
    assert "**As people left it** · 1 object moved, relabelled or added" in said
    assert "cannot be told from a push" in said
    app.toggle(key=keys.REVIEW_CHANGED).set_value(False).run()
    live = cvat.task_annotations(world.session, task.info.id)["shapes"]
    on_frame = sum(shape["frame"] == 0 for shape in live)
    assert f"**As people left it** · {on_frame} objects in all" in words(app)


def test_the_trend_is_drawn_when_it_is_asked_for_and_leaves_out_what_is_gone(
    open_page, world
) -> None:
    gone = pushed(world)
    task = pushed(world)
    correct(world, task)
    cvat.delete_task(world.session, gone.info.id)
    app = open_page("review")
    assert "left out" not in words(app)
    app.toggle(key=keys.REVIEW_TREND).set_value(True).run()
    assert "1 push left out" in words(app)


def test_while_the_server_is_gone_the_comparison_stays_and_one_card_says_so(
    open_page, tmp_path, workspace
) -> None:
    with Sandbox(tmp_path / "leaving") as sandbox:
        world = World.signed_in(sandbox, workspace)
        correct(world, pushed(world))
        app = open_page("review")
        app.text_input(key=keys.REVIEW_NAME).set_value("better").run()
        figures = [metric.value for metric in app.metric]
        sandbox.stop()
        app.button(key=keys.REVIEW_AGAIN).click().run()
        (card,) = app.error
        assert "does not answer" in str(card.value)
        assert [metric.value for metric in app.metric] == figures
        assert "**As people left it** · 1 object" in words(app)
        app.toggle(key=keys.REVIEW_CHANGED).set_value(False).run()  # never read before
        assert len(app.error) == 1
        sandbox.start()
        next(button for button in app.button if button.label == "Try again").click().run()
        assert not app.error
        assert "objects in all" in words(app)
        assert app.text_input(key=keys.REVIEW_NAME).value == "better"

from __future__ import annotations

import dataclasses

import pytest
from app_world import LABELS, words

from lsl_core.models import CurrentVersions, write_card
from lsl_core.runs import RunStore
from lsl_core.sandbox.scenes import SceneKind, draw_scene
from lsl_core.services import activity
from lsl_core.services.models import pretrained, training_pictures, versions
from lsl_core.services.models.training_pictures import Compared
from lsl_core.types import Beside, Comparison, Mode, RunPhase, Shots, Verdict, Window
from lsl_core.ui import keys


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch) -> None:
    monkeypatch.setattr("lsl_core.runs.queue.Queue.ensure_worker", lambda self: None)


def test_without_a_source_it_says_where_to_get_one(open_page) -> None:
    text = words(open_page("train"))
    assert "There is no labelled source yet" in text
    assert "None is trained yet" in text


def test_training_is_submitted_with_what_was_chosen(open_page, world) -> None:
    world.add_source("belt")
    app = open_page("train", source="belt")
    app.text_input(key=f"{keys.TRAIN_NAME}-belt").set_value("belt good").run()
    button = app.button(key=keys.TRAIN_GO)
    assert button.label == "Train belt good"
    button.click().run()
    run = activity.list_runs(world.workspace)[0]
    assert run.subject == "belt good on belt"
    assert run.owner == "demo"
    assert app.button(key=f"cancel-{run.id}")


def test_pretrained_weights_are_got_before_a_training_can_start_from_them(open_page, world) -> None:
    world.add_source("belt")
    app = open_page("train", source="belt")
    app.selectbox(key=keys.TRAIN_FAMILY).set_value("foundation").run()
    text = words(app)
    assert "Made for a GPU" in text
    assert "licence Apache-2.0" in text
    assert app.button(key=keys.TRAIN_GO).disabled
    app.button(key=f"{keys.TRAIN_PULL}-rf-detr-medium").click().run()
    run = activity.list_runs(world.workspace)[0]
    assert (run.kind, run.subject) == ("pull", "rf-detr-medium")
    assert activity.run_command(world.workspace, run.id).endswith("models pull rf-detr-medium")


def test_the_cost_is_said_before_the_start_and_how_it_is_known(open_page, world) -> None:
    world.add_source("belt")
    assert "known after the first" in words(open_page("train"))
    run_id = activity.submit_training(
        world.workspace, source="belt", name="belt", mode=Mode.FSIS, owner="demo"
    )
    store = RunStore(world.workspace.database)
    store.start(run_id)
    store.add_metrics(run_id, [("seconds", 100, 20.0)])
    store.end(run_id, RunPhase.DONE)
    text = words(open_page("train"))
    assert "2 min for about 600 steps" in text
    assert "measured on this machine, 1 training." in text


def test_a_running_training_shows_its_curve_and_progress(open_page, world) -> None:
    world.add_source("belt")
    app = open_page("train")
    app.button(key=keys.TRAIN_GO).click().run()
    run = activity.list_runs(world.workspace)[0]
    store = RunStore(world.workspace.database)
    store.start(run.id)
    store.step(run.id, "Training", done=120, total=600, unit="steps")
    store.add_metrics(run.id, [("loss", 10, 2.0), ("loss", 20, 1.0), ("ap50", 20, 0.4)])
    app = open_page("train")
    # its worker is not alive in this test: the run is lost, and what it learnt is still shown
    assert activity.get_run(world.workspace, run.id).phase is RunPhase.LOST
    assert app.get("plotly_chart")
    assert "Run it again" in words(app)


def test_models_are_listed_with_figures_and_their_evidence(open_page, world) -> None:
    world.add_model(version=1, ap50=0.8)
    world.add_model(version=2, ap50=0.9)
    app = open_page("train", model="parts-v2")
    rows = app.dataframe[0].value.set_index("Model")
    assert rows.loc["parts-v2", "AP50"] == 0.9
    assert "on 3 held-out images with 60 objects: a small sample" in words(app)


def finished(world, model: str, *, why: str = "trained") -> None:
    """Record a training that made a model."""
    run_id = activity.submit_training(
        world.workspace, source="belt", name="parts", mode=Mode.FSIS, owner="demo"
    )
    RunStore(world.workspace.database).end(run_id, RunPhase.DONE, result={"model": model})
    CurrentVersions(world.workspace.database).choose("parts", model, why=why)


def test_a_discarded_model_comes_back(open_page, world) -> None:
    world.add_model()
    world.add_model(version=2)
    versions.make_current(world.workspace, "parts-v1")
    versions.make_current(world.workspace, "parts-v2")
    app = open_page("train", model="parts-v2")
    assert "parts-v1 is in use again" in words(app)
    app.button(key=keys.TRAIN_DISCARD).click().run()
    assert [card.id for card in versions.list_models(world.workspace)] == ["parts-v1"]
    assert "**parts-v2** · discarded just now" in words(app)
    (back,) = [b for b in app.button if (b.key or "").startswith(keys.TRAIN_BACK)]
    back.click().run()
    assert versions.get_model(world.workspace, "parts").id == "parts-v2"


def test_a_new_version_asks_to_be_kept_under_a_name_and_asks_once(open_page, world) -> None:
    world.add_model()
    world.add_model(version=2)
    finished(world, "parts-v2")
    app = open_page("train", model="parts-v2")
    assert "**parts-v2 is trained.** **parts** means it from now on." in words(app)
    app.text_input(key=f"{keys.TRAIN_KEEP_NAME}-parts-v2").set_value("parts by day").run()
    app.button(key=f"{keys.TRAIN_KEEP}-parts-v2").click().run()
    assert versions.get_model(world.workspace, "parts by day").id == "parts-v2"
    assert versions.get_model(world.workspace, "parts").id == "parts-v1"
    assert "is trained" not in words(app)
    assert not app.exception


def test_a_new_version_that_was_held_back_can_be_kept_all_the_same(open_page, world) -> None:
    world.add_model(ap50=0.9)
    worse = world.add_model(version=2, ap50=0.5)
    result = Comparison(Verdict.WORSE, "parts-v1", "AP", 0.72, 0.4, 3)
    write_card(world.workspace.models / worse.id, dataclasses.replace(worse, comparison=result))
    finished(world, "parts-v2")
    versions.make_current(world.workspace, "parts-v1")
    app = open_page("train", model="parts-v2")
    assert "**parts** still means parts-v1, since this one is worse." in words(app)
    button = app.button(key=f"{keys.TRAIN_KEEP}-parts-v2")
    assert button.label == "Keep all the same"
    button.click().run()
    assert versions.get_model(world.workspace, "parts").id == "parts-v2"


def test_how_a_model_learnt_is_drawn_beside_its_parent(open_page, world) -> None:
    for version in (1, 2):
        card = world.add_model(version=version)
        curve = ((100, 0.3), (200, 0.4 + version / 10))
        write_card(world.workspace.models / card.id, dataclasses.replace(card, curve=curve))
    app = open_page("train", model="parts-v2")
    (chart,) = [c for c in app.get("plotly_chart") if "learnt-parts-v2" in c.proto.id]
    assert '"parts-v1"' in chart.proto.spec
    assert '"parts-v2"' in chart.proto.spec


def test_a_curve_over_shots_is_asked_for_and_drawn(open_page, world) -> None:
    world.add_source("belt")
    app = open_page("train", source="belt")
    app.checkbox(key=keys.TRAIN_SHOTS).check().run()
    app.button(key=keys.TRAIN_GO).click().run()
    run = activity.list_runs(world.workspace)[0]
    assert " --shots" in activity.run_command(world.workspace, run.id)
    assert "What more images brought" not in words(app)
    card = world.add_model()
    shots = (Shots(2, 0.41, 0.05), Shots(5, 0.52, 0.03))
    write_card(world.workspace.models / card.id, dataclasses.replace(card, shots=shots))
    app = open_page("train", model=card.id)
    assert "2 images 0.41 ± 0.05, 5 images 0.52 ± 0.03" in words(app)
    (chart,) = [c for c in app.get("plotly_chart") if f"shots-{card.id}" in c.proto.id]
    assert "Images learnt" in chart.proto.spec


def test_a_failed_training_says_why(open_page, world) -> None:
    world.add_source("belt")
    app = open_page("train")
    app.button(key=keys.TRAIN_GO).click().run()
    run = activity.list_runs(world.workspace)[0]
    RunStore(world.workspace.database).end(
        run.id, RunPhase.FAILED, message="Two images are needed.", hint="Import more."
    )
    assert "Two images are needed" in words(open_page("train"))


def test_a_version_that_is_worse_says_so_and_can_be_used_all_the_same(open_page, world) -> None:
    world.add_model(version=1, ap50=0.9)
    worse = world.add_model(version=2, ap50=0.5)
    rows = (Beside("masks", "", 0.72, 0.4), Beside("masks", "bolt", 0.5, 0.51),
            Beside("boxes", "", 0.7, 0.8))  # fmt: skip
    result = Comparison(Verdict.WORSE, "parts-v1", "AP", 0.72, 0.4, 3, num_seen=1, rows=rows)
    write_card(world.workspace.models / worse.id, dataclasses.replace(worse, comparison=result))
    versions.make_current(world.workspace, "parts-v1")
    app = open_page("train", model="parts-v2")
    text = words(app)
    assert "**Worse** than parts-v1: AP 0.40, before 0.72, on the same 3 images, 1 of" in text
    assert "| all labels | 0.72 → **0.40** :orange[:material/trending_down: worse]" in text
    assert "0.70 → **0.80** :green[:material/trending_up: better] |" in text
    assert "| bolt | 0.50 → **0.51** :gray[:material/trending_flat: alike] | – |" in text
    app.button(key=keys.TRAIN_USE).click().run()
    assert versions.get_model(world.workspace, "parts").id == "parts-v2"
    rows = open_page("train", model="parts-v2").dataframe[0].value.set_index("Model")
    assert rows["In use"].to_dict() == {"parts-v1": False, "parts-v2": True}


def test_pretrained_weights_are_chosen_with_licence_and_size_and_got_first(
    open_page, world
) -> None:
    world.add_source("belt")
    app = open_page("train")
    app.selectbox(key=keys.TRAIN_FAMILY).set_value("foundation").run()
    text = words(app)
    assert "135 MB, not here yet · licence Apache-2.0" in text
    assert "Made for a GPU" in text
    assert app.button(key=keys.TRAIN_GO).disabled, "nothing to start from is here"
    app.button(key=f"{keys.TRAIN_PULL}-sam2.1-tiny").click().run()
    run = activity.list_runs(world.workspace)[0]
    assert (run.kind, run.subject) == ("pull", "sam2.1-tiny")


def test_a_training_from_pretrained_weights_that_are_here_is_submitted_with_them(
    open_page, world, tiny
) -> None:
    world.add_source("belt")
    pretrained.pull(world.workspace, "tiny-detr", source=tiny["detector"], licence="of a test")
    app = open_page("train")
    app.selectbox(key=keys.TRAIN_MODE).set_value(Mode.FSOD).run()
    app.selectbox(key=keys.TRAIN_FAMILY).set_value("foundation").run()
    base = app.selectbox(key=f"{keys.TRAIN_BASE}-detector")
    assert base.options == ["rf-detr-medium", "rf-detr-nano", "tiny-detr"]
    base.set_value("tiny-detr").run()
    assert "here · licence of a test" in words(app)
    app.button(key=keys.TRAIN_GO).click().run()
    run = activity.list_runs(world.workspace)[0]
    command = activity.run_command(world.workspace, run.id)
    assert command.endswith("--family foundation --base tiny-detr")


def test_what_to_label_next_waits_for_a_prediction_and_then_links_to_the_frames(
    open_page, world
) -> None:
    card = world.add_model()
    app = open_page("train")
    assert "nobody has labelled" in words(app)
    task = world.add_task("belt", frames=3)
    task.predict(card)
    text = words(app.run())
    assert "Label these next" in text
    assert f"Of {task.info.id} · belt" in text
    for scene in task.paths:
        assert scene.name.replace("_", "\\_") in text
    assert text.count("objects unsure") == 3
    assert not app.exception


def test_where_a_version_changed_most_is_shown_side_by_side(open_page, world) -> None:
    world.add_model()
    card = world.add_model(version=2)
    result = Comparison(Verdict.BETTER, "parts-v1", "AP", 0.5, 0.7, 3)
    folder = world.workspace.models / card.id
    write_card(folder, dataclasses.replace(card, comparison=result))
    scene = draw_scene(SceneKind.PARTS, seed=0, image_hw=(120, 160))
    window, drawn = Window(0, 0, 160, 120), scene.instances
    one = Compared("a.png", lambda: scene.pixels, window, drawn, drawn.take(slice(1, 9)), drawn)
    training_pictures.keep_changes(folder, LABELS, [one])
    text = words(open_page("train", model="parts-v2"))
    n = len(drawn)
    assert f"**parts-v1** · a.png · {n - 1} of {n} found, 0 wrong" in text.replace("\\", "")
    assert f"**parts-v2** · a.png · {n} of {n} found, 0 wrong" in text.replace("\\", "")


def test_the_running_training_stands_before_those_that_wait(open_page, world, monkeypatch) -> None:
    monkeypatch.setattr("lsl_core.runs.queue.Queue.has_worker", lambda self: True)
    world.add_source("belt")
    first, second = (
        activity.submit_training(
            world.workspace, source="belt", name=name, mode=Mode.FSIS, owner="demo"
        )
        for name in ("by day", "by night")
    )
    RunStore(world.workspace.database).start(first)
    app = open_page("train")
    cancels = [b.key for b in app.button if (b.key or "").startswith("cancel-")]
    assert cancels == [f"cancel-{first}", f"cancel-{second}"]
    assert words(app).count("The curve begins") == 1, "one that waits has no curve"
    activity.cancel_run(world.workspace, second)
    app = open_page("train")
    assert "**Training by night on belt**: cancelled. It had not begun." in words(app)
    assert app.button(key=f"cancel-{first}"), "the one that goes on is still there"

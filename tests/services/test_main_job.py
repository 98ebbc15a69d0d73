from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lsl_core import cvat
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.errors import (
    CvatAuth,
    CvatNotFound,
    CvatUnreachable,
    LabelMismatch,
    LslError,
    TaskChanged,
    UserInput,
)
from lsl_core.models import registry
from lsl_core.services import catalogue, connections, sourcing
from lsl_core.services.connections import PasswordLogin
from lsl_core.services.labelling import exporting, predicting, previewing, pushing
from lsl_core.services.labelling.pushing import PushChoices
from lsl_core.services.models import training, versions
from lsl_core.types import Decision, Mode, SlideWindows
from lsl_core.workspace import CvatSettings
from lsl_core.workspace.secrets import default_secrets_path


def show_all(world, info: previewing.PreviewInfo) -> None:
    """Lower the thresholds, so that even a badly trained model shows something."""
    thresholds = dict.fromkeys(info.labels, 0.1)
    previewing.choose(world.workspace, info.id, thresholds=thresholds, mask_threshold=0.5)


def test_a_task_comes_in_as_people_drew_it(world) -> None:
    made = sourcing.import_task(world.session, world.workspace, world.labelled, name="cells")
    assert made.left_out == ()
    source = sourcing.load_source(world.workspace, "cells")
    for image, truth in zip(source.images, world.truth, strict=True):
        assert image.has_mask.all()
        assert image.instances.class_ids.tolist() == truth.class_ids.tolist()
        assert image.instances.masks.areas().tolist() == truth.masks.areas().tolist()


def test_a_mask_that_two_jobs_hold_of_a_shared_frame_comes_in_once(world, tmp_path) -> None:
    paths = cvat.pull_frames(world.session, world.labelled, tmp_path / "f").paths
    labels = [("cell", "mask"), ("other", "mask")]
    task = cvat.create_task(world.session, "shared", labels, list(paths), segment_size=2, overlap=1)
    cell, other = (label.id for label in cvat.task_labels(world.session, task.id))
    mask = {"type": "mask", "points": [0, 100, 10, 10, 19, 19], "attributes": []}
    drawn = [{**mask, "frame": frame, "label_id": cell} for frame in range(4)]
    drawn.append({**mask, "frame": 1, "label_id": other})  # not equal: both are meant
    world.session.transport.json(
        "PATCH", f"/api/tasks/{task.id}/annotations/", doing="t", query={"action": "create"},
        body={"version": 0, "tags": [], "shapes": drawn, "tracks": []},
    )  # fmt: skip
    stored = cvat.task_annotations(world.session, task.id)["shapes"]
    assert sorted(shape["frame"] for shape in stored) == [0, 1, 1, 1, 1, 2, 2, 3]

    sourcing.import_task(world.session, world.workspace, task.id, name="shared")

    images = sourcing.load_source(world.workspace, "shared").images
    assert [len(image.instances) for image in images] == [1, 2, 1, 1]
    one = cvat.read_task(world.session, task.id, frames={2})
    assert len(one.objects().frames[2]) == 1


def test_unlabelled_frames_teach_nothing_unless_their_job_is_completed(world) -> None:
    task = cvat.read_task(world.session, world.unlabelled)
    with pytest.raises(UserInput, match="no labelled image"):
        sourcing.import_task(world.session, world.workspace, world.unlabelled, name="x")
    world.session.transport.json(
        "PATCH", f"/api/jobs/{task.jobs[0].id}", doing="t", body={"state": "completed"}
    )
    made = sourcing.import_task(world.session, world.workspace, world.unlabelled, name="x")
    assert (made.info.num_images, made.info.num_objects) == (2, 0)


def test_predict_look_push_and_take_back(world, model: str) -> None:
    info = predicting.predict_task(
        world.session, world.workspace, world.unlabelled, model=model,
        slide=SlideWindows(256, 200, 64),
    )  # fmt: skip
    found = previewing.frames(world.workspace, info.id)
    assert [frame.error for frame in found] == ["", ""]
    show_all(world, info)
    best = int(np.argmax(found[0].scores))
    previewing.decide(world.workspace, info.id, 0, {best: Decision.REJECT})
    info = previewing.get_preview(world.workspace, info.id)
    shown = previewing.counts(info, previewing.frames(world.workspace, info.id))
    expected = sum(count for count, _ in shown.values())
    assert expected > 5

    plan = pushing.plan(world.session, world.workspace, info.id)
    assert plan.num_add == expected
    result = pushing.apply(world.session, world.workspace, plan)
    assert result.is_verified
    live = cvat.task_annotations(world.session, world.unlabelled)["shapes"]
    assert len(live) == expected
    assert {shape["source"] for shape in live} == {"auto"}
    assert "pushed" in catalogue.task_states(world.workspace, world.session)[world.unlabelled]

    again = pushing.plan(world.session, world.workspace, info.id)
    assert (again.num_add, again.num_duplicates) == (0, expected)

    undone = pushing.undo(world.session, world.workspace, result.push_id)
    assert undone.deleted == expected
    assert cvat.task_annotations(world.session, world.unlabelled)["shapes"] == []


def test_a_second_preview_makes_no_model_call(
    world, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = predicting.predict_task(world.session, world.workspace, world.unlabelled, model=model)

    def refuse(*_: object) -> None:
        raise AssertionError("the model was loaded")

    family = registry.FAMILIES["compact"]
    monkeypatch.setitem(
        registry.FAMILIES,
        "compact",
        registry.Family(family.title, family.modes, family.transform_version, refuse),
    )
    second = predicting.predict_task(world.session, world.workspace, world.unlabelled, model=model)
    for a, b in zip(
        previewing.frames(world.workspace, first.id),
        previewing.frames(world.workspace, second.id),
        strict=True,
    ):
        assert a.scores.tolist() == b.scores.tolist()
        view = previewing.frame_view(world.workspace, second.id, b.ref.frame)
        assert len(view.instances) == len(b.scores)


def test_a_prediction_that_left_the_cache_is_made_again(world, model: str) -> None:
    info = predicting.predict_task(world.session, world.workspace, world.unlabelled, model=model)
    frame = previewing.frames(world.workspace, info.id)[0]
    for file in world.workspace.predictions.rglob("*.pred"):
        file.write_bytes(b"damaged")
    view = previewing.frame_view(world.workspace, info.id, 0)
    assert np.allclose(view.instances.scores, frame.scores)


def test_a_push_refuses_when_somebody_drew_meanwhile(world, model: str) -> None:
    info = predicting.predict_task(world.session, world.workspace, world.unlabelled, model=model)
    plan = pushing.plan(world.session, world.workspace, info.id)
    task = cvat.read_task(world.session, world.unlabelled)
    shape = {"type": "rectangle", "frame": 0, "label_id": task.labels[0].id,
             "points": [1, 1, 9, 9], "source": "manual"}  # fmt: skip
    change_job(world.session, task.jobs[0].id, Action.CREATE, [shape])
    with pytest.raises(TaskChanged, match="was changed in CVAT"):
        pushing.apply(world.session, world.workspace, plan)
    assert len(cvat.task_annotations(world.session, world.unlabelled)["shapes"]) == 1


def test_a_truncated_image_is_one_failed_frame(world, model: str) -> None:
    info = predicting.predict_task(world.session, world.workspace, world.unlabelled, model=model)
    victim = previewing.frames(world.workspace, info.id)[1]
    path = world.workspace.data / victim.path
    path.write_bytes(path.read_bytes()[:200])
    for file in world.workspace.predictions.rglob("*.pred"):
        file.unlink()
    again = predicting.predict_task(world.session, world.workspace, world.unlabelled, model=model)
    good, bad = previewing.frames(world.workspace, again.id)
    assert good.error == ""
    assert "cut off" in bad.error
    show_all(world, again)
    plan = pushing.plan(world.session, world.workspace, again.id)
    assert {row.frame for row in plan.frames if row.add} == {0}


def test_results_go_out_as_coco_pictures_and_a_new_task(world, model: str, tmp_path: Path) -> None:
    sourcing.import_task(world.session, world.workspace, world.labelled, name="cells")
    info = predicting.predict_source(world.workspace, "cells", model=model)
    assert exporting.newest_preview(world.workspace, model=model, source="cells") == info
    with pytest.raises(UserInput, match='no source "nope"'):
        exporting.newest_preview(world.workspace, model=model, source="nope")
    with pytest.raises(UserInput, match='no model "nope"'):
        exporting.newest_preview(world.workspace, model="nope", source="cells")
    show_all(world, info)
    coco = exporting.export_coco(world.workspace, info.id, tmp_path / "out", conf=0.1)
    document = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert len(document["annotations"]) == coco.num_objects > 0
    assert all((tmp_path / "out/images" / i["file_name"]).is_file() for i in document["images"])
    with pytest.raises(UserInput, match="not an empty folder"):
        exporting.export_coco(world.workspace, info.id, tmp_path / "out")
    drawn = exporting.write_overlays(world.workspace, info.id, tmp_path / "png", num=1, conf=0.1)
    assert (drawn.num_images, len(list((tmp_path / "png").iterdir()))) == (1, 1)
    made = exporting.export_task(world.session, world.workspace, info.id, name="from LSL")
    shapes = cvat.task_annotations(world.session, made.task.id)["shapes"]
    assert len(shapes) == made.push.added > 0
    copied = exporting.export_source(world.session, world.workspace, "cells", cvat_name="copy")
    copies = cvat.task_annotations(world.session, copied.id)["shapes"]
    assert len(copies) == sum(len(truth) for truth in world.truth)


def test_a_new_task_whose_push_was_killed_is_filled_by_the_same_export(
    world, model: str, monkeypatch
) -> None:
    sourcing.import_task(world.session, world.workspace, world.labelled, name="cells")
    info = predicting.predict_source(world.workspace, "cells", model=model)
    show_all(world, info)

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    mark_done = cvat.Journal.mark_done
    monkeypatch.setattr(cvat.Journal, "mark_done", die)
    with pytest.raises(KeyboardInterrupt):
        exporting.export_task(world.session, world.workspace, info.id, name="broken off")
    monkeypatch.setattr(cvat.Journal, "mark_done", mark_done)
    (half,) = (t for t in cvat.list_tasks(world.session) if t.name == "broken off")
    made = exporting.export_task(world.session, world.workspace, info.id, name="broken off")
    assert made.task.id == half.id
    assert made.push.is_verified
    shapes = cvat.task_annotations(world.session, half.id)["shapes"]
    assert len(shapes) == made.push.added > 0
    other = exporting.export_task(world.session, world.workspace, info.id, name="broken off")
    assert other.task.id != half.id


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"password": "wrong"}, CvatAuth, "does not accept the password"),
        ({"url": "http://127.0.0.1:9"}, CvatUnreachable, "127.0.0.1:9"),
        ({"organisation": "acme"}, CvatNotFound, 'no organisation "acme"'),
    ],
)
def test_signing_in_wrong_says_what_is_wrong(world, change, error, says: str) -> None:
    wanted = {"url": world.sandbox.url, "password": "demo-password", "organisation": None} | change
    password = wanted.pop("password")
    with pytest.raises(error, match=says):
        connections.sign_in(PasswordLogin("demo", password), **wanted)


def test_the_kept_key_opens_the_door_again_and_the_password_is_nowhere(world) -> None:
    settings = world.workspace.settings().cvat
    with connections.open_session(settings) as session:
        assert session.user == "demo"
    kept = default_secrets_path().read_text()
    written = [
        kept,
        *(p.read_text("latin-1") for p in world.workspace.root.rglob("*") if p.is_file()),
    ]
    assert not any("demo-password" in text for text in written)
    with pytest.raises(CvatAuth, match="is kept on this machine"):
        connections.open_session(CvatSettings(url=settings.url, user="nobody"))


def test_tasks_that_do_not_help_say_why(world, model: str) -> None:
    with pytest.raises(CvatNotFound, match="Task 999"):
        sourcing.import_task(world.session, world.workspace, 999, name="x")
    with pytest.raises(UserInput, match="holds no images"):
        sourcing.import_task(world.session, world.workspace, world.empty, name="x")
    with pytest.raises(UserInput, match="holds no images"):
        predicting.predict_task(world.session, world.workspace, world.empty, model=model)
    assert sourcing.list_sources(world.workspace) == []


def test_a_label_that_the_task_lacks_is_named_and_can_be_mapped(world, model: str) -> None:
    info = predicting.predict_task(world.session, world.workspace, world.unlabelled, model=model)
    show_all(world, info)
    name = info.labels[0]
    choices = PushChoices(mapping={name: "nonsense"})
    with pytest.raises(LabelMismatch, match="no label"):
        pushing.plan(world.session, world.workspace, info.id, choices=choices)
    choices = PushChoices(mapping={name: None})
    plan = pushing.plan(world.session, world.workspace, info.id, choices=choices)
    assert name not in {row.label for row in plan.labels if row.add}


def test_a_source_with_one_image_is_learnt_without_a_figure(world) -> None:
    made = sourcing.import_task(world.session, world.workspace, world.labelled, name="cells")
    source = sourcing.load_source(world.workspace, "cells")
    from lsl_core.sources import save_source

    save_source(
        world.workspace.sources, "one", source.images[:1],
        labels=made.info.labels, is_labelled=True, origin={},
    )  # fmt: skip
    card = training.train(world.workspace, source="one", iterations=1)
    assert card.metrics is None
    assert card.measured.startswith("not measured: one image leaves none to measure on")
    assert card.support_images == 1


def test_boxes_cannot_teach_masks(world) -> None:
    sourcing.import_task(world.session, world.workspace, world.labelled, name="cells")
    path = world.workspace.sources / "cells" / "annotations.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["segmentation"] = []
    path.write_text(json.dumps(document))
    with pytest.raises(LabelMismatch, match="drawn as boxes"):
        training.train(world.workspace, source="cells", iterations=1)


def test_a_device_that_is_not_there_is_refused(world) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    sourcing.import_task(world.session, world.workspace, world.labelled, name="cells")
    settings = world.workspace.settings()
    settings.inference.device = "cuda"
    world.workspace.save(settings)
    with pytest.raises(LslError, match='no "cuda" device'):
        training.train(world.workspace, source="cells", iterations=1)


def test_training_makes_versions_and_names_find_the_newest(world) -> None:
    sourcing.import_task(world.session, world.workspace, world.labelled, name="cells")
    first = training.train(world.workspace, source="cells", minutes=None, iterations=1)
    second = training.train(
        world.workspace, source="cells", mode=Mode.FSOD, minutes=None, iterations=1
    )
    assert (first.id, second.id, second.parent) == ("cells-v1", "cells-v2", "cells-v1")
    assert first.comparison is None
    assert second.comparison is not None
    assert (second.comparison.parent, second.metrics.kind) == ("cells-v1", "boxes")
    assert second.comparison.num_seen == 0
    assert second.comparison.num_images == second.metrics.num_images == 4
    assert (second.metrics.folds, second.held_out) == (3, ())
    assert second.learnt == first.learnt, "every image is learnt"
    versions.make_current(world.workspace, "cells-v2")
    assert versions.get_model(world.workspace, "cells").id == "cells-v2"
    assert versions.get_model(world.workspace, "cells-v1") == first
    assert versions.remove_model(world.workspace, "cells-v2").is_dir()
    third = training.train(world.workspace, source="cells", minutes=None, iterations=1)
    assert third.id == "cells-v3", "an id is never given twice"
    with pytest.raises(UserInput, match="Models here: cells"):
        versions.get_model(world.workspace, "nothing")

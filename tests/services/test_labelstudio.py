"""Projects of Label Studio become sources, previews become projects, projects become models."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from label_studio_converter.brush import decode_rle, mask2rle

from lsl_core.errors import LabelStudioError, LabelStudioUnreachable, UserInput
from lsl_core.labelstudio import LabelStudio, config_for
from lsl_core.progress import NULL
from lsl_core.sandbox.scenes import SCENE_LABELS, SceneKind, draw_scene
from lsl_core.services import sourcing, workspaces
from lsl_core.services.labelling import predicting
from lsl_core.services.labelstudio import backend, projects, sending
from lsl_core.services.labelstudio.backend import BackendSettings
from lsl_core.services.labelstudio.sending import Drawing, export_preview
from lsl_core.services.models import training
from lsl_core.services.workspaces import Workspace
from lsl_core.types import CropMasks, Mode
from lsl_core.workspace.images import decode_rgb, encode_rgb
from tests.labelstudio.fake import TOKEN, FakeLabelStudio

KIND = SceneKind.CELLS
LABELS = SCENE_LABELS[KIND]
HW = (240, 320)


@pytest.fixture
def fake() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio(page_limit=3) as made:
        yield made


@pytest.fixture
def workspace(tmp_path: Path, fake: FakeLabelStudio) -> Workspace:
    made = workspaces.create_workspace(tmp_path / "w", Mode.FSIS)
    assert projects.set_up(made, url=fake.url, token=TOKEN) == "ana@example.org"
    return made


def picture(seed: int) -> tuple[bytes, list[dict]]:
    """Return an image, and its objects as somebody painted them, by Label Studio's own encoder."""
    scene = draw_scene(KIND, seed=seed, image_hw=HW)
    masks = scene.instances.masks
    assert isinstance(masks, CropMasks)
    results = []
    for i, (x, y, w, h) in enumerate(masks.crops.tolist()):
        whole = np.zeros(HW, np.uint8)
        whole[y : y + h, x : x + w][masks.crop(i)] = 255
        label = LABELS[int(scene.instances.class_ids[i])]
        results.append(
            {
                "id": f"r{i}", "type": "brushlabels", "from_name": "label", "to_name": "image",
                "original_width": HW[1], "original_height": HW[0], "image_rotation": 0,
                "value": {"format": "rle", "rle": mask2rle(whole), "brushlabels": [label]},
            }
        )  # fmt: skip
    return encode_rgb(scene.pixels, suffix=".png"), results


def annotation(results: list[dict], **more: object) -> dict:
    return {"id": 1, "result": results, "was_cancelled": False, "updated_at": "2026-01-01"} | more


def painted(fake: FakeLabelStudio, count: int = 4) -> int:
    rows = [(f"{n}.png", *picture(n)) for n in range(count)]
    config = config_for(LABELS, "brushlabels")
    return fake.add_project(config, *((n, data, [annotation(res)]) for n, data, res in rows))


def test_a_project_becomes_a_source_with_the_masks_that_were_painted(
    workspace: Workspace, fake: FakeLabelStudio
) -> None:
    number = painted(fake)
    made = projects.import_project(workspace, number, name="cells")
    assert made.left_out == ()
    source = sourcing.load_source(workspace, "cells")
    assert source.info.labels == tuple(LABELS)
    assert source.info.origin == {
        "kind": "labelstudio", "url": fake.url, "project_id": number
    }  # fmt: skip
    assert len(source.images) == 4
    for n, image in enumerate(source.images):
        truth = draw_scene(KIND, seed=n, image_hw=HW).instances
        assert image.has_mask.all()
        assert isinstance(image.instances.masks, CropMasks)
        assert isinstance(truth.masks, CropMasks)
        assert image.instances.masks.areas().tolist() == truth.masks.areas().tolist()
        assert image.instances.class_ids.tolist() == truth.class_ids.tolist()
    assert not list(workspace.data.glob("labelstudio-*"))


def test_the_ground_truth_or_the_latest_annotation_counts(
    workspace: Workspace, fake: FakeLabelStudio
) -> None:
    data, results = picture(1)
    old = annotation(results[:1], id=1)
    new = annotation(results[:2], id=2, updated_at="2026-02-01")
    truth = annotation(results[:3], id=3, ground_truth=True)
    skipped = annotation(results, id=4, was_cancelled=True, updated_at="2026-03-01")
    number = fake.add_project(
        config_for(LABELS, "brushlabels"),
        ("new.png", data, [new, old, skipped]),
        ("truth.png", data, [truth, new]),
        ("nothing.png", data, [annotation([])]),
        ("skipped.png", data, [skipped]),
        ("open.png", data, []),
    )
    projects.import_project(workspace, number, name="cells")
    source = sourcing.load_source(workspace, "cells")
    found = {image.ref.name.partition("-")[2]: len(image.instances) for image in source.images}
    assert found == {"new.png": 2, "truth.png": 3, "nothing.png": 0}


def test_what_cannot_be_taken_in_is_left_out_with_a_reason(
    workspace: Workspace, fake: FakeLabelStudio
) -> None:
    data, results = picture(1)
    ghost = results[0] | {"value": results[0]["value"] | {"brushlabels": ["ghost"]}}
    other_size = results[0] | {"original_width": 9}
    number = fake.add_project(
        config_for(LABELS, "brushlabels"),
        ("good.png", data, [annotation([*results[:2], ghost, other_size])]),
        ("broken.png", b"no image", [annotation(results)]),
        ("elsewhere.png", data, [annotation(results)]),
    )
    fake.tasks[number][2]["data"]["image"] = "http://192.0.2.1/x.png"
    made = projects.import_project(workspace, number, name="cells")
    assert (made.info.num_images, made.info.num_objects) == (1, 2)
    reasons = " | ".join(f"{name}: {reason}" for name, reason in made.left_out)
    for word in ('no label "ghost"', "image of 9×240", "broken.png", "192.0.2.1", "--image-host"):
        assert word in reasons
    assert len(made.left_out) == 4


def test_half_a_project_is_no_source(
    workspace: Workspace, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = LabelStudio.image

    def going(server: LabelStudio, address: str, *, task_id: object = None) -> bytes:
        if "2.png" in address:
            raise LabelStudioUnreachable("gone")
        return fetch(server, address, task_id=task_id)

    monkeypatch.setattr(LabelStudio, "image", going)
    number = painted(fake)
    with pytest.raises(LabelStudioUnreachable):
        projects.import_project(workspace, number, name="cells")
    assert sourcing.list_sources(workspace) == []
    assert not list(workspace.data.glob("labelstudio-*"))


def test_when_no_image_can_be_used_the_reason_is_said(
    workspace: Workspace, fake: FakeLabelStudio
) -> None:
    data, results = picture(1)
    number = fake.add_project(
        config_for(LABELS, "brushlabels"), ("a.png", data, [annotation(results)])
    )
    fake.tasks[number][0]["data"]["image"] = "http://192.0.2.1/x.png"
    with pytest.raises(UserInput, match=r"No image of project 1 .* x\.png: .* from 192\.0\.2\.1"):
        projects.import_project(workspace, number, name="cells")


def test_a_project_without_annotations_and_a_taken_name_are_refused(
    workspace: Workspace, fake: FakeLabelStudio
) -> None:
    data, _ = picture(1)
    empty = fake.add_project(config_for(LABELS, "brushlabels"), ("a.png", data, []))
    with pytest.raises(UserInput, match="no annotated task"):
        projects.import_project(workspace, empty, name="cells")
    number = painted(fake, 2)
    projects.import_project(workspace, number, name="cells")
    with pytest.raises(UserInput, match="already"):
        projects.import_project(workspace, number, name="cells")


def test_images_of_the_same_name_stay_apart(workspace: Workspace, fake: FakeLabelStudio) -> None:
    number = painted(fake, 2)
    for path, task in zip(("one/a.png", "two/a.png"), fake.tasks[number], strict=True):
        old = task["data"]["image"].removeprefix("/data/")
        fake.files[path] = fake.files[old]
        task["data"]["image"] = f"/data/{path}"
    projects.import_project(workspace, number, name="cells")
    names = [image.ref.name for image in sourcing.load_source(workspace, "cells").images]
    assert names == ["100-a.png", "101-a.png"]


@pytest.fixture
def predicted(workspace: Workspace, fake: FakeLabelStudio, trained: Path) -> str:
    """The project as a source, labelled by the trained model; return the model."""
    shutil.copytree(trained, workspace.models / trained.name)
    projects.import_project(workspace, painted(fake, 2), name="cells")
    predicting.predict_source(workspace, "cells", model=trained.name, slide=None)
    return trained.name


def test_a_preview_becomes_a_project_with_predictions(
    workspace: Workspace, fake: FakeLabelStudio, predicted: str
) -> None:
    made = export_preview(workspace, model=predicted, source="cells", title="For Ana")
    assert made.url == f"{fake.url}/projects/{made.id}"
    assert fake.projects[made.id]["title"] == "For Ana"
    tasks = fake.tasks[made.id]
    assert len(tasks) == made.num_images == 2
    counted = 0
    for n, task in enumerate(tasks):
        path = task["data"]["image"].removeprefix("/data/")
        assert fake.files[path] == picture(n)[0]
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == predicted
        counted += len(prediction["result"])
        for region in prediction["result"]:
            assert decode_rle(region["value"]["rle"]).size == HW[0] * HW[1] * 4
    assert counted == made.num_objects > 0


def test_images_that_label_studio_does_not_take_are_sent_as_png(
    workspace: Workspace, fake: FakeLabelStudio, trained: Path
) -> None:
    shutil.copytree(trained, workspace.models / trained.name)
    data, results = picture(1)
    pixels = decode_rgb(data, name="x")
    number = fake.add_project(
        config_for(LABELS, "brushlabels"),
        ("deep.tif", encode_rgb(pixels, suffix=".tif"), [annotation(results)]),
        ("inline.png", data, [annotation(results)]),
    )
    inline = base64.b64encode(data).decode()
    fake.tasks[number][1]["data"]["image"] = f"data:image/png;base64,{inline}"
    projects.import_project(workspace, number, name="cells")
    names = [image.ref.name for image in sourcing.load_source(workspace, "cells").images]
    assert names == ["00000000-deep.tif", "image.png"]
    predicting.predict_source(workspace, "cells", model=trained.name, slide=None)
    made = export_preview(workspace, model=trained.name, source="cells", title="For Ana")
    paths = [task["data"]["image"].removeprefix("/data/") for task in fake.tasks[made.id]]
    assert [path.partition("-")[2] for path in paths] == ["00000000-deep.tif.png", "image.png"]
    assert all((decode_rgb(fake.files[path], name="x") == pixels).all() for path in paths)


def test_the_same_export_again_doubles_nothing(
    workspace: Workspace, fake: FakeLabelStudio, predicted: str
) -> None:
    first = export_preview(workspace, model=predicted, source="cells", title="For Ana")
    fake.tasks[first.id][0]["annotations"] = [annotation([])]
    num_files = len(fake.files)
    again = export_preview(workspace, model=predicted, source="cells", title="For Ana ")
    assert (first.is_new, again.is_new) == (True, False)
    assert again.id == first.id
    assert again.num_objects == first.num_objects
    assert len(fake.files) == num_files
    tasks = fake.tasks[first.id]
    assert [len(task["annotations"]) for task in tasks] == [1, 0]
    assert [[p["model_version"] for p in task["predictions"]] for task in tasks] == [
        [predicted]
    ] * 2
    assert [p["id"] for task in tasks for p in task["predictions"]] == [3, 4]  # the new ones


def test_another_version_stands_beside_and_is_the_one_that_is_shown(
    workspace: Workspace, fake: FakeLabelStudio, predicted: str
) -> None:
    made = export_preview(workspace, model=predicted, source="cells", title="For Ana")
    for task in fake.tasks[made.id]:
        task["predictions"][0]["model_version"] = "cells-v0"
    fake.projects[made.id]["model_version"] = "cells-v0"
    lost = fake.tasks[made.id].pop()
    export_preview(workspace, model=predicted, source="cells", title="For Ana")
    kept, new = fake.tasks[made.id]
    assert [p["model_version"] for p in kept["predictions"]] == ["cells-v0", predicted]
    assert [p["model_version"] for p in new["predictions"]] == [predicted]
    assert new["meta"] == lost["meta"]
    assert fake.projects[made.id]["model_version"] == predicted


def test_an_export_that_lost_its_server_is_finished_by_the_next(
    workspace: Workspace, fake: FakeLabelStudio, predicted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise LabelStudioUnreachable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(LabelStudio, "add_tasks", gone)
        patch.setattr(LabelStudio, "delete_project", gone)
        with pytest.raises(LabelStudioUnreachable):
            export_preview(workspace, model=predicted, source="cells", title="For Ana")
    (number,) = [n for n, row in fake.projects.items() if row["title"] == "For Ana"]
    assert fake.tasks[number] == []
    made = export_preview(workspace, model=predicted, source="cells", title="For Ana")
    assert made.id == number
    assert [len(task["predictions"]) for task in fake.tasks[number]] == [1, 1]


def test_a_live_model_that_a_project_shows_stays_the_one(
    workspace: Workspace, fake: FakeLabelStudio, predicted: str
) -> None:
    made = export_preview(workspace, model=predicted, source="cells", title="For Ana")
    fake.projects[made.id]["model_version"] = "the live one"
    export_preview(workspace, model=predicted, source="cells", title="For Ana")
    assert fake.projects[made.id]["model_version"] == "the live one"


def test_a_project_of_others_is_left_alone(
    workspace: Workspace, fake: FakeLabelStudio, predicted: str
) -> None:
    number = painted(fake, 1)
    with pytest.raises(UserInput, match=f'"p{number}" that no export made'):
        export_preview(workspace, model=predicted, source="cells", title=f"p{number}")
    assert [len(fake.tasks[number]), "predictions" in fake.tasks[number][0]] == [1, False]


def test_many_masks_on_large_images_are_told(
    workspace: Workspace, fake: FakeLabelStudio, predicted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_HEAVY_PX", HW[0] * HW[1])
    kinds = (Drawing.MASK, Drawing.POLYGON)
    made = [
        export_preview(workspace, model=predicted, source="cells", title=kind, drawing=kind)
        for kind in kinds
    ]
    assert [sent.is_heavy for sent in made] == [True, False]


def test_polygons_are_drawn_when_they_are_asked_for(
    workspace: Workspace, fake: FakeLabelStudio, predicted: str
) -> None:
    made = export_preview(
        workspace, model=predicted, source="cells", title="x", drawing=Drawing.POLYGON
    )
    assert "PolygonLabels" in fake.projects[made.id]["label_config"]
    kinds = {r["type"] for t in fake.tasks[made.id] for p in t["predictions"] for r in p["result"]}
    assert kinds == {"polygonlabels"}


def test_a_project_that_cannot_be_finished_leaves_nothing(
    workspace: Workspace, fake: FakeLabelStudio, predicted: str
) -> None:
    before = set(fake.projects)
    fake.fail_import_after = 0
    with pytest.raises(LabelStudioError, match="answered 500"):
        export_preview(workspace, model=predicted, source="cells", title="x")
    assert set(fake.projects) == before


def test_a_training_that_label_studio_asked_for_makes_a_new_version(
    workspace: Workspace, fake: FakeLabelStudio, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, workspace.models / trained.name)
    learn = training.train

    def shortly(*given: object, **more: object) -> object:
        return learn(*given, **more | {"minutes": None, "iterations": 2})  # type: ignore[arg-type]

    monkeypatch.setattr(training, "train", shortly)
    result = projects.run_train_project(
        workspace, project_id=painted(fake), model="cells", progress=NULL
    )
    assert result["model"] == "cells-v2"
    assert result["left_out"] == []
    assert result["source"] in [info.name for info in sourcing.list_sources(workspace)]


def test_two_backends_of_a_workspace_keep_their_settings_apart(
    workspace: Workspace, predicted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(backend.subprocess, "Popen", lambda words, **_: started.append(words))
    wanted = [BackendSettings(predicted, port=port) for port in (1, 2)]
    for settings in wanted:
        backend.launch(workspace, settings)
    assert [BackendSettings.read(Path(words[-1])) for words in started] == wanted


def test_without_a_setup_the_verb_is_named(tmp_path: Path) -> None:
    bare = workspaces.create_workspace(tmp_path / "bare", Mode.FSIS)
    with pytest.raises(UserInput, match="labelstudio-setup"):
        projects.import_project(bare, 1, name="cells")


def test_the_token_is_in_no_file_of_the_workspace(workspace: Workspace) -> None:
    for file in workspace.root.rglob("*"):
        if file.is_file():
            assert TOKEN.encode() not in file.read_bytes()

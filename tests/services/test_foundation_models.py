"""A tiny foundation model from the pull to the served answer, through the services."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsl_core.errors import UserInput, WeightsMissing
from lsl_core.sandbox.scenes import SCENE_LABELS, SceneKind, draw_scene
from lsl_core.serve import Detector, DetectSettings
from lsl_core.services import activity, workspaces
from lsl_core.services.labelling import predicting, previewing
from lsl_core.services.models import pretrained, training
from lsl_core.services.serving import serverless
from lsl_core.services.workspaces import Workspace
from lsl_core.sources import LabelledImage, save_source
from lsl_core.types import ImageRef, Mode
from lsl_core.workspace.files import sha256_file
from lsl_core.workspace.images import encode_rgb
from tests.tiny import NAMES

HW = (120, 160)
KIND = SceneKind.CELLS
BASES = (NAMES["detector"], NAMES["sam2"])


@pytest.fixture
def workspace(tmp_path: Path, tiny: dict[str, Path]) -> Workspace:
    """A workspace with three labelled images, and the tiny weights."""
    made = workspaces.create_workspace(tmp_path / "w", Mode.FSIS)
    for kind in ("detector", "sam2"):
        pretrained.pull(made, NAMES[kind], source=tiny[kind], licence="of a test")
    images = []
    for number in range(3):
        scene = draw_scene(KIND, seed=number, image_hw=HW)
        path = tmp_path / f"{number}.png"
        path.write_bytes(encode_rgb(scene.pixels, suffix=".png"))
        ref = ImageRef(None, number, path.name, HW, sha256_file(path))
        drawn = scene.instances
        images.append(LabelledImage(ref, path, drawn, np.ones(len(drawn), bool)))
    save_source(
        made.sources, "cells", images, labels=SCENE_LABELS[KIND], is_labelled=True,
        origin={"kind": "coco", "annotation": "cells.json"},
    )  # fmt: skip
    return made


def test_a_model_is_tuned_predicts_a_source_serves_and_leaves_as_a_function(
    workspace: Workspace, tmp_path: Path
) -> None:
    card = training.train(
        workspace, source="cells", family="foundation", bases=BASES, minutes=None, iterations=2
    )
    assert (card.id, card.family) == ("cells-v1", "foundation")
    assert pretrained.tuned_from(card) == BASES
    assert card.licence.endswith("(tiny-detr: of a test; tiny-sam2: of a test)")
    assert len(list(workspace.embeddings.iterdir())) > 0, "another training needs no encoder"

    info = predicting.predict_source(workspace, "cells", model="cells")
    frames = previewing.frames(workspace, info.id)
    assert [frame.error for frame in frames] == ["", "", ""]
    seen = previewing.frame_instances(workspace, info, frames[0])

    pixels = draw_scene(KIND, seed=0, image_hw=HW).pixels
    settings = DetectSettings(info.floor_score)
    with Detector.open(workspace.models / card.id, device="cpu") as detector:
        served = detector.detect(pixels, settings)
    assert np.array_equal(served.boxes, seen.above(info.floor_score).binary().boxes)

    function = serverless.write_function(workspace, "cells", tmp_path / "function")
    requirements = (function.path / "requirements.txt").read_text()
    assert "transformers" in requirements
    with Detector.open(function.path / "model", device="cpu") as detector:
        carried = detector.detect(pixels, settings)
    assert np.array_equal(carried.boxes, served.boxes)


def test_what_a_mode_needs_is_chosen_by_name_or_default_and_must_be_here(
    workspace: Workspace,
) -> None:
    folders = pretrained.folders(workspace, Mode.FSIS, BASES)
    assert [folder.name for folder in folders] == list(BASES)
    with pytest.raises(WeightsMissing) as error:
        pretrained.folders(workspace, Mode.FSIS, BASES[1:])
    assert error.value.hint == "Get them: lsl models pull rf-detr-medium"
    with pytest.raises(UserInput, match='"tiny-sam2" is a segmenter; the mode "fsod"'):
        pretrained.folders(workspace, Mode.FSOD, BASES)
    with pytest.raises(UserInput, match="one detector and one segmenter"):
        pretrained.folders(workspace, Mode.FSIS, ("sam2.1-tiny", "sam-base"))
    with pytest.raises(WeightsMissing, match="rf-detr-medium"):
        training.train(workspace, source="cells", family="foundation")


def test_what_can_be_tuned_is_offered_with_what_is_here(workspace: Workspace) -> None:
    offered = {one.name: one for one in pretrained.offered(workspace)}
    kinds = [one.role for one in pretrained.offered(workspace)]
    assert kinds == sorted(kinds)
    assert next(iter(offered)) == "rf-detr-medium", "the default comes first"
    assert not offered["sam2.1-tiny"].is_here
    assert offered["sam2.1-tiny"].revision == "de431c4043854a71d8101e17995dfe596bf101a5"
    mine = offered["tiny-detr"]
    assert (mine.is_here, mine.origin, mine.licence) == (True, "folder", "of a test")


def test_checking_names_what_changed_and_goes_on(workspace: Workspace) -> None:
    assert pretrained.check(workspace) == [("tiny-detr", ""), ("tiny-sam2", "")]
    config = workspace.pretrained / "tiny-detr" / "config.json"
    text = config.read_text()
    config.unlink()  # a link to where it came from
    config.write_text(text + " ")
    (damaged, problem), fine = pretrained.check(workspace)
    assert (damaged, fine) == ("tiny-detr", ("tiny-sam2", ""))
    assert problem.startswith("config.json of the weights tiny-detr changed")
    with pytest.raises(WeightsMissing):
        pretrained.check(workspace, "sam-base")


def test_a_training_and_a_pull_in_the_worker_say_the_command_that_does_the_same(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsl_core.runs.queue.Queue.ensure_worker", lambda self: None)
    run = activity.submit_training(
        workspace, source="cells", name="cells", mode=Mode.FSOD, owner="me",
        family="foundation", bases=("rf-detr-nano",),
    )  # fmt: skip
    assert activity.run_command(workspace, run).endswith(
        "--task fsod --family foundation --base rf-detr-nano"
    )
    pull = activity.submit_pull(workspace, name="rf-detr-nano", owner="me")
    assert activity.run_command(workspace, pull) == "lsl models pull rf-detr-nano"

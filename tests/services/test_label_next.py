from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lsl_core import cvat, sources
from lsl_core.cvat import CvatSession
from lsl_core.cvat.annotations.changing import Action, change_job
from lsl_core.errors import UserInput
from lsl_core.inference.cache import PredictionCache, cache_key
from lsl_core.inference.previews import PreviewInfo, PreviewStore
from lsl_core.models import write_card
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.sandbox.scenes import SceneKind, draw_scene
from lsl_core.services import connections, workspaces
from lsl_core.services.connections import PasswordLogin
from lsl_core.services.labelling import label_next, predicting
from lsl_core.services.workspaces import Workspace
from lsl_core.types import ImageRef, Instances, Mode, ModelCard, Prediction
from lsl_core.workspace.images import image_ref, write_rgb

HW = (120, 160)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspaces.create_workspace(tmp_path / "w", Mode.FSOD)


@pytest.fixture
def card(workspace: Workspace) -> ModelCard:
    card = ModelCard(
        id="cells-v1", name="cells", family="compact", mode=Mode.FSOD, labels=("cell", "dust"),
        parent=None, support="cells", support_images=2, metrics=None, thresholds={"cell": 0.4},
        window=1024, scale=1.0, settings={}, weights_sha256="1" * 64, licence="yours",
        created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    (workspace.models / card.id).mkdir(parents=True)
    write_card(workspace.models / card.id, card)
    return card


def images(workspace: Workspace, kind: SceneKind, seeds: range) -> list[tuple[ImageRef, Path]]:
    folder = workspace.data / "drawn"
    folder.mkdir(exist_ok=True)
    found = []
    for frame, seed in enumerate(seeds):
        path = folder / f"{kind}-{seed}.png"
        write_rgb(path, draw_scene(kind, seed=seed, image_hw=HW).pixels)
        found.append((image_ref(path, frame=frame, name=path.name), path))
    return found


def objects(scores: list[float], class_ids: list[int] | None = None) -> Instances:
    boxes = np.tile(np.array([10, 10, 40, 40], np.float32), (len(scores), 1))
    ids = np.array(class_ids or [0] * len(scores), np.int32)
    return Instances(boxes, np.array(scores, np.float32), ids, None, HW)


def save(
    workspace: Workspace, name: str, found: list[tuple[ImageRef, Path]], drawn: Instances
) -> None:
    held = [
        sources.LabelledImage(ref, path, drawn, np.zeros(len(drawn), bool)) for ref, path in found
    ]
    sources.save_source(
        workspace.sources, name, held, labels=("dust", "cell"), is_labelled=True, origin={}
    )


def preview(
    workspace: Workspace,
    card: ModelCard,
    found: list[tuple[ImageRef, Path]],
    scores: list[list[float]],
    *,
    url: str = "",
    task_id: int | None = None,
) -> PreviewInfo:
    """Keep a preview of images, as if the model had looked at them."""
    store = PreviewStore(workspace.database)
    info = store.add(
        title="line", url=url, task_id=task_id, source="" if url else "line", model_id=card.id,
        slide=None, floor_score=0.05, thresholds=dict.fromkeys(card.labels, 0.5),
        mask_threshold=0.5, owner="",
    )  # fmt: skip
    cache = PredictionCache(workspace.predictions, max_bytes=10**9)
    for (ref, path), of_image in zip(found, scores, strict=True):
        key = cache_key(
            weights_sha256=card.weights_sha256, image_sha256=ref.sha256, slide=None,
            transform_version="drawn", floor_score=0.05,
        )  # fmt: skip
        prediction = Prediction(ref, card.id, objects(of_image), 0.05)
        assert cache.put(key, prediction)
        store.record(info.id, prediction, path=path.relative_to(workspace.data).as_posix(), key=key)
    store.finish(info.id)
    return store.get(info.id)


def test_what_is_unsure_and_unlike_comes_first_and_says_why(workspace, card) -> None:
    save(workspace, "cells", images(workspace, SceneKind.CELLS, range(2)), objects([1.0, 1.0]))
    candidates = images(workspace, SceneKind.CELLS, range(2, 4))
    candidates += images(workspace, SceneKind.PARTS, range(1))
    candidates = [(replace(ref, frame=i), path) for i, (ref, path) in enumerate(candidates)]
    info = preview(workspace, card, candidates, [[0.99], [0.99, 0.97], [0.5, 0.6, 0.99]])
    found = label_next.next_images(workspace, info.id)
    assert [one.rank for one in found] == [1, 2, 3]
    assert found[0].name == "parts-0.png"
    assert found[0].why == (
        "2 of 3 objects unsure, most doubt about cell; unlike the labelled images"
    )
    assert found[0].score == 1
    assert label_next.next_images(workspace, info.id, num=1) == found[:1]


def test_labelled_images_are_never_proposed(workspace, card) -> None:
    everything = images(workspace, SceneKind.CELLS, range(4))
    save(workspace, "cells", everything[:2], objects([1.0]))
    info = preview(workspace, card, everything, [[0.5]] * 4)
    names = [one.name for one in label_next.next_images(workspace, info.id)]
    assert sorted(names) == ["cells-2.png", "cells-3.png"]
    drawn = {2: objects([1.0])}
    (left,) = label_next.next_images(workspace, info.id, drawn=drawn)
    assert left.frame == 3
    with pytest.raises(UserInput, match="labelled already"):
        label_next.next_images(workspace, info.id, drawn={**drawn, 3: objects([])})


def test_the_pixels_are_read_once_and_the_model_never(workspace, card, monkeypatch) -> None:
    found = images(workspace, SceneKind.CELLS, range(3))
    info = preview(workspace, card, found, [[0.5], [], [0.9]])  # its source was removed
    first = label_next.next_images(workspace, info.id)

    def unwanted(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(label_next, "read_rgb", unwanted)
    monkeypatch.setattr(predicting, "load_model", unwanted)
    assert label_next.next_images(workspace, info.id) == first


def test_a_source_that_was_looked_at_is_not_looked_at_again(workspace, card, monkeypatch) -> None:
    found = images(workspace, SceneKind.CELLS, range(3))
    save(workspace, "line", found[:2], objects([1.0]))
    info = preview(workspace, card, found[:2], [[0.5], [0.9]])
    assert label_next.look_at_source(workspace, "line", model="cells").id == info.id
    sources.remove_source(workspace.sources, "line", trash=workspace.trash)
    save(workspace, "line", found, objects([1.0]))
    asked = []
    monkeypatch.setattr(predicting, "predict_source", lambda *a, **k: asked.append(k))
    label_next.look_at_source(workspace, "line", model="cells")
    assert [wish["model"] for wish in asked] == ["cells"]


@pytest.fixture
def session(workspace: Workspace, tmp_path: Path):
    with Sandbox(tmp_path / "sandbox") as sandbox:
        login = PasswordLogin(DEMO_USER, DEMO_PASSWORD)
        with connections.sign_in(login, url=sandbox.url, remember_in=workspace) as signed_in:
            yield signed_in


def test_frames_of_a_task_that_people_drew_on_are_not_proposed(
    workspace, card, session: CvatSession
) -> None:
    found = images(workspace, SceneKind.CELLS, range(3))
    paths = [path for _, path in found]
    task = cvat.create_task(session, "line", [("dust", "any"), ("cell", "any")], paths)
    found = [(replace(ref, task_id=task.id), path) for ref, path in found]
    info = preview(workspace, card, found, [[0.5]] * 3, url=session.url, task_id=task.id)
    (job,) = cvat.task_jobs(session, task.id)
    for frame, kind in ((0, "manual"), (1, "auto")):
        shape = {
            "type": "rectangle", "frame": frame, "points": [10, 10, 40, 40], "source": kind,
            "label_id": next(n.id for n in cvat.read_task(session, task.id).labels
                             if n.name == "cell"),
            "occluded": False, "outside": False, "attributes": [], "group": 0, "z_order": 0,
        }  # fmt: skip
        change_job(session, job.id, Action.CREATE, [shape])
    drawn = label_next.drawn_by_people(session, workspace, info.id)
    assert list(drawn) == [0]
    assert drawn[0].class_ids.tolist() == [card.labels.index("cell")]
    assert label_next.look_at_task(session, workspace, task.id, model="cells").id == info.id
    frames = [one.frame for one in label_next.next_images(workspace, info.id, drawn=drawn)]
    assert sorted(frames) == [1, 2]

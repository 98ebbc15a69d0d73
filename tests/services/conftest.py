"""A sandbox with a labelled and an unlabelled task, and a workspace that is signed in to it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lsl_core import cvat
from lsl_core.cvat import CvatSession, Drawing
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.sandbox.scenes import SCENE_LABELS, SceneKind, draw_scene
from lsl_core.services import connections, sourcing, workspaces
from lsl_core.services.connections import PasswordLogin
from lsl_core.services.models import training
from lsl_core.services.workspaces import Workspace
from lsl_core.types import Instances, Mode
from lsl_core.workspace.images import encode_rgb

# the tests of backups stand on the small server of the CVAT room's
sys.path.insert(0, str(Path(__file__).parents[1] / "cvat"))

KIND = SceneKind.CELLS


@dataclass(frozen=True)
class World:
    """What the tests of services work in. truth: objects of each frame of the labelled task."""

    sandbox: Sandbox
    session: CvatSession
    workspace: Workspace
    labelled: int
    unlabelled: int
    empty: int
    truth: tuple[Instances, ...]


def make_task(session: CvatSession, folder: Path, name: str, seeds: range) -> tuple[int, list]:
    scenes = [draw_scene(KIND, seed=seed, image_hw=(240, 320)) for seed in seeds]
    files = []
    for seed, scene in zip(seeds, scenes, strict=True):
        path = folder / f"{name}-{seed}.png"
        path.write_bytes(encode_rgb(scene.pixels, suffix=".png"))
        files.append(path)
    labels = [(label, Drawing.MASK) for label in SCENE_LABELS[KIND]]
    task = cvat.create_task(session, name, labels, files)
    return task.id, [scene.instances for scene in scenes]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    workspace = workspaces.create_workspace(tmp_path / "w", Mode.FSIS)
    with Sandbox(tmp_path / "sandbox") as sandbox:
        login = PasswordLogin(DEMO_USER, DEMO_PASSWORD)
        with connections.sign_in(login, url=sandbox.url, remember_in=workspace) as session:
            labelled, truth = make_task(session, tmp_path, "labelled", range(4))
            unlabelled, _ = make_task(session, tmp_path, "rest", range(10, 12))
            task = cvat.get_task(session, labelled)
            drawn = {n: (found, np.ones(len(found), bool)) for n, found in enumerate(truth)}
            cvat.draw_in_new_task(session, task, drawn, SCENE_LABELS[KIND])
            empty = session.transport.json(
                "POST", "/api/tasks", doing="t", body={"name": "empty", "labels": [{"name": "a"}]}
            )["id"]
            yield World(sandbox, session, workspace, labelled, unlabelled, empty, tuple(truth))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, trained for a few steps: finds cells, badly."""
    folder = tmp_path_factory.mktemp("trained")
    images = folder / "images"
    images.mkdir()
    workspace = workspaces.create_workspace(folder / "w", Mode.FSIS)
    rows = []
    for seed in range(4):
        scene = draw_scene(KIND, seed=seed, image_hw=(240, 320))
        path = images / f"{seed}.png"
        path.write_bytes(encode_rgb(scene.pixels, suffix=".png"))
        rows.append((path, scene))
    _save(workspace, rows)
    card = training.train(workspace, source="cells", minutes=None, iterations=50, folds=0)
    return workspace.models / card.id


def _save(workspace: Workspace, rows: list) -> None:
    from lsl_core.sources import LabelledImage, save_source
    from lsl_core.workspace.images import image_ref

    images = [
        LabelledImage(
            image_ref(path, frame=n, name=path.name),
            path,
            scene.instances,
            np.ones(len(scene.instances), bool),
        )
        for n, (path, scene) in enumerate(rows)
    ]
    save_source(
        workspace.sources,
        "cells",
        images,
        labels=SCENE_LABELS[KIND],
        is_labelled=True,
        origin={"kind": "drawn"},
    )
    assert sourcing.list_sources(workspace)


@pytest.fixture
def model(world: World, trained: Path) -> str:
    """The trained model, put into the world's workspace."""
    shutil.copytree(trained, world.workspace.models / trained.name)
    return trained.name

"""What the tests of the pages stand on: real tasks in the sandbox, a real preview of one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from streamlit.testing.v1 import AppTest

from lsl_core import cvat, sources
from lsl_core.inference.cache import PredictionCache, cache_key
from lsl_core.inference.previews import PreviewInfo, PreviewStore
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.sandbox.scenes import SCENE_LABELS, Scene, SceneKind, draw_scene
from lsl_core.services import connections
from lsl_core.services.connections import CvatSession, PasswordLogin
from lsl_core.services.workspaces import Workspace
from lsl_core.types import (
    ImageRef,
    Instances,
    LabelMap,
    Metrics,
    Mode,
    ModelCard,
    Prediction,
    SoftMasks,
)
from lsl_core.workspace.files import write_json

LABELS = SCENE_LABELS[SceneKind.PARTS]


@dataclass(frozen=True)
class World:
    """A workspace that is signed in to a sandbox."""

    workspace: Workspace
    session: CvatSession

    @classmethod
    def signed_in(cls, sandbox: Sandbox, workspace: Workspace) -> World:
        login = PasswordLogin(DEMO_USER, DEMO_PASSWORD)
        return cls(workspace, connections.sign_in(login, url=sandbox.url, remember_in=workspace))

    def add_task(
        self,
        name: str,
        *,
        frames: int = 2,
        labelled: bool = False,
        labels: tuple[str, ...] = LABELS,
    ) -> Task:
        """Make a task of drawn scenes; a labelled one has every object in it."""
        scenes = [draw_scene(SceneKind.PARTS, seed=i, image_hw=(300, 400)) for i in range(frames)]
        paths = self.write_images(scenes)
        info = cvat.create_task(self.session, name, [(label, "any") for label in labels], paths)
        task = Task(self, info, scenes, paths)
        if labelled:
            task.draw({i: scene.instances for i, scene in enumerate(scenes)})
        return task

    def write_images(self, scenes: list[Scene], *, first: int = 0) -> list[Path]:
        folder = self.workspace.data / "drawn"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"parts_{first + i:03d}.png" for i in range(len(scenes))]
        for path, scene in zip(paths, scenes, strict=True):
            assert cv2.imwrite(str(path), cv2.cvtColor(scene.pixels, cv2.COLOR_RGB2BGR))
        return paths

    def add_source(self, name: str, *, images: int = 4, first: int = 0) -> sources.SourceInfo:
        """Keep drawn scenes, from number `first` on, as a labelled source of this workspace."""
        seeds = range(first, first + images)
        scenes = [draw_scene(SceneKind.PARTS, seed=seed, image_hw=(300, 400)) for seed in seeds]
        paths = self.write_images(scenes, first=first)
        labelled = [
            sources.LabelledImage(
                reference(None, i, path, scene),
                path,
                scene.instances,
                np.ones(len(scene.instances), bool),
            )
            for i, (path, scene) in enumerate(zip(paths, scenes, strict=True))
        ]
        return sources.save_source(
            self.workspace.sources,
            name,
            labelled,
            labels=LABELS,
            is_labelled=True,
            origin={"kind": "coco", "annotation": "parts.json"},
        )

    def add_model(self, name: str = "parts", *, version: int = 1, ap50: float = 0.9) -> ModelCard:
        """Keep the card of a model; its weights are never asked for."""
        card = ModelCard(
            id=f"{name}-v{version}",
            name=name,
            family="compact",
            mode=Mode.FSIS,
            labels=LABELS,
            parent=f"{name}-v{version - 1}" if version > 1 else None,
            support="parts",
            support_images=9,
            metrics=Metrics(ap50 * 0.8, ap50, ap50 * 0.9, dict.fromkeys(LABELS, ap50), 3, 60,
                            "masks"),
            thresholds=dict.fromkeys(LABELS, 0.5),
            window=512,
            scale=1.0,
            settings={},
            weights_sha256=f"{version:064d}",
            licence="Apache-2.0",
            created=datetime.now(UTC).isoformat(),
            train_seconds=95.0,
        )  # fmt: skip
        write_json(self.workspace.models / card.id / "card.json", dataclasses.asdict(card))
        return card


@dataclass(frozen=True)
class Task:
    """A task of the sandbox, and what is really on its images."""

    world: World
    info: cvat.TaskInfo
    scenes: list[Scene]
    paths: list[Path]

    def draw(self, objects: dict[int, Instances]) -> None:
        """Push objects as a person's work would be there."""
        world = self.world
        plan = cvat.plan_push(world.session, self.info.id, objects, LABELS)
        cvat.apply_push(
            world.session,
            plan,
            cvat.Journal(world.workspace.data / "drawn.db"),
            snapshot=world.workspace.data / f"drawn-{self.info.id}.json",
        )

    def predict(self, card: ModelCard) -> PreviewInfo:
        """Keep a preview of the task: the truth, with scores from 0.1 up and soft masks."""
        workspace = self.world.workspace
        store = PreviewStore(workspace.database)
        info = store.add(
            title=f"{self.info.id} {self.info.name}",
            url=self.world.session.url,
            task_id=self.info.id,
            source="",
            model_id=card.id,
            slide=None,
            floor_score=0.05,
            thresholds=card.thresholds,
            mask_threshold=0.5,
            owner=DEMO_USER,
        )
        cache = PredictionCache(workspace.predictions, max_bytes=10**9)
        for i, (path, scene) in enumerate(zip(self.paths, self.scenes, strict=True)):
            ref = reference(self.info.id, i, path, scene)
            prediction = Prediction(ref, card.id, scored(scene.instances), 0.05)
            key = cache_key(
                weights_sha256=card.weights_sha256,
                image_sha256=ref.sha256,
                slide=None,
                transform_version="drawn",
                floor_score=0.05,
            )
            assert cache.put(key, prediction)
            store.record(
                info.id, prediction, path=path.relative_to(workspace.data).as_posix(), key=key
            )
        store.finish(info.id)
        return store.get(info.id)


def reference(task_id: int | None, frame: int, path: Path, scene: Scene) -> ImageRef:
    image_hw = scene.instances.image_hw
    return ImageRef(task_id, frame, path.name, image_hw, f"{frame:02d}{path.name}".ljust(64, "0"))


def scored(truth: Instances) -> Instances:
    """Return true objects as a model would give them: highest score first, masks soft."""
    n = len(truth)
    scores = np.linspace(0.99, 0.1, n).astype(np.float32)
    masks = truth.masks
    assert masks is not None
    soft = SoftMasks.from_crops(
        [np.where(masks.crop(i), 230, 20).astype(np.uint8) for i in range(n)],
        [(int(x), int(y)) for x, y, _, _ in masks.crops],
    )
    return Instances(truth.boxes, scores, truth.class_ids, soft, truth.image_hw)


def words(app: AppTest) -> str:
    """Return every text of the page, for a search."""
    kinds = ("title", "subheader", "markdown", "caption", "error", "warning", "info", "success")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(app, kind))


__all__ = ["LABELS", "LabelMap", "Task", "World", "words"]

"""The whole job on the embedded sandbox: label a few, train, preview, push, read back."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lsl_core import cvat
from lsl_core.cvat import CvatSession, Drawing, TaskInfo
from lsl_core.errors import CvatRequestFailed, ModelError, UserInput
from lsl_core.progress import NULL, Progress
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, PortTakenError, Sandbox
from lsl_core.sandbox.base.nuclio import Nuclio
from lsl_core.sandbox.scenes import (
    SCENE_LABELS,
    SceneFrame,
    SceneKind,
    labelled_frames,
    large_frames,
)
from lsl_core.services import connections, sourcing, workspaces
from lsl_core.services.connections import PasswordLogin
from lsl_core.services.labelling import predicting, previewing, pushing
from lsl_core.services.labelling.previewing import PreviewInfo
from lsl_core.services.models import training, versions
from lsl_core.services.serving.state import DEFAULT_PORT
from lsl_core.types import Instances, Mode, ModelCard
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import read_json, write_json
from lsl_core.workspace.images import encode_rgb

__all__ = ["DEMO_PORT", "Demo", "DemoReport", "run_demo"]

#: Port of the sandbox: beside CVAT's own 8080, which a reader may have in use.
DEMO_PORT = 8180
#: Minutes of training steps; the bar (mask AP50 of 0.80) is passed with room to spare.
DEMO_MINUTES = 1.0
SOURCE = "smear"
_KIND = SceneKind.CELLS
_LABELLED, _UNLABELLED = "Blood smear, labelled by hand", "Blood smear, to be labelled"
_BAR_AP50 = 0.80
#: Written when everything worked; tells the next start that nothing is left to do.
_REPORT = "report.json"


@dataclass(slots=True)
class DemoReport:
    """What the demo did; the one JSON line of `lsl demo --smoke`.

    frames: large images that were labelled. shapes_pushed, shapes_read_back: objects in CVAT.
    ap, ap50: of masks on images that the model never saw. ap50_large: the same on the large
    images, through slide windows. model_calls_second_preview: 0, since everything is cached.
    seconds: by stage.
    """

    frames: int = 0
    shapes_pushed: int = 0
    shapes_read_back: int = 0
    ap: float = 0.0
    ap50: float = 0.0
    ap50_large: float = 0.0
    held_out_images: int = 0
    device: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage."""
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 2)


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that ran: the sandbox is up until it is stopped."""

    workspace: Workspace
    sandbox: Sandbox
    report: DemoReport


def run_demo(
    folder: Path,
    *,
    port: int = DEMO_PORT,
    minutes: float = DEMO_MINUTES,
    progress: Progress = NULL,
) -> Demo:
    """Run the main job once; a folder where it ran before is taken up as it is.

    Args:
        folder: gets the sandbox's data and the workspace.
        port: of the sandbox; 0 takes a free one.
        minutes: of training steps.
        progress: told every step.

    Raises:
        ModelError: when the model stays below the bar.
        CvatRequestFailed: when the server does not hold what was pushed.
        UserInput: when another program uses the port.
    """
    report = DemoReport()
    with report.stage("sandbox"):
        # its AI tools are what `lsl serve --nuclio` offers on its usual port
        nuclio = Nuclio("127.0.0.1", DEFAULT_PORT)
        try:
            sandbox = Sandbox(folder / "sandbox", port=port, nuclio=nuclio).start()
        except PortTakenError as error:
            raise UserInput(
                f"{error.strerror}.",
                hint="Stop what runs there, another demo for one, and try again.",
            ) from error
    try:
        workspace = _workspace(folder / "workspace")
        with connections.sign_in(
            PasswordLogin(DEMO_USER, DEMO_PASSWORD), url=sandbox.url, remember_in=workspace
        ) as session:
            done = folder / _REPORT
            if done.exists():  # it ran here before: all there is to do is to open it
                report = DemoReport(**read_json(done))
            else:
                _work(session, workspace, report, minutes, progress)
                write_json(done, report.to_json())
    except BaseException:
        sandbox.stop()
        raise
    return Demo(workspace, sandbox, report)


def _workspace(folder: Path) -> Workspace:
    if (folder / "lsl.toml").exists():
        return workspaces.open_workspace(folder)
    return workspaces.create_workspace(folder, Mode.FSIS)


def _work(
    session: CvatSession,
    workspace: Workspace,
    report: DemoReport,
    minutes: float,
    progress: Progress,
) -> None:
    large = large_frames(_KIND)
    with report.stage("fill"):
        tasks = {task.name: task for task in cvat.list_tasks(session)}
        labelled = tasks.get(_LABELLED) or _make_labelled(session, progress)
        unlabelled = tasks.get(_UNLABELLED) or _make_task(session, _UNLABELLED, large, progress)
    with report.stage("import"):
        if SOURCE not in {info.name for info in sourcing.list_sources(workspace)}:
            sourcing.import_task(session, workspace, labelled.id, name=SOURCE, progress=progress)
    with report.stage("train"):
        good = [card for card in versions.list_models(workspace) if _ap50(card) >= _BAR_AP50]
        card = good[0] if good else _train(workspace, minutes, progress)
    with report.stage("predict"):
        windows = predicting.proposed_windows(
            workspace, session, model=card.id, task_id=unlabelled.id
        )
        known = previewing.list_previews(workspace, url=session.url, task_id=unlabelled.id)
        preview = (
            known[0]
            if known and known[0].is_complete
            else predicting.predict_task(
                session, workspace, unlabelled.id, model=card.id, slide=windows, progress=progress
            )
        )
    _figures(workspace, preview, card, large, report)
    with report.stage("push"):
        _push(session, workspace, preview, report, progress)


def _make_labelled(session: CvatSession, progress: Progress) -> TaskInfo:
    frames = labelled_frames(_KIND)
    task = _make_task(session, _LABELLED, frames, progress)
    drawn = {}
    for number, frame in enumerate(frames):
        instances = frame.draw().instances
        drawn[number] = (instances, np.ones(len(instances), bool))
    cvat.draw_in_new_task(session, task, drawn, SCENE_LABELS[_KIND], progress=progress)
    return task


def _make_task(
    session: CvatSession, name: str, frames: Sequence[SceneFrame], progress: Progress
) -> TaskInfo:
    progress.start("Drawing sample images", total=len(frames), unit="images")
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for frame in frames:
            path = Path(folder) / frame.name
            path.write_bytes(encode_rgb(frame.draw().pixels, suffix=".jpg", quality=92))
            files.append(path)
            progress.advance()
        labels = [(label, Drawing.MASK) for label in SCENE_LABELS[_KIND]]
        return cvat.create_task(session, name, labels, files, progress=progress)


def _train(workspace: Workspace, minutes: float, progress: Progress) -> ModelCard:
    # folds would take a third of its minute: a quarter of the images measures
    card = training.train(workspace, source=SOURCE, minutes=minutes, folds=0, progress=progress)
    if _ap50(card) < _BAR_AP50:
        raise ModelError(
            f"The demo's model reached AP50 {_ap50(card):.2f}, below {_BAR_AP50:.2f}.",
            hint="Other programs may have taken the cores. Run it again.",
        )
    return card


def _ap50(card: ModelCard) -> float:
    return card.metrics.ap50 if card.metrics else 0.0


def _figures(
    workspace: Workspace,
    preview: PreviewInfo,
    card: ModelCard,
    large: Sequence[SceneFrame],
    report: DemoReport,
) -> None:
    # torch, which the evaluation's room loads, was needed for the training anyway
    from lsl_core.models.devices import choose_device, describe
    from lsl_core.training import evaluate

    found = previewing.frames(workspace, preview.id)
    truth = [frame.draw().instances for frame in large]
    masks: list[Instances] = [
        previewing.frame_instances(workspace, preview, frame).binary() for frame in found
    ]
    report.device = describe(choose_device(workspace.settings().inference.device))
    report.ap50_large = round(evaluate(truth, masks, card.labels).ap50, 3)
    if card.metrics is not None:
        report.ap = round(card.metrics.ap, 3)
        report.ap50 = round(card.metrics.ap50, 3)
        report.held_out_images = card.metrics.num_images
    report.frames = len(found)


def _push(
    session: CvatSession,
    workspace: Workspace,
    preview: PreviewInfo,
    report: DemoReport,
    progress: Progress,
) -> None:
    """Push what the preview shows, once, and hold the server to it."""
    done = pushing.list_pushes(workspace, url=session.url, task_id=preview.task_id)
    if not done:
        plan = pushing.plan(session, workspace, preview.id)
        pushing.apply(session, workspace, plan, progress=progress)
    shown = sum(
        s for s, _ in previewing.counts(preview, previewing.frames(workspace, preview.id)).values()
    )
    assert preview.task_id is not None
    state = cvat.read_task(session, preview.task_id)
    report.shapes_pushed = shown
    report.shapes_read_back = len(state.annotations["shapes"])
    if not done and report.shapes_read_back != shown:
        raise CvatRequestFailed(
            f"{shown} objects were pushed, but the server holds {report.shapes_read_back}.",
            hint="Look at the Push page, and please report this.",
        )

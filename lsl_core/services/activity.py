"""Runs: long work that goes on without the page or terminal that asked for it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lsl_core.cvat import CvatSession, PushChoices, PushPlan, PushRecord
from lsl_core.errors import TrainingDiverged
from lsl_core.runs import Order, Queue, RunStore, lane_of, mark_lost
from lsl_core.services.backups import background
from lsl_core.services.connections import connection_of
from lsl_core.services.labelling.exporting import TaskOptions
from lsl_core.types import Mode, RunState, SlideWindows
from lsl_core.words import plural
from lsl_core.workspace import Workspace

__all__ = [
    "cancel_run",
    "get_run",
    "list_runs",
    "run_again",
    "run_command",
    "run_log",
    "run_metrics",
    "seconds_left",
    "submit_export",
    "submit_import",
    "submit_labelstudio_training",
    "submit_prediction",
    "submit_pull",
    "submit_push",
    "submit_resume",
    "submit_training",
]


def submit_import(
    workspace: Workspace,
    session: CvatSession,
    *,
    task_id: int,
    name: str,
    frames: Sequence[int] | None = None,
) -> str:
    """Import a CVAT task, or frames of it, as a source, in the worker; return the run's id."""
    arguments = {
        "connection": _connection(session),
        "task_id": task_id,
        "name": name,
        "frames": None if frames is None else list(frames),
    }
    return _submit(
        workspace,
        "lsl_core.services.sourcing:run_import_task",
        arguments,
        kind="import",
        subject=f"task {task_id} as {name}",
        owner=session.user,
    )


def submit_training(
    workspace: Workspace,
    *,
    source: str,
    name: str,
    mode: Mode,
    owner: str,
    valid: str | None = None,
    minutes: float | None = None,
    iterations: int | None = None,
    family: str = "compact",
    bases: Sequence[str] = (),
    folds: int | None = None,
    shots: bool = False,
) -> str:
    """Train a model on a source, in the worker; return the run's id."""
    arguments = {
        "source": source,
        "name": name,
        "mode": mode.value,
        "valid": valid,
        "minutes": minutes,
        "iterations": iterations,
        "family": family,
        "bases": list(bases),
        "folds": folds,
        "shots": shots,
        "seed": 0,
    }
    return _submit(
        workspace,
        "lsl_core.services.models.training:run_train",
        arguments,
        kind="train",
        subject=f"{name} on {source}",
        owner=owner,
    )


def submit_pull(workspace: Workspace, *, name: str, owner: str) -> str:
    """Get pretrained weights, in the worker; return the run's id."""
    return _submit(
        workspace,
        "lsl_core.services.models.pretrained:run_pull",
        {"name": name},
        kind="pull",
        subject=name,
        owner=owner,
    )


def submit_prediction(
    workspace: Workspace,
    session: CvatSession,
    *,
    task_id: int,
    model: str,
    slide: SlideWindows | None,
) -> str:
    """Predict a CVAT task, in the worker; return the run's id."""
    arguments = {
        "connection": _connection(session),
        "task_id": task_id,
        "model": model,
        "slide": asdict(slide) if slide else None,
    }
    return _submit(
        workspace,
        "lsl_core.services.labelling.predicting:run_predict_task",
        arguments,
        kind="predict",
        subject=f"task {task_id} with {model}",
        owner=session.user,
    )


def submit_push(
    workspace: Workspace,
    session: CvatSession,
    plan: PushPlan,
    choices: PushChoices,
    *,
    confirmed_task: int | None = None,
) -> str:
    """Push a preview as its plan says, in the worker; return the run's id."""
    arguments = {
        "connection": _connection(session),
        "preview_id": plan.run_id,
        "choices": asdict(choices),
        "token": plan.token,
        "confirmed_task": confirmed_task,
    }
    return _submit(
        workspace,
        "lsl_core.services.labelling.pushing:run_push",
        arguments,
        kind="push",
        subject=f"{plural(plan.num_add, 'shape')} to task {plan.task.id}",
        owner=session.user,
    )


def submit_export(
    workspace: Workspace,
    session: CvatSession,
    *,
    source: str,
    model: str | None,
    cvat_name: str,
    options: TaskOptions,
) -> str:
    """Make a CVAT task of a source, in the worker; return the run's id."""
    return _submit(
        workspace,
        "lsl_core.services.labelling.exporting:run_export",
        {
            "connection": _connection(session),
            "source": source,
            "model": model,
            "cvat_name": cvat_name,
            "options": asdict(options),
        },
        kind="export",
        subject=f"{source} as a new CVAT task",
        owner=session.user,
    )


def submit_resume(workspace: Workspace, session: CvatSession, push: PushRecord) -> str:
    """Finish a push that was interrupted, in the worker; return the run's id."""
    return _submit(
        workspace,
        "lsl_core.services.labelling.pushing:run_resume",
        {"connection": _connection(session), "push_id": push.id},
        kind="push",
        subject=f"the rest of {plural(push.summary['add'], 'shape')} to task {push.task_id}",
        owner=session.user,
    )


def submit_labelstudio_training(
    workspace: Workspace, *, project_id: int, model: str, owner: str
) -> str:
    """Import a Label Studio project and train a model on it, in the worker; return the run's id.

    While such a run of the same model waits or works, its id is returned and no other is made:
    Label Studio sends an event for every click.
    """
    subject = f"{model} on Label Studio project {project_id}"
    for run in list_runs(workspace, active=True):
        if run.kind == "train" and run.subject == subject:
            return run.id
    return _submit(
        workspace,
        "lsl_core.services.labelstudio.projects:run_train_project",
        {"project_id": project_id, "model": model},
        kind="train",
        subject=subject,
        owner=owner,
    )


def list_runs(workspace: Workspace, *, limit: int = 200, active: bool = False) -> list[RunState]:
    """Return runs, newest first; those whose worker died are marked as stopped first."""
    mark_lost(workspace)
    return RunStore(workspace.database).recent(limit=limit, active=active)


def get_run(workspace: Workspace, run_id: str) -> RunState:
    """Return how a run stands.

    Raises:
        UserInput: when there is no such run.
    """
    mark_lost(workspace)
    return RunStore(workspace.database).get(run_id)


def cancel_run(workspace: Workspace, run_id: str) -> None:
    """Ask a run to stop; what it finished is kept."""
    RunStore(workspace.database).cancel(run_id)


def run_again(workspace: Workspace, run_id: str) -> str:
    """Submit the same work once more; what is finished already is not done again.

    A training that broke takes the next seed: with the same one it would break again.
    """
    store = RunStore(workspace.database)
    old = store.get(run_id)
    order = store.order(run_id)
    arguments = dict(order.arguments)
    if old.hint == TrainingDiverged.HINT and "seed" in arguments:
        arguments["seed"] += 1
    return _submit(
        workspace,
        order.function,
        arguments,
        kind=old.kind,
        subject=old.subject,
        owner=old.owner,
    )


def run_command(workspace: Workspace, run_id: str) -> str:
    """Return the `lsl` command that does the same as a run, "" for work without one."""
    store = RunStore(workspace.database)
    kind, values = store.get(run_id).kind, store.order(run_id).arguments
    if kind == "import":
        words = ["import", "--cvat-task-id", values["task_id"], "--name", values["name"]]
    elif kind == "train" and "source" in values:
        words = ["auto-label", "--train", values["source"], "--task", values["mode"]]
        for option, key in (
            ("--valid", "valid"),
            ("--minutes", "minutes"),
            ("--iter", "iterations"),
        ):
            words += [option, values[key]] if values[key] is not None else []
        words += ["--shots"] if values.get("shots") else []
        words += ["--seed", values["seed"]] if values.get("seed") else []
        if values.get("family", "compact") != "compact":
            words += ["--family", values["family"]]
        for base in values.get("bases", ()):
            words += ["--base", base]
    elif kind == "pull":
        words = ["models", "pull", values["name"]]
    elif kind == "predict":
        words = ["cvat-inference", "--train", values["model"], "--cvat-task-id", values["task_id"]]
        slide = values["slide"]
        if slide:
            words += ["--slidewindow", "--slidewindow-size", slide["width"], slide["height"]]
            words += ["--overlap", slide["overlap"]]
        words.append("--dry-run")
    elif kind == "push" and "preview_id" in values:
        words = ["push", "--preview", values["preview_id"]]
        words += ["--mode", values["choices"]["mode"]]
    elif kind in ("backup", "verify", "drill", "restore", "scheduled backup"):
        words = ["backup", *background.command_words(kind, values)]
    else:
        return ""
    return shlex.join(["lsl", *map(str, words)])


def run_log(workspace: Workspace, run_id: str) -> list[tuple[float, str]]:
    """Return the newest lines of a run's log as (seconds since the epoch, line)."""
    return RunStore(workspace.database).log(run_id)


def run_metrics(workspace: Workspace, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Return the figures of a run: name -> [(iteration, value), …]."""
    return RunStore(workspace.database).metrics(run_id)


def seconds_left(workspace: Workspace, run_id: str) -> float | None:
    """Estimate the time to the end of a run's current step, in seconds; None when unknown."""
    return RunStore(workspace.database).seconds_left(run_id)


def _connection(session: CvatSession) -> dict[str, Any]:
    return connection_of(session).model_dump()


def _submit(
    workspace: Workspace,
    function: str,
    arguments: dict[str, Any],
    *,
    kind: str,
    subject: str,
    owner: str,
) -> str:
    order = Order(function, arguments)
    return Queue(workspace, lane_of(kind)).submit(order, kind=kind, subject=subject, owner=owner)

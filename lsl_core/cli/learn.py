"""`auto-label`, `preview`, `export`, `runs`."""

from __future__ import annotations

from pathlib import Path

import click

from lsl_core.cli.progress import TerminalProgress
from lsl_core.cli.shared import (
    check_conf,
    slide_of,
    slide_options,
    threshold_options,
    train_option,
    workspace_of,
)
from lsl_core.errors import UserInput
from lsl_core.services import activity, sourcing
from lsl_core.services.labelling import exporting, predicting, previewing
from lsl_core.services.labelling.previewing import PreviewInfo
from lsl_core.services.models import training, versions
from lsl_core.services.workspaces import Workspace
from lsl_core.types import OBJECT_THRESHOLD, Mode, ModelCard
from lsl_core.words import plural


@click.command("auto-label")
@click.option("--train", required=True, metavar="SOURCE", help="Source to learn from.")
@click.option("--valid", metavar="SOURCE", help="Source to measure on. Default: folds of --train.")
@click.option("--test", multiple=True, metavar="SOURCE", help="Source to label; may be repeated.")
@click.option("--iter", "iterations", type=click.IntRange(min=1), help="Training steps.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Training time. Default: as long as the images are worth, or as --iter takes.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=0),
    metavar="K",
    help="Without --valid, leave each of K parts of --train out once, to measure on: half of the "
    "training's steps, or a third of --minutes. Default: 3, or one for each of fewer images. "
    "0: hold a quarter out.",
)
@click.option(
    "--shots",
    is_flag=True,
    help="Let each fold learn a quarter and a half of its images as well: a curve of what more "
    "images bring, in the model's card. Two thirds more time, or out of --minutes.",
)
@click.option("--task", type=click.Choice([m.value for m in Mode]), help="Default: as created.")
@click.option(
    "--family",
    type=click.Choice(list(training.families())),
    default=training.DEFAULT_FAMILY,
    show_default=True,
    help="compact: a small network of ours. foundation: pretrained weights, tuned; wants a GPU.",
)
@click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="NAME",
    help="Pretrained weights to tune, one of each kind; see lsl models list --pretrained.",
)
@click.option(
    "--object-threshold",
    type=click.FloatRange(0, 1),
    default=OBJECT_THRESHOLD,
    show_default=True,
    help="Share of an object that a window of a large image must show to learn it there.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what is random."
)
@click.option(
    "--first-pass",
    is_flag=True,
    help="A compact model in seconds, without training: to look at, or to see what is worth more.",
)
@click.option("--keep-anyway", is_flag=True, help="Use the new version even when it is worse.")
@click.option("--reuse", is_flag=True, help="Do not train again when there is a model.")
@threshold_options
@slide_options
@click.pass_context
def auto_label(
    ctx: click.Context,
    train: str,
    valid: str | None,
    test: tuple[str, ...],
    iterations: int | None,
    minutes: float | None,
    folds: int | None,
    shots: bool,
    first_pass: bool,
    task: str | None,
    family: str,
    bases: tuple[str, ...],
    object_threshold: float,
    seed: int,
    keep_anyway: bool,
    reuse: bool,
    conf: float | None,
    mask_threshold: float,
    slidewindow: bool,
    slidewindow_size: tuple[int, int],
    overlap: int,
) -> None:
    """Train a model on a labelled source, then label other sources with it."""
    workspace = workspace_of(ctx)
    check_conf(conf)
    _check_choices(family=family, bases=bases, folds=folds, valid=valid)
    slide = slide_of(slidewindow=slidewindow, size=slidewindow_size, overlap=overlap)
    known = versions.get_model(workspace, train) if reuse else None
    labels = known.labels if known else sourcing.load_source(workspace, train).labels.names
    with TerminalProgress() as progress:
        for warning in sourcing.unlearnt_labels(workspace, test, labels=labels):
            progress.note(warning)
        card = known or training.train(
            workspace,
            source=train,
            valid=valid,
            mode=Mode(task) if task else None,
            minutes=minutes,
            iterations=iterations,
            family=family,
            bases=bases,
            object_threshold=object_threshold,
            seed=seed,
            folds=folds,
            shots=shots,
            first_pass=first_pass,
            keep_anyway=keep_anyway,
            progress=progress,
        )  # fmt: skip
        click.echo(_report(card))
        card = card if reuse else _used(workspace, card)
        for name in test:
            info = predicting.predict_source(
                workspace, name, model=card.id, slide=slide, progress=progress
            )
            _choose(workspace, info, conf, mask_threshold)
            click.echo(_labelled(workspace, info.id, name))


def _check_choices(
    *, family: str, bases: tuple[str, ...], folds: int | None, valid: str | None
) -> None:
    """Refuse options that exclude each other.

    Raises:
        UserInput: says which.
    """
    if bases and family != "foundation":
        raise UserInput("Only foundation models have a --base.", hint="Add --family foundation.")
    if folds and valid:
        raise UserInput(
            "Folds measure where there is no other source.", hint="Leave --folds or --valid out."
        )


def _used(workspace: Workspace, card: ModelCard) -> ModelCard:
    """Return the version that labels the rest: the new one, unless it was held back."""
    used = versions.get_model(workspace, card.name)
    if used.id != card.id:
        how = "no better" if card.is_first_pass else "worse"
        click.echo(
            f"It is {how} than {used.id}, which stays in use and labels the rest. "
            f"Use it all the same: lsl models use {card.id}"
        )
    return used


def _report(card: ModelCard) -> str:
    lines = [f'Model "{card.id}": {card.measured}. {card.train_seconds:.0f} s.']
    if card.metrics is not None and card.metrics.label_spread:
        lines += [f"  {line}" for line in card.metrics.by_label]
    return "\n".join(lines)


def _choose(
    workspace: Workspace, info: PreviewInfo, conf: float | None, mask_threshold: float
) -> None:
    thresholds = info.thresholds if conf is None else dict.fromkeys(info.labels, conf)
    previewing.choose(workspace, info.id, thresholds=thresholds, mask_threshold=mask_threshold)


def _labelled(workspace: Workspace, preview_id: str, name: str) -> str:
    info = previewing.get_preview(workspace, preview_id)
    found = previewing.frames(workspace, preview_id)
    counts = previewing.counts(info, found)
    words = ", ".join(f"{label} {shown}" for label, (shown, _) in counts.items())
    failed = sum(bool(frame.error) for frame in found)
    images = plural(len(found), "image")
    return f'"{name}": {images}, {words}' + (f", {failed} failed." if failed else ".")


@click.command()
@train_option
@click.option("--name", required=True, metavar="SOURCE", help="Source that was labelled.")
@click.option("--output", type=click.Path(path_type=Path), help="Default: preview/NAME.")
@click.option("--num", type=click.IntRange(min=1), help="How many images. Default: all.")
@threshold_options
@click.pass_context
def preview(
    ctx: click.Context,
    train: str,
    name: str,
    output: Path | None,
    num: int | None,
    conf: float | None,
    mask_threshold: float,
) -> None:
    """Write the images of a labelled source with what was found drawn on them."""
    workspace = workspace_of(ctx)
    info = exporting.newest_preview(workspace, model=train, source=name)
    with TerminalProgress() as progress:
        done = exporting.write_overlays(
            workspace,
            info.id,
            output or workspace.root / "preview" / name,
            num=num,
            conf=check_conf(conf),
            mask_threshold=mask_threshold,
            progress=progress,
        )
    images = plural(done.num_images, "image")
    click.echo(f"Drew {plural(done.num_objects, 'object')} on {images} in {done.folder}")


@click.command()
@train_option
@click.option("--name", required=True, metavar="SOURCE", help="Source that was labelled.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Empty folder.")
@threshold_options
@click.pass_context
def export(
    ctx: click.Context,
    train: str,
    name: str,
    output: Path,
    conf: float | None,
    mask_threshold: float,
) -> None:
    """Write what was found on a source as COCO, with its images."""
    workspace = workspace_of(ctx)
    info = exporting.newest_preview(workspace, model=train, source=name)
    with TerminalProgress() as progress:
        done = exporting.export_coco(
            workspace,
            info.id,
            output,
            conf=check_conf(conf),
            mask_threshold=mask_threshold,
            progress=progress,
        )
    images = plural(done.num_images, "image")
    click.echo(f"Wrote {plural(done.num_objects, 'object')} on {images} to {done.folder}")


@click.command()
@click.option("--log", "run_id", metavar="ID", help="Show the log of one run.")
@click.option("--cancel", metavar="ID", help="Stop a run; what it finished is kept.")
@click.pass_context
def runs(ctx: click.Context, run_id: str | None, cancel: str | None) -> None:
    """List the background runs of the workspace."""
    workspace = workspace_of(ctx)
    if run_id and cancel:
        raise UserInput("Choose one of --log and --cancel.")
    if cancel:
        activity.cancel_run(workspace, activity.get_run(workspace, cancel).id)
        click.echo(f"Asked run {cancel} to stop.")
    elif run_id:
        for _, line in activity.run_log(workspace, activity.get_run(workspace, run_id).id):
            click.echo(line)
    else:
        for run in activity.list_runs(workspace):
            click.echo(
                f"{run.id}  {run.phase:<9} {run.kind:<8} {run.subject}  "
                f"{run.done}/{run.total} {run.unit} {run.message}"
            )


COMMANDS = (auto_label, preview, export, runs)

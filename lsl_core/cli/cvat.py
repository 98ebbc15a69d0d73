"""`cvat-setup`, `cvat-inference`, `push`, `undo`, `review`, `cvat-export`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from lsl_core.cli.progress import TerminalProgress
from lsl_core.cli.push_options import PushWish, push_options, wish_of
from lsl_core.cli.shared import (
    check_conf,
    secret,
    session_of,
    slide_of,
    slide_options,
    threshold_options,
    token_of,
    train_option,
    workspace_of,
)
from lsl_core.errors import PartlyDone, UserInput
from lsl_core.progress import Progress
from lsl_core.services import connections
from lsl_core.services.connections import CvatSession, PasswordLogin, TokenLogin
from lsl_core.services.labelling import exporting, predicting, previewing, pushing, reviewing
from lsl_core.services.labelling.exporting import TaskOptions
from lsl_core.services.labelling.pushing import PushPlan
from lsl_core.services.workspaces import Workspace
from lsl_core.words import plural


@click.command("cvat-setup")
@click.option("--url", help="For example https://cvat.example.org")
@click.option("--profile", metavar="NAME", help="Of cvat-cli: its server and access token.")
@click.option("--cvat-username", help="Without --cvat-password you are asked for it.")
@click.option("--cvat-password", help="Seen by others on this machine; better be asked.")
@click.option("--cvat-orgname", help='Short name of an organisation; "" for your own workspace.')
@click.option("--insecure", is_flag=True, help="Accept any certificate.")
@click.pass_context
def cvat_setup(
    ctx: click.Context,
    url: str | None,
    profile: str | None,
    cvat_username: str | None,
    cvat_password: str | None,
    cvat_orgname: str | None,
    insecure: bool,
) -> None:
    """Sign in to CVAT and remember it for this workspace; the password is not kept.

    With CVAT_ACCESS_TOKEN in the environment, that token is used and no user is needed.
    """
    workspace = workspace_of(ctx)
    url, login = _login(url, profile, cvat_username, cvat_password, token_of(ctx))
    with connections.sign_in(
        login,
        url=url,
        organisation=cvat_orgname,
        verify_tls=not insecure,
        remember_in=workspace,
        report=lambda step, text: click.echo(f"  {step}: {text}", err=True),
    ) as session:
        click.echo(f"Signed in to {session.url} as {session.user}.")
        if session.server.warning:
            click.echo(session.server.warning, err=True)


def _login(
    url: str | None,
    profile: str | None,
    user: str | None,
    password: str | None,
    token: str | None,
) -> tuple[str, TokenLogin | PasswordLogin]:
    """Return the server and how to sign in: a profile, a user, or the environment's token."""
    if profile is not None:
        if url or user:
            raise UserInput("A profile has its own server and token.", hint="Give --profile alone.")
        return connections.profile_login(profile)
    if not url:
        raise UserInput("Which server?", hint="Give --url, or --profile of cvat-cli.")
    url = connections.server_address(url)  # refused before a password is asked for
    if user is not None:
        password = password or secret(
            f"The password of {user}", hint="Pipe it in, or set CVAT_ACCESS_TOKEN to a token."
        )
        return url, PasswordLogin(user, password)
    if not token:
        raise UserInput(
            "Who signs in?", hint="Give --cvat-username, or set CVAT_ACCESS_TOKEN to a token."
        )
    return url, TokenLogin(token)


@click.command("cvat-inference")
@train_option
@click.option("--cvat-task-id", type=int, required=True)
@push_options
@threshold_options
@slide_options
@click.pass_context
def cvat_inference(
    ctx: click.Context,
    /,
    train: str,
    cvat_task_id: int,
    conf: float | None,
    mask_threshold: float,
    slidewindow: bool,
    slidewindow_size: tuple[int, int],
    overlap: int,
    **options: Any,  # noqa: ANN401 - those of push_options
) -> None:
    """Label a CVAT task with a model and push the result into it."""
    workspace = workspace_of(ctx)
    check_conf(conf)
    slide = slide_of(slidewindow=slidewindow, size=slidewindow_size, overlap=overlap)
    wish = wish_of(options)
    with session_of(ctx, workspace) as session, TerminalProgress() as progress:
        info = predicting.predict_task(
            session, workspace, cvat_task_id, model=train, slide=slide, progress=progress
        )
        thresholds = info.thresholds if conf is None else dict.fromkeys(info.labels, conf)
        previewing.choose(workspace, info.id, thresholds=thresholds, mask_threshold=mask_threshold)
        _push(session, workspace, info.id, wish, progress)
    found = previewing.frames(workspace, info.id)
    failed = [(frame.ref.name, frame.error) for frame in found if frame.error]
    if failed:
        raise PartlyDone(
            f"{plural(len(failed), 'image')} of task {cvat_task_id} could not be looked at.",
            done=[frame.ref.name for frame in found if not frame.error],
            failed=failed,
            hint="Upload them again, or label them by hand; all others are done.",
        )


@click.command()
@click.option("--preview", "preview_id", required=True, metavar="ID", help="As the page shows it.")
@push_options
@click.pass_context
def push(
    ctx: click.Context,
    /,
    preview_id: str,
    **options: Any,  # noqa: ANN401 - those of push_options
) -> None:
    """Push a preview to its CVAT task, at the thresholds chosen for it."""
    workspace = workspace_of(ctx)
    wish = wish_of(options)
    with session_of(ctx, workspace) as session, TerminalProgress() as progress:
        _push(session, workspace, preview_id, wish, progress)


def _push(
    session: CvatSession, workspace: Workspace, preview_id: str, wish: PushWish, progress: Progress
) -> None:
    choices = wish.choices
    if wish.creates_labels:
        choices = replace(choices, create=previewing.get_preview(workspace, preview_id).labels)
    plan = pushing.plan(session, workspace, preview_id, choices=choices, progress=progress)
    click.echo(_table(plan))
    for label in plan.new_labels:
        click.echo(f'New label: "{label.name}", for {label.type} shapes')
    for warning in plan.warnings:
        click.echo(warning, err=True)
    if wish.coco is not None:
        wish.coco.write_bytes(pushing.as_coco(session, plan))
        click.echo(f"Wrote what would be added to {wish.coco}")
    if wish.is_dry or plan.does_nothing:
        click.echo("Nothing was written to CVAT." if wish.is_dry else "There is nothing to add.")
        return
    plan = pushing.with_labels(session, workspace, plan, choices=choices, progress=progress)
    result = pushing.apply(
        session, workspace, plan, confirmed_task=wish.confirmed_task, progress=progress
    )
    click.echo(f"Pushed {plural(plan.num_add, 'object')} to task {plan.task.id}: {plan.task.url}")
    click.echo(f"Take it back with: lsl undo {result.push_id}")


def _table(plan: PushPlan) -> str:
    rows = [f"{'label':<24} {'now':>7} {'add':>7} {'there':>7} {'conflict':>8} {'remove':>7}"]
    rows += [
        f"{row.label:<24} {row.now:>7} {row.add:>7} {row.duplicates:>7} {row.conflicts:>8} "
        f"{row.remove:>7}"
        for row in plan.labels
    ]
    return "\n".join(rows)


@click.command()
@click.argument("push_id", required=False)
@click.pass_context
def undo(ctx: click.Context, push_id: str | None) -> None:
    """Take back a push or restore; what people edited since stays. Without PUSH_ID: list pushes."""
    workspace = workspace_of(ctx)
    if push_id is None:
        for record in pushing.list_pushes(workspace):
            click.echo(f"{record.id}  task {record.task_id}  {record.phase}  {record.owner}")
        return
    with session_of(ctx, workspace) as session, TerminalProgress() as progress:
        result = pushing.undo(session, workspace, push_id, progress=progress)
    back = f", brought {result.restored} back" if result.restored else ""
    click.echo(f"Removed {plural(result.deleted, 'object')}{back}.")
    if result.kept:
        click.echo(f"{len(result.kept)} stay, since people edited them:")
    for kept in result.kept[:20]:
        what = f"{kept.kind.removesuffix('s')} {kept.id} on frame {kept.frame}"
        click.echo(f"  {what}")


@click.command()
@click.argument("push_id")
@click.pass_context
def review(ctx: click.Context, push_id: str) -> None:
    """Show what people did with the objects of a push: kept, moved, relabelled, deleted, added."""
    workspace = workspace_of(ctx)
    with session_of(ctx, workspace) as session:
        found = reviewing.review(session, workspace, push_id)
    columns = ("kept", "moved", "relabelled", "deleted", "added")
    click.echo(f"{'label':<24}" + "".join(f" {name:>10}" for name in columns) + "   mean IoU")
    for label, row in found.by_label().items():
        counts = "".join(f" {getattr(row, name):>10}" for name in columns)
        iou = f"{sum(row.ious) / len(row.ious):.2f}" if row.ious else "-"
        click.echo(f"{label:<24}{counts} {iou:>10}")
    for one in reviewing.advice(found):
        click.echo(f"{one.label}: {one}")


@click.command("cvat-export")
@click.option("--train", metavar="NAME", help="The model; without it, what people drew goes.")
@click.option("--name", required=True, metavar="SOURCE", help="Source that was labelled.")
@click.option("--cvat-name", required=True, help="Name of the new CVAT task.")
@click.option("--project-id", type=int, help="Of a CVAT project, whose labels the task has.")
@click.option("--subset", default="", help="Of the project: Train, Validation, Test or any other.")
@click.option("--job-size", type=click.IntRange(min=1), help="Images in a job. Default: all.")
@click.option("--job-overlap", type=click.IntRange(min=0), help="Images that two jobs share.")
@click.option(
    "--image-quality",
    type=click.IntRange(1, 100),
    default=80,
    show_default=True,
    help="Of the pictures that annotators see; the originals stay.",
)
@click.pass_context
def cvat_export(
    ctx: click.Context,
    train: str | None,
    name: str,
    cvat_name: str,
    project_id: int | None,
    subset: str,
    job_size: int | None,
    job_overlap: int | None,
    image_quality: int,
) -> None:
    """Make a CVAT task of a source: images, and what a model or people drew on them."""
    workspace = workspace_of(ctx)
    options = TaskOptions(project_id, job_size, job_overlap, subset, image_quality)
    with session_of(ctx, workspace) as session, TerminalProgress() as progress:
        if train is None:
            task = exporting.export_source(
                session, workspace, name, cvat_name=cvat_name, options=options, progress=progress
            )
        else:
            info = exporting.newest_preview(workspace, model=train, source=name)
            task = exporting.export_task(
                session, workspace, info.id, name=cvat_name, options=options, progress=progress
            ).task
    click.echo(f'Made task {task.id} "{cvat_name}": {task.url}')


COMMANDS = (cvat_setup, cvat_inference, push, undo, review, cvat_export)

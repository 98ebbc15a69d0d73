"""`lsl backup restore` and `drill`."""

from __future__ import annotations

import click

from lsl_core.cli.backup_shared import everything, into, opened
from lsl_core.cli.progress import TerminalProgress
from lsl_core.errors import UserInput
from lsl_core.progress import Progress
from lsl_core.services.backups import drilling, repositories, restoring, restoring_live
from lsl_core.services.backups.repositories import Repository, Snapshot
from lsl_core.services.backups.restoring import RestoredInstance
from lsl_core.services.connections import CvatSession
from lsl_core.services.workspaces import Workspace
from lsl_core.words import plural


@click.command()
@click.option("--snapshot", "id_", required=True, metavar="SNAPSHOT", help='Or "latest".')
@click.option("--into", "url", metavar="URL", help="Another server, to be filled.")
@click.option("--user", help="Who signs in there; the token of CVAT_ACCESS_TOKEN wins.")
@click.option("--org", help='Organisation to restore into; "" is the personal workspace.')
@click.option("--user-map", multiple=True, metavar="OLD=NEW", help="Who is called otherwise there.")
@click.option("--project", type=int, help="Only this project of a snapshot of the whole server.")
@click.option("--task", type=int, help="Only this task; bring it back into the live one.")
@click.option("--frame", "frames", type=int, multiple=True, help="Only this frame of --task.")
@click.option("--job", type=int, help="Only the frames of this job of --task.")
@click.option("--keep-newer", is_flag=True, help="Add what is missing, take nothing away.")
@click.option(
    "--confirm", default="", metavar="TASK", help="The task's number, when something goes."
)
@click.option("--dry-run", is_flag=True, help="Say what would change, or be made.")
@click.pass_context
def restore(
    ctx: click.Context,
    id_: str,
    url: str | None,
    user: str | None,
    org: str | None,
    user_map: tuple[str, ...],
    project: int | None,
    task: int | None,
    frames: tuple[int, ...],
    job: int | None,
    keep_newer: bool,
    confirm: str,
    dry_run: bool,
) -> None:
    """Bring back a snapshot as new projects and tasks; with --task, into the live task.

    What goes into a live task is a push: lsl undo takes it back.
    """
    workspace, repository = opened(ctx)
    one = repositories.get_snapshot(repository, id_)
    if task is None and (frames or job is not None or keep_newer or confirm):
        raise UserInput(
            "--frame, --job, --keep-newer and --confirm are of a live task.",
            hint="Say which one: --task ID",
        )
    if task is None and dry_run:
        for unit in restoring.chosen_units(repository, one, project):
            click.echo(f'{unit.key} "{unit.entry["name"]}" would be made anew')
        click.echo("Nothing was written.")
        return
    with into(ctx, workspace, url, user, org) as session, TerminalProgress() as progress:
        if task is not None:
            plan = restoring_live.plan_live(
                repository, session, one, task, frames=frames or None, job=job,
                keep_newer=keep_newer,
            )  # fmt: skip
            _live(
                session, workspace, repository, one, plan,
                confirm=confirm, dry_run=dry_run, progress=progress,
            )  # fmt: skip
            return
        names = dict(_pair(text) for text in user_map)
        made = restoring.restore_snapshot(
            repository, session, one, project=project, organisation=org, names=names,
            is_other_server=url is not None, progress=progress,
        )  # fmt: skip
    _tell(made)


def _pair(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not sign or not old or not new:
        raise UserInput(f'"{text}" is no map of a user.', hint="Write --user-map old=new")
    return old, new


def _live(
    session: CvatSession,
    workspace: Workspace,
    repository: Repository,
    one: Snapshot,
    plan: restoring_live.PushPlan,
    *,
    confirm: str,
    dry_run: bool,
    progress: Progress,
) -> None:
    click.echo(
        f"{'label':<24} {'':<7} {'now':>7} {'there':>7} {'edited':>7} {'add':>7} {'remove':>7}"
    )
    for row in plan.labels:
        click.echo(
            f"{row.label:<24} {row.kind:<7} {row.now:>7} {row.duplicates:>7} {row.conflicts:>7} "
            f"{row.add:>7} {row.remove:>7}"
        )
    for left in plan.skipped:
        click.echo(f"Frame {left.frame}: {left.objects} left out: {left.reason}", err=True)
    for warning in plan.warnings:
        click.echo(warning, err=True)
    if dry_run or plan.does_nothing:
        click.echo("Nothing was written." if dry_run else "The task is as it was: nothing to do.")
        return
    result = restoring_live.apply_live(
        session, workspace, repository, one, plan, confirm=confirm, progress=progress
    )
    added = plural(result.added, "object")
    click.echo(f"Brought back {added}, took {result.removed} away: {plan.task.url}")
    click.echo(f"Take it back with: lsl undo {result.push_id}")


def _tell(made: RestoredInstance) -> None:
    for unit in made.units:
        click.echo(f"{unit.key} is now {unit.url}")
        if unit.images_from:
            click.echo(f"  its images came from snapshot {unit.images_from[:10]}")
    restoring.require_whole(made)


@click.command()
@click.argument("id_", metavar="[SNAPSHOT]", default="")
@click.pass_context
def drill(ctx: click.Context, id_: str) -> None:
    """Restore a snapshot into a scratch project, compare everything, remove it again.

    Without a name: the newest one with images.
    """
    workspace, repository = opened(ctx)
    one = repositories.get_snapshot(repository, id_) if id_ else drilling.newest(repository)
    with everything(ctx, workspace) as session, TerminalProgress() as progress:
        one = drilling.drill(repository, session, one, progress=progress)
    for problem in one.marks.drill.problems if one.marks.drill else ():
        click.echo(f"  {problem}", err=True)
    drilling.require_good(one)
    click.echo(f"Snapshot {one.short_id} came back as it was saved: objects, jobs and images.")


COMMANDS = (restore, drill)

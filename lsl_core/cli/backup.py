"""`lsl backup …`: take snapshots, look at them, keep and remove them."""

from __future__ import annotations

import sys

import click

from lsl_core.cli import backup_restore, backup_schedule
from lsl_core.cli.backup_shared import everything, opened, size_text, table
from lsl_core.cli.progress import TerminalProgress
from lsl_core.cli.shared import workspace_of
from lsl_core.errors import BackupError, PartlyDone, UserInput
from lsl_core.services.backups import backing_up, inspecting, repositories, retaining
from lsl_core.services.backups.repositories import Snapshot, State, Tier
from lsl_core.words import plural

tier_option = click.option(
    "--tier",
    type=click.Choice([Tier.ANNOTATIONS.value, Tier.FULL.value]),
    default=Tier.FULL.value,
    show_default=True,
    help="Annotations and their surroundings only, or with images.",
)


@click.group()
def backup() -> None:
    """Backups of CVAT projects, tasks or the whole server: take, check, compare, bring back.

    Exit codes: 0 all is well, 3 something is missing (said on stderr), 12 somebody else writes to
    the repository or the disk is full, 20 nothing to rely on.
    """


@backup.command()
@click.argument("location", default="")
@click.option("--key-file", default="", help="Encrypt with the key in this file; made if missing.")
@click.option("--keyring", is_flag=True, help="Encrypt with a key in the system's keyring.")
@click.pass_context
def init(ctx: click.Context, location: str, key_file: str, keyring: bool) -> None:
    """Choose where backups go: a folder or an fsspec URL. Default: in the workspace."""
    workspace = workspace_of(ctx)
    made = repositories.create_repository(workspace, location, key_file=key_file, keyring=keyring)
    click.echo(f"Backups go to {made.location}{', encrypted' if made.is_encrypted else ''}.")
    if key_file:
        click.echo(f"Keep a copy of {key_file} elsewhere: without it no backup can be read.")


@backup.command()
@click.option("--project", type=int, help="Only this project.")
@click.option("--task", type=int, help="Only this task; with its project, when it has one.")
@tier_option
@click.option("--reason", default="asked for", show_default=True)
@click.pass_context
def now(ctx: click.Context, project: int | None, task: int | None, tier: str, reason: str) -> None:
    """Back up everything that the account can see, one snapshot for each project or loose task."""
    workspace, repository = opened(ctx, make=True)
    with everything(ctx, workspace) as session, TerminalProgress() as progress:
        report = backing_up.back_up_now(
            repository, session, Tier(tier), project=project, task=task, reason=reason,
            progress=progress,
        )  # fmt: skip
    click.echo(table(report.taken))
    report.require_whole()


@backup.command()
@click.option(
    "--before-delete",
    is_flag=True,
    help="For deployments: verify at once, protect, and fail unless all is saved.",
)
@click.option("--reason", default="asked for", show_default=True)
@click.pass_context
def snapshot(ctx: click.Context, before_delete: bool, reason: str) -> None:
    """Save the whole server in one snapshot; prints its name.

    A fresh server can be filled from it: lsl backup restore --snapshot NAME --into URL
    """
    workspace, repository = opened(ctx, make=True)
    reason = "before delete" if before_delete else reason
    with everything(ctx, workspace) as session, TerminalProgress() as progress:
        one = backing_up.back_up_instance(repository, session, reason=reason, progress=progress)
        if before_delete:
            one = backing_up.secure(repository, one, progress=progress)
    click.echo(one.id)
    _require_whole(one)


@backup.command("list")
@click.option("--search", default="", help="Words in the name, reason, note, state or person.")
@click.option("--tier", type=click.Choice([tier.value for tier in Tier]))
@click.option("--project", type=int)
@click.option("--task", type=int, help="Snapshots that hold this task.")
@click.option("--forgotten", is_flag=True, help="Also what the next prune removes.")
@click.pass_context
def list_(
    ctx: click.Context,
    search: str,
    tier: str | None,
    project: int | None,
    task: int | None,
    forgotten: bool,
) -> None:
    """List snapshots, newest first."""
    _, repository = opened(ctx)
    found = repositories.find_snapshots(
        repository, search=search, tier=Tier(tier) if tier else None, project=project, task=task,
        forgotten=forgotten,
    )  # fmt: skip
    if found:
        click.echo(table(found))
    elif search or tier or project or task:
        click.echo("There is no such snapshot.")
    else:
        click.echo("There is no snapshot. Make the first: lsl backup now")


@backup.command()
@click.argument("id_", metavar="SNAPSHOT")
@click.option("--files", is_flag=True, help="List every file.")
@click.pass_context
def show(ctx: click.Context, id_: str, files: bool) -> None:
    """Show what a snapshot holds, what it lacks, and what CVAT's own format leaves out."""
    _, repository = opened(ctx)
    one = repositories.get_snapshot(repository, id_)
    click.echo(table([one]))
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(one.counts.items()))
    click.echo(f"  holds      {counts or 'nothing'}")
    click.echo(
        f"  size       {size_text(one.size_bytes)}, of which {size_text(one.added_bytes)} were new"
    )
    click.echo(f"  server     {one.subject.url}, CVAT {one.server_version}")
    click.echo(f"  taken by   {one.taken_by}, LSL {one.lsl_version}")
    for name, verdict in (("verified", one.marks.verified), ("drill", one.marks.drill)):
        if verdict is not None:
            click.echo(
                f"  {name:<10} {'good' if verdict.good else 'BAD'}, {verdict.at:%Y-%m-%d %H:%M} UTC"
            )
            for problem in verdict.problems:
                click.echo(f"             {problem}")
    if one.marks.note:
        click.echo(f"  note       {one.marks.note}")
    for lack in one.missing:
        click.echo(f"  missing    {lack.what}: {lack.why}")
    for text in inspecting.left_out(one):
        click.echo(f"  beside     {text}")
    for file in one.files if files else ():
        click.echo(f"  {size_text(file.size):>10}  {file.name}")


@backup.command()
@click.argument("id_", metavar="SNAPSHOT")
@click.argument("other", metavar="[OTHER|live]", default="live")
@click.pass_context
def diff(ctx: click.Context, id_: str, other: str) -> None:
    """Compare a snapshot with another one, or with what CVAT has now."""
    workspace, repository = opened(ctx)
    one = repositories.get_snapshot(repository, id_)
    if other == "live":
        with everything(ctx, workspace) as session, TerminalProgress():
            found = inspecting.compare_live(repository, session, one)
    else:
        found = inspecting.compare(repository, one, repositories.get_snapshot(repository, other))
    for line in inspecting.diff_lines(found):
        click.echo(line)


@backup.command()
@click.argument("ids", metavar="[SNAPSHOT]…", nargs=-1)
@click.pass_context
def verify(ctx: click.Context, ids: tuple[str, ...]) -> None:
    """Read and hash everything that was saved, and open what CVAT made. Default: all snapshots."""
    _, repository = opened(ctx)
    with TerminalProgress() as progress:
        report = repositories.verify(repository, list(ids), progress=progress)
    _tell(report)


@backup.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Look at the structure of the repository only: quick, reads no images."""
    _, repository = opened(ctx)
    _tell(repositories.check(repository))


@backup.command()
@click.argument("ids", metavar="SNAPSHOT…", nargs=-1, required=True)
@click.option("--off", is_flag=True, help="Protect it no longer.")
@click.option("--note", default="", help="Why, for those who come after you.")
@click.pass_context
def protect(ctx: click.Context, ids: tuple[str, ...], off: bool, note: str) -> None:
    """Keep a snapshot whatever the rules say."""
    _, repository = opened(ctx)
    for id_ in ids:
        one = repositories.protect(repository, id_, on=not off, note=note)
        click.echo(f"{one.short_id} is {'protected no longer' if off else 'protected'}.")


@backup.command()
@click.argument("ids", metavar="[SNAPSHOT]…", nargs=-1)
@click.option("--by-rules", is_flag=True, help="What the rules of the schedule do not keep.")
@click.option("--dry-run", is_flag=True, help="Say why each is kept or not; change nothing.")
@click.pass_context
def forget(ctx: click.Context, ids: tuple[str, ...], by_rules: bool, dry_run: bool) -> None:
    """Let the next prune remove snapshots. Until then `undelete` brings them back."""
    workspace, repository = opened(ctx)
    if by_rules or dry_run or not ids:
        only_looks = dry_run or not by_rules
        lines = (
            retaining.decision_lines(retaining.decisions(workspace, repository))
            if only_looks
            else retaining.forget_by_rules(workspace, repository)
        )
        click.echo("\n".join(lines) or "There is no snapshot.")
        return
    for one in repositories.forget(repository, list(ids)):
        click.echo(
            f"{one.short_id} goes with the next prune. "
            f"Bring it back: lsl backup undelete {one.short_id}"
        )


@backup.command()
@click.argument("ids", metavar="SNAPSHOT…", nargs=-1, required=True)
@click.pass_context
def undelete(ctx: click.Context, ids: tuple[str, ...]) -> None:
    """Bring forgotten snapshots back, as long as no prune has run."""
    _, repository = opened(ctx)
    for one in repositories.undelete(repository, list(ids)):
        click.echo(f"{one.short_id} is back.")


@backup.command()
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--give-up", multiple=True, metavar="SNAPSHOT", help="One that cannot be read.")
@click.pass_context
def prune(ctx: click.Context, dry_run: bool, yes: bool, give_up: tuple[str, ...]) -> None:
    """Remove forgotten snapshots for good, and free what only they needed."""
    _, repository = opened(ctx)
    plan = repositories.plan_prune(repository, give_up=give_up)
    if plan.does_nothing:
        click.echo("Nothing is forgotten, and nothing is unused: there is nothing to remove.")
        return
    for line in plan.lines:
        click.echo(line)
    if not (dry_run or yes or sys.stdin.isatty()):
        raise UserInput("There is no terminal to ask whether to remove this.", hint="Add --yes")
    if dry_run or not (yes or click.confirm("Remove this for good?", err=True)):
        click.echo("Nothing was removed.")
        return
    with TerminalProgress() as progress:
        repositories.prune(repository, seen=plan, progress=progress)
    click.echo("Done.")


@backup.command()
@click.pass_context
def unlock(ctx: click.Context) -> None:
    """Remove locks that a dead program left behind. Only when nothing runs on any machine."""
    _, repository = opened(ctx)
    click.echo(f"Removed {repositories.unlock(repository)} locks.")


def _tell(report: repositories.Report) -> None:
    for note in report.notes:
        click.echo(note, err=True)
    count = len(report.whole)
    if not count and report.is_good:
        raise BackupError("There is no snapshot to look at.", hint="Make one: lsl backup now")
    click.echo(f"{count:,} {'snapshot is' if count == 1 else 'snapshots are'} whole.")
    for name, found in report.damaged.items():
        for text in found[:10]:
            click.echo(f"  {name[:10]}: {text}", err=True)
    repositories.require_good(report)


def _require_whole(one: Snapshot) -> None:
    if one.state is State.FAILED:
        raise BackupError(f"Snapshot {one.short_id} failed: {one.missing[-1].why}")
    if one.state is State.PARTIAL:
        raise PartlyDone(
            f"Snapshot {one.short_id} lacks {plural(len(one.missing), 'thing')}.",
            done=[one.short_id],
            failed=[(lack.what, lack.why) for lack in one.missing],
        )


for command in (*backup_restore.COMMANDS, *backup_schedule.COMMANDS):
    backup.add_command(command)

COMMANDS = (backup,)

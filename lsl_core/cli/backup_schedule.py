"""`lsl backup run`, `schedule` and `coverage`: backups that make themselves."""

from __future__ import annotations

import click

from lsl_core.cli.backup_shared import everything, opened, table
from lsl_core.cli.progress import TerminalProgress
from lsl_core.cli.shared import workspace_of
from lsl_core.errors import PartlyDone
from lsl_core.services.backups import inspecting, repositories, scheduling


@click.command()
@click.pass_context
def run(ctx: click.Context) -> None:
    """Make what is due, once: for cron and systemd timers; call it as often as you like.

    Two at once do no harm: the second leaves it to the first.
    """
    workspace, repository = opened(ctx, make=True)
    with everything(ctx, workspace) as session, TerminalProgress() as progress:
        report = scheduling.run_due(workspace, repository, session, progress=progress)
    click.echo(table(report.taken) if report.taken else "Nothing was due.")
    report.require_whole()


@click.command()
@click.option("--on/--off", "on", default=None, help="Whether the worker makes them by itself.")
@click.option("--annotations-hours", type=float, help="0: never.")
@click.option("--full-hours", type=float, help="With images; 0: never.")
@click.option("--instance-hours", type=float, help="The whole server in one; 0: on demand only.")
@click.option("--care-days", type=float, help="Verify, drill, make room; 0: never.")
@click.option("--keep-last", type=int)
@click.option("--keep-hourly", type=int)
@click.option("--keep-daily", type=int)
@click.option("--keep-weekly", type=int)
@click.option("--keep-monthly", type=int)
@click.option("--quota-gb", type=float, help="What all backups may take; 0: what the disk has.")
@click.pass_context
def schedule(ctx: click.Context, /, on: bool | None, **given: float | int | None) -> None:
    """Show or change how often backups are made and what is kept; and when the next ones are."""
    workspace = workspace_of(ctx)
    settings = workspace.settings().backups
    changes: dict[str, float | None] = {
        key: value for key, value in given.items() if value is not None
    }
    if on is not None:
        changes["scheduled"] = on
    if changes:
        if not changes.get("quota_gb", 1):
            changes["quota_gb"] = None
        settings = repositories.change_settings(workspace, **changes)
    for name, value in settings.model_dump().items():
        if name not in ("location", "key_file", "keyring"):
            click.echo(f"  {name:<18} {value if value is not None else 'none'}")
    if not settings.scheduled:
        click.echo("Nothing is made by itself. Switch it on: lsl backup schedule --on")
        click.echo("Or call `lsl backup run` from cron or systemd; see docs/backups.md")
    if repositories.has_repository(workspace) and workspace.settings().cvat.url:
        _next(ctx)


def _next(ctx: click.Context) -> None:
    workspace, repository = opened(ctx)
    with everything(ctx, workspace) as session:
        found = scheduling.next_times(workspace, repository, session)
    for one in found[:20]:
        at = "now" if one.is_due else f"{one.at:%Y-%m-%d %H:%M} UTC"
        why = f" ({', '.join(one.reasons)})" if one.reasons else ""
        click.echo(f"  {at:<21}{one.tier:<12} {one.name}{why}")


@click.command()
@click.pass_context
def coverage(ctx: click.Context) -> None:
    """Say what exists on the server and is not backed up; ends with 3 when there is any."""
    workspace, repository = opened(ctx)
    with everything(ctx, workspace) as session:
        found = inspecting.coverage(repository, session)
    click.echo(
        f"{'of':<14}{'frames':>7}  {'annotations':<17} {'with images':<17} {'verified':<17} name"
    )
    for row in found:
        moments = [
            "never" if at is None else f"{at:%Y-%m-%d %H:%M}"
            for at in (row.annotations, row.full, row.verified)
        ]
        signs = "" if row.is_covered else "  NOT COVERED"
        signs += "  changed since" if row.is_covered and row.changed else ""
        click.echo(
            f"{row.key:<14}{row.frames:>7}  "
            f"{' '.join(f'{moment:<17}' for moment in moments)} {row.name}{signs}"
        )
    bare = [row for row in found if not row.is_covered]
    if bare:
        raise PartlyDone(
            f"{len(bare)} of {len(found)} are not covered.",
            done=[row.key for row in found if row.is_covered],
            failed=[(row.key, f"{row.name}: no backup with its images") for row in bare],
            hint="Back them up: lsl backup now",
        )
    click.echo(f"All {len(found)} are covered.")


COMMANDS = (run, schedule, coverage)

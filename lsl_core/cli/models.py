"""`models`: versions, which one is in use, and the way back; pretrained weights to begin from."""

from __future__ import annotations

from pathlib import Path

import click

from lsl_core.cli.progress import TerminalProgress
from lsl_core.cli.shared import workspace_of
from lsl_core.errors import PartlyDone
from lsl_core.services.models import pretrained, versions
from lsl_core.types import ModelCard
from lsl_core.words import plural


@click.group()
def models() -> None:
    """List model versions, choose which one is in use; get pretrained weights."""


@models.command("list")
@click.option("--pretrained", "of_others", is_flag=True, help="Weights to begin from instead.")
@click.pass_context
def list_command(ctx: click.Context, of_others: bool) -> None:
    """List every version; * marks those in use. With --pretrained: what a training can tune."""
    workspace = workspace_of(ctx)
    if of_others:
        for one in pretrained.offered(workspace):
            where = f"here, from the {one.origin}" if one.is_here else "not here"
            about = f"{one.role:<10} {one.megabytes:>5} MB  {one.licence:<12} {where}"
            click.echo(f"{one.name:<16} {about}")
            click.echo(f"{'':<16} {one.title}")
            click.echo(f"{'':<16} {_revision(one)}")
        return
    in_use = versions.current_ids(workspace)
    for card in versions.list_models(workspace):
        mark = "*" if card.id in in_use else " "
        click.echo(f"{mark} {card.id:<24} {card.mode.value:<13} {card.measured}  {_beside(card)}")


@models.command()
@click.argument("model")
@click.pass_context
def show(ctx: click.Context, model: str) -> None:
    """Show what is known about a version, its parents and when it was in use."""
    workspace = workspace_of(ctx)
    card = versions.get_model(workspace, model)
    click.echo(f"{card.id}, {card.family}, {card.mode}, made {card.created}")
    if tuned_from := pretrained.tuned_from(card):
        click.echo(f"Tuned from    {', '.join(tuned_from)}")
    click.echo(f"Licence       {card.licence}")
    click.echo(f"Learnt from   {plural(card.support_images, 'image')} of {card.support}")
    click.echo(f"Measured      {card.measured}")
    if card.metrics is not None:
        for figure in card.metrics.by_label:
            click.echo(f"              {figure}")
    if len(card.shots) > 1:
        click.echo(f"From fewer    {', '.join(point.words for point in card.shots)}")
    click.echo(f"Beside parent {_beside(card) or 'no parent'}")
    shown = ", ".join(f"{label} {value:.2f}" for label, value in card.thresholds.items())
    click.echo(f"Thresholds    {shown} (least correction work)")
    click.echo(f"Scores        {'calibrated' if card.calibration else 'as the network gives them'}")
    line = versions.lineage(workspace, card.id)
    click.echo(f"Lineage       {' < '.join(version.id for version in line)}")
    for choice in versions.choices(workspace, card.name):
        click.echo(f"In use        {choice.model} ({choice.why})")


@models.command()
@click.argument("model")
@click.pass_context
def use(ctx: click.Context, model: str) -> None:
    """Put a version in use: previews, pushes and offers take it from then on."""
    workspace = workspace_of(ctx)
    card = versions.make_current(workspace, model)
    click.echo(f'"{card.name}" now means {card.id}.')


@models.command()
@click.argument("model", required=False)
@click.pass_context
def restore(ctx: click.Context, model: str | None) -> None:
    """Bring a removed version back; without a name, list those in the trash."""
    workspace = workspace_of(ctx)
    if model is not None:
        click.echo(f"{versions.bring_back(workspace, model).id} is back.")
        return
    for one in versions.discarded(workspace):
        click.echo(f"{one.card.id:<24} {one.card.measured}  removed {one.at}")


@models.command()
@click.argument("name")
@click.option(
    "--from",
    "source",
    metavar="FOLDER",
    help="Take them from a folder instead of the hub.",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--licence", default="", help="Of weights of your own.")
@click.pass_context
def pull(ctx: click.Context, name: str, source: Path | None, licence: str) -> None:
    """Get pretrained weights: from the hub at a fixed commit, or from a folder."""
    workspace = workspace_of(ctx)
    with TerminalProgress() as progress:
        got = pretrained.pull(workspace, name, source=source, licence=licence, progress=progress)
    click.echo(f"{got.name}: {got.megabytes} MB, licence {got.licence}. {_revision(got)}")
    click.echo(f"Tune them: lsl auto-label --family foundation --base {got.name} --train SOURCE")


@models.command()
@click.argument("name", required=False)
@click.pass_context
def check(ctx: click.Context, name: str | None) -> None:
    """Compare the hashes of pretrained weights with what was pulled, and what is published."""
    found = pretrained.check(workspace_of(ctx), name)
    for one, problem in found:
        click.echo(f"{one}: {problem or 'as it was pulled'}")
    damaged = [(one, problem) for one, problem in found if problem]
    if damaged:
        raise PartlyDone(
            f"{len(damaged)} of {len(found)} are not as they should be.",
            done=[one for one, problem in found if not problem],
            failed=damaged,
            hint="Pull them again.",
        )
    if not found:
        click.echo("No pretrained weights are here. See lsl models list --pretrained")


def _revision(one: pretrained.Offered) -> str:
    if one.origin == "folder":
        return "Known by the hashes it had when it was put here."
    if not one.revision:
        return "Commit: the newest at the first pull, the same from then on."
    return f"Commit {one.revision}"


def _beside(card: ModelCard) -> str:
    c = card.comparison
    if c is None:
        return ""
    seen = f", {c.num_seen} of them known to it" if c.num_seen else ""
    return f"{c.verdict}: {c.figure} {c.after:.3f}, {c.parent} {c.before:.3f} on the same{seen}"


COMMANDS = (models,)

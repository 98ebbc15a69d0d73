"""`models`: versions, which one is in use, and the way back."""

from __future__ import annotations

import click

from lsl_core.cli.shared import workspace_of
from lsl_core.services import modelling
from lsl_core.types import ModelCard


@click.group()
def models() -> None:
    """List model versions, look at one, choose which one is in use."""


@models.command("list")
@click.pass_context
def list_command(ctx: click.Context) -> None:
    """List every version; * marks those in use."""
    workspace = workspace_of(ctx)
    in_use = modelling.current_ids(workspace)
    for card in modelling.list_models(workspace):
        mark = "*" if card.id in in_use else " "
        click.echo(f"{mark} {card.id:<24} {card.mode.value:<13} {_score(card)}  {_beside(card)}")


@models.command()
@click.argument("model")
@click.pass_context
def show(ctx: click.Context, model: str) -> None:
    """Show what is known about a version, its parents and when it was in use."""
    workspace = workspace_of(ctx)
    card = modelling.get_model(workspace, model)
    click.echo(f"{card.id}, {card.family}, {card.mode}, made {card.created}")
    click.echo(f"Learnt from   {card.support_images} images of {card.support}")
    click.echo(f"Measured      {_score(card)}")
    if card.metrics is not None:
        for label, ap in card.metrics.per_label.items():
            click.echo(f"              {label}: AP {ap:.3f}")
    click.echo(f"Beside parent {_beside(card) or 'no parent'}")
    shown = ", ".join(f"{label} {value:.2f}" for label, value in card.thresholds.items())
    click.echo(f"Thresholds    {shown} (least correction work)")
    click.echo(f"Scores        {'calibrated' if card.calibration else 'as the network gives them'}")
    line = modelling.lineage(workspace, card.id)
    click.echo(f"Lineage       {' < '.join(version.id for version in line)}")
    for choice in modelling.choices(workspace, card.name):
        click.echo(f"In use        {choice.model} ({choice.why})")


@models.command()
@click.argument("model")
@click.pass_context
def use(ctx: click.Context, model: str) -> None:
    """Put a version in use: previews, pushes and offers take it from then on."""
    workspace = workspace_of(ctx)
    card = modelling.make_current(workspace, model)
    click.echo(f'"{card.name}" now means {card.id}.')


def _score(card: ModelCard) -> str:
    if card.metrics is None:
        return "not measured"
    m, (name, value) = card.metrics, card.metrics.headline
    small = ", a small sample" if m.is_small else ""
    return f"{name} {value:.3f}, AP50 {m.ap50:.3f} on {m.num_images} images{small}"


def _beside(card: ModelCard) -> str:
    c = card.comparison
    if c is None:
        return ""
    seen = f", {c.num_seen} of them known to it" if c.num_seen else ""
    return f"{c.verdict}: {c.figure} {c.after:.3f}, {c.parent} {c.before:.3f} on the same{seen}"


COMMANDS = (models,)

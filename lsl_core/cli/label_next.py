"""`next`: which images to label next."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from lsl_core.cli.progress import TerminalProgress
from lsl_core.cli.shared import (
    session_of,
    slide_of,
    slide_options,
    train_option,
    workspace_of,
)
from lsl_core.errors import UserInput
from lsl_core.services.labelling import label_next
from lsl_core.services.labelling.label_next import NextImage


@click.command("next")
@train_option
@click.option("--test", metavar="SOURCE", help="Source whose images may be labelled.")
@click.option("--cvat-task-id", type=int, help="A CVAT task instead; what people drew is known.")
@click.option("--num", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@slide_options
@click.pass_context
def next_command(
    ctx: click.Context,
    train: str,
    test: str | None,
    cvat_task_id: int | None,
    num: int,
    as_json: bool,
    slidewindow: bool,
    slidewindow_size: tuple[int, int],
    overlap: int,
) -> None:
    """List the images that would teach the model most, the best first.

    The model looks at each image once; what it found is kept and shared with the other commands.
    """
    workspace = workspace_of(ctx)
    if (test is None) == (cvat_task_id is None):
        raise UserInput("Choose images to rank: one of --test and --cvat-task-id.")
    slide = slide_of(slidewindow=slidewindow, size=slidewindow_size, overlap=overlap)
    with TerminalProgress() as progress:
        if test is not None:
            info = label_next.look_at_source(
                workspace, test, model=train, slide=slide, progress=progress
            )
            drawn = {}
        else:
            with session_of(ctx, workspace) as session:
                info = label_next.look_at_task(
                    session, workspace, cvat_task_id or 0, model=train, slide=slide,
                    progress=progress,
                )  # fmt: skip
                drawn = label_next.drawn_by_people(session, workspace, info.id)
        found = label_next.next_images(workspace, info.id, drawn=drawn, num=num, progress=progress)
    click.echo(json.dumps([asdict(one) for one in found]) if as_json else _table(found))


def _table(found: list[NextImage]) -> str:
    width = max(len(one.name) for one in found)
    head = f"{'rank':>4}  {'image':<{width}}  score  why"
    rows = [f"{one.rank:>4}  {one.name:<{width}}  {one.score:.2f}   {one.why}" for one in found]
    return "\n".join([head, *rows])


COMMANDS = (next_command,)

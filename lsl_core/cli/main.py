"""`lsl`: every command, one place that turns errors into words and exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from lsl_core import __version__
from lsl_core.cli import (
    backup,
    cvat,
    label_next,
    labelstudio,
    learn,
    models,
    project,
    serverless,
    serving,
    system,
)
from lsl_core.cli.shared import TOKEN_VARIABLE
from lsl_core.errors import LslError, PartlyDone

#: What a shell expects of a program that Ctrl-C ended.
_INTERRUPTED = 130


class _App(click.Group):
    """Commands in the order in which people need them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_App, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lsl")
@click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    default=Path(),
    envvar="LSL_WORKSPACE",
    help="The workspace folder, or one inside it. Default: where you are.",
)
@click.pass_context
def app(ctx: click.Context, workspace: Path) -> None:
    """Label a few images in CVAT, let the model label the rest, look, push, correct, repeat."""
    ctx.obj = workspace
    ctx.meta[TOKEN_VARIABLE] = os.environ.get(TOKEN_VARIABLE)


for command in (
    *project.COMMANDS,
    *learn.COMMANDS,
    *label_next.COMMANDS,
    *models.COMMANDS,
    *cvat.COMMANDS,
    *serving.COMMANDS,
    *serverless.COMMANDS,
    *labelstudio.COMMANDS,
    *backup.COMMANDS,
    *system.COMMANDS,
):
    app.add_command(command)


def run(arguments: list[str] | None = None) -> None:
    """Run `lsl` and leave with its exit code."""
    try:
        sys.exit(app.main(arguments, prog_name="lsl", standalone_mode=False) or 0)
    except PartlyDone as error:
        for name, reason in error.failed:
            click.echo(f"  {name}: {reason}", err=True)
        _fail(error)
    except LslError as error:
        _fail(error)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. What was finished is kept.", err=True)
        sys.exit(_INTERRUPTED)


def _fail(error: LslError) -> None:
    click.echo(f"lsl: {error.message}", err=True)
    if error.hint:
        click.echo(f"     {error.hint}", err=True)
    sys.exit(error.exit_code)

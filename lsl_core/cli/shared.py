"""What several commands share: options, and finding the workspace."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from lsl_core.errors import BadThreshold, PartlyDone, UserInput
from lsl_core.services import connections, workspaces
from lsl_core.services.connections import CvatSession
from lsl_core.services.workspaces import Workspace
from lsl_core.types import SlideWindows

Command = Callable[..., Any]

#: The environment variable that cvat-sdk and cvat-cli read, too.
TOKEN_VARIABLE = "CVAT_ACCESS_TOKEN"  # noqa: S105 - the name of a variable

train_option = click.option(
    "--train", required=True, metavar="NAME", help="Source the model was trained on, or a model."
)


def workspace_of(ctx: click.Context) -> Workspace:
    """Return the workspace that the command works in."""
    return workspaces.open_workspace(ctx.obj)


def token_of(ctx: click.Context) -> str | None:
    """Return the personal access token of the environment, if there is one."""
    token: str | None = ctx.find_root().meta.get(TOKEN_VARIABLE)
    return token


def session_of(ctx: click.Context, workspace: Workspace) -> CvatSession:
    """Sign in as `cvat-setup` arranged it, or with the token in the environment."""
    return connections.open_session(workspace.settings().cvat, token=token_of(ctx))


def secret(what: str, *, hint: str) -> str:
    """Ask for a password or token; without a terminal the first line of the input is it.

    Args:
        what: is asked for, for example "Password".
        hint: other ways to give it.

    Raises:
        UserInput: there is neither a terminal nor a line.
    """
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise UserInput(f"{what} is needed, and there is no terminal to ask for it.", hint=hint)
    return line


def slide_options(command: Command) -> Command:
    """Add the options of slide windows, named and preset as in the original LSL."""
    for option in (
        click.option("--overlap", default=150, show_default=True, help="Shared strip, pixels."),
        click.option(
            "--slidewindow-size",
            nargs=2,
            type=int,
            default=(1024, 1024),
            show_default=True,
            metavar="W H",
            help="Window, pixels.",
        ),
        click.option("--slidewindow", is_flag=True, help="Look at large images in windows."),
    ):
        command = option(command)
    return command


def threshold_options(command: Command) -> Command:
    """Add the options of what counts as found."""
    for option in (
        click.option("--mask-threshold", default=0.5, show_default=True, help="0 to 1."),
        click.option("--conf", type=float, help="Lowest score, 0 to 1. Default: the model's own."),
    ):
        command = option(command)
    return command


def slide_of(*, slidewindow: bool, size: tuple[int, int], overlap: int) -> SlideWindows | None:
    """Return the windows that the options ask for, or None."""
    return SlideWindows(size[0], size[1], overlap) if slidewindow else None


def check_conf(conf: float | None) -> float | None:
    """Return a score threshold that lies between 0 and 1.

    Raises:
        BadThreshold: when it does not.
    """
    if conf is not None and not 0 <= conf <= 1:
        raise BadThreshold(f"--conf {conf} is not between 0 and 1.", hint="Try --conf 0.3")
    return conf


def report_left_out(left_out: Sequence[tuple[str, str]], *, done: Sequence[str]) -> None:
    """End with a list of what could not be taken in, when there is any.

    Raises:
        PartlyDone: when something was left out.
    """
    if left_out:
        raise PartlyDone(
            f"{len(left_out)} could not be taken in; the rest was.",
            hint="Mend them where they come from, then import again under another name.",
            done=done,
            failed=left_out,
        )

"""`labelstudio-setup`, `labelstudio-export`, `labelstudio-ml-start`."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from lsl_core.cli.progress import TerminalProgress
from lsl_core.cli.shared import (
    check_conf,
    secret,
    slide_of,
    slide_options,
    threshold_options,
    train_option,
    workspace_of,
)
from lsl_core.services.labelstudio import backend, projects, sending
from lsl_core.services.labelstudio.backend import BackendSettings
from lsl_core.services.labelstudio.sending import Drawing
from lsl_core.words import plural


@click.command("labelstudio-setup")
@click.option("--url", required=True, help="For example http://localhost:8080")
@click.option("--token", help="Access token; seen by others on this machine, better be asked.")
@click.option("--insecure", is_flag=True, help="Accept any certificate.")
@click.option(
    "--image-host", "image_hosts", multiple=True, metavar="HOST",
    help="Another host that images of tasks may be fetched from. May be given again.",
)  # fmt: skip
@click.pass_context
def labelstudio_setup(
    ctx: click.Context, url: str, token: str | None, insecure: bool, image_hosts: tuple[str, ...]
) -> None:
    """Sign in to Label Studio and remember it for this workspace."""
    token = token or secret("An access token", hint="Pipe it in, or give it with --token.")
    workspace = workspace_of(ctx)
    user = projects.set_up(
        workspace, url=url, token=token, verify_tls=not insecure, image_hosts=image_hosts
    )
    click.echo(f"Signed in to {url} as {user}.")


@click.command("labelstudio-export")
@train_option
@click.option("--name", required=True, metavar="SOURCE", help="Source that was labelled.")
@click.option("--labelstudio-name", required=True, help="Name of the project.")
@click.option(
    "--draw",
    type=click.Choice([kind.value for kind in Drawing]),
    help="How, in a new project. Default: as the model gives objects.",
)
@click.pass_context
def labelstudio_export(
    ctx: click.Context, train: str, name: str, labelstudio_name: str, draw: str | None
) -> None:
    """Make a Label Studio project of a source: images, and what a model found on them.

    Again under the same name, it replaces what this version of the model found, or puts beside it
    what another version finds.
    """
    workspace = workspace_of(ctx)
    with TerminalProgress() as progress:
        made = sending.export_preview(
            workspace,
            model=train,
            source=name,
            title=labelstudio_name,
            drawing=Drawing(draw) if draw else None,
            progress=progress,
        )
    images = plural(made.num_images, "image")
    click.echo(f"Sent {plural(made.num_objects, 'object')} on {images} to {made.url}")
    if not made.is_new:
        click.echo("The project was there; its images and annotations stay as they were.")
    if made.is_heavy:
        click.echo(
            "Label Studio paints each mask over the whole image: some of these may open after "
            "minutes, or not at all. Lighter: --draw polygon, in a project of another name."
        )


@click.command("labelstudio-ml-start")
@train_option
@click.option("--labelstudio-ml-port", default=backend.DEFAULT_PORT, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets others in.")
@click.option(
    "--allow", multiple=True, metavar="NETWORK",
    help="Whose callers need no token, for example 172.16.0.0/12 for Docker. May be given again.",
)  # fmt: skip
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False), metavar="FILE")
@threshold_options
@slide_options
@click.pass_context
def labelstudio_ml_start(ctx: click.Context, /, **options: Any) -> None:  # noqa: ANN401 - of many types
    """Answer Label Studio with a model, and train it when somebody there asks for it."""
    slide = slide_of(
        slidewindow=options["slidewindow"],
        size=options["slidewindow_size"],
        overlap=options["overlap"],
    )
    settings = BackendSettings(
        options["train"],
        options["host"],
        options["labelstudio_ml_port"],
        check_conf(options["conf"]),
        options["mask_threshold"],
        slide,
        tuple(options["allow"]),
        options["token_file"],
    )
    # a service manager stops us by SIGTERM, and then the backend has to go, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    process = backend.launch(workspace_of(ctx), settings)
    try:
        ctx.exit(process.wait())
    finally:
        process.terminate()
        process.wait()


COMMANDS = (labelstudio_setup, labelstudio_export, labelstudio_ml_start)

"""`cvat-serverless`: a model as a function of CVAT's Nuclio."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from lsl_core.cli.shared import (
    check_conf,
    slide_of,
    slide_options,
    threshold_options,
    train_option,
    workspace_of,
)
from lsl_core.errors import ServeError
from lsl_core.services.models import versions
from lsl_core.services.serving import nuctl, serverless
from lsl_core.services.serving.nuctl import Health
from lsl_core.services.serving.serverless import BASE_IMAGE, Drawing, FunctionSettings


@click.command("cvat-serverless")
@train_option
@click.option(
    "--cvat-serverless-image",
    default=BASE_IMAGE,
    show_default=True,
    help="Public Docker image with Python 3.11 that the function is built on.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Default: in the workspace.")
@click.option("--draw", type=click.Choice([kind.value for kind in Drawing]))
@click.option("--fill-holes", is_flag=True, help="Fill the holes in masks.")
@click.option("--gpu", is_flag=True, help="Deploy the GPU function.")
@click.option("--no-deploy", is_flag=True, help="Only write the folder.")
@click.option("--check", is_flag=True, help="Only check the function that is deployed.")
@threshold_options
@slide_options
@click.pass_context
def cvat_serverless(
    ctx: click.Context,
    train: str,
    cvat_serverless_image: str,
    output: Path | None,
    draw: str | None,
    fill_holes: bool,
    gpu: bool,
    no_deploy: bool,
    check: bool,
    conf: float | None,
    mask_threshold: float,
    slidewindow: bool,
    slidewindow_size: tuple[int, int],
    overlap: int,
) -> None:
    """Put a model into CVAT's Nuclio: write its function, deploy it with nuctl, check it.

    A threshold that somebody chooses in CVAT wins over --conf. Without Nuclio: lsl serve.
    """
    workspace = workspace_of(ctx)
    slide = slide_of(slidewindow=slidewindow, size=slidewindow_size, overlap=overlap)
    settings = FunctionSettings(
        check_conf(conf), mask_threshold, slide, Drawing(draw) if draw else None, fill_holes
    )
    card = versions.get_model(workspace, train)
    if check:
        name = serverless.nuclio_name(card.name)
        deployed = serverless.FunctionFolder(Path(), name, card.labels)
        _tell(nuctl.check_function(deployed, image=nuctl.test_image(workspace, card)))
        return
    function = serverless.write_function(
        workspace, train, output, settings=settings, base_image=cvat_serverless_image
    )
    click.echo(f"Wrote {function.path}")
    click.echo(f"  {shlex.join(serverless.deploy_command(function, gpu=gpu))}")
    if no_deploy:
        return
    if not nuctl.has_nuctl():
        click.echo("nuctl is not on this machine: run that command where CVAT's Nuclio runs.")
        return
    image = nuctl.test_image(workspace, card)
    _tell(nuctl.deploy(function, gpu=gpu, image=image, say=lambda line: click.echo(f"  {line}")))


def _tell(health: Health) -> None:
    if not health.is_fine:
        raise ServeError(f"{health.step}: {health.text}", hint=health.hint)
    click.echo(f"ok  {health.text}")


COMMANDS = (cvat_serverless,)

"""`serve`: models that answer CVAT and others."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click
from click.core import ParameterSource

from lsl_core.cli.shared import (
    check_conf,
    session_of,
    slide_of,
    slide_options,
    threshold_options,
    workspace_of,
)
from lsl_core.errors import LslError, ServeError, UserInput
from lsl_core.services.serving import offers, service
from lsl_core.services.serving.offers import Drawing, Offer
from lsl_core.services.serving.state import DEFAULT_PORT, LOG_FILE, ServiceSettings, ServiceState
from lsl_core.services.workspaces import Workspace
from lsl_core.words import plural

#: Options that count when the service starts.
_REACH = (
    "host", "port", "allow", "token_file", "max_body_mb", "max_megapixels", "timeout",
)  # fmt: skip


@click.command()
@click.option(
    "--train", "--model", "models", multiple=True, metavar="NAME",
    help="Model to offer, or a version of one; may be given again. Default: those offered before.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets others in.")
@click.option("--port", default=DEFAULT_PORT, show_default=True)
@click.option("--nuclio", is_flag=True, help="Say what CVAT has to be told, and check that it was.")
@click.option("--cvat-sees-me-as", metavar="HOST", help="Name of this machine inside CVAT.")
@click.option(
    "--allow", multiple=True, metavar="NETWORK",
    help="Whose callers need no token, for example 172.16.0.0/12 for Docker. May be given again.",
)  # fmt: skip
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False), metavar="FILE")
@click.option("--draw", type=click.Choice([drawing.value for drawing in Drawing]))
@click.option(
    "--clicks", metavar="NAME",
    help="Pretrained weights that answer clicks (lsl models list --pretrained): sam2.1-tiny.",
)  # fmt: skip
@click.option("--max-body-mb", default=128.0, show_default=True, help="Of a request.")
@click.option("--max-megapixels", default=150.0, show_default=True, help="Of an image.")
@click.option("--timeout", default=100.0, show_default=True, help="Seconds; CVAT waits 120.")
@click.option("--background", is_flag=True, help="Go on after this terminal.")
@click.option("--status", is_flag=True, help="Say how the running service stands, and end.")
@click.option("--stop", is_flag=True, help="Stop the running service, and end.")
@click.option("--roll-back", metavar="NAME", help="Offer the version before, and end.")
@click.option("--withdraw", metavar="NAME", help="Offer a model no longer, and end.")
@threshold_options
@slide_options
@click.pass_context
def serve(ctx: click.Context, /, **options: Any) -> None:  # noqa: ANN401 - of many types
    """Let CVAT's AI tools, and any program, use models of this workspace; no Nuclio, no Docker.

    Thresholds and windows are those of the models named by --train; a caller's own wins.
    """
    workspace = workspace_of(ctx)
    if options["stop"]:
        click.echo("Stopped." if service.stop(workspace) else "No service runs.")
    elif options["status"]:
        _report(workspace)
    elif options["roll_back"]:
        click.echo(f"Offered again: {offers.roll_back(workspace, options['roll_back'])}")
    elif options["withdraw"]:
        offers.withdraw(workspace, options["withdraw"])
        click.echo(f"No longer offered: {options['withdraw']}")
    elif options["models"] and service.state(workspace) is not None:
        _offer_more(ctx, workspace, options)
    else:
        _offer(workspace, options)
        _serve(ctx, workspace, options)


def _offer_more(ctx: click.Context, workspace: Workspace, options: dict[str, Any]) -> None:
    """Let the service that runs already offer models as well; how it is reached stays."""
    for name in _REACH:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise ServeError(
                "A service of this workspace runs already, and keeps to how it was started.",
                hint=f"Stop it first (lsl serve --stop), or leave --{name.replace('_', '-')} out.",
            )
    deployed = _offer(workspace, options)
    click.echo("A service of this workspace runs already and follows.")
    _say(ctx, workspace, service.wait_until_followed(workspace, deployed), options)


def _offer(workspace: Workspace, options: dict[str, Any]) -> list[Offer]:
    slide = slide_of(
        slidewindow=options["slidewindow"],
        size=options["slidewindow_size"],
        overlap=options["overlap"],
    )
    drawing = Drawing(options["draw"]) if options["draw"] else None
    conf = check_conf(options["conf"])
    look = (drawing, conf, options["mask_threshold"], slide, options["clicks"])
    deployed = [offers.deploy(workspace, Offer(model, None, *look)) for model in options["models"]]
    if not offers.list_offers(workspace):
        raise UserInput("No model is offered yet.", hint="Name one: lsl serve --train NAME")
    return deployed


def _serve(ctx: click.Context, workspace: Workspace, options: dict[str, Any]) -> None:
    settings = ServiceSettings(
        options["host"],
        options["port"],
        options["nuclio"],
        tuple(options["allow"]),
        options["token_file"],
        options["max_body_mb"],
        options["max_megapixels"],
        options["timeout"],
    )
    if options["background"]:
        _say(ctx, workspace, service.start(workspace, settings), options)
        return
    # a service manager stops us by SIGTERM, and then the service has to go, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    process = service.launch(workspace, settings, to_log=False)
    try:
        _say(ctx, workspace, service.wait_until_up(workspace, process), options)
        click.echo("Ctrl-C stops it.")
        process.wait()
    finally:
        process.terminate()
        process.wait()


def _say(
    ctx: click.Context, workspace: Workspace, found: ServiceState, options: dict[str, Any]
) -> None:
    for offer in found.offers:
        names = ", ".join(function.name for function in offer.functions)
        click.echo(f"{offer.model} is offered in version {offer.version} as {names}.")
    for name, problem in found.problems.items():
        click.echo(f"{name} is not offered: {problem}", err=True)
    click.echo(f"The service is at {found.url}.")
    if not options["nuclio"]:
        return
    click.echo("\nCVAT needs, for its containers cvat_server and cvat_worker_annotation:")
    for name, value in service.cvat_settings(found, host=options["cvat_sees_me_as"]).items():
        click.echo(f"  {name}={value}")
    try:
        with session_of(ctx, workspace) as session:
            verdict = service.check_cvat(session, found)
    except LslError as error:
        click.echo(f"\nWhether CVAT has them was not checked: {error}", err=True)
        return
    click.echo(f"\n{'ok  ' if verdict.is_fine else 'FAIL'}  {verdict.text}")
    if verdict.hint:
        click.echo(f"      {verdict.hint}")


def _report(workspace: Workspace) -> None:
    found = service.state(workspace)
    if found is None:
        died = service.died_at(workspace) is not None
        said = workspace.serve / LOG_FILE
        hint = f" The last one ended without being asked to; see {said}." if died else ""
        click.echo(f"No service runs.{hint}")
        return
    click.echo(f"At {found.url}, process {found.pid}.")
    click.echo(f"{'function':<32} {'version':<24} {'requests':>8} {'failed':>7} {'median':>8}")
    for offer in found.offers:
        for function in offer.functions:
            median = "-" if function.median_s is None else f"{function.median_s:.2f} s"
            click.echo(
                f"{function.name:<32} {offer.version:<24} {function.requests:>8} "
                f"{function.failed:>7} {median:>8}"
            )
    for name, problem in found.problems.items():
        click.echo(f"{name} cannot be offered as it should be: {problem}")
    for who, requests, _ in found.callers:
        click.echo(f"used in the last hour by {who}: {plural(requests, 'request')}")


COMMANDS = (serve,)

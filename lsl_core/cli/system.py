"""`up`, `demo`, `worker`, `doctor`."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click

from lsl_core.cli.progress import TerminalProgress
from lsl_core.cli.shared import workspace_of
from lsl_core.errors import WorkspaceError
from lsl_core.services import dashboard, demo, doctor, workspaces
from lsl_core.services.demo import Demo
from lsl_core.services.workspaces import Workspace


@click.command()
@click.option("--port", default=dashboard.DEFAULT_PORT, show_default=True)
@click.option("--address", default="localhost", show_default=True, help="0.0.0.0 lets others in.")
@click.option("--browser/--no-browser", default=True, help="Open the page.")
@click.pass_context
def up(ctx: click.Context, port: int, address: str, browser: bool) -> None:
    """Start the dashboard of the workspace."""
    _serve(workspace_of(ctx), port=port, address=address, browser=browser)


def _serve(workspace: Workspace, *, port: int, address: str, browser: bool) -> None:
    # a service manager stops us by SIGTERM, and then the dashboard has to go, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    process, url = dashboard.start_dashboard(workspace, port=port, address=address)
    click.echo(f"The dashboard is at {url}. Ctrl-C stops it.")
    try:
        if browser:
            dashboard.open_browser(url)
        process.wait()
    finally:
        process.terminate()
        process.wait()


@click.command("demo")
@click.option("--smoke", is_flag=True, help="Everything but the browser; prints one JSON line.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where it lives. Default: ./demo, a temporary one with --smoke.",
)
@click.option("--port", default=dashboard.DEFAULT_PORT, show_default=True, help="Of the dashboard.")
@click.option("--minutes", default=demo.DEMO_MINUTES, show_default=True, help="Of training.")
@click.option("--browser/--no-browser", default=True, help="Open the page.")
def demo_command(
    smoke: bool, folder: Path | None, port: int, minutes: float, browser: bool
) -> None:
    """Run the whole job on sample images and a sandbox CVAT, then open the dashboard."""
    if smoke:
        scratch = folder or Path(tempfile.mkdtemp(prefix="lsl-demo-"))
        try:
            made = _run(scratch, sandbox_port=0, minutes=minutes)
            made.sandbox.stop()
            click.echo(json.dumps(made.report.to_json()))
        finally:
            if folder is None:
                shutil.rmtree(scratch, ignore_errors=True)
        return
    made = _run(folder or Path("demo"), sandbox_port=demo.DEMO_PORT, minutes=minutes)
    try:
        report = made.report
        click.echo(
            f"Labelled {report.frames} large images: {report.shapes_read_back} objects are in the "
            f"sandbox CVAT at {made.sandbox.url} (AP50 {report.ap50:.2f} on held-out images)."
        )
        _serve(made.workspace, port=port, address="localhost", browser=browser)
    finally:
        made.sandbox.stop()


def _run(folder: Path, *, sandbox_port: int, minutes: float) -> Demo:
    with TerminalProgress() as progress:
        return demo.run_demo(
            folder.resolve(), port=sandbox_port, minutes=minutes, progress=progress
        )


@click.command()
@click.pass_context
def worker(ctx: click.Context) -> None:
    """Do the background runs of the workspace in this terminal."""
    workspace = workspace_of(ctx)
    click.echo(f"Working for {workspace.root}. Ctrl-C stops.")
    if dashboard.work_here(workspace):
        raise WorkspaceError("Another worker serves this workspace.", hint="One is enough.")


@click.command("doctor")
@click.pass_context
def doctor_command(ctx: click.Context) -> None:
    """Say what this machine and this workspace can do, and what they lack."""
    try:
        workspace = workspaces.open_workspace(ctx.obj)
    except WorkspaceError:
        workspace = None
    findings = doctor.examine(workspace)
    for finding in findings:
        mark = "ok  " if finding.is_fine else "FAIL"
        click.echo(f"{mark}  {finding.subject:<12} {finding.text}")
        if finding.hint:
            click.echo(f"                   {finding.hint}")
    ctx.exit(0 if all(finding.is_fine for finding in findings) else 1)


COMMANDS = (up, demo_command, worker, doctor_command)

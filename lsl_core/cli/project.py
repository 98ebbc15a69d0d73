"""`create`, `import`, `ls`, `rm`, `rename`, `split-data`."""

from __future__ import annotations

from pathlib import Path

import click

from lsl_core.cli.progress import TerminalProgress
from lsl_core.cli.shared import report_left_out, session_of, workspace_of
from lsl_core.errors import UserInput
from lsl_core.services import sourcing, workspaces
from lsl_core.services.labelstudio import projects
from lsl_core.services.models import versions
from lsl_core.services.sourcing import Imported
from lsl_core.types import Mode
from lsl_core.words import plural


@click.command()
@click.argument("name", type=click.Path(path_type=Path))
@click.option(
    "--task", type=click.Choice([mode.value for mode in Mode]), default="fsis", show_default=True
)
def create(name: Path, task: str) -> None:
    """Make a workspace in the folder NAME."""
    made = workspaces.create_workspace(name, Mode(task))
    click.echo(f"Made {made.root} ({task}). Next: cd {name} && lsl cvat-setup --url …")


@click.command("import")
@click.option("--name", required=True, help="Name of the new source.")
@click.option("--cvat-task-id", type=int, help="A CVAT task with annotations.")
@click.option("--labelstudio-project-id", type=int, help="A Label Studio project.")
@click.option("--image", type=click.Path(path_type=Path), help="A folder of images.")
@click.option("--annotation", type=click.Path(path_type=Path), help="Their COCO file.")
@click.option("--unlabeled", is_flag=True, help="The images have no annotation.")
@click.pass_context
def import_(
    ctx: click.Context,
    name: str,
    cvat_task_id: int | None,
    labelstudio_project_id: int | None,
    image: Path | None,
    annotation: Path | None,
    unlabeled: bool,
) -> None:
    """Take images in: a CVAT task, a Label Studio project, a COCO file, a folder without labels."""
    workspace = workspace_of(ctx)
    given = (cvat_task_id, labelstudio_project_id, image)
    files = (annotation is not None) != unlabeled  # one of the two, or neither without --image
    if sum(value is not None for value in given) != 1 or files != (image is not None):
        raise UserInput(
            "Say what to import, in one of four ways.",
            hint="--cvat-task-id ID, or --labelstudio-project-id ID, "
            "or --image DIR --annotation FILE, or --image DIR --unlabeled",
        )
    made: Imported
    with TerminalProgress() as progress:
        if cvat_task_id is not None:
            with session_of(ctx, workspace) as session:
                made = sourcing.import_task(
                    session, workspace, cvat_task_id, name=name, progress=progress
                )
        elif labelstudio_project_id is not None:
            made = projects.import_project(
                workspace, labelstudio_project_id, name=name, progress=progress
            )
        elif annotation is not None:
            assert image is not None
            made = sourcing.import_coco(
                workspace, name=name, images=image, annotation=annotation, progress=progress
            )
        else:
            assert image is not None
            made = sourcing.import_unlabelled(workspace, name=name, images=image, progress=progress)
    info = made.info
    click.echo(f'Source "{name}": {_counts(info.num_images, info.num_objects)}.')
    report_left_out(made.left_out, done=[name])


@click.command()
@click.pass_context
def ls(ctx: click.Context) -> None:
    """List the sources and models of the workspace."""
    workspace = workspace_of(ctx)
    for info in sourcing.list_sources(workspace):
        kind = "labelled" if info.is_labelled else "unlabelled"
        click.echo(
            f"source  {info.name:<24} {kind:<10} {plural(info.num_images, 'image'):>12} "
            f"{plural(info.num_objects, 'object'):>15}  {', '.join(info.labels)}"
        )
    for card in versions.list_models(workspace):
        score = f"AP50 {card.metrics.ap50:.2f}" if card.metrics else "not measured"
        click.echo(f"model   {card.id:<24} {card.mode:<10} {score:<12}  {', '.join(card.labels)}")


@click.command()
@click.argument("name")
@click.option("--model", is_flag=True, help="NAME is a model, not a source.")
@click.pass_context
def rm(ctx: click.Context, name: str, model: bool) -> None:
    """Remove a source or a model; it goes to the trash folder of the workspace."""
    workspace = workspace_of(ctx)
    remove = versions.remove_model if model else sourcing.remove_source
    click.echo(f'Removed "{name}". It lies in {remove(workspace, name)}')


@click.command()
@click.argument("name")
@click.argument("new_name")
@click.pass_context
def rename(ctx: click.Context, name: str, new_name: str) -> None:
    """Give a source another name."""
    sourcing.rename_source(workspace_of(ctx), name, new_name)
    click.echo(f'"{name}" is now "{new_name}".')


@click.command("split-data")
@click.option(
    "--input", "annotation", type=click.Path(path_type=Path), required=True, help="A COCO file."
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="A folder.")
@click.option("--split", type=float, required=True, help="Share of the first part, 0 to 1.")
@click.option("--seed", default=0, show_default=True, help="Of the draw.")
def split_data(annotation: Path, output: Path, split: float, seed: int) -> None:
    """Cut a COCO file in two, for example to learn from one part and measure on the other."""
    for part in sourcing.split_coco(annotation, output, share=split, seed=seed):
        click.echo(f"{_counts(part.num_images, part.num_objects)}: {part.path}")


def _counts(images: int, objects: int) -> str:
    return f"{plural(images, 'image')}, {plural(objects, 'object')}"


COMMANDS = (create, import_, ls, rm, rename, split_data)

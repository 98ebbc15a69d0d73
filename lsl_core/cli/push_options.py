"""How a push shall be, as options of `push` and `cvat-inference`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lsl_core.errors import UserInput
from lsl_core.services.labelling.pushing import Cleaning, PushChoices, PushMode

Command = Callable[..., Any]

_PIXELS = click.IntRange(min=0)

_OPTIONS = (
    click.option(
        "--mode",
        type=click.Choice([mode.value for mode in PushMode]),
        default=PushMode.ADD.value,
        show_default=True,
        help="What happens to shapes that are there; what people drew stays but in the last.",
    ),
    click.option(
        "--confirm-task",
        type=int,
        metavar="ID",
        help="The task's number, typed once more: --mode replace-everything asks for it.",
    ),
    click.option(
        "--label-map",
        multiple=True,
        metavar="MODEL=CVAT",
        help="Where a label goes, may be repeated; MODEL= leaves it out. Kept for the task.",
    ),
    click.option(
        "--create-labels", is_flag=True, help="Add labels that the task lacks, instead of stopping."
    ),
    click.option(
        "--attribute",
        multiple=True,
        metavar="LABEL:NAME=VALUE",
        help="Value of an attribute of new shapes; may be repeated. Default: as the label has it.",
    ),
    click.option("--polygons", is_flag=True, help="Draw polygons where a label takes any shape."),
    click.option(
        "--tolerance",
        type=click.FloatRange(min=0),
        default=0.0,
        show_default=True,
        help="How far polygons may leave the outline, pixels.",
    ),
    click.option("--strays", type=_PIXELS, default=0, help="Drop parts of fewer pixels."),
    click.option("--holes", type=_PIXELS, default=0, help="Fill holes of fewer pixels."),
    click.option("--smooth", type=_PIXELS, default=0, help="Smooth outlines, radius in pixels."),
    click.option("--dry-run", is_flag=True, help="Show what would be pushed, write nothing."),
    click.option(
        "--coco",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Also write what would be added to this file.",
    ),
)


@dataclass(frozen=True, slots=True)
class PushWish:
    """What the options ask for."""

    choices: PushChoices
    creates_labels: bool
    is_dry: bool
    confirmed_task: int | None
    coco: Path | None


def push_options(command: Command) -> Command:
    """Add the options of a push."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def wish_of(options: dict[str, Any]) -> PushWish:
    """Return what the options of `push_options` ask for.

    Raises:
        UserInput: when a map or an attribute is not written as it must be.
    """
    choices = PushChoices(
        mapping=_label_map(options["label_map"]),
        mode=PushMode(options["mode"]),
        polygons=options["polygons"],
        tolerance=options["tolerance"],
        cleaning=Cleaning(options["strays"], options["holes"], options["smooth"]),
        attributes=_attributes(options["attribute"]),
    )
    return PushWish(
        choices,
        options["create_labels"],
        options["dry_run"],
        options["confirm_task"],
        options["coco"],
    )


def _label_map(pairs: Sequence[str]) -> dict[str, str | None]:
    mapping: dict[str, str | None] = {}
    for pair in pairs:
        label, is_pair, target = pair.partition("=")
        if not is_pair or not label:
            raise UserInput(f'"{pair}" maps no label.', hint="Write --label-map model=cvat")
        mapping[label] = target or None
    return mapping


def _attributes(words: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for word in words:
        place, is_pair, value = word.partition("=")
        label, is_place, name = place.partition(":")
        if not (is_pair and is_place and label and name):
            raise UserInput(
                f'"{word}" sets no attribute.', hint="Write --attribute label:name=value"
            )
        found.setdefault(label, {})[name] = value
    return found

"""Which label of a model goes to which label of a task: settled before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.tasks.entities import CvatLabel, LabelAttribute
from lsl_core.cvat.tasks.reading import bare_task, labels_of
from lsl_core.errors import LabelMismatch, UserInput
from lsl_core.geometry.drawable import Drawing

#: CVAT's longest label name (its data model).
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class LabelMatch:
    """Where the objects of one label of a model go.

    target: the task's label, None when they are left out or nothing fits. drawing: how they are
    drawn there. problem: "" or what is wrong, for people.
    """

    label: str
    target: CvatLabel | None
    drawing: Drawing | None
    problem: str = ""

    @property
    def is_new(self) -> bool:
        """Whether the target has to be made before anything can be drawn under it."""
        return self.target is not None and self.target.id < 0

    @property
    def is_settled(self) -> bool:
        """Whether the objects can be drawn, or are left out on purpose."""
        return not self.problem


def match_labels(
    labels: Sequence[str],
    task_labels: Sequence[CvatLabel],
    *,
    has_masks: bool,
    mapping: Mapping[str, str | None] | None = None,
    polygons: bool = False,
    create: Collection[str] = (),
) -> tuple[LabelMatch, ...]:
    """Find a label of the task for each label of a model, by the mapping or else by name.

    Args:
        labels: names in the order of class ids.
        task_labels: what the task has.
        has_masks: whether the objects have masks, or boxes only.
        mapping: model label to task label; None leaves its objects out.
        polygons: draw polygons where a label leaves the choice.
        create: labels of the model that the task shall get where it lacks them; until it has,
            their targets have ids below zero.
    """
    known = {label.name: label for label in task_labels}
    matches: list[LabelMatch] = []
    for name in labels:
        wanted = (mapping or {}).get(name, name)
        if wanted is None:
            matches.append(LabelMatch(name, None, None))
            continue
        target = known.get(wanted)
        if target is None and wanted == name and name in create:
            drawn = Drawing.MASK if has_masks else Drawing.RECTANGLE
            target = CvatLabel(-1 - len(matches), name, drawn.value, color="")
        if target is None:
            problem = f'the task has no label "{wanted}"'
            matches.append(LabelMatch(name, None, None, problem))
            continue
        drawing = drawing_for(target, has_masks=has_masks, polygons=polygons)
        problem = "" if drawing else _misfit(target, has_masks=has_masks)
        matches.append(LabelMatch(name, target, drawing, problem))
    return tuple(matches)


def drawing_for(label: CvatLabel, *, has_masks: bool, polygons: bool = False) -> Drawing | None:
    """Choose how objects are drawn under a label, None when the label cannot take them.

    Args:
        label: of the task; its type limits what fits.
        has_masks: whether the objects have masks, or boxes only.
        polygons: draw polygons where the label leaves the choice.
    """
    if label.type == "rectangle":
        return Drawing.RECTANGLE
    if label.type == "polygon":
        return Drawing.POLYGON if has_masks else None
    if label.type == "mask":
        return Drawing.MASK if has_masks else None
    if label.type != "any":
        return None
    if not has_masks:
        return Drawing.RECTANGLE
    return Drawing.POLYGON if polygons else Drawing.MASK


def with_values(
    labels: Sequence[CvatLabel], values: Mapping[str, Mapping[str, str]]
) -> list[CvatLabel]:
    """Return labels whose attributes have these values for new shapes, else their own defaults.

    Args:
        labels: of a task.
        values: attribute name to value, by label name.

    Raises:
        LabelMismatch: a label or attribute that the task lacks, or a value that it does not allow.
    """
    known = {label.name: label for label in labels}
    for name, wanted in values.items():
        has = {a.name for a in known[name].attributes} if name in known else set()
        for missing in sorted(set(wanted) - has):
            raise LabelMismatch(
                f'The task has no attribute "{missing}" of a label "{name}".',
                hint=f"It has: {', '.join(sorted(has)) or 'none'}.",
            )
    return [
        replace(
            label,
            attributes=tuple(
                _valued(label, attribute, values.get(label.name, {}))
                for attribute in label.attributes
            ),
        )
        for label in labels
    ]


def _valued(
    label: CvatLabel, attribute: LabelAttribute, values: Mapping[str, str]
) -> LabelAttribute:
    value = values.get(attribute.name, attribute.default)
    if attribute.name in values and not _allows(attribute, value):
        raise LabelMismatch(
            f'"{value}" is no value of "{attribute.name}" of the label "{label.name}".',
            hint=f"CVAT takes {', '.join(attribute.values)}.",
        )
    return replace(attribute, default=value)


def _allows(attribute: LabelAttribute, value: str) -> bool:
    """Whether CVAT's editor could give an attribute this value (it stores any)."""
    if attribute.input_type in ("select", "radio"):
        return value in attribute.values
    if attribute.input_type == "checkbox":
        return value in ("true", "false")
    if attribute.input_type == "number":
        low, high = (float(limit) for limit in attribute.values[:2])
        try:
            return low <= float(value) <= high
        except ValueError:
            return False
    return True


def require_settled(matches: Sequence[LabelMatch], *, task_id: int) -> None:
    """Return when every label has its place.

    Raises:
        LabelMismatch: naming all that have none.
    """
    open_ones = [match for match in matches if not match.is_settled]
    if open_ones:
        words = "; ".join(f'"{match.label}": {match.problem}' for match in open_ones)
        raise LabelMismatch(
            f"Labels do not fit task {task_id}: {words}.",
            hint="Map each to a label of the task, create it there, or leave it out.",
        )


def add_label(session: CvatSession, task_id: int, name: str, drawing: Drawing) -> CvatLabel:
    """Add a label to a task, or to its project when it has one.

    Raises:
        UserInput: when the name is taken, empty or too long.
    """
    task = bare_task(session, task_id)
    if not 0 < len(name) <= _LONGEST_NAME:
        raise UserInput(f"A label name has 1 to {_LONGEST_NAME} characters.", hint="Shorten it.")
    if any(label.name == name for label in labels_of(session, task)):
        raise UserInput(f'Task {task_id} has a label "{name}" already.', hint="Map to it.")
    owner = f"projects/{task.project_id}" if task.project_id else f"tasks/{task.id}"
    session.transport.json(
        "PATCH",
        f"/api/{owner}",
        doing=f'adding the label "{name}"',
        body={"labels": [{"name": name, "type": drawing.value, "attributes": []}]},
    )
    added = [label for label in labels_of(session, task) if label.name == name]
    if not added:
        raise LabelMismatch(f'CVAT did not add the label "{name}".', hint="Add it in CVAT.")
    return added[0]


def _misfit(label: CvatLabel, *, has_masks: bool) -> str:
    given = "masks" if has_masks else "boxes"
    return f'"{label.name}" of the task takes only {label.type} shapes, the model gives {given}'

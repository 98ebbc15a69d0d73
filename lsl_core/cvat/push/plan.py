"""What a push would do, as values: shown to a person, and held to.

Making a plan writes nothing (`planning.py`); `apply_push` does exactly what it says, or refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lsl_core.cvat.annotations.content import Kind
from lsl_core.cvat.annotations.spool import Spool
from lsl_core.cvat.tasks.entities import CvatLabel, TaskInfo
from lsl_core.cvat.tasks.label_matching import LabelMatch
from lsl_core.geometry.cleaning import AS_THEY_ARE, Cleaning


class PushMode(StrEnum):
    """What happens to shapes that are there.

    What people drew stays in every mode but the last: that one asks for the task's number, and
    Undo brings back what it took.
    """

    ADD = "add"
    REPLACE_OWN = "replace-own"
    REPLACE_AUTOMATIC = "replace-automatic"
    REPLACE_EVERYTHING = "replace-everything"


class RestoreMode(StrEnum):
    """What a plan does that is made of a backup, not of predictions."""

    RESTORE = "restore"


class Conflicts(StrEnum):
    """What happens to our object where a person drew something else about the same thing."""

    SKIP = "skip"
    ADD = "add"


@dataclass(frozen=True, slots=True)
class PushChoices:
    """How a person wants a push to be.

    mapping: model label to label of the task, None leaves it out; by name where it is silent.
    mode: what happens to shapes that are there. conflicts: what happens to ours where a person
    drew something else. polygons: draw polygons where a label leaves the choice. tolerance: how
    far they may leave the outline, pixels. cleaning: what is tidied in the masks. attributes:
    values for new shapes by label of the task and name; its own defaults where it is silent.
    create: labels of the model that are to be made where the task lacks them.
    """

    mapping: Mapping[str, str | None] = field(default_factory=dict)
    mode: PushMode = PushMode.ADD
    conflicts: Conflicts = Conflicts.SKIP
    polygons: bool = False
    tolerance: float = 0.0
    cleaning: Cleaning = AS_THEY_ARE
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    create: tuple[str, ...] = ()


#: Add, draw as the labels allow, leave the masks as they are.
AS_USUAL = PushChoices()


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What a push does to one label of the task, counted in objects.

    duplicates: not added, the same object is there. conflicts: ours that meet a person's object
    with IoU of 0.5 or more without being the same; those of a backup that a person edited since.
    kind: of a backup also tags and tracks.
    """

    label: str
    now: int
    add: int
    duplicates: int
    conflicts: int
    remove: int
    kind: Kind = "shapes"

    @property
    def after(self) -> int:
        """Objects of the label when the push is done."""
        return self.now + self.add - self.remove


@dataclass(frozen=True, slots=True)
class FrameRow:
    """What a push does to one frame, counted in objects."""

    frame: int
    name: str
    add: int
    duplicates: int
    conflicts: int
    remove: int


@dataclass(frozen=True, slots=True)
class SkippedFrame:
    """A frame whose objects are not pushed, and why."""

    frame: int
    objects: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class PushPlan:
    """What a push will do, frozen.

    token: names this plan; the same task, objects and choices give the same one, anything else
    another. state: hash of the task's annotations that it was made for. matches: where each label
    of the model goes. create: what to add, on disk, each in the group of its job; of a backup also
    tags and tracks. remove: what to take away, likewise. warnings: for people, each a sentence.
    """

    token: str
    task: TaskInfo
    url: str
    mode: PushMode | RestoreMode
    run_id: str
    state: str
    num_shapes: int
    matches: tuple[LabelMatch, ...]
    labels: tuple[LabelRow, ...]
    frames: tuple[FrameRow, ...]
    skipped: tuple[SkippedFrame, ...]
    warnings: tuple[str, ...]
    create: Spool
    remove: Spool

    @property
    def num_add(self) -> int:
        """Objects that will be added."""
        return sum(row.add for row in self.labels)

    @property
    def num_duplicates(self) -> int:
        """Objects that are there already."""
        return sum(row.duplicates for row in self.labels)

    @property
    def num_conflicts(self) -> int:
        """Objects that meet a person's."""
        return sum(row.conflicts for row in self.labels)

    @property
    def num_remove(self) -> int:
        """Objects that will be taken away."""
        return sum(row.remove for row in self.labels)

    @property
    def new_labels(self) -> tuple[CvatLabel, ...]:
        """Labels that the task lacks: until they are made, this plan can only be looked at."""
        return tuple(m.target for m in self.matches if m.target is not None and m.is_new)

    @property
    def does_nothing(self) -> bool:
        """Whether there is nothing to write."""
        return not self.create and not self.remove

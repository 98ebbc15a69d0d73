"""Labels and the kinds of work."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Names of the labels; position is `class_id`.

    cvat_ids: CVAT's id of each label, or None when the labels do not come from a task. CVAT's
        ids have gaps and are never used as an index.
    """

    names: tuple[str, ...]
    cvat_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"label names repeat: {self.names}")
        if self.cvat_ids is not None and len(self.cvat_ids) != len(self.names):
            raise ValueError("one CVAT id per label, or none at all")

    def __len__(self) -> int:
        return len(self.names)


class Geometry(StrEnum):
    """What a label is drawn as."""

    BOXES = "boxes"
    MASKS = "masks"


class Mode(StrEnum):
    """What is learnt from what: the task types of LSL."""

    FSOD = "fsod"
    WSIS = "wsis"
    FSIS = "fsis"
    FSIS_SEGONLY = "fsis_segonly"


@dataclass(frozen=True, slots=True)
class ModeTraits:
    """What a mode needs and gives."""

    title: str
    learns_from: Geometry
    gives: Geometry
    semantic: bool = False


#: The one table of modes (DESIGN §2 of the product).
MODES: dict[Mode, ModeTraits] = {
    Mode.FSOD: ModeTraits("few-shot object detection", Geometry.BOXES, Geometry.BOXES),
    Mode.WSIS: ModeTraits(
        "weakly supervised instance segmentation", Geometry.BOXES, Geometry.MASKS
    ),
    Mode.FSIS: ModeTraits("few-shot instance segmentation", Geometry.MASKS, Geometry.MASKS),
    Mode.FSIS_SEGONLY: ModeTraits(
        "semantic segmentation of dense samples", Geometry.MASKS, Geometry.MASKS, semantic=True
    ),
}

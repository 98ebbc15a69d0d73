"""What identifies an image, a part of it, and what was predicted on it."""

from __future__ import annotations

from dataclasses import dataclass

from lsl_core.types.instances import Hw, Instances


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image: where it came from and what its bytes hash to.

    task_id: the CVAT task, or None for an image from disk.
    frame: index of the image in its task or source, from 0.
    name: file name as the task or the COCO file has it.
    image_hw: (height, width) in pixels.
    sha256: hash of the encoded file, hex; identity of the pixels for every cache.
    """

    task_id: int | None
    frame: int
    name: str
    image_hw: Hw
    sha256: str


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A part of an image, in image pixels; never outside it."""

    x: int
    y: int
    width: int
    height: int


#: Share of an object that a window must show for it to count there, as in the original LSL.
OBJECT_THRESHOLD = 0.2


@dataclass(frozen=True, slots=True)
class SlideWindows:
    """How an image is cut: window size and shared strip, in pixels.

    Defaults are those of the original LSL. `whole_image` adds one pass over the reduced image,
    which finds what is larger than a window.
    """

    width: int = 1024
    height: int = 1024
    overlap: int = 150
    whole_image: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Everything a model found on one image with score >= `floor_score`, highest first."""

    image: ImageRef
    model_id: str
    instances: Instances
    floor_score: float

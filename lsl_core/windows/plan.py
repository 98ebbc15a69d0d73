"""Which parts of an image are looked at, one after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import UserInput
from lsl_core.types import Hw, SlideWindows, Window

#: A smaller window shows too little of an object to find it.
SMALLEST_WINDOW = 32


def plan(image_hw: Hw, slide: SlideWindows | None) -> tuple[Window, ...]:
    """Return the windows of an image, row by row; the whole image last where it is asked for.

    Windows never leave the image and cover every pixel: the last row and column are shifted
    inward, and an image smaller than a window gets a smaller window. Training and prediction use
    this plan and no other.

    Args:
        image_hw: (height, width) of the image, pixels.
        slide: None for one window, the whole image.

    Raises:
        UserInput: if these windows are no use.
    """
    height, width = image_hw
    if height < 1 or width < 1:
        raise ValueError(f"an image of (height, width) {image_hw} has no pixel")
    whole = Window(0, 0, width, height)
    if slide is None:
        return (whole,)
    check(slide)
    w, h = min(slide.width, width), min(slide.height, height)
    windows = tuple(
        Window(x, y, w, h)
        for y in _begins(height, h, slide.overlap)
        for x in _begins(width, w, slide.overlap)
    )
    return (*windows, whole) if slide.whole_image and len(windows) > 1 else windows


def check(slide: SlideWindows) -> None:
    """Refuse windows that are no use.

    Raises:
        UserInput: naming the numbers and a pair that works.
    """
    size = f"{slide.width}×{slide.height}"
    shortest = min(slide.width, slide.height)
    if shortest < SMALLEST_WINDOW:
        raise UserInput(
            f"Windows of {size} pixels are too small: no side may be under {SMALLEST_WINDOW}.",
            hint="Use 1024×1024, or the size the model was trained at.",
        )
    if slide.overlap < 0:
        raise UserInput(
            f"An overlap of {slide.overlap} pixels leaves gaps between windows of {size} pixels.",
            hint="Use 0 or more; 150 suits windows of 1024×1024.",
        )
    if slide.overlap >= shortest:
        raise UserInput(
            f"An overlap of {slide.overlap} pixels is not smaller than windows of {size} pixels.",
            hint=f"Use an overlap of at most {shortest // 2}, or windows larger than "
            f"{slide.overlap} pixels.",
        )


def _begins(size: int, window: int, overlap: int) -> list[int]:
    if size <= window:
        return [0]
    return [*range(0, size - window, window - overlap), size - window]


def cut(pixels: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    """Return what a window shows of an image (h, w, 3), as a view.

    Raises:
        ValueError: if the window leaves the image (a bug in the plan, not in the data).
    """
    x, y, x1, y1 = window.x, window.y, window.x + window.width, window.y + window.height
    if x < 0 or y < 0 or x1 > pixels.shape[1] or y1 > pixels.shape[0]:
        raise ValueError(f"{window} leaves an image of {pixels.shape[1]}×{pixels.shape[0]} pixels")
    return pixels[y:y1, x:x1]

"""An image as a model sees it: its windows, and their answers put together again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsl_core.types import MODES, Hw, Instances, Mode, SlideWindows, Window
from lsl_core.windows import cut, enlarge, plan, reduced_hw, shrink, stitch

Pixels = NDArray[np.uint8]


def parts_of(pixels: Pixels, slide: SlideWindows | None) -> list[tuple[Window, Pixels]]:
    """Return each window of an image with what the model is shown of it.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        slide: windows; None for the whole image.
    """
    parts = []
    for window in plan((pixels.shape[0], pixels.shape[1]), slide):
        shown = cut(pixels, window)
        reduced = reduced_hw(window, slide)
        parts.append((window, shrink(shown, reduced) if reduced else shown))
    return parts


def in_window(window: Window, found: Instances) -> Instances:
    """Return what was found on a possibly reduced window, in the window's own pixels."""
    window_hw = (window.height, window.width)
    return found if found.image_hw == window_hw else enlarge(found, window_hw)


def joined(
    windows: Sequence[Window], answers: Sequence[Instances], *, image_hw: Hw, mode: Mode
) -> Instances:
    """Return what the image holds, from what its windows show, highest score first."""
    parts = [(w, in_window(w, found)) for w, found in zip(windows, answers, strict=True)]
    return stitch(parts, image_hw=image_hw, semantic=MODES[mode].semantic)

"""One object from clicks or a box, drawn by a pretrained segmenter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lsl_core.geometry.runs import trim
from lsl_core.inference.batches import Pixels
from lsl_core.serve.detector import TIMEOUT_S, Detector
from lsl_core.serve.interactor import Bools, Prompt, Rect, moved, obeyed, select
from lsl_core.types import CropMasks, Hw, SlideWindows, Window
from lsl_core.windows import cut, plan

if TYPE_CHECKING:
    from lsl_core.models.foundation.selector import Selector


def select_any(
    selector: Selector | None,
    detector: Detector,
    image: bytes | Pixels,
    prompt: Prompt,
    *,
    slide: SlideWindows | None = None,
    timeout_s: float = TIMEOUT_S,
) -> CropMasks:
    """Return what was pointed at, by the segmenter, or without one by the detector's own masks."""
    if selector is None:
        return select(detector, image, prompt, slide=slide, timeout_s=timeout_s)
    return select_by(selector, detector, image, prompt, slide=slide, timeout_s=timeout_s)


def select_by(
    selector: Selector,
    detector: Detector,
    image: bytes | Pixels,
    prompt: Prompt,
    *,
    slide: SlideWindows | None = None,
    timeout_s: float = TIMEOUT_S,
) -> CropMasks:
    """Return the mask that a pretrained segmenter draws of what a person pointed at.

    With windows it looks at one that shows all of the prompt, at full resolution; the windows are
    always the same, so that what it made of one serves the next click there.

    Args:
        selector: draws.
        detector: decodes images within its limits.
        image: bytes of an image file, or (h, w, 3) uint8 RGB pixels.
        prompt: in image pixels.
        slide: None shows it the whole image, reduced to what it looks at.
        timeout_s: how long to wait, seconds.

    Raises:
        UserInput, TooLarge, TooBusy, TooLate: as `select`.
    """
    with detector.decoded(image, timeout_s=timeout_s) as pixels:
        image_hw = (pixels.shape[0], pixels.shape[1])
        prompt = prompt.within(image_hw)
        window = _window_of(prompt, image_hw, slide)
        local = moved(prompt, _rect(window))
        points = np.array([*local.positive, *local.negative], np.float32).reshape(-1, 2)
        is_positive = np.arange(len(points)) < len(local.positive)
        box = None if local.box is None else np.array(local.box, np.float32)
        crop, place = selector.select(
            cut(pixels, window), points, is_positive, box, timeout_s=timeout_s
        )
    place = (place[0] + window.x, place[1] + window.y)
    return _drawn(crop, place, prompt, image_hw)


def _window_of(prompt: Prompt, image_hw: Hw, slide: SlideWindows | None) -> Window:
    """Return the smallest window with all of a prompt in it, and it most in the middle."""
    x1, y1, x2, y2 = _around(prompt)

    def rank(window: Window) -> tuple[float, float]:
        left, top, right, bottom = _rect(window)
        off_middle = (left + right - x1 - x2) ** 2 + (top + bottom - y1 - y2) ** 2
        return window.width * window.height, off_middle

    fitting = [
        window
        for window, (left, top, right, bottom) in ((w, _rect(w)) for w in plan(image_hw, slide))
        if left <= x1 and top <= y1 and x2 <= right and y2 <= bottom
    ]
    return min(fitting, key=rank, default=Window(0, 0, image_hw[1], image_hw[0]))


def _rect(window: Window) -> Rect:
    return window.x, window.y, window.x + window.width, window.y + window.height


def _around(prompt: Prompt) -> tuple[float, float, float, float]:
    """Return the box around what is on the object, xyxy."""
    rects = [(x, y, x + 1, y + 1) for x, y in prompt.positive]
    rects += [prompt.box] if prompt.box else []
    x1, y1, x2, y2 = zip(*rects, strict=True)
    return min(x1), min(y1), max(x2), max(y2)


def _drawn(crop: Bools, place: tuple[int, int], prompt: Prompt, image_hw: Hw) -> CropMasks:
    """Return a mask in the image, every click obeyed."""
    h, w = crop.shape
    x1, y1, x2, y2 = _around(prompt)
    left, top = min(place[0], int(x1)), min(place[1], int(y1))
    right = min(max(place[0] + w, int(np.ceil(x2))), image_hw[1])
    bottom = min(max(place[1] + h, int(np.ceil(y2))), image_hw[0])
    mask = np.zeros((bottom - top, right - left), bool)
    mask[place[1] - top : place[1] - top + h, place[0] - left : place[0] - left + w] = crop
    mask = obeyed(mask, moved(prompt, (left, top, right, bottom)))
    return trim(CropMasks.from_crops([mask], [(left, top)]))

"""From the pixels of a window to what a pretrained encoder was trained on.

The same as the image processors of transformers do, which need torchvision: resize with
anti-aliasing, then the mean and deviation of ImageNet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lsl_core.types import Hw

#: Mean and deviation of each colour in ImageNet, of values in [0, 1] (preprocessor_config.json of
#: every checkpoint in the catalogue).
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def prepared(
    windows: Sequence[NDArray[np.uint8]], sizes: Sequence[Hw], side: int, device: torch.device
) -> Tensor:
    """Resize windows, and fill up right and bottom with 0, the mean of ImageNet.

    Args:
        windows: (h, w, 3) uint8 RGB, sizes may differ.
        sizes: what each becomes before filling up, at most `side` a side.
        side: of what comes out.
        device: where it is made.

    Returns:
        (B, 3, side, side) float32.
    """
    mean = torch.tensor(MEAN, device=device).view(3, 1, 1)
    deviation = torch.tensor(DEVIATION, device=device).view(3, 1, 1)
    batch = torch.zeros(len(windows), 3, side, side, device=device)
    for row, window, size in zip(batch, windows, sizes, strict=True):
        image = torch.tensor(np.ascontiguousarray(window), device=device)  # may be read-only
        image = image.permute(2, 0, 1)[None].float()  # (1, 3, h, w)
        if image.shape[2:] != size:
            image = functional.interpolate(image, size, mode="bilinear", antialias=True)
        row[:, : size[0], : size[1]] = (image[0] / 255 - mean) / deviation
    return batch


def longest_side(image_hw: Hw, side: int) -> Hw:
    """Return the size of a window whose longer side becomes `side`, its shape kept."""
    scale = side / max(image_hw)
    return max(1, round(image_hw[0] * scale)), max(1, round(image_hw[1] * scale))

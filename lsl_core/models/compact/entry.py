"""Windows become the input of the network: on the processor, or on the device that computes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lsl_core.models.compact import transform
from lsl_core.models.compact.network import MULTIPLE

Pixels = NDArray[np.uint8]


def network_input(
    windows: Sequence[Pixels], place: torch.device, *, least_range: float, invert: bool
) -> Tensor:
    """Level windows of one size and fill them up to what the network takes.

    Args:
        windows: B of (h, w, 3) uint8.
        place: where the network is.
        least_range: as in `transform.levelled`.
        invert: as in `transform.dark_ground`.

    Returns:
        (B, 3, H, W) float32 on the device, in memory channels last; H and W multiples of 16.
    """
    make = on_processor if place.type == "cpu" else on_device
    return make(windows, place, least_range=least_range, invert=invert).permute(0, 3, 1, 2)


def on_processor(
    windows: Sequence[Pixels], place: torch.device, *, least_range: float, invert: bool
) -> Tensor:
    """Level each window straight into its place in the batch, (B, H, W, 3); as training does."""
    h, w = windows[0].shape[:2]
    below, beside = -h % MULTIPLE, -w % MULTIPLE
    shape = (len(windows), h + below, w + beside, 3)
    batch = np.zeros(shape, np.float32) if below or beside else np.empty(shape, np.float32)
    for image, window in zip(batch[:, :h, :w], windows, strict=True):
        transform.levelled(window, least_range, out=image)
        if invert and transform.has_bright_ground(image):
            np.negative(image, out=image)
    return torch.from_numpy(batch).to(place)


def on_device(
    windows: Sequence[Pixels], place: torch.device, *, least_range: float, invert: bool
) -> Tensor:
    """Send grey levels, a quarter of the bytes, and level them there, (B, H, W, 3)."""
    h, w = windows[0].shape[:2]
    sent = torch.empty((len(windows), h, w, 3), dtype=torch.uint8, pin_memory=place.type == "cuda")
    levels = []
    for row, window in zip(sent.numpy(), windows, strict=True):
        levels.append(transform.Levels.of(window, least_range))
        np.copyto(row, window)  # while it is in the processor's cache
    down, across = (torch.from_numpy(s.copy()).to(place) for s in levels[0].shares((h, w)))
    batch = sent.to(place, non_blocking=True).float()
    for change, values in (
        (batch.sub_, [one.middles for one in levels]),
        (batch.div_, [one.halves for one in levels]),
    ):
        field = down @ torch.from_numpy(np.stack(values)).to(place) @ across  # (B, h, w)
        change(field[..., None])
    if invert:
        step = transform.sample_step((h, w))
        for image in batch:
            if transform.has_bright_ground(image[::step, ::step].cpu().numpy()):
                image.neg_()
    return functional.pad(batch, (0, 0, 0, -w % MULTIPLE, 0, -h % MULTIPLE))

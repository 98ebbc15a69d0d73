"""What the peers of `fewshot_peers.py` have in common: how they see, train, choose and answer."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from lsl_core.models.compact import transform
from lsl_core.models.devices import has_bfloat16
from lsl_core.training import Sample, evaluate
from lsl_core.training.examples.tiles import Tile, make_tile, object_sizes
from lsl_core.types import CropMasks, Hw, Instances

#: Crops a step, as compact.
BATCH = 4
#: Lowest score kept, as in `fewshot.py`.
FLOOR_SCORE = 0.02
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt: samples, names of labels, whether masks are wanted, CPU seconds, seed."""

    train: list[Sample]
    val: list[Sample]
    labels: list[str]
    with_masks: bool
    seconds: float
    seed: int


class Peer(Protocol):
    """Someone who finds objects after having seen a few."""

    def fit(self, task: Task) -> None:
        """Learn."""

    def predict(self, pixels: np.ndarray) -> Instances:
        """Find objects in an image (h, w, 3) uint8."""


@dataclass(frozen=True, slots=True)
class Look:
    """How an image comes to a peer: factor of its size, and whether bright ground is inverted."""

    scale: float
    invert: bool = False

    @classmethod
    def of(cls, task: Task, *, invert: bool = False) -> Look:
        """Choose compact's scale: the median object 20 to 25 px with masks, 32 px with boxes."""
        median = float(np.median(object_sizes(task.train)))
        wanted = np.clip(median, 20, 25) if task.with_masks else 32
        return cls(float(wanted / median), invert)

    def tiles(self, samples: Iterable[Sample]) -> list[Tile]:
        least = transform.LEAST_RANGE
        look = {"scale": self.scale, "invert": self.invert, "least_range": least}
        return [make_tile(s.pixels(), s.instances, **look) for s in samples]

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """Return it scaled and levelled to about [-1, 1], (h, w, 3) float32."""
        image = transform.levelled(transform.scaled(pixels, self.scale), transform.LEAST_RANGE)
        return transform.dark_ground(image) if self.invert else image


def batch_of(images: Sequence[np.ndarray]) -> Tensor:
    """Return (B, 3, h, w) from (h, w, 3) images of one size."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def in_half(network: nn.Module, *inputs: Tensor, **more: Any) -> Any:
    """Run it in 16 bits where the processor gains by it, as compact does."""
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(CPU)):
        return network(*inputs, **more)


def train(
    network: nn.Module, loss_of: Callable[[], Tensor], task: Task, *, rate: float, decay: float
) -> nn.Module:
    """Train until the CPU seconds are gone; return the running average of the weights."""
    average, step, share = copy.deepcopy(network).eval(), 0, 0.0
    began = time.process_time()
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
    network.train()
    while share < 1:
        now = rate * min(1.0, (step + 1) / 20) * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
        for group in optimiser.param_groups:
            group["lr"] = now
        loss = loss_of()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        kept = min(0.99, (1 + step) / (10 + step))
        follow = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
        for ours, theirs in follow:
            ours.lerp_(theirs, 1 - kept) if ours.is_floating_point() else ours.copy_(theirs)
        if step % 50 == 0:
            print(f"  loss {float(loss.detach()):.3f} at {step}", flush=True)
        step, share = step + 1, (time.process_time() - began) / task.seconds
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    print(f"  {step} steps, {millions:.2f} M parameters")
    return average


def choose(
    options: Iterable[tuple[float, ...]],
    found: Callable[[int, tuple[float, ...]], Instances],
    samples: Sequence[Sample],
    labels: list[str],
) -> tuple[float, ...]:
    """Return the knobs with the highest AP; `found` takes the number of a sample and knobs."""
    truth = [s.instances for s in samples]
    scores = {
        knobs: evaluate(truth, [found(i, knobs) for i in range(len(truth))], labels).ap
        for knobs in options
    }
    best = max(scores, key=lambda knobs: scores[knobs])
    print(f"  knobs {best}: AP {scores[best]:.3f}")
    return best


def flooded(height: np.ndarray, seeds: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Let seeds (h, w; 0 for none) grow over the foreground, high places first; return owners.

    Watershed by immersion (Vincent and Soille 1991), in 32 levels; what no seed reaches is dropped.
    """
    owners, near = seeds.astype(np.float32), np.ones((3, 3), np.uint8)
    for level in np.linspace(float(height.max()), float(height.min()), 32):
        open_ = foreground & (height >= level)
        count = -1
        while count != (count := np.count_nonzero(owners)):
            owners = np.where(open_ & (owners == 0), cv2.dilate(owners, near), owners)
    return owners.astype(np.int32)


def objects(
    owners: np.ndarray,
    image_hw: Hw,
    judge: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    *,
    with_masks: bool,
) -> Instances:
    """Make instances of a map of owners at a peer's scale.

    Args:
        owners: (h, w) int32, 0 for none.
        image_hw: size of the image, to which the map is enlarged.
        judge: returns the scores and labels of the owners of these numbers.
        with_masks: whether to give masks, or boxes only.
    """
    size = (image_hw[1], image_hw[0])
    large = cv2.resize(owners.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    large = large.astype(np.int32)
    places = [(i + 1, at) for i, at in enumerate(ndimage.find_objects(large)) if at is not None]
    numbers = np.array([i for i, _ in places], np.int64)
    boxes = [(x.start, y.start, x.stop, y.stop) for _, (y, x) in places]
    masks = CropMasks.from_crops(
        [large[at] == i for i, at in places], [(x.start, y.start) for _, (y, x) in places]
    )
    scores, class_ids = judge(numbers) if places else (np.zeros(0), np.zeros(0))
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        scores.astype(np.float32),
        class_ids.astype(np.int32),
        masks if with_masks else None,
        image_hw,
    )

"""The training loop of the compact network."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lsl_core.errors import ModelError
from lsl_core.models.compact import transform
from lsl_core.models.compact.network import CompactNetwork
from lsl_core.models.devices import choose_device, set_threads
from lsl_core.progress import Progress
from lsl_core.training.box_masks import with_masks
from lsl_core.training.crops import draw_crop
from lsl_core.training.losses import total_loss
from lsl_core.training.samples import Sample
from lsl_core.training.settings import FitSettings
from lsl_core.training.targets import Targets, make_targets
from lsl_core.training.tiles import Tile, object_sizes, tile_of, windows_of
from lsl_core.types import MODES, Geometry, Mode
from lsl_core.windows import cut


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a mode trains with.

    smallest_px, largest_px: images are resized so that the side of the median object comes to lie
    between them at the network; width: its channels; label_weight: what telling labels apart
    counts beside finding objects.
    """

    smallest_px: float
    largest_px: float
    width: int
    label_weight: float


#: Larger objects cost time and show no more; smaller ones lose their shape at half resolution.
RECIPES: dict[Mode, Recipe] = {
    Mode.FSOD: Recipe(smallest_px=32, largest_px=32, width=24, label_weight=1),
    Mode.WSIS: Recipe(smallest_px=20, largest_px=25, width=24, label_weight=3),
    Mode.FSIS: Recipe(smallest_px=20, largest_px=25, width=24, label_weight=3),
    Mode.FSIS_SEGONLY: Recipe(smallest_px=20, largest_px=25, width=24, label_weight=3),
}

#: Images are not resized beyond these factors, whatever the objects' size.
SCALES = (0.05, 4.0)
BATCH = 4
#: AdamW, warm-up, cosine, clipping (recipe of the first trials).
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
WARM_UP = 20
CLIP = 5.0
#: The average of the weights follows this closely at most.
EMA = 0.99
#: Bytes of tiles kept in memory; beyond it tiles are made again when drawn.
TILE_BYTES = 600 * 2**20
#: Steps between two reports.
REPORT_EVERY = 10


@dataclass(frozen=True, slots=True)
class Trained:
    """Weights on the CPU, the factor images are resized by, what rebuilds the network."""

    state: dict[str, Tensor]
    scale: float
    settings: dict[str, float | int | str | bool]
    iterations: int


class _Tiles(Sequence[Tile]):
    """The windows of all samples, made when drawn and kept while memory lasts."""

    def __init__(
        self, samples: Sequence[Sample], settings: FitSettings, scale: float, least_range: float
    ) -> None:
        self._places = [
            (s, w, drawn) for s in samples for w, drawn in windows_of(s, settings.slide)
        ]
        self._scale, self._least_range = scale, least_range
        self._kept: dict[int, Tile] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, i: int) -> Tile:  # type: ignore[override]
        if i in self._kept:
            return self._kept[i]
        sample, window, drawn = self._places[i]
        tile = tile_of(sample, window, drawn, scale=self._scale, least_range=self._least_range)
        if self._bytes < TILE_BYTES:
            self._kept[i] = tile
            self._bytes += tile.image.nbytes + tile.ids.nbytes
        return tile


def train_compact(
    samples: Sequence[Sample], settings: FitSettings, labels: tuple[str, ...], progress: Progress
) -> Trained:
    """Train a compact network; see `fit`."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    recipe = RECIPES[settings.mode]
    if settings.mode is Mode.WSIS:
        samples = _with_masks(samples, progress)
    scale = _scale(samples, recipe)
    least_range = _least_range(samples, settings, scale, progress)
    tiles = _Tiles(samples, settings, scale, least_range)
    device = choose_device(settings.device)
    network = CompactNetwork(settings.mode, num_labels=len(labels), width=recipe.width).to(device)
    masked = MODES[settings.mode].gives is Geometry.MASKS

    def draw() -> tuple[Tensor, Targets]:
        crops = [draw_crop(tiles, rng, with_masks=masked) for _ in range(BATCH)]
        images = torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2)
        return images.to(device), make_targets(crops, len(labels)).to(device)

    loss = partial(total_loss, label_weight=recipe.label_weight)
    if device.type == "cpu":
        probe, (images, targets) = copy.deepcopy(network), draw()
        set_threads(settings.threads, lambda: _backward(loss(probe(images), targets)))
    loop = Loop(network, loss, settings, progress)
    while not loop.is_over():
        progress.check()
        loop.step(*draw())
    state = {name: value.detach().cpu() for name, value in loop.average.state_dict().items()}
    extra = {"width": recipe.width, "least_range": least_range}
    return Trained(state, scale, dict(extra), loop.iteration)


def _with_masks(samples: Sequence[Sample], progress: Progress) -> list[Sample]:
    progress.start("Finding masks in boxes", total=len(samples), unit="images")
    found = []
    for sample in samples:
        progress.check()
        found.append(with_masks(sample))
        progress.advance()
    return found


def _scale(samples: Sequence[Sample], recipe: Recipe) -> float:
    """Return the factor that brings the median object to the size that the recipe wants."""
    median = float(np.median(object_sizes(samples)))
    wanted = float(np.clip(median, recipe.smallest_px, recipe.largest_px))
    return float(np.clip(wanted / median, *SCALES))


def _least_range(
    samples: Sequence[Sample], settings: FitSettings, scale: float, progress: Progress
) -> float:
    """Return half of the lowest contrast that is labelled: less than that is empty ground."""
    progress.start("Reading images", total=len(samples), unit="images")
    lowest = math.inf
    for sample in samples:
        progress.check()
        pixels = sample.pixels()
        for window, drawn in windows_of(sample, settings.slide):
            if len(drawn):
                small = transform.scaled(cut(pixels, window), scale)
                lowest = min(lowest, transform.contrast(small))
        progress.advance()
    return max(transform.LEAST_RANGE, lowest / 2)


class Loop:
    """Optimiser, schedule, running average and reports of one training."""

    def __init__(
        self,
        network: CompactNetwork,
        loss: Callable[[dict[str, Tensor], Targets], Tensor],
        settings: FitSettings,
        progress: Progress,
    ) -> None:
        self.average = copy.deepcopy(network).eval()
        self.iteration = 0
        self._network, self._loss = network.train(), loss
        self._settings, self._progress = settings, progress
        decayed = [p for p in network.parameters() if p.ndim > 1]
        plain = [p for p in network.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self._began = time.monotonic()
        self._losses: list[float] = []
        self._told = 0
        self._total = settings.iterations or math.ceil((settings.minutes or 0) * 60)
        progress.start("Training", total=self._total, unit="steps" if settings.iterations else "s")

    def share(self) -> float:
        """Return how much of the budget is used, 1 when it is gone."""
        used = 0.0
        if self._settings.iterations is not None:
            used = self.iteration / self._settings.iterations
        if self._settings.minutes is not None:
            used = max(used, (time.monotonic() - self._began) / (self._settings.minutes * 60))
        return min(used, 1.0)

    def is_over(self) -> bool:
        """Whether the budget is gone; a training has one step at least."""
        return self.iteration > 0 and self.share() >= 1

    def step(self, images: Tensor, targets: Targets) -> None:
        """Learn from one batch."""
        rate = LEARNING_RATE * min(1.0, (self.iteration + 1) / WARM_UP)
        rate *= 0.01 + 0.99 * (1 + math.cos(math.pi * self.share())) / 2
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        loss = self._loss(self._network(images), targets)
        check_loss(float(loss.detach()), self.iteration)
        self._optimiser.zero_grad(set_to_none=True)
        _backward(loss)
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), CLIP)
        self._optimiser.step()
        self._follow()
        self._losses.append(float(loss.detach()))
        self.iteration += 1
        if self.iteration % REPORT_EVERY == 0 or self.is_over():
            self._report(rate)

    def _follow(self) -> None:
        keep = min(EMA, (1 + self.iteration) / (10 + self.iteration))
        with torch.no_grad():
            ours = self.average.state_dict()
            for name, value in self._network.state_dict().items():
                if value.is_floating_point():
                    ours[name].lerp_(value, 1 - keep)
                else:
                    ours[name].copy_(value)

    def _report(self, rate: float) -> None:
        self._progress.metric("loss", float(np.mean(self._losses)), at=self.iteration)
        self._progress.metric("learning_rate", rate, at=self.iteration)
        self._losses.clear()
        by_steps = self._settings.iterations is not None
        done = self.iteration if by_steps else round(self.share() * self._total)
        self._progress.advance(done - self._told)
        self._told = done


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types


def check_loss(loss: float, iteration: int) -> None:
    """Stop a training that has gone wrong.

    Raises:
        ModelError: when the loss is no number any more.
    """
    if not math.isfinite(loss):
        raise ModelError(
            f"Training stopped at step {iteration}: the loss is no number any more.",
            hint="Check the images for broken ones, then train again with another seed.",
        )

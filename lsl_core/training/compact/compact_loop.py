"""The training loop of the compact network."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lsl_core.errors import ModelError
from lsl_core.models.compact import transform
from lsl_core.models.compact.model import build
from lsl_core.models.compact.network import CompactNetwork
from lsl_core.models.compact.sizes import Sizes
from lsl_core.models.devices import choose_device, set_threads
from lsl_core.progress import Progress
from lsl_core.training.common.loop import Loop, backward
from lsl_core.training.common.settings import FitSettings
from lsl_core.training.common.trained import Score, Trained
from lsl_core.training.compact.box_masks import with_masks
from lsl_core.training.compact.crops import draw_crop
from lsl_core.training.compact.losses import batch_loss
from lsl_core.training.compact.targets import Targets, make_targets
from lsl_core.training.examples.samples import Sample, fingerprint
from lsl_core.training.examples.tiles import Tile, label_sizes, make_tile, object_sizes, polarity
from lsl_core.types import MODES, Geometry, Mode
from lsl_core.windows import cut
from lsl_core.workspace.files import sha256_file


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
#: Bytes of tiles kept in memory; beyond it tiles are made again when drawn.
TILE_BYTES = 600 * 2**20


@dataclass(frozen=True, slots=True)
class Look:
    """How pixels come to the network: factor of size, least range of grey levels, polarity."""

    scale: float
    least_range: float
    invert: bool


class _Tiles(Sequence[Tile]):
    """The windows of all samples, made when drawn and kept while memory lasts."""

    def __init__(self, samples: Sequence[Sample], settings: FitSettings, look: Look) -> None:
        self._places = [(s, w, drawn) for s in samples for w, drawn in settings.windows_of(s)]
        self._look = look
        self._kept: dict[int, Tile] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, i: int) -> Tile:  # type: ignore[override]
        if i in self._kept:
            return self._kept[i]
        sample, window, drawn = self._places[i]
        tile = make_tile(cut(sample.pixels(), window), drawn, **asdict(self._look))
        if self._bytes < TILE_BYTES:
            self._kept[i] = tile
            self._bytes += tile.image.nbytes + tile.ids.nbytes
        return tile


class _Batches:
    """Draws crops of tiles, as many at a time as the device can hold."""

    def __init__(
        self,
        tiles: Sequence[Tile],
        rng: np.random.Generator,
        mode: Mode,
        *,
        num_labels: int,
        device: torch.device,
    ) -> None:
        self._tiles, self._rng, self._num_labels, self._device = tiles, rng, num_labels, device
        self._masked = MODES[mode].gives is Geometry.MASKS
        self._size = BATCH

    def draw(self) -> tuple[Tensor, Targets]:
        """Return images (B, 3, s, s) and what the network should answer."""
        draw = partial(draw_crop, self._tiles, self._rng, with_masks=self._masked)
        crops = [draw() for _ in range(self._size)]
        images = torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2)
        return images.to(self._device), make_targets(crops, self._num_labels).to(self._device)

    def shrink(self) -> bool:
        """Halve the batches to come; False when they are of one crop already."""
        self._size //= 2
        return self._size > 0


def train_compact(
    samples: Sequence[Sample],
    settings: FitSettings,
    labels: tuple[str, ...],
    progress: Progress,
    *,
    score: Score | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Train a compact network.

    Args:
        samples: what is learnt.
        settings: mode, budget, seed; see `fit`.
        labels: names in the order of class ids.
        progress: hears the steps and stops them.
        score: how good what was trained so far is on held-out images.
        checkpoint: file from which a killed training goes on.
    """
    key = fingerprint(samples, settings, labels)
    work = set_up(samples, settings, labels, progress)
    loss = partial(batch_loss, label_weight=RECIPES[settings.mode].label_weight)
    if work.device.type == "cpu":
        probe, batch = copy.deepcopy(work.network), work.batches.draw()
        set_threads(settings.threads, lambda: backward(loss(probe, batch)))

    def trained(state: dict[str, Tensor]) -> Trained:
        return replace(work.trained(state), iterations=loop.iteration, stopped=loop.stopped)

    told = None if score is None else lambda state: score(trained(state))
    budget = settings.budget(len(samples))
    loop = Loop(work.network, loss, budget, progress, score=told, shrink=work.batches.shrink)
    return trained(loop.run(work.batches.draw, rng=work.rng, checkpoint=checkpoint, key=key))


@dataclass(frozen=True, slots=True)
class Work:
    """What learning begins from.

    batches: draws what is learnt, with rng. network: as it begins, on the device. look, facts: how
    pixels come to it, and what a card keeps of it. sizes: of each label, where they tell labels.
    """

    batches: _Batches
    network: CompactNetwork
    look: Look
    facts: dict[str, float | int | str | bool]
    device: torch.device
    rng: np.random.Generator
    sizes: Sizes

    def trained(self, state: dict[str, Tensor]) -> Trained:
        """Return what came out, before any step."""
        answering = partial(build, state=state, device=self.device)
        facts = dict(self.facts)
        return Trained(state, self.look.scale, facts, 0, answering, sizes=self.sizes)


def set_up(
    samples: Sequence[Sample], settings: FitSettings, labels: tuple[str, ...], progress: Progress
) -> Work:
    """Read the images and build the network.

    Raises:
        ModelError: when the weights to begin from cannot be read.
    """
    torch.manual_seed(settings.seed)
    recipe, rng = RECIPES[settings.mode], np.random.default_rng(settings.seed)
    if settings.mode is Mode.WSIS:
        samples = _with_masks(samples, progress)
    look = _look(samples, settings, _scale(samples, recipe), progress)
    tiles, device = _Tiles(samples, settings, look), choose_device(settings.device)
    network = _network(settings, len(labels), progress).to(device)
    batches = _Batches(tiles, rng, settings.mode, num_labels=len(labels), device=device)
    sizes = label_sizes(samples, len(labels)) if settings.mode is Mode.FSOD else ()
    return Work(batches, network, look, _facts(recipe, look, settings), device, rng, sizes)


def _facts(
    recipe: Recipe, look: Look, settings: FitSettings
) -> dict[str, float | int | str | bool]:
    """Return what a card keeps of how the network was trained and sees."""
    facts: dict[str, float | int | str | bool] = {
        "width": recipe.width,
        "least_range": look.least_range,
        "invert": look.invert,
    }
    if settings.start is not None:
        facts["start"] = sha256_file(settings.start)[:12]
    return facts


def _network(settings: FitSettings, num_labels: int, progress: Progress) -> CompactNetwork:
    width = RECIPES[settings.mode].width
    network = CompactNetwork(settings.mode, num_labels=num_labels, width=width)
    if settings.start is not None:
        start_from(network, settings.start, progress)
    return network


def start_from(network: CompactNetwork, path: Path, progress: Progress) -> None:
    """Take the weights of a file, but for those of another shape and those that tell labels.

    Raises:
        ModelError: when the file is missing or no file of weights.
    """
    try:
        given = load_file(path)
    except (OSError, SafetensorError) as exc:
        raise ModelError(
            f"Training cannot start from {path}.",
            hint="Give a file that lsl_core.training.pretrain wrote, or none.",
            detail=str(exc),
        ) from exc
    own = network.state_dict()
    fits = {
        name: value
        for name, value in given.items()
        if name in own and own[name].shape == value.shape and not name.startswith("label.")
    }
    network.load_state_dict(fits, strict=False)
    progress.note(f"{len(fits)} of {len(own)} tensors start from {path.name}.")


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


def _look(
    samples: Sequence[Sample], settings: FitSettings, scale: float, progress: Progress
) -> Look:
    """Read every image: the lowest contrast that is labelled, and which is object and ground.

    Half of the lowest contrast is empty ground. Where images of bright ground stand beside images
    of dark ground, the bright ones are inverted, if nine in ten images then agree.
    """
    progress.start("Reading images", total=len(samples), unit="images")
    lowest, bright, agree = math.inf, [], []
    for sample in samples:
        progress.check()
        pixels = sample.pixels()
        for window, drawn in settings.windows_of(sample):
            if not len(drawn):
                continue
            part = cut(pixels, window)
            lowest = min(lowest, transform.contrast(transform.scaled(part, scale)))
            tile = make_tile(part, drawn, **asdict(Look(scale, transform.LEAST_RANGE, False)))
            bright.append(transform.has_bright_ground(tile.image))
            agree.append((polarity(tile) < 0) == bright[-1])
        progress.advance()
    invert = len(set(bright)) == 2 and float(np.mean(agree)) >= 0.9
    if invert:
        progress.note("Some images have bright ground, some dark: the bright ones are inverted.")
    return Look(scale, max(transform.LEAST_RANGE, lowest / 2), invert)

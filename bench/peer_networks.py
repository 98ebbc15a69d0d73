"""Networks of other people, or in their manner, from random weights."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from peer_training import (
    BATCH,
    CPU,
    FLOOR_SCORE,
    Look,
    Task,
    batch_of,
    choose,
    flooded,
    in_half,
    objects,
    train,
)
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from lsl_core.training.compact.crops import CROP_PX, Crop, draw_crop
from lsl_core.types import Hw, Instances

MULTIPLE = 16


def padded(image: np.ndarray, multiple: int) -> np.ndarray:
    """Fill up right and bottom with 0, mid-grey, to a multiple; training borders are 0 too."""
    h, w = image.shape[:2]
    below, beside = -h % multiple, -w % multiple
    if not below and not beside:
        return image
    return np.pad(image, ((0, below), (0, beside), (0, 0)))


class PlainUnet(nn.Module):
    """Ronneberger et al. 2015 (arXiv:1505.04597), with batch norm and 17 channels to begin with."""

    def __init__(self, outputs: int, width: int = 17) -> None:
        super().__init__()
        sides = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(
            _twice(a, b) for a, b in zip([3, *sides[:-1]], sides, strict=True)
        )
        self.raised = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, 2) for a, b in itertools.pairwise(sides)
        )
        self.up = nn.ModuleList(_twice(2 * a, a) for a in sides[:-1])
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, h, w)."""
        skips = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([self.raised[level](x), skips[level]], dim=1))
        return self.head(x)


def _twice(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers += [nn.ReLU()]
    return nn.Sequential(*layers)


class Dense:
    """A network that answers every pixel, and whose knobs are chosen on the validation images."""

    options: tuple[tuple[float, ...], ...]

    def settle(self, task: Task) -> None:
        """Choose the knobs."""
        pixels = [s.pixels() for s in task.val]
        maps = [self._maps(p) for p in pixels]
        self.knobs = choose(
            self.options,
            lambda i, knobs: self._read(maps[i], pixels[i].shape[:2], knobs),
            task.val,
            task.labels,
        )

    def predict(self, pixels: np.ndarray) -> Instances:
        return self._read(self._maps(pixels), pixels.shape[:2], self.knobs)

    def _maps(self, pixels: np.ndarray) -> np.ndarray:
        """Return the answers at the scale of the network, (channels, h, w) float32."""
        image = self.look.image(pixels)
        h, w = image.shape[:2]
        with torch.inference_mode():
            answer = in_half(self.network, batch_of([padded(image, MULTIPLE)]))
        return answer[0, :, :h, :w].float().numpy()


class Unet(Dense):
    """Foreground and distance to the edge, 1 in the middle of each object; watershed.

    Knobs: the lowest distance of a seed, and the lowest foreground.
    """

    options = tuple(itertools.product((0.4, 0.5, 0.6, 0.7, 0.8), (0.35, 0.5, 0.65)))

    def fit(self, task: Task) -> None:
        self.look, self.num_labels = Look.of(task), len(task.labels)
        tiles, rng = self.look.tiles(task.train), np.random.default_rng(task.seed)
        network = PlainUnet(2 + self.num_labels).to(memory_format=torch.channels_last)

        def loss() -> Tensor:
            crops = [draw_crop(tiles, rng, with_masks=True) for _ in range(BATCH)]
            images = batch_of([c.image for c in crops]).to(memory_format=torch.channels_last)
            return self._loss(in_half(network, images).float(), crops)

        self.network = train(network, loss, task, rate=3e-3, decay=1e-2)
        self.settle(task)

    def _loss(self, answer: Tensor, crops: list[Crop]) -> Tensor:
        inside = torch.from_numpy(np.stack([c.inside for c in crops]))
        ids = np.stack([c.ids for c in crops])
        foreground = torch.from_numpy((ids > 0).astype(np.float32))
        distance = torch.from_numpy(np.stack([_distances(c.ids) for c in crops]))
        wanted = [np.concatenate([[-1], c.class_ids])[c.ids] for c in crops]
        chance = answer[:, 0].sigmoid() * inside
        both = (chance * foreground).sum()
        dice = 1 - 2 * both / (chance.sum() + foreground.sum() + 1)
        entropy = functional.binary_cross_entropy_with_logits(answer[:, 0], foreground, inside)
        near = functional.smooth_l1_loss(answer[:, 1], distance, reduction="none", beta=0.1)
        label = torch.from_numpy(np.stack(wanted)).long()
        told = functional.cross_entropy(answer[:, 2:], label, ignore_index=-1, reduction="sum")
        told = told / (label >= 0).sum().clamp(min=1)
        return entropy + dice + 5 * (near * inside).mean() + told

    def _read(self, maps: np.ndarray, image_hw: Hw, knobs: tuple[float, ...]) -> Instances:
        seed_from, foreground_from = knobs
        chance = 1 / (1 + np.exp(-maps[0]))
        foreground, height = chance >= foreground_from, ndimage.gaussian_filter(maps[1], 0.7)
        seeds, _ = ndimage.label(foreground & (height >= seed_from))
        owners = flooded(height, seeds, foreground)

        def judge(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            sure = ndimage.mean(chance, owners, numbers)
            peak = np.clip(ndimage.maximum(height, owners, numbers), 0, 1)
            each = np.exp(maps[2:] - maps[2:].max(axis=0))
            told = np.stack([ndimage.mean(e, owners, numbers) for e in each / each.sum(axis=0)])
            return sure * peak * told.max(axis=0), told.argmax(axis=0)

        return objects(owners, image_hw, judge, with_masks=True)


def _distances(ids: np.ndarray) -> np.ndarray:
    """Return how far each pixel is from the edge of its object, 1 at most in each, float32."""
    result = np.zeros(ids.shape, np.float32)
    for i, at in enumerate(ndimage.find_objects(ids)):
        if at is not None:
            away = ndimage.distance_transform_edt(np.pad(ids[at] == i + 1, 1))[1:-1, 1:-1]
            result[at] += (away / away.max()).astype(np.float32)
    return result


class Cellpose(Dense):
    """Cellpose 3.1.1.2: its network, flows, augmentation, loss, optimiser and dynamics.

    It knows no labels and no scores: one label only, ranked by its probability of being a cell.
    Knobs: its thresholds of that probability and of the error of flows.
    """

    options = tuple(itertools.product((-2.0, -1.0, 0.0, 1.0), (0.4, 0.8, 0.0)))

    def fit(self, task: Task) -> None:
        from cellpose.dynamics import labels_to_flows
        from cellpose.resnet_torch import CPnet
        from cellpose.train import _loss_fn_seg
        from cellpose.transforms import random_rotate_and_resize

        self.look = Look.of(task)
        np.random.seed(task.seed)  # its augmentation draws from there
        tiles, rng = self.look.tiles(task.train), np.random.default_rng(task.seed)
        images = [t.image.transpose(2, 0, 1) for t in tiles]
        flows = [f[1:] for f in labels_to_flows([t.ids for t in tiles], device=CPU)]
        network = CPnet([3, 32, 64, 128, 256], 3, 3)

        def loss() -> Tensor:
            chosen = rng.integers(len(tiles), size=BATCH)
            x, y, _ = random_rotate_and_resize(
                [images[i] for i in chosen],
                [flows[i] for i in chosen],
                scale_range=0.5,
                xy=(CROP_PX, CROP_PX),
            )
            return _loss_fn_seg(y, in_half(network, torch.from_numpy(x))[0].float(), CPU)

        trained = train(network, loss, task, rate=5e-3, decay=1e-5)
        self.network = lambda x: trained(x)[0]
        self.settle(task)

    def _read(self, maps: np.ndarray, image_hw: Hw, knobs: tuple[float, ...]) -> Instances:
        from cellpose.dynamics import compute_masks

        cell_from, error_to = knobs
        owners = compute_masks(
            maps[:2],
            maps[2],
            cellprob_threshold=cell_from,
            flow_threshold=error_to,
            min_size=15,
            device=CPU,
        )
        chance = 1 / (1 + np.exp(-maps[2]))

        def judge(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return ndimage.mean(chance, owners, numbers), np.zeros(len(numbers))

        return objects(owners.astype(np.int32), image_hw, judge, with_masks=True)


class RtDetr:
    """RT-DETRv2 of transformers, small; whole images fill its square, as its recipe has it."""

    def fit(self, task: Task) -> None:
        from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

        longest = max(max(s.instances.image_hw) for s in task.train)
        tiles = Look(CROP_PX / longest).tiles(task.train)
        rng = np.random.default_rng(task.seed)
        backbone = RTDetrResNetConfig(
            layer_type="basic",
            embedding_size=32,
            hidden_sizes=[32, 64, 128, 256],
            depths=[2, 2, 2, 2],
            out_features=["stage2", "stage3", "stage4"],
        )
        config = RTDetrV2Config(
            backbone_config=backbone,
            use_pretrained_backbone=False,
            freeze_backbone_batch_norms=False,
            num_labels=len(task.labels),
            num_queries=100,
            num_denoising=50,
            decoder_layers=3,
            d_model=128,
            encoder_hidden_dim=128,
            encoder_in_channels=[64, 128, 256],
            encoder_ffn_dim=256,
            decoder_in_channels=[128, 128, 128],
            decoder_ffn_dim=256,
        )
        network = RTDetrV2ForObjectDetection(config)

        def loss() -> Tensor:
            crops = [draw_crop(tiles, rng, with_masks=False) for _ in range(BATCH)]
            images = batch_of([c.image for c in crops])
            return in_half(network, images, labels=[_wanted(c) for c in crops]).loss

        self.network = train(network, loss, task, rate=5e-4, decay=1e-4)

    def predict(self, pixels: np.ndarray) -> Instances:
        h, w = pixels.shape[:2]
        scale = CROP_PX / max(h, w)
        image = padded(Look(scale).image(pixels), CROP_PX)
        with torch.inference_mode():
            answer = in_half(self.network, batch_of([image]))
        chances = answer.logits[0].float().sigmoid()  # (queries, K)
        scores, class_ids = chances.max(dim=1)
        middle, size = answer.pred_boxes[0].float().split(2, dim=1)
        boxes = torch.cat([middle - size / 2, middle + size / 2], dim=1) * CROP_PX / scale
        boxes = np.clip(boxes.numpy(), 0, np.array([w, h, w, h])).astype(np.float32)
        found = Instances(boxes, scores.numpy(), class_ids.numpy().astype(np.int32), None, (h, w))
        return found.take((boxes[:, 2:] > boxes[:, :2]).all(axis=1)).above(FLOOR_SCORE)


def _wanted(crop: Crop) -> dict[str, Any]:
    """Return what RT-DETR learns from: labels, and boxes as middle and size in [0, 1]."""
    boxes = torch.from_numpy(crop.boxes[~crop.doubtful]) / CROP_PX
    sides = boxes[:, 2:] - boxes[:, :2]
    return {
        "class_labels": torch.from_numpy(crop.class_ids[~crop.doubtful]).long(),
        "boxes": torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, sides], dim=1),
    }

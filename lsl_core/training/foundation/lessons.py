"""What a foundation model learns from: windows behind frozen encoders, and the loss on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lsl_core.models.foundation.embeddings import Embeddings, Features, Pixels
from lsl_core.models.foundation.model import Bases, Tuned
from lsl_core.models.foundation.segmenter import STRIDE, Segmenter
from lsl_core.training.common.mask_losses import label_map_loss, mask_loss
from lsl_core.training.common.settings import FitSettings
from lsl_core.training.examples.samples import Sample
from lsl_core.training.examples.tiles import owners
from lsl_core.types import CropMasks, Hw, Instances, Mode
from lsl_core.windows import cut

F32 = NDArray[np.float32]

#: Windows a step.
BATCH = 4
#: Objects a window whose masks are learnt in a step; more need more memory.
MASKS = 8
#: A box that prompts for a mask lies beside the object's own by this share of its sides (standard
#: deviation), since a detector's will (Kirillov et al. 2023, appendix A).
JITTER = 0.1
#: Bytes of pixels kept in memory; beyond it images are read again when drawn.
PIXEL_BYTES = 600 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One window to learn from.

    pixels: (h, w, 3) uint8. drawn: what people drew there, in its pixels.
    """

    pixels: Pixels
    drawn: Instances

    @property
    def hw(self) -> Hw:
        """Its height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def mirrored(self) -> Window:
        """Return it with left and right changed over."""
        drawn, w = self.drawn, self.hw[1]
        flip, shift = np.array([-1, 1, -1, 1], np.float32), np.array([w, 0, w, 0], np.float32)
        boxes = drawn.boxes[:, [2, 1, 0, 3]] * flip + shift
        masks = drawn.masks
        if isinstance(masks, CropMasks):
            places = [(w - x - width, y) for x, y, width, _ in masks.crops.tolist()]
            masks = CropMasks.from_crops([crop[:, ::-1] for crop in masks.decoded()], places)
        turned = Instances(boxes, drawn.scores, drawn.class_ids, masks, drawn.image_hw)
        return Window(np.ascontiguousarray(self.pixels[:, ::-1]), turned)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A batch of windows.

    boxes: features for the detector, (B, C, h, w), and what it should find in each window; None
    without one. masks: features of each window for the segmenter, and the window.
    """

    boxes: tuple[Tensor, list[dict[str, Tensor]]] | None
    masks: list[tuple[Features, Window]]


class Lessons:
    """Draws batches: every window once an epoch, half of them mirrored.

    Args:
        samples: labelled images.
        settings: how they are cut, and the mode.
        bases: encode the windows.
        embeddings: keeps what they make of them.
        rng: draws.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        settings: FitSettings,
        bases: Bases,
        embeddings: Embeddings,
        rng: np.random.Generator,
    ) -> None:
        self._places = [(s, w, drawn) for s in samples for w, drawn in settings.windows_of(s)]
        self._bases, self._embeddings, self._rng = bases, embeddings, rng
        self._draws_masks = settings.mode in (Mode.FSIS, Mode.FSIS_SEGONLY)
        self._kept: dict[int, Window] = {}
        self._bytes = 0
        self._queue: list[int] = []
        self._batch = BATCH

    def draw(self) -> Lesson:
        """Return the next batch."""
        windows = [self._next() for _ in range(min(self._batch, len(self._places)))]
        pixels = [window.pixels for window in windows]
        detector, segmenter = self._bases.detector, self._bases.segmenter
        boxes, masks = None, []
        if detector is not None:
            found = self._embeddings.embed(detector, pixels)
            features = torch.stack([levels[0] for levels in found]).to(detector.device).float()
            boxes = (features, [_wanted(window, detector.device) for window in windows])
        if segmenter is not None and self._draws_masks:
            for window, levels in zip(
                windows, self._embeddings.embed(segmenter, pixels), strict=True
            ):
                masks.append(([level.to(segmenter.device).float() for level in levels], window))
        return Lesson(boxes, masks)

    def shrink(self) -> bool:
        """Halve the batches to come; False when they have one window already."""
        self._batch //= 2
        return self._batch > 0

    def _next(self) -> Window:
        if not self._queue:
            self._queue = self._rng.permutation(len(self._places)).tolist()
        window = self._window(self._queue.pop())
        return window.mirrored() if self._rng.random() < 0.5 else window

    def _window(self, i: int) -> Window:
        if i in self._kept:
            return self._kept[i]
        sample, window, drawn = self._places[i]
        ready = Window(np.ascontiguousarray(cut(sample.pixels(), window)), drawn)
        if self._bytes < PIXEL_BYTES:
            self._kept[i] = ready
            self._bytes += ready.pixels.nbytes
        return ready


def lesson_loss(
    tuned: Tuned, lesson: Lesson, *, segmenter: Segmenter | None, rng: np.random.Generator
) -> Tensor:
    """Return the loss of everything that is tuned, on a batch.

    Args:
        tuned: learns.
        lesson: the batch.
        segmenter: encodes prompts; None where there are no masks.
        rng: chooses objects, and where their prompts lie.
    """
    losses = [0 * next(tuned.parameters()).sum()]  # windows without objects may teach nothing
    if lesson.boxes is not None and tuned.boxes is not None:
        losses.append(tuned.boxes(*lesson.boxes).loss)
    for features, window in lesson.masks:
        assert segmenter is not None
        if tuned.labels is not None:
            loss = _label_loss(tuned, segmenter, features, window)
        elif len(window.drawn):
            loss = _masks_loss(tuned, segmenter, features, window, rng)
        else:
            continue
        losses.append(loss / len(lesson.masks))
    return torch.stack([loss.reshape(()) for loss in losses]).sum()


def _label_loss(tuned: Tuned, segmenter: Segmenter, features: Features, window: Window) -> Tensor:
    logits = tuned.label_maps(segmenter, features, window.hw)[None]  # (1, K + 1, g, g)
    none = logits.shape[1] - 1
    ids = np.concatenate([[none], window.drawn.class_ids])[owners(window.drawn)]
    rows, columns = _seen(segmenter, window.hw)
    wanted = np.full(logits.shape[2:], none, np.int64)
    wanted[:rows, :columns] = cv2.resize(
        ids.astype(np.float32), (columns, rows), interpolation=cv2.INTER_NEAREST
    )
    known = torch.zeros_like(logits[:, 0])
    known[:, :rows, :columns] = 1
    return label_map_loss(logits, torch.from_numpy(wanted)[None].to(logits.device), known)


def _masks_loss(
    tuned: Tuned, segmenter: Segmenter, features: Features, window: Window, rng: np.random.Generator
) -> Tensor:
    assert tuned.masks is not None
    (h, w), drawn = window.hw, window.drawn
    drawn = drawn.take(rng.permutation(len(drawn))[:MASKS])
    sides = np.tile(drawn.boxes[:, 2:] - drawn.boxes[:, :2], 2)
    boxes = drawn.boxes + rng.normal(0, JITTER, drawn.boxes.shape) * sides
    boxes = np.clip(boxes, 0, np.array([w, h, w, h])).astype(np.float32)
    prompt = segmenter.prompt(torch.from_numpy(boxes).to(segmenter.device), window.hw)
    logits = segmenter.decode(tuned.masks, features, prompt)[:, None]  # (N, 1, g, g)
    rows, columns = _seen(segmenter, window.hw)
    wanted, known = torch.zeros_like(logits), torch.zeros_like(logits)
    shares = torch.from_numpy(_shares(drawn, (rows, columns)))
    wanted[:, 0, :rows, :columns] = (shares >= 0.5).to(wanted)
    known[:, :, :rows, :columns] = 1
    return mask_loss(logits, wanted, known)


def _shares(drawn: Instances, grid_hw: Hw) -> F32:
    """Return which share of each pixel of a grid is each object, (N, rows, columns)."""
    assert isinstance(drawn.masks, CropMasks)
    shares = np.zeros((len(drawn), *grid_hw), np.float32)
    for i, crop in enumerate(drawn.masks.decoded()):
        x, y, width, height = drawn.masks.crops[i].tolist()
        whole = np.zeros(drawn.image_hw, np.float32)
        whole[y : y + height, x : x + width] = crop
        shares[i] = cv2.resize(whole, grid_hw[::-1], interpolation=cv2.INTER_AREA)
    return shares


def _seen(segmenter: Segmenter, window_hw: Hw) -> Hw:
    """Return how many rows and columns of a mask show the window; the others are padding."""
    h, w = segmenter.size_of(window_hw)
    return -(-h // STRIDE), -(-w // STRIDE)


def _wanted(window: Window, device: torch.device) -> dict[str, Tensor]:
    """Return what a DETR should find: labels, and boxes as centre and size in shares."""
    h, w = window.hw
    shares = np.clip(window.drawn.boxes / np.array([w, h, w, h], np.float32), 0, 1)
    kept = (shares[:, 2:] > shares[:, :2]).all(axis=1)
    corners = torch.from_numpy(shares[kept].astype(np.float32)).to(device)
    low, high = corners[:, :2], corners[:, 2:]
    return {
        "class_labels": torch.from_numpy(window.drawn.class_ids[kept].astype(np.int64)).to(device),
        "boxes": torch.cat([(low + high) / 2, high - low], dim=1),
    }

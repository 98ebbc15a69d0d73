"""A foundation model, ready to predict: frozen encoders, and what was tuned on a support set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lsl_core.errors import WeightsDamaged
from lsl_core.geometry.boxes import nms
from lsl_core.models.devices import choose_device
from lsl_core.models.foundation import TRANSFORM_VERSION, store
from lsl_core.models.foundation.catalogue import ROLES, Role
from lsl_core.models.foundation.detector import BoxHead, Detector
from lsl_core.models.foundation.embeddings import Embeddings, Features, Pixels
from lsl_core.models.foundation.segmenter import STRIDE, Segmenter, open_segmenter
from lsl_core.models.soft import F32, FAINT, Frame, assembled, enlarged, semantic_parts
from lsl_core.models.weights import load_state
from lsl_core.types import Hw, Instances, Mode, ModelCard, SoftMasks

#: Two boxes that overlap more are one object; the queries of an RF-DETR hardly ever say one twice.
SAME_OBJECT = 0.7
#: Boxes that are drawn at a time: each needs a map of 256×256 pixels.
DRAWN_AT_ONCE = 32
#: A mask may leave its box by this share of the box's sides, and by two pixels of its own.
LOOSE, LOOSE_PX = 0.1, 2

#: Prefix of the tensors of a tuned model that say which weights it was tuned from.
BASE = "base."


@dataclass(frozen=True, slots=True)
class Bases:
    """Pretrained weights that a model stands on, each with what is known about it."""

    detector: Detector | None
    segmenter: Segmenter | None
    locks: Mapping[Role, store.Lock]

    def hashes(self) -> dict[str, Tensor]:
        """Return the hash of each as a tensor, (32,) uint8, to be kept with what was tuned."""
        return {
            BASE + role: torch.frombuffer(bytearray.fromhex(lock.sha256), dtype=torch.uint8)
            for role, lock in self.locks.items()
        }


def open_bases(folders: Mapping[Role, Path], device: torch.device) -> Bases:
    """Check and load pretrained weights.

    Raises:
        WeightsMissing: when they are not there.
        WeightsDamaged: when they changed, or do another thing than they are wanted for.
    """
    locks = {role: store.check(folder) for role, folder in folders.items()}
    for role, lock in locks.items():
        if lock.role is not role:
            raise WeightsDamaged(
                f"The weights {lock.name} are a {lock.role}, not a {role}.",
                hint="Choose others with --base; see lsl models list --pretrained.",
            )
    detector = segmenter = None
    if Role.DETECTOR in locks:
        folder = folders[Role.DETECTOR]
        detector = Detector.open(folder, locks[Role.DETECTOR]).to(device)
    if Role.SEGMENTER in locks:
        folder = folders[Role.SEGMENTER]
        segmenter = open_segmenter(folder, locks[Role.SEGMENTER]).to(device)
    return Bases(detector, segmenter, locks)


class Tuned(nn.Module):
    """What is tuned for a mode; its tensors are what a trained model keeps.

    boxes: the detector behind its encoder. masks: a mask decoder. labels: (K, C) what makes the
    prompt of the whole window ask for one label.

    Args:
        mode: chooses among them.
        bases: what they are copied from.
        num_labels: K.
    """

    def __init__(self, mode: Mode, bases: Bases, num_labels: int) -> None:
        super().__init__()
        detector, segmenter = bases.detector, bases.segmenter
        self.boxes: BoxHead | None = None
        self.masks: nn.Module | None = None
        self.labels: nn.Embedding | None = None
        if detector is not None:
            self.boxes = detector.head.for_labels(num_labels)
        if segmenter is not None and mode in (Mode.FSIS, Mode.FSIS_SEGONLY):
            self.masks = segmenter.tunable()
        if segmenter is not None and mode is Mode.FSIS_SEGONLY:
            self.labels = nn.Embedding(num_labels, segmenter.width)
            nn.init.normal_(self.labels.weight, std=0.02)
        if base := detector or segmenter:
            self.to(base.device)

    def label_maps(self, segmenter: Segmenter, features: Features, window_hw: Hw) -> Tensor:
        """Return logits of each label and of none, (K + 1, grid, grid), of one window.

        The segmenter is asked for the whole window once a label; an embedding of the label,
        added to that prompt, tells it which.
        """
        assert self.labels is not None
        assert self.masks is not None
        prompt = segmenter.whole(window_hw)
        sparse = prompt.sparse + self.labels.weight[None, :, None, :]  # (1, K, P, C)
        logits = segmenter.decode(self.masks, features, type(prompt)(sparse, prompt.dense))
        return torch.cat([logits, torch.zeros_like(logits[:1])])


class FoundationModel:
    """A tuned model with the pretrained weights that it stands on.

    Args:
        card: what is known about it.
        bases: frozen.
        tuned: on the same device.
        embeddings: where answers of the encoders are looked up and kept.
    """

    transform_version = TRANSFORM_VERSION

    def __init__(
        self, card: ModelCard, bases: Bases, tuned: Tuned, embeddings: Embeddings | None = None
    ) -> None:
        self.card = card
        self._bases, self._tuned = bases, tuned.eval()
        self._embeddings = embeddings or Embeddings()
        base = bases.detector or bases.segmenter
        assert base is not None
        self._place = base.device
        self.device = str(self._place)

    def predict(self, windows: Sequence[Pixels], *, floor_score: float) -> list[Instances]:
        """Find objects in each window; see `Model.predict`."""
        if not windows:
            return []
        with torch.no_grad():
            if self.card.mode is Mode.FSIS_SEGONLY:
                return self._labelled(windows, floor_score)
            found = self._boxed(windows, floor_score)
            return found if self.card.mode is Mode.FSOD else self._drawn(windows, found)

    def _boxed(self, windows: Sequence[Pixels], floor_score: float) -> list[Instances]:
        detector, head = self._bases.detector, self._tuned.boxes
        assert detector is not None
        assert head is not None
        features = self._embeddings.embed(detector, windows)
        batch = torch.stack([levels[0] for levels in features]).to(self._place).float()
        answer = head(batch)
        chances = answer.logits.float().sigmoid().cpu().numpy()  # (B, Q, K)
        boxes = answer.pred_boxes.float().cpu().numpy()  # (B, Q, 4)
        return [
            _read_boxes(chances[i], boxes[i], (window.shape[0], window.shape[1]), floor_score)
            for i, window in enumerate(windows)
        ]

    def _drawn(self, windows: Sequence[Pixels], found: list[Instances]) -> list[Instances]:
        segmenter = self._bases.segmenter
        assert segmenter is not None
        decoder = self._tuned.masks or segmenter.decoder
        with_objects = [i for i, boxes in enumerate(found) if len(boxes)]
        embedded = self._embeddings.embed(segmenter, [windows[i] for i in with_objects])
        of_window = dict(zip(with_objects, embedded, strict=True))
        return [
            self._masks_of(segmenter, decoder, of_window[i], boxes)
            if i in of_window
            else Instances.empty(boxes.image_hw, masks=SoftMasks.empty())
            for i, boxes in enumerate(found)
        ]

    def _masks_of(
        self, segmenter: Segmenter, decoder: nn.Module, features: Features, found: Instances
    ) -> Instances:
        features = self._ready(features)
        frame = Frame.of(found.image_hw, segmenter.size_of(found.image_hw), stride=STRIDE)
        crops, places = [], []
        for first in range(0, len(found), DRAWN_AT_ONCE):
            boxes = found.boxes[first : first + DRAWN_AT_ONCE]
            prompt = segmenter.prompt(torch.tensor(boxes, device=self._place), found.image_hw)
            maps = segmenter.decode(decoder, features, prompt).sigmoid().cpu().numpy()
            for box, chances in zip(boxes, maps, strict=True):
                crop, place = _crop(chances, box, frame)
                crops.append(crop)
                places.append(place)
        return assembled(crops, places, found.scores, found.class_ids, frame)

    def _labelled(self, windows: Sequence[Pixels], floor_score: float) -> list[Instances]:
        segmenter = self._bases.segmenter
        assert segmenter is not None
        found = []
        for window, features in zip(
            windows, self._embeddings.embed(segmenter, windows), strict=True
        ):
            window_hw = (window.shape[0], window.shape[1])
            logits = self._tuned.label_maps(segmenter, self._ready(features), window_hw)
            frame = Frame.of(window_hw, segmenter.size_of(window_hw), stride=STRIDE)
            rows, columns = frame.grid_hw
            chances = logits.softmax(0)[:-1, :rows, :columns].cpu().numpy()
            found.append(semantic_parts(chances, frame, floor_score))
        return found

    def _ready(self, features: Features) -> Features:
        return [level.to(self._place).float() for level in features]


def _read_boxes(chances: F32, boxes: F32, window_hw: Hw, floor_score: float) -> Instances:
    """Return the boxes of one window: from (Q, K) chances, (Q, 4) centres and sizes."""
    h, w = window_hw
    middles, halves = boxes[:, :2], boxes[:, 2:] / 2
    corners = np.concatenate([middles - halves, middles + halves], axis=1)
    corners = np.clip(corners, 0, 1) * np.array([w, h, w, h], np.float32)
    scores, class_ids = chances.max(axis=1), chances.argmax(axis=1).astype(np.int32)
    kept = (scores >= floor_score) & (corners[:, 2:] > corners[:, :2]).all(axis=1)
    corners, scores, class_ids = corners[kept], scores[kept], class_ids[kept]
    alike = np.zeros_like(class_ids)
    order = nms(corners, scores, alike, iou_limit=SAME_OBJECT)
    return Instances(corners.astype(np.float32), scores, class_ids, None, window_hw).take(order)


def _crop(chances: F32, box: F32, frame: Frame) -> tuple[Any, tuple[int, int]]:
    """Return the mask of one box at the window's resolution, and its place there."""
    rows, columns = frame.grid_hw
    zoom_x, zoom_y = frame.zoom
    x1, y1, x2, y2 = (box / np.array([zoom_x, zoom_y] * 2)).tolist()
    loose_x, loose_y = LOOSE * (x2 - x1) + LOOSE_PX, LOOSE * (y2 - y1) + LOOSE_PX
    left, right = max(0, math.floor(x1 - loose_x)), min(columns, math.ceil(x2 + loose_x))
    top, bottom = max(0, math.floor(y1 - loose_y)), min(rows, math.ceil(y2 + loose_y))
    soft = chances[top:bottom, left:right]
    return enlarged(np.where(soft >= FAINT, soft, 0), left, top, frame)


def build(
    card: ModelCard, state: Mapping[str, Tensor], bases: Bases, embeddings: Embeddings | None = None
) -> FoundationModel:
    """Make the model of a card, what was tuned, and what it was tuned from.

    Raises:
        WeightsDamaged: when these do not belong together.
    """
    for name, digest in bases.hashes().items():
        if name not in state or not torch.equal(state[name], digest):
            role = Role(name.removeprefix(BASE))
            raise WeightsDamaged(
                f'"{card.name}" was tuned from other weights than the {bases.locks[role].name} '
                "that are here.",
                hint=f"Copy the folder .lsl/pretrained/{bases.locks[role].name} of the workspace "
                "where it was trained, or train the model again.",
            )
    tuned = Tuned(card.mode, bases, len(card.labels))
    try:
        tuned.load_state_dict({n: v for n, v in state.items() if not n.startswith(BASE)})
    except RuntimeError as error:
        raise WeightsDamaged(
            f'The weights of the model "{card.name}" do not fit its description.',
            hint="Train the model again, or copy its folder from a backup.",
            detail=str(error),
        ) from error
    return FoundationModel(card, bases, tuned, embeddings)


def load_foundation(folder: Path, card: ModelCard, device: str) -> FoundationModel:
    """Load a saved foundation model; see `registry.load_model`.

    Its pretrained weights are looked for inside of the model's folder, where a function folder
    carries them, and on the shelf of its workspace.
    """
    place = choose_device(device)
    state = load_state(folder, card)
    shelves = (folder / store.SHELF_NAME, folder.parent.parent / store.SHELF_NAME)
    try:
        names = {role: str(card.settings[role]) for role in ROLES[card.mode]}
    except KeyError as error:
        raise WeightsDamaged(
            f'The description of the model "{card.name}" does not say what it was tuned from.',
            hint="Train the model again, or copy its folder from a backup.",
        ) from error
    folders = {role: store.find(name, shelves) for role, name in names.items()}
    return build(card, state, open_bases(folders, place))

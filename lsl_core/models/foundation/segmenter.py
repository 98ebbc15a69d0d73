"""SAM and SAM 2: masks from boxes and clicks.

Kirillov et al. 2023, arXiv:2304.02643; Ravi et al. 2024, arXiv:2408.00714. The encoders of images
and of prompts stay as they are; the mask decoder can be tuned.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lsl_core.models.foundation.embeddings import Features, Pixels
from lsl_core.models.foundation.loading import load_network
from lsl_core.models.foundation.pixels import longest_side, prepared
from lsl_core.models.foundation.store import Lock
from lsl_core.types import Hw

#: Input pixels a side per pixel of the masks (the decoder of both: 1024 -> 256).
STRIDE = 4


@dataclass(frozen=True, slots=True)
class Prompt:
    """N objects as a mask decoder reads them: sparse (1, N, P, C), dense (1, C, h, w)."""

    sparse: Tensor
    dense: Tensor


class Segmenter(ABC):
    """A pretrained SAM: an `Encoder` of windows and of prompts, and a mask decoder.

    decoder: as it was published; never changed. side: of the square that it looks at, pixels.
    """

    def __init__(self, network: Any, *, side: int, sha256: str) -> None:  # noqa: ANN401 - either SAM
        self._network = network
        self.decoder: nn.Module = network.mask_decoder
        self.sha256, self.side = sha256, side

    def to(self, device: torch.device) -> Segmenter:
        """Move it to a device."""
        self._network.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._network.device  # type: ignore[no-any-return]

    @property
    def width(self) -> int:
        """Channels of a prompt."""
        return int(self._network.config.prompt_encoder_config.hidden_size)

    @property
    def grid(self) -> int:
        """Pixels a side of the masks that it gives."""
        return self.side // STRIDE

    def tunable(self) -> nn.Module:
        """Return a copy of the mask decoder that can be tuned."""
        return copy.deepcopy(self.decoder).requires_grad_(True)

    @abstractmethod
    def size_of(self, window_hw: Hw) -> Hw:
        """Return what a window becomes inside of the square, before it is filled up."""

    @abstractmethod
    def encode(self, windows: Sequence[Pixels]) -> list[Tensor]:
        """Return the levels of features, finest first."""

    @abstractmethod
    def _answer(
        self, decoder: nn.Module, features: Features, prompt: Prompt, *, several: bool
    ) -> tuple[Tensor, Tensor]:
        """Return logits (1, N, M, grid, grid) and how good each is thought to be, (1, N, M)."""

    def decode(self, decoder: nn.Module, features: Features, prompt: Prompt) -> Tensor:
        """Return the masks of one window, logits (N, grid, grid).

        Args:
            decoder: the published one, or one that was tuned.
            features: of the window, on the device, float32.
            prompt: what to draw.
        """
        masks, _ = self._answer(decoder, features, prompt, several=False)
        return masks[0, :, 0]  # (1, N, 1, grid, grid)

    def decode_best(self, features: Features, prompt: Prompt) -> Tensor:
        """Return logits (grid, grid) for a prompt that may mean a part or the whole.

        The published decoder draws three masks and says how good each is; the best is taken.
        """
        masks, goodness = self._answer(self.decoder, features, prompt, several=True)
        return masks[0, 0, int(goodness[0, 0].argmax())]

    def prompt(self, boxes: Tensor, window_hw: Hw) -> Prompt:
        """Return what a mask decoder reads of boxes.

        Args:
            boxes: (N, 4) xyxy in window pixels.
            window_hw: size of the window.
        """
        return self._prompt(None, None, (boxes * self._zoom(window_hw).repeat(2))[None])

    def pointed(
        self, points: Tensor, is_positive: Tensor, box: Tensor | None, window_hw: Hw
    ) -> Prompt:
        """Return what a mask decoder reads of clicks, and of a box around the same object.

        Args:
            points: (N, 2) x, y in window pixels; may be none where there is a box.
            is_positive: (N,) bool, whether each lies on the object.
            box: (4,) xyxy in window pixels.
            window_hw: size of the window.
        """
        zoom = self._zoom(window_hw)
        boxes = None if box is None else (box * zoom.repeat(2))[None, None]  # (1, 1, 4)
        if not len(points):
            return self._prompt(None, None, boxes)
        return self._prompt((points * zoom)[None, None], is_positive.int()[None, None], boxes)

    def _zoom(self, window_hw: Hw) -> Tensor:
        h, w = self.size_of(window_hw)
        return torch.tensor([w / window_hw[1], h / window_hw[0]], device=self.device)

    def _prompt(self, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None) -> Prompt:
        with torch.no_grad():
            sparse, dense = self._network.prompt_encoder(
                input_points=points, input_labels=labels, input_boxes=boxes, input_masks=None
            )
        return Prompt(sparse, dense)

    def whole(self, window_hw: Hw) -> Prompt:
        """Return the prompt of one box as large as the window."""
        h, w = window_hw
        return self.prompt(torch.tensor([[0.0, 0.0, w, h]], device=self.device), window_hw)

    def _pixels(self, windows: Sequence[Pixels]) -> Tensor:
        sizes = [self.size_of((window.shape[0], window.shape[1])) for window in windows]
        return prepared(windows, sizes, self.side, self.device)


class Sam(Segmenter):
    """The first one: windows keep their shape and are filled up."""

    def size_of(self, window_hw: Hw) -> Hw:
        """Return what a window becomes inside of the square, before it is filled up."""
        return longest_side(window_hw, self.side)

    def encode(self, windows: Sequence[Pixels]) -> list[Tensor]:
        """Return one level of features, (B, C, h, w)."""
        return [self._network.get_image_embeddings(self._pixels(windows))]

    def _answer(
        self, decoder: nn.Module, features: Features, prompt: Prompt, *, several: bool
    ) -> tuple[Tensor, Tensor]:
        masks, goodness = decoder(
            image_embeddings=features[0][None],
            image_positional_embeddings=self._network.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=prompt.sparse,
            dense_prompt_embeddings=prompt.dense,
            multimask_output=several,
        )
        return masks, goodness


class Sam2(Segmenter):
    """The second one: windows are stretched, and two finer levels of features help."""

    def tunable(self) -> nn.Module:
        """Return a copy of the mask decoder that can be tuned.

        Its two convolutions over the finer features belong to the encoder, which runs them once a
        window, so they stay. It draws with the one token that is tuned, also where the mask is
        unstable: others, which are not tuned, were to step in there.
        """
        decoder: Any = super().tunable()
        decoder.conv_s0.requires_grad_(False)
        decoder.conv_s1.requires_grad_(False)
        decoder.dynamic_multimask_via_stability = False
        return decoder  # type: ignore[no-any-return]

    def size_of(self, window_hw: Hw) -> Hw:
        """Return what a window becomes: the whole square."""
        return self.side, self.side

    def encode(self, windows: Sequence[Pixels]) -> list[Tensor]:
        """Return three levels of features, finest first."""
        return self._network.get_image_embeddings(self._pixels(windows))  # type: ignore[no-any-return]

    def _answer(
        self, decoder: nn.Module, features: Features, prompt: Prompt, *, several: bool
    ) -> tuple[Tensor, Tensor]:
        masks, goodness, *_ = decoder(
            image_embeddings=features[-1][None],
            image_positional_embeddings=self._network.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=prompt.sparse,
            dense_prompt_embeddings=prompt.dense,
            multimask_output=several,
            high_resolution_features=[level[None] for level in features[:-1]],
        )
        return masks, goodness


def open_segmenter(folder: Path, lock: Lock) -> Segmenter:
    """Load a checkpoint that was checked.

    Raises:
        WeightsDamaged: when its weights and configuration do not fit.
    """
    network: Any = load_network(folder, lock)
    side = int(network.config.prompt_encoder_config.image_size)
    kind = Sam if lock.architecture == "sam" else Sam2
    return kind(network, side=side, sha256=lock.sha256)

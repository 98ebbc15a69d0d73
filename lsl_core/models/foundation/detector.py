"""RF-DETR: boxes from features of a window (Robinson et al. 2025, arXiv:2511.09554).

The encoder, a DINOv2 with its projector, stays as it is. The decoder and the heads behind it are
tuned: they are a network of their own, which is given features instead of pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lsl_core.errors import WeightsDamaged
from lsl_core.models.foundation.embeddings import Pixels
from lsl_core.models.foundation.loading import input_side, load_network
from lsl_core.models.foundation.pixels import prepared
from lsl_core.models.foundation.store import Lock

if TYPE_CHECKING:
    from transformers import RfDetrForObjectDetection


class _Given(nn.Module):
    """Stands where the encoder was and answers with the features that it was handed."""

    features: Tensor | None = None

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, C, h, w), and that none of them is padding, (B, h, w)."""
        assert self.features is not None
        b, _, h, w = self.features.shape
        return self.features, pixel_mask.new_ones((b, h, w), dtype=torch.bool)


class BoxHead(nn.Module):
    """Everything of an RF-DETR behind its encoder.

    Args:
        network: whole; its encoder is taken out of it.
        side: of the square that the encoder looked at, pixels.
    """

    def __init__(self, network: RfDetrForObjectDetection, side: int) -> None:
        super().__init__()
        network.model.backbone = _Given()
        self._network, self._side = network, side

    def forward(self, features: Tensor, wanted: list[dict[str, Tensor]] | None = None) -> Any:  # noqa: ANN401 - RfDetrObjectDetectionOutput
        """Answer for features of windows.

        Args:
            features: (B, C, h, w) float32.
            wanted: per window `class_labels` (N,) int64 and `boxes` (N, 4) centre x, y, width,
                height in shares of the window, for the loss.

        Returns:
            `logits` (B, Q, K), `pred_boxes` (B, Q, 4) as `wanted` has them, and `loss`.
        """
        given = self._network.model.backbone
        assert isinstance(given, _Given)
        given.features = features
        try:
            # its pixels are looked at no more, only their size and place
            blank = features.new_zeros(1).expand(len(features), 3, self._side, self._side)
            return self._network(blank, labels=wanted)
        finally:
            given.features = None

    def for_labels(self, count: int) -> BoxHead:
        """Return a copy that can be tuned, for other labels.

        The first rows of the published class heads become the new ones, over and over where they
        are too few: what roboflow/rf-detr does (`reinitialize_detection_head`).
        """
        head = copy.deepcopy(self)
        network = head._network
        for name, old in list(network.named_modules()):
            if name.split(".")[-1] == "class_embed" or ".enc_out_class_embed." in f".{name}":
                assert isinstance(old, nn.Linear)
                network.set_submodule(name, _resized(old, count))
        network.config.num_labels = count
        return head.requires_grad_(True)


def _resized(old: nn.Linear, count: int) -> nn.Linear:
    rows = torch.arange(count, device=old.weight.device) % old.out_features
    new = nn.Linear(old.in_features, count, device=old.weight.device)
    with torch.no_grad():
        new.weight.copy_(old.weight[rows])
        new.bias.copy_(old.bias[rows])
    return new


class Detector:
    """A pretrained RF-DETR: an `Encoder`, and the head that is tuned from.

    head: as it was published; never changed.
    """

    def __init__(self, network: RfDetrForObjectDetection, *, side: int, sha256: str) -> None:
        self._encoder: nn.Module = network.model.backbone
        self.head = BoxHead(network, side)
        self.sha256, self._side = sha256, side

    @classmethod
    def open(cls, folder: Path, lock: Lock) -> Detector:
        """Load a checkpoint that was checked.

        Raises:
            WeightsDamaged: when it is no RF-DETR that can be used.
        """
        network: Any = load_network(folder, lock)
        backbone = network.config.backbone_config
        side = input_side(folder, int(backbone.image_size))
        if side % (backbone.patch_size * backbone.num_windows):
            raise WeightsDamaged(
                f"The weights {lock.name} cannot look at {side}×{side} pixels.",
                hint="The side must be a multiple of "
                f"{backbone.patch_size * backbone.num_windows}; see preprocessor_config.json.",
            )
        return cls(network, side=side, sha256=lock.sha256)

    def to(self, device: torch.device) -> Detector:
        """Move it to a device."""
        self._encoder.to(device)
        self.head.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self._encoder.parameters()).device

    def encode(self, windows: Sequence[Pixels]) -> list[Tensor]:
        """Return one level of features, (B, C, h, w)."""
        sizes = [(self._side, self._side)] * len(windows)  # published for stretched squares
        pixels = prepared(windows, sizes, self._side, self.device)
        mask = torch.ones(pixels[:, 0].shape, dtype=torch.long, device=pixels.device)
        features, _ = self._encoder(pixels, mask)
        return [features]

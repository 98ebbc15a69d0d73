"""Losses of masks and of maps of labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def mask_loss(logits: Tensor, wanted: Tensor, inside: Tensor) -> Tensor:
    """Cross-entropy and Dice of masks, all (B, 1, h, w); `inside` is 0 where nothing is known."""
    bce = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    dice = _dice(logits.sigmoid() * inside, wanted * inside)
    return (bce * inside).sum() / inside.sum().clamp(min=1) * 2 + dice


def label_map_loss(logits: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy, rare labels counting more, and Dice a label.

    Args:
        logits: (B, K + 1, h, w), the last for none.
        wanted: (B, h, w) int64.
        weight: (B, h, w), 0 where nothing is known.
    """
    num = logits.shape[1]
    one_hot = functional.one_hot(wanted, num).permute(0, 3, 1, 2) * weight[:, None]
    share = one_hot.sum(dim=(0, 2, 3)) / weight.sum().clamp(min=1)
    balance = (share.clamp(min=1e-3) ** -0.5)[wanted] * weight
    entropy = functional.cross_entropy(logits, wanted, reduction="none")
    dice = _dice(logits.softmax(1) * weight[:, None], one_hot)
    return (entropy * balance).sum() / balance.sum().clamp(min=1) + dice


def _dice(probability: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 − Dice over the batch, mean of the channels."""
    sums = (0, 2, 3)
    both = (probability * wanted).sum(sums)
    return (1 - (2 * both + 1) / (probability.sum(sums) + wanted.sum(sums) + 1)).mean()

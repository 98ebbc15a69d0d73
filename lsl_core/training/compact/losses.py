"""How far the network's answer is from the target."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lsl_core.training.common.mask_losses import label_map_loss, mask_loss
from lsl_core.training.compact.targets import Targets

#: What each part counts; offsets and boxes are in units of some pixels, hence the weights.
WEIGHTS = {
    "heat": 1.0,
    "ltrb": 2.0,
    "foreground": 1.0,
    "offset": 2.0,
    "semantic": 1.0,
}


def batch_loss(network: nn.Module, batch: tuple[Tensor, Targets], *, label_weight: float) -> Tensor:
    """Return the loss of the compact network on images and their targets."""
    images, targets = batch
    return total_loss(network(images), targets, label_weight=label_weight)


def total_loss(out: dict[str, Tensor], targets: Targets, *, label_weight: float) -> Tensor:
    """Return the weighted sum of the losses of all heads that answered."""
    weights = {**WEIGHTS, "label": label_weight}
    losses = {
        "heat": lambda: heat_loss(out["heat"], targets),
        "label": lambda: label_loss(out["label"], targets),
        "ltrb": lambda: box_loss(out["ltrb"], targets),
        "foreground": lambda: foreground_loss(out["foreground"], targets),
        "offset": lambda: offset_loss(out["offset"], targets),
        "semantic": lambda: semantic_loss(out["semantic"], targets),
    }
    return torch.stack([weights[name] * losses[name]() for name in out]).sum()


def heat_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Focal loss that forgives near misses (Law & Deng 2018, CornerNet, arXiv:1808.01244)."""
    probability = logits.sigmoid()
    is_centre = (targets.heat >= 1).float()
    right = (1 - probability) ** 2 * functional.logsigmoid(logits) * is_centre
    wrong = probability**2 * functional.logsigmoid(-logits) * (1 - targets.heat) ** 4
    both = (right + wrong * (1 - is_centre)) * targets.heat_weight
    return -both.sum() / is_centre.sum().clamp(min=1)


def label_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy; every object counts the same, objects of a rare label more."""
    weight = targets.label_weight[:, 0]
    one_hot = functional.one_hot(targets.label, logits.shape[1])
    share = (one_hot * weight[..., None]).sum(dim=(0, 1, 2)) / weight.sum().clamp(min=1e-6)
    weight = weight * (share.clamp(min=1e-2) ** -0.5)[targets.label]
    entropy = functional.cross_entropy(logits, targets.label, reduction="none")
    return (entropy * weight).sum() / weight.sum().clamp(min=1e-6)


def box_loss(ltrb: Tensor, targets: Targets) -> Tensor:
    """1 − generalised IoU of boxes seen from one pixel (Rezatofighi 2019, arXiv:1902.09630)."""
    wanted, weight = targets.ltrb, targets.ltrb_weight
    area = (ltrb[:, 0] + ltrb[:, 2]) * (ltrb[:, 1] + ltrb[:, 3])
    wanted_area = (wanted[:, 0] + wanted[:, 2]) * (wanted[:, 1] + wanted[:, 3])
    low, high = torch.minimum(ltrb, wanted), torch.maximum(ltrb, wanted)
    shared = (low[:, 0] + low[:, 2]) * (low[:, 1] + low[:, 3])
    hull = (high[:, 0] + high[:, 2]) * (high[:, 1] + high[:, 3])
    union = area + wanted_area - shared
    giou = shared / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)
    return ((1 - giou)[:, None] * weight).sum() / weight.sum().clamp(min=1)


def foreground_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy and Dice over the pixels of the image."""
    return mask_loss(logits, targets.foreground, targets.inside)


def offset_loss(offset: Tensor, targets: Targets) -> Tensor:
    """Smooth L1 on object pixels."""
    off = functional.smooth_l1_loss(offset, targets.offset, reduction="none", beta=0.1)
    weight = targets.offset_weight
    return (off * weight).sum() / weight.sum().clamp(min=1)


def semantic_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Return the loss of a map of labels; see `label_map_loss`."""
    return label_map_loss(logits, targets.semantic, targets.inside[:, 0])

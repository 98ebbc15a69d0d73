"""The compact network, in the order in which data meets it.

A residual U-Net (encoder as in He et al. 2016, arXiv:1512.03385; skips as in Ronneberger et al.
2015, arXiv:1505.04597) that answers at half the resolution of its input. What it answers depends
on the mode:

- `heat`: how likely the centre of an object, of whatever label, is here (Zhou et al. 2019,
  "Objects as Points", arXiv:1904.07850);
- `label`: which label an object here has. Places are learnt from the objects of all labels
  together, so a label with few examples is found as well as the others; a heat map a label, as in
  that paper, left labels with a dozen examples unfound;
- `ltrb`: from here to the four sides of the object's box (Liu et al. 2019, "Training-Time-Friendly
  Network", arXiv:1909.00700);
- `foreground`: how likely any object is here;
- `offset`: from here to the centre of the object that this pixel belongs to (Cheng et al. 2019,
  "Panoptic-DeepLab", arXiv:1911.10194);
- `semantic`: which label is here, the last channel being none.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lsl_core.models.devices import has_bfloat16
from lsl_core.types import Mode

#: Input pixels a side per output pixel.
STRIDE = 2
#: Input sides must be a multiple of this.
MULTIPLE = 16
#: `ltrb` and `offset` come in units of this many output pixels, so that they are about 1.
UNIT = 8.0
#: Probability that `heat` and `foreground` start at, so that the first steps are calm.
PRIOR = 0.05

_BOXES = (("heat", "1"), ("label", "K"), ("ltrb", "4"))
_MASKS = (*_BOXES, ("foreground", "1"), ("offset", "2"))
#: Heads of each mode, with their channels; K is the number of labels.
HEADS: dict[Mode, tuple[tuple[str, str], ...]] = {
    Mode.FSOD: _BOXES,
    Mode.WSIS: _MASKS,
    Mode.FSIS: _MASKS,
    Mode.FSIS_SEGONLY: (("semantic", "K+1"),),
}


#: torch computes one window with another kernel than several where a layer sees no more numbers
#: than this on a processor (ATen, native/Convolution.cpp, use_mkldnn; torch 2.13).
_FEW = 20_480


class Conv(nn.Conv2d):
    """A convolution that rounds a window alone as it rounds it among others.

    So that an answer is the same to the bit, whoever else asks at the time.
    """

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        is_small = len(x) == 1 and x.numel() <= _FEW and x.device.type == "cpu"
        if self.training or not is_small:
            answer: Tensor = super()._conv_forward(x, weight, bias)
            return answer
        both: Tensor = super()._conv_forward(x.expand(2, -1, -1, -1), weight, bias)
        return both[:1]


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, momentum=0.1)


class Block(nn.Module):
    """Two 3×3 convolutions beside a short cut; may halve the resolution."""

    def __init__(self, before: int, after: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = Conv(before, after, 3, stride, 1, bias=False)
        self.first_norm = _norm(after)
        self.second = Conv(after, after, 3, 1, 1, bias=False)
        self.second_norm = _norm(after)
        self.short: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
            self.short = nn.Sequential(pool, Conv(before, after, 1, bias=False), _norm(after))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, after, h / stride, w / stride)."""
        y = functional.relu(self.first_norm(self.first(x)), inplace=True)
        y = self.second_norm(self.second(y))
        y += self.short(x)
        return functional.relu(y, inplace=True)


class Up(nn.Module):
    """Double the resolution of the deep features and join those of the encoder."""

    def __init__(self, deep: int, skip: int, after: int) -> None:
        super().__init__()
        self.lateral = Conv(deep, skip, 1, bias=False)
        self.join = Conv(skip, after, 3, 1, 1, bias=False)
        self.norm = _norm(after)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Return (B, after, h, w) at the resolution of `skip`."""
        raised = functional.interpolate(
            self.lateral(deep), scale_factor=2, mode="bilinear", align_corners=False
        )
        raised += skip
        return functional.relu(self.norm(self.join(raised)), inplace=True)


class LabelHead(nn.Sequential):
    """Tell labels apart at a quarter of the resolution, where a pixel has seen its whole object."""

    def __init__(self, before: int, num_labels: int) -> None:
        super().__init__(
            Conv(before, before, 3, 1, 1, bias=False),
            _norm(before),
            nn.ReLU(inplace=True),
            Conv(before, num_labels, 1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        )


class CompactNetwork(nn.Module):
    """See the top of the file.

    Args:
        mode: chooses the heads.
        num_labels: K.
        width: channels at half resolution; deeper levels have 2, 3 and 5 times as many.
    """

    def __init__(self, mode: Mode, *, num_labels: int, width: int) -> None:
        super().__init__()
        w2, w4, w8, w16 = width, width * 2, width * 3, width * 5
        self.stem = Conv(3, w2, 5, 2, 2, bias=False)
        self.stem_norm = _norm(w2)
        self.level4 = Block(w2, w4, stride=2)
        self.level8 = nn.Sequential(Block(w4, w8, stride=2), Block(w8, w8))
        self.level16 = nn.Sequential(Block(w8, w16, stride=2), Block(w16, w16))
        self.up8 = Up(w16, w8, w8)
        self.up4 = Up(w8, w4, w4)
        self.up2 = Up(w4, w2, w4)
        sizes = {"1": 1, "2": 2, "4": 4, "K": num_labels, "K+1": num_labels + 1}
        heads = dict(HEADS[mode])
        self.label = LabelHead(w4, num_labels) if heads.pop("label", None) else None
        self.heads = nn.ModuleDict({name: Conv(w4, sizes[size], 1) for name, size in heads.items()})
        self._start()
        # Channels last, and half precision in `forward`: a training step on a core with
        # AVX512-BF16 takes 0.09 s with them and 0.22 s without.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # untyped

    def _start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for name in ("heat", "foreground"):
            if name in self.heads:
                head = self.heads[name]
                assert isinstance(head, nn.Conv2d)
                assert head.bias is not None
                nn.init.constant_(head.bias, math.log(PRIOR / (1 - PRIOR)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Answer for a batch.

        Args:
            x: (B, 3, h, w) float32 as `transform.prepare` gives it; h and w multiples of 16.

        Returns:
            Per head (B, channels, h / 2, w / 2) float32: `ltrb`, not negative, and `offset`
            (x, y) in units of `UNIT` output pixels; logits of all others.
        """
        with torch.autocast(x.device.type, torch.bfloat16, enabled=has_bfloat16(x.device)):
            quarter, half = self.features(x)
            out = self._answers(half)
            if self.label is not None:
                out["label"] = self.label(quarter)
        out = {name: value.float() for name, value in out.items()}
        if "ltrb" in out:
            out["ltrb"] = functional.softplus(out["ltrb"])
        return out

    def _answers(self, half: Tensor) -> dict[str, Tensor]:
        """Return what each head but `label` says, of one convolution: `half` is read once."""
        heads = [cast("Conv", head) for head in self.heads.values()]
        weight = torch.cat([head.weight for head in heads])
        bias = torch.cat([cast("Tensor", head.bias) for head in heads])
        together = heads[0]._conv_forward(half, weight, bias)
        parts = torch.split_with_sizes(together, [head.out_channels for head in heads], dim=1)
        return dict(zip(self.heads, parts, strict=True))

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the heads answer from: at a quarter of the resolution, and at half.

        The head `label` sees the first, all others the second; both (B, channels, ·, ·).
        """
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=has_bfloat16(x.device)):
            x2 = functional.relu(self.stem_norm(self.stem(x)), inplace=True)
            x4 = self.level4(x2)
            x8 = self.level8(x4)
            x16 = self.level16(x8)
            quarter = self.up4(self.up8(x16, x8), x4)
            return quarter, self.up2(quarter, x2)


def fold_norms(network: CompactNetwork) -> CompactNetwork:
    """Put each norm into the convolution before it, in place, for prediction only.

    The answers stay, but a norm apart reads and writes all its pixels once more. In each module a
    norm stands right after the convolution that it is of.
    """
    for module in network.eval().modules():
        for (conv_name, conv), (norm_name, norm) in pairwise(module.named_children()):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return network

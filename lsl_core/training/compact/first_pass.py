"""A model in seconds: the heads are solved for, and nothing else is learnt.

The network begins from weights that know objects of no particular kind. What it makes of the
labelled images stays as it is, and each head, a linear map of these features, is the solution of a
regression on what people drew: ridge regression of boxes and offsets, logistic regression of
everything that is a probability. Both are pulled towards the heads that the weights came with, as
far as they came with any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lsl_core.models.compact.network import CompactNetwork
from lsl_core.models.devices import set_threads
from lsl_core.progress import Progress
from lsl_core.training.common.settings import FitSettings
from lsl_core.training.common.trained import Score, Trained
from lsl_core.training.compact.compact_loop import set_up
from lsl_core.training.compact.targets import Targets
from lsl_core.training.examples.samples import Sample

#: Batches of crops that the heads are solved from.
BATCHES = 24
#: Pull towards the heads that the weights came with; 1e-4 and 1e-1 did no better.
PULL = 1e-3
#: One in so many pixels of empty ground is looked at: there are many, and they are alike.
THIN = 8
#: Where less than this is wanted, a pixel counts as empty ground.
FAINT = 0.05
#: Newton's steps at most, and the gain that ends them.
STEPS, LEAST_GAIN = 20, 1e-5


@dataclass(frozen=True, slots=True)
class Rows:
    """What one head is solved from, pixel by pixel.

    features: (N, C + 1), the last column ones. wanted: (N, channels). weight: (N,).
    """

    features: Tensor
    wanted: Tensor
    weight: Tensor


def train_first_pass(
    samples: Sequence[Sample],
    settings: FitSettings,
    labels: tuple[str, ...],
    progress: Progress,
    *,
    score: Score | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Solve for the heads of a compact network; the arguments are those of `train_compact`.

    Nothing is chosen by `score` and nothing goes on from `checkpoint`: it is over in seconds.
    """
    del score, checkpoint
    work = set_up(samples, settings, labels, progress)
    network = work.network.eval()
    if network.label is not None:
        first_layer = network.label[0]  # hands the features on; the norm behind it is neutral
        assert isinstance(first_layer, nn.Conv2d)
        nn.init.dirac_(first_layer.weight)
    first = work.batches.draw()
    if work.device.type == "cpu":
        set_threads(settings.threads, lambda: network(first[0]))
    rows: dict[str, list[Rows]] = {}
    progress.start("First pass", total=BATCHES, unit="batches")
    for number in range(BATCHES):
        progress.check()
        images, targets = first if number == 0 else work.batches.draw()
        for name, found in _rows(network, images, targets):
            rows.setdefault(name, []).append(found)
        progress.advance()
    for name, parts in rows.items():
        _solve(network, name, _joined(parts))
    trained = work.trained({n: v.detach().cpu().clone() for n, v in network.state_dict().items()})
    trained.settings["first_pass"] = True
    return trained


@torch.no_grad()
def _rows(network: CompactNetwork, images: Tensor, of: Targets) -> Iterator[tuple[str, Rows]]:
    """Give what each head of the network should have answered, and from what."""
    quarter, half = (f.float() for f in network.features(images))
    inside = of.inside
    wanted = {
        "heat": (of.heat, of.heat_weight),
        "ltrb": (_unsoftplus(of.ltrb), of.ltrb_weight),
        "foreground": (of.foreground, inside),
        "offset": (of.offset, of.offset_weight),
    }
    for name in network.heads:
        if name == "semantic":
            labels = _one_hot(of.semantic, _map(network, name).out_channels)
            yield name, _chosen(half, labels, inside, THIN)
        else:
            yield name, _chosen(half, *wanted[name], THIN)
    if network.label is not None:
        upsampled = network.label[4](quarter)  # it and the linear map may change places
        labels = _one_hot(of.label, _map(network, "label").out_channels)
        yield "label", _chosen(upsampled, labels, of.label_weight, 1)


def _map(network: CompactNetwork, name: str) -> nn.Conv2d:
    """Return the linear map of a head."""
    head = network.label[3] if name == "label" and network.label else network.heads[name]
    assert isinstance(head, nn.Conv2d)
    return head


def _one_hot(ids: Tensor, count: int) -> Tensor:
    return functional.one_hot(ids, count).permute(0, 3, 1, 2).float()  # (B, count, h, w)


def _unsoftplus(sides: Tensor) -> Tensor:
    """Return what becomes these sides by softplus; none is shorter than a hundredth."""
    sides = sides.clamp(min=0.01)
    return sides + torch.log(-torch.expm1(-sides))


def _chosen(features: Tensor, wanted: Tensor, weight: Tensor, thin: int) -> Rows:
    """Return the pixels that count; of those where nothing is wanted one in `thin`, for all."""
    x, y, w = (t.permute(0, 2, 3, 1).flatten(0, 2).cpu() for t in (features, wanted, weight))
    w = w[:, 0]
    plain = y[:, 0] <= FAINT
    w = torch.where(plain, w * thin, w)
    kept = (w > 0) & (~plain | (torch.rand(len(w)) < 1 / thin))
    x = torch.cat([x[kept], torch.ones(int(kept.sum()), 1)], dim=1)
    return Rows(x.double(), y[kept].double(), w[kept].double())


def _joined(parts: Sequence[Rows]) -> Rows:
    return Rows(
        *(torch.cat([getattr(p, name) for p in parts]) for name in ("features", "wanted", "weight"))
    )


@torch.no_grad()
def _solve(network: CompactNetwork, name: str, rows: Rows) -> None:
    """Put the solution of a head in its place."""
    if not len(rows.weight):
        return
    head = _map(network, name)
    assert head.bias is not None
    before = torch.cat([head.weight.flatten(1), head.bias[:, None]], dim=1).T.cpu().double()
    if name in ("label", "semantic"):  # these begin at random
        before = torch.zeros_like(before)
        rows = _balanced(rows)
    if name in ("ltrb", "offset"):
        solved = ridge(rows, before)
    else:
        channels = zip(rows.wanted.T, before.T, strict=True)
        solved = torch.stack([logistic(rows, y, w) for y, w in channels], dim=1)
    head.weight.copy_(solved[:-1].T[:, :, None, None])
    head.bias.copy_(solved[-1])


def _balanced(rows: Rows) -> Rows:
    """Return rows where those of a rare label count more, as in `losses.label_loss`."""
    share = (rows.wanted * rows.weight[:, None]).sum(0) / rows.weight.sum()
    more = (rows.wanted * share.clamp(min=1e-2) ** -0.5).sum(1)
    return Rows(rows.features, rows.wanted, rows.weight * more)


def ridge(rows: Rows, before: Tensor) -> Tensor:
    """Return the linear map of least squares, pulled towards another, both (C + 1, channels)."""
    weighted = rows.features * (rows.weight / rows.weight.sum())[:, None]
    pull = PULL * torch.eye(len(before), dtype=before.dtype)
    rest = rows.wanted - rows.features @ before
    change: Tensor = torch.linalg.solve(weighted.T @ rows.features + pull, weighted.T @ rest)
    return before + change


def logistic(rows: Rows, wanted: Tensor, before: Tensor) -> Tensor:
    """Return the logistic regression of chances, pulled towards another, both (C + 1,).

    Newton's method; a step that gains nothing is halved until it does.

    Args:
        rows: features and weights.
        wanted: (N,) in [0, 1].
        before: what it is pulled towards.
    """
    x, weight = rows.features, rows.weight / rows.weight.sum()
    eye = PULL * torch.eye(len(before), dtype=before.dtype)

    def loss(at: Tensor) -> float:
        logits, away = x @ at, at - before
        entropy = weight @ (functional.softplus(logits) - wanted * logits)
        return float(entropy + PULL / 2 * (away @ away))

    at, now = before.clone(), loss(before)
    for _ in range(STEPS):
        chances = torch.sigmoid(x @ at)
        slope = x.T @ (weight * (chances - wanted)) + PULL * (at - before)
        bend = (x * (weight * chances * (1 - chances))[:, None]).T @ x + eye
        step = torch.linalg.solve(bend, slope)
        while (after := loss(at - step)) > now and float(step.abs().max()) > LEAST_GAIN:
            step = step / 2
        if now - after < LEAST_GAIN * now:
            break
        at, now = at - step, after
    return at

"""One training: budget, optimiser, running average, what is kept, and going on after a kill."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lsl_core.errors import RunCancelled, TrainingDiverged
from lsl_core.models.memory import free_memory, is_out_of_memory, too_small
from lsl_core.progress import Progress
from lsl_core.training.common.checkpoint import read_checkpoint, write_checkpoint
from lsl_core.training.common.settings import Budget

State = dict[str, Tensor]

#: AdamW, warm-up, cosine, clipping (recipe of the first trials).
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
WARM_UP = 20
CLIP = 5.0
#: The average of the weights follows this closely at most.
EMA = 0.99
#: Steps between two reports.
REPORT_EVERY = 10
#: Shares of the budget at which held-out images are predicted. The learning rate falls over the
#: budget, so nothing is best before; and few checks choose little by luck.
CHECKS = (0.4, 0.55, 0.7, 0.85, 1.0)
#: Checks in a row that bring nothing before a training ends early.
PATIENCE = 2
#: Less than this is no progress: about what another seed changes.
PROGRESS = 0.002
#: Share of the budget from which on a stopped training is worth keeping.
WORTH = 0.2
#: Seconds between two checkpoints.
SAVE_EVERY = 20.0


@dataclass(slots=True)
class _Facts:
    """What a checkpoint keeps beside tensors.

    seconds: used so far. checks: how many were done; score, at: of the best. idle: checks since.
    """

    iteration: int = 0
    seconds: float = 0.0
    checks: int = 0
    score: float = -1.0
    at: int = 0
    idle: int = 0
    losses: list[float] = field(default_factory=list)


class Loop:
    """Steps until the budget is gone, the held-out images bring no more, or somebody stops it.

    Args:
        network: to train.
        loss: of the network on a batch.
        budget: steps, seconds, or both.
        progress: hears "loss", "learning_rate" and the "seconds" so far.
        score: how good weights are on held-out images, in [0, 1], or None when these images shall
            choose nothing; None where there are none.
        learning_rate: highest.
        shrink: makes the batches to come smaller when the memory of the device was too small for
            one; False when they cannot be.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Any, Any], Tensor],
        budget: Budget,
        progress: Progress,
        *,
        score: Callable[[State], float | None] | None = None,
        learning_rate: float = LEARNING_RATE,
        shrink: Callable[[], bool] = lambda: False,
    ) -> None:
        self.average = copy.deepcopy(network).eval()
        self.stopped = False
        self._network, self._loss, self._score = network.train(), loss, score
        self._budget, self._progress = budget, progress
        self._learning_rate, self._shrink = learning_rate, shrink
        decayed = [p for p in network.parameters() if p.ndim > 1]
        plain = [p for p in network.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, learning_rate, weight_decay=WEIGHT_DECAY)
        self._facts, self._best = _Facts(), State()
        self._began = time.monotonic()
        self._told = 0
        unit = "steps" if budget.iterations else "s"
        progress.start("Training", total=budget.total, unit=unit)

    @property
    def iteration(self) -> int:
        """Steps done."""
        return self._facts.iteration

    def run(
        self,
        draw: Callable[[], Any],
        *,
        rng: np.random.Generator,
        checkpoint: Path | None = None,
        key: str = "",
    ) -> State:
        """Train to the end and return the best weights, on the CPU.

        Args:
            draw: gives a batch.
            rng: what `draw` draws from; a checkpoint keeps its state.
            checkpoint: file to go on from and to write now and then, removed at the end.
            key: what this training learns from what; a checkpoint of another is not used.

        Raises:
            RunCancelled: when somebody stopped it too early for anything worth keeping.
            TrainingDiverged: when the loss is no number any more before anything was worth keeping.
        """
        if checkpoint is not None:
            self._resume(checkpoint, key, rng)
        try:
            self._learn(draw, rng, checkpoint, key)
        except TrainingDiverged as error:
            if not self._best:
                _forget(checkpoint)  # the same steps would end the same way
                raise
            self._progress.note(f"{error.message} The weights of step {self._facts.at} are kept.")
        _forget(checkpoint)
        return self._best or _on_cpu(self.average)

    def _learn(
        self, draw: Callable[[], Any], rng: np.random.Generator, checkpoint: Path | None, key: str
    ) -> None:
        saved = time.monotonic()
        while not self.is_over():
            try:
                self._progress.check()
            except RunCancelled:
                if self.share() < WORTH:
                    raise
                self.stopped = True
                break
            if not self._fits(draw):
                continue
            self._check()
            if checkpoint is not None and time.monotonic() - saved >= SAVE_EVERY:
                self._save(checkpoint, key, rng)
                saved = time.monotonic()

    def share(self) -> float:
        """Return how much of the budget is used, 1 when it is gone."""
        return self._budget.share(self.iteration, self._seconds())

    def is_over(self) -> bool:
        """Whether it is time to end; a training has one step at least."""
        if self.iteration == 0:
            return False
        return self.share() >= 1 or self._facts.idle >= PATIENCE

    def _fits(self, draw: Callable[[], Any]) -> bool:
        """Learn from a batch, unless the memory of the device is too small for it.

        Raises:
            OutOfGpuMemory: when it is too small for the smallest one.
        """
        try:
            self.step(draw())
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return True
        # outside of the handler, whose traceback holds on to the memory
        self._optimiser.zero_grad(set_to_none=True)
        free_memory()
        if not self._shrink():
            raise too_small("train this model on these images")
        self._progress.note("The memory of the device is too small: going on with smaller batches.")
        return False

    def step(self, batch: Any) -> None:  # noqa: ANN401 - what the loss takes
        """Learn from one batch."""
        rate = self._learning_rate * min(1.0, (self.iteration + 1) / WARM_UP)
        rate *= 0.01 + 0.99 * (1 + math.cos(math.pi * self.share())) / 2
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        loss = self._loss(self._network, batch)
        check_loss(float(loss.detach()), self.iteration)
        self._optimiser.zero_grad(set_to_none=True)
        backward(loss)
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), CLIP)
        self._optimiser.step()
        self._follow()
        self._facts.losses.append(float(loss.detach()))
        self._facts.iteration += 1
        if self.iteration % REPORT_EVERY == 0 or self.is_over():
            self._report(rate)

    def _seconds(self) -> float:
        return self._facts.seconds + time.monotonic() - self._began

    def _follow(self) -> None:
        keep = min(EMA, (1 + self.iteration) / (10 + self.iteration))
        with torch.no_grad():
            ours = self.average.state_dict()
            for name, value in self._network.state_dict().items():
                if value.is_floating_point():
                    ours[name].lerp_(value, 1 - keep)
                else:
                    ours[name].copy_(value)

    def _check(self) -> None:
        """Predict held-out images when it is time, and keep the best weights."""
        facts = self._facts
        if self._score is None or facts.checks >= len(CHECKS):
            return
        if self.share() < CHECKS[facts.checks]:
            return
        facts.checks = sum(share <= self.share() for share in CHECKS)
        state = _on_cpu(self.average)
        score = self._score(state)
        if score is None:
            return
        facts.idle = 0 if score > facts.score + PROGRESS else facts.idle + 1
        if score >= facts.score:
            self._best, facts.score, facts.at = state, score, self.iteration
        if facts.idle >= PATIENCE and self.share() < 1:
            self._progress.note(
                f"Ended at step {self.iteration}: best on the held-out images at step {facts.at}."
            )

    def _report(self, rate: float) -> None:
        losses = self._facts.losses
        self._progress.metric("loss", float(np.mean(losses)), at=self.iteration)
        self._progress.metric("learning_rate", rate, at=self.iteration)
        self._progress.metric("seconds", self._seconds(), at=self.iteration)
        losses.clear()
        by_steps = self._budget.iterations is not None
        done = self.iteration if by_steps else round(self.share() * self._budget.total)
        self._progress.advance(done - self._told)
        self._told = done

    def _save(self, path: Path, key: str, rng: np.random.Generator) -> None:
        tensors = {f"network.{n}": v for n, v in self._network.state_dict().items()}
        tensors |= {f"average.{n}": v for n, v in self.average.state_dict().items()}
        tensors |= {f"best.{n}": v for n, v in self._best.items()}
        for i, slots in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{n}": v for n, v in slots.items()}
        names = [name for name in _Facts.__slots__ if name != "seconds"]
        facts = {name: getattr(self._facts, name) for name in names}
        facts |= {"seconds": self._seconds(), "rng": rng.bit_generator.state, "key": key}
        write_checkpoint(path, tensors, facts)

    def _resume(self, path: Path, key: str, rng: np.random.Generator) -> None:
        found = read_checkpoint(path)
        if found is None or found[1].get("key") != key:
            return
        tensors, facts = found
        rng.bit_generator.state = facts["rng"]
        self._facts = _Facts(**{name: facts[name] for name in _Facts.__slots__})
        self._network.load_state_dict(_part(tensors, "network."))
        self.average.load_state_dict(_part(tensors, "average."))
        self._best = _part(tensors, "best.")
        slots: dict[int, State] = {}
        for name, value in _part(tensors, "optimiser.").items():
            i, slot = name.split(".")
            slots.setdefault(int(i), {})[slot] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": slots, "param_groups": groups})
        self._progress.note(f"Going on at step {self.iteration}, where the training was stopped.")


def _forget(checkpoint: Path | None) -> None:
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)


def _part(tensors: State, prefix: str) -> State:
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}


def _on_cpu(network: nn.Module) -> State:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def backward(loss: Tensor) -> None:
    """Compute gradients."""
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types


def check_loss(loss: float, iteration: int) -> None:
    """Stop a training that has gone wrong.

    Raises:
        TrainingDiverged: when the loss is no number any more.
    """
    if not math.isfinite(loss):
        raise TrainingDiverged(iteration)

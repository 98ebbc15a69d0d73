"""The training loop of foundation models: what stands behind frozen encoders is tuned.

Each window, as it is and mirrored, passes an encoder once (`Embeddings`); the steps of all epochs
work on what came out. The detector learns with the loss that DETRs are trained with, of
transformers; masks and label maps with ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lsl_core.errors import UserInput
from lsl_core.models.devices import choose_device, set_threads
from lsl_core.models.foundation.catalogue import ROLES, Role
from lsl_core.models.foundation.embeddings import Embeddings
from lsl_core.models.foundation.model import Bases, Tuned, build, open_bases
from lsl_core.models.foundation.store import read_lock
from lsl_core.progress import Progress
from lsl_core.training.common.loop import Loop
from lsl_core.training.common.settings import FitSettings
from lsl_core.training.common.trained import Score, Trained
from lsl_core.training.examples.samples import Sample, fingerprint
from lsl_core.training.foundation.lessons import Lessons, lesson_loss

#: What RF-DETR is tuned with by those who made it (rfdetr/config.py, TrainConfig.lr).
LEARNING_RATE = 1e-4


def train_foundation(
    samples: Sequence[Sample],
    settings: FitSettings,
    labels: tuple[str, ...],
    progress: Progress,
    *,
    score: Score | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Tune pretrained weights on a support set.

    Args:
        samples: what is learnt.
        settings: mode, budget, seed, and the folders of the pretrained weights; see `fit`.
        labels: names in the order of class ids.
        progress: hears the steps and stops them.
        score: how good what was tuned so far is on held-out images.
        checkpoint: file from which a killed training goes on.

    Raises:
        UserInput: when the pretrained weights are not what the mode is made of.
        WeightsMissing, WeightsDamaged: when they cannot be used.
        OutOfGpuMemory: when not even one window fits.
    """
    torch.manual_seed(settings.seed)
    rng, key = np.random.default_rng(settings.seed), fingerprint(samples, settings, labels)
    bases = _opened(settings, progress)
    embeddings = Embeddings(settings.embeddings)
    lessons = Lessons(samples, settings, bases, embeddings, rng)
    tuned = Tuned(settings.mode, bases, len(labels))
    names = {str(role): lock.name for role, lock in bases.locks.items()}

    def trained(state: dict[str, Tensor]) -> Trained:
        whole = {**state, **bases.hashes()}
        answering = partial(build, state=whole, bases=bases, embeddings=embeddings)
        return Trained(
            whole, 1.0, dict(names), loop.iteration, answering, loop.stopped, _licence(bases)
        )

    loop = Loop(
        tuned,
        partial(lesson_loss, segmenter=bases.segmenter, rng=rng),
        settings.budget(len(samples)),
        progress,
        score=None if score is None else lambda state: score(trained(state)),
        learning_rate=LEARNING_RATE,
        shrink=lessons.shrink,
    )
    return trained(loop.run(lessons.draw, rng=rng, checkpoint=checkpoint, key=key))


def _opened(settings: FitSettings, progress: Progress) -> Bases:
    """Check and load the pretrained weights; choose the number of threads on a processor."""
    progress.start("Loading pretrained weights", total=len(settings.bases), unit="files")
    device = choose_device(settings.device)
    bases = open_bases(_by_role(settings), device)
    progress.advance(len(settings.bases))
    if device.type == "cpu":
        tokens = torch.zeros(1024, 384)  # the products that a small vision transformer is made of
        set_threads(settings.threads, lambda: tokens @ tokens.T)
    return bases


def _by_role(settings: FitSettings) -> dict[Role, Path]:
    """Return the folder of each role that the mode needs.

    Raises:
        UserInput: when one is not given, or is of no use for the mode.
    """
    found = {read_lock(folder).role: folder for folder in settings.bases}
    needed = ROLES[settings.mode]
    if set(found) != set(needed) or len(found) != len(settings.bases):
        kinds = " and ".join(f"a {role}" for role in needed)
        raise UserInput(
            f'The mode "{settings.mode}" is made of {kinds}.',
            hint="Choose weights of just these kinds: lsl models list --pretrained",
        )
    return {role: found[role] for role in needed}


def _licence(bases: Bases) -> str:
    terms = "; ".join(f"{lock.name}: {lock.licence}" for lock in bases.locks.values())
    return f"yours, as far as the weights it was tuned from allow ({terms})"

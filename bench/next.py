"""What chosen images are worth: begin with a few, label those of a ranking, train again, measure.

    python bench/next.py --mode fsod --pool T.json V.json --test E.json --images DIR

Every way adds as many images to the same first ones and trains with the same steps and seed, so
that a row differs from "random" by the choice alone. Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fewshot import read_coco
from numpy.typing import NDArray

from lsl_core.inference.looks import look_of
from lsl_core.inference.ranking import Seen, Way, rank
from lsl_core.models.base import Model
from lsl_core.training import FitSettings, Sample, evaluate, fit
from lsl_core.types import MODES, Geometry, Instances, Mode

#: Lowest score that is looked at, as in a workspace.
FLOOR = 0.05
RANDOM = "random"


class Trial:
    """A pool of images that can be labelled, and others to measure on.

    Args:
        arguments: of the command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.mode: Mode = arguments.mode
        self.steps: int = arguments.iterations
        with_masks = MODES[self.mode].gives is Geometry.MASKS
        self.pool: list[Sample] = []
        for path in arguments.pool:
            samples, self.labels = read_coco(path, arguments.images, with_masks=with_masks)
            self.pool += samples
        self.test, _ = read_coco(arguments.test, arguments.images, with_masks=with_masks)
        if arguments.tinted:
            self.pool, self.test = _half_tinted(self.pool), _half_tinted(self.test)
        self.looks = [look_of(sample.pixels()) for sample in self.pool]
        self._known: dict[tuple[int, frozenset[int]], tuple[Model, float]] = {}

    def train(self, chosen: Sequence[int], seed: int) -> tuple[Model, float]:
        """Train on images of the pool; return the model and its AP. The same is done once."""
        key = (seed, frozenset(chosen))
        if key not in self._known:
            samples = [self.pool[i] for i in sorted(chosen)]
            if MODES[self.mode].learns_from is Geometry.BOXES:
                samples = [replace(s, instances=replace(s.instances, masks=None)) for s in samples]
            settings = FitSettings(self.mode, iterations=self.steps, seed=seed, threads=1)
            fitted = fit(samples, [], settings=settings, labels=tuple(self.labels))
            model = fitted.model(fitted.card)
            found = [model.predict([s.pixels()], floor_score=0.02)[0] for s in self.test]
            truth = [s.instances for s in self.test]
            self._known[key] = model, evaluate(truth, found, self.labels).ap
        return self._known[key]

    def seen(self, indices: Sequence[int], objects: Callable[[int], Instances]) -> list[Seen]:
        """Return images as the ranking sees them."""
        return [Seen(self.looks[i], objects(i)) for i in indices]

    def choose(self, way: str, first: Sequence[int], num: int, seed: int) -> list[int]:
        """Return which images to label next."""
        rest = [i for i in range(len(self.pool)) if i not in first]
        if way == RANDOM:
            rng = np.random.default_rng([seed, 1])
            return rng.permutation(rest)[:num].tolist()
        model, _ = self.train(first, seed)
        ranked = rank(
            self.seen(rest, lambda i: model.predict([self.pool[i].pixels()], floor_score=FLOOR)[0]),
            self.seen(first, lambda i: self.pool[i].instances),
            num_labels=len(self.labels), num=num, way=Way(way),
        )  # fmt: skip
        return [rest[found.index] for found in ranked]


def _half_tinted(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples with every second one inverted and tinted, as a stained slide is."""
    return [
        replace(s, pixels=_tinted(s.pixels)) if i % 2 else s for i, s in enumerate(samples)
    ]  # fmt: skip


def _tinted(pixels: Callable[[], NDArray[np.uint8]]) -> Callable[[], NDArray[np.uint8]]:
    tint = np.array([0.95, 0.8, 0.9])
    return lambda: ((255 - pixels().astype(np.float32)) * tint).astype(np.uint8)


def run(trial: Trial, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Try every way with every seed."""
    rows = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        order = np.random.default_rng(seed).permutation(len(trial.pool)).tolist()
        first = order[: arguments.begin]
        _, before = trial.train(first, seed)
        row: dict[str, Any] = {"seed": seed, "begin": first, "before": before}
        for way in (RANDOM, *Way):
            added = trial.choose(way, first, arguments.add, seed)
            drawn = sum(len(trial.pool[i].instances) for i in added)
            _, after = trial.train([*first, *added], seed)
            row[str(way)] = {"ap": after, "drawn": drawn, "images": added}
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def report(rows: Sequence[dict[str, Any]]) -> None:
    """Print AP, what it is beside random, and how many objects had to be drawn."""
    print(f"{'way':>8}{'AP':>8}{'spread':>8}{'- random':>10}{'spread':>8}{'better':>8}{'drawn':>8}")
    before = [row["before"] for row in rows]
    print(f"{'before':>8}{np.mean(before):>8.3f}{np.std(before):>8.3f}")
    means = {}
    for way in (RANDOM, *Way):
        ap = np.array([row[way]["ap"] for row in rows])
        gain = ap - np.array([row[RANDOM]["ap"] for row in rows])
        drawn = float(np.mean([row[way]["drawn"] for row in rows]))
        better = f"{(gain > 0).sum()}/{len(rows)}"
        print(
            f"{way:>8}{ap.mean():>8.3f}{ap.std():>8.3f}{gain.mean():>+10.3f}{gain.std():>8.3f}"
            f"{better:>8}{drawn:>8.0f}"
        )
        means[str(way)] = {"ap": float(ap.mean()), "gain": float(gain.mean()), "drawn": drawn}
    print(json.dumps({"mean": means, "runs": rows}))


def main() -> None:
    """Read the command line, try, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", type=Mode, choices=list(Mode), required=True)
    parser.add_argument("--pool", type=Path, nargs="+", required=True)
    for name in ("test", "images"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--begin", type=int, default=2, help="images to begin with")
    parser.add_argument("--add", type=int, default=4, help="images to label next")
    parser.add_argument("--iterations", type=int, default=200, help="steps of every training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--tinted", action="store_true", help="half of the images, as if stained")
    arguments = parser.parse_args()
    report(run(Trial(arguments), arguments))


if __name__ == "__main__":
    main()

"""Train from a few labelled images and measure on others: AP, seconds, milliseconds an image.

    python bench/fewshot.py --mode fsis --train T.json --val V.json --test E.json --images DIR

Prints a table, and the same as one line of JSON; for `fsis_segonly` the IoU of labels instead of
AP. `ece` is the expected calibration error of the scores that people see, `ece_raw` that of the
network's. Any COCO source will do.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.geometry.coco import from_coco_segmentation
from lsl_core.models.calibrated import calibrate
from lsl_core.models.compact import START
from lsl_core.progress import NullProgress
from lsl_core.training import FitSettings, Sample, evaluate, fit
from lsl_core.training.scoring.calibration import calibration_error
from lsl_core.training.scoring.correcting import DRAW_BOX_S, DRAW_MASK_S, correction_seconds
from lsl_core.training.scoring.score import matches
from lsl_core.types import MODES, CropMasks, Geometry, Instances, Metrics, Mode, ModelCard
from lsl_core.workspace.images import read_rgb


class Printed(NullProgress):
    """Print the loss now and then."""

    def metric(self, name: str, value: float, *, at: int) -> None:
        """Print every 100th."""
        if name != "loss" or at % 100 == 0:
            shown = name != "learning_rate"
            print(f"  {name} {value:.3f} at {at}", flush=True) if shown else None

    def note(self, text: str) -> None:
        """Print it."""
        print(f"  {text}")


def read_coco(path: Path, images: Path, *, with_masks: bool) -> tuple[list[Sample], list[str]]:
    """Read the samples and label names of a COCO file; labels in the order of their ids."""
    data = json.loads(path.read_text("utf-8"))
    categories = sorted(data["categories"], key=lambda c: c["id"])
    class_of = {c["id"]: i for i, c in enumerate(categories)}
    rows: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in data["images"]}
    for annotation in data["annotations"]:
        rows[annotation["image_id"]].append(annotation)
    samples = []
    for image in data["images"]:
        objects = rows[image["id"]]
        xywh = np.array([a["bbox"] for a in objects], np.float32).reshape(-1, 4)
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        hw = (image["height"], image["width"])
        masks = None
        if with_masks:
            crops = [from_coco_segmentation(a["segmentation"], hw) for a in objects]
            masks = CropMasks.from_crops([c for c, _ in crops], [place for _, place in crops])
        ids = np.array([class_of[a["category_id"]] for a in objects], np.int32)
        drawn = Instances(boxes, np.ones(len(ids), np.float32), ids, masks, hw)
        samples.append(Sample(image["file_name"], _reader(images / image["file_name"]), drawn))
    return samples, [c["name"] for c in categories]


def _reader(path: Path) -> Callable[[], NDArray[np.uint8]]:
    return lambda: read_rgb(path)


def run_once(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train with one seed, predict the test images."""
    with_masks = MODES[arguments.mode].gives is Geometry.MASKS
    (train, labels), (val, _), (test, _) = (
        read_coco(path, arguments.images, with_masks=with_masks) if path else ([], [])
        for path in (arguments.train, arguments.val, arguments.test)
    )
    settings = FitSettings(
        arguments.mode,
        family=arguments.family,
        minutes=arguments.minutes if arguments.iterations is None else None,
        iterations=arguments.iterations,
        seed=seed,
        threads=arguments.threads,
        start=None if arguments.scratch else arguments.start,
        bases=tuple(arguments.base),
        folds=min(arguments.folds, len(train)),
        first_pass=arguments.first_pass,
    )
    cpu = time.process_time()
    if MODES[arguments.mode].learns_from is Geometry.BOXES:
        train = [replace(s, instances=replace(s.instances, masks=None)) for s in train]
    fitted = fit(train, val, settings=settings, labels=tuple(labels), progress=Printed())
    cpu = time.process_time() - cpu
    model = fitted.model(fitted.card)
    found, seconds = [], 0.0
    for sample in test:
        pixels = sample.pixels()
        began = time.perf_counter()
        found += model.predict([pixels], floor_score=0.02)
        seconds += time.perf_counter() - began
    semantic = MODES[arguments.mode].semantic
    truth = [s.instances for s in test]
    metrics: Metrics = evaluate(truth, found, labels, semantic=semantic)
    shown = calibrated(found, fitted.card)
    return {
        "seed": seed,
        **asdict(metrics),
        "mean_iou": metrics.headline[1] if semantic else None,
        "val": asdict(fitted.metrics) if fitted.metrics else None,
        "thresholds": fitted.card.thresholds,
        "left_work_s": left_work(shown, truth, fitted.card),
        "calibration": fitted.card.calibration,
        "ece_raw": round(calibration_error(truth, found, labels), 4),
        "ece": round(calibration_error(truth, shown, labels), 4),
        "iterations": fitted.card.settings["iterations"],
        "train_seconds": fitted.card.train_seconds,
        "train_cpu_seconds": round(cpu, 1),
        "ms_per_image": round(1000 * seconds / max(len(test), 1), 1),
    }


def calibrated(found: list[Instances], card: ModelCard) -> list[Instances]:
    """Return what was found with the scores that people see."""
    if card.calibration is None:
        return found
    return [replace(f, scores=calibrate(f.scores, card.calibration)) for f in found]


def left_work(found: list[Instances], truth: list[Instances], card: ModelCard) -> dict[str, float]:
    """Return the seconds of correcting the test images at the card's thresholds, and at best."""
    draw_s = DRAW_MASK_S if any(f.masks is not None for f in found) else DRAW_BOX_S
    chosen = best = 0.0
    for name, of in zip(card.labels, matches(truth, found, card.labels), strict=True):
        work = correction_seconds(of, draw_s)
        chosen += work[int((of.scores >= card.thresholds[name]).sum())]
        best += work.min()
    return {"chosen": round(chosen), "best": round(best)}


def report(rows: list[dict[str, Any]]) -> None:
    """Print the table, with the AP of each label or its IoU, and the line of JSON."""
    semantic = bool(rows[0]["iou"])
    figures: tuple[str, ...] = ("mean_iou",) if semantic else ("ap", "ap50", "ap75")
    if "ece" in rows[0] and not semantic:  # peers have no calibrated scores, pixels none at all
        figures += ("ece_raw", "ece")
    columns = (*figures, "train_seconds", "train_cpu_seconds", "ms_per_image")
    print("".join(f"{name:>18}" for name in ("seed", *columns)))
    for row in rows:
        print("".join(f"{row[name]:>18.3f}" for name in ("seed", *columns)))
    means = {name: float(np.mean([row[name] for row in rows])) for name in columns}
    print(f"{'mean':>18}" + "".join(f"{means[name]:>18.3f}" for name in columns))
    of_label = "iou" if semantic else "per_label"
    for name in rows[0][of_label]:
        print(f"{name:>18}{np.mean([row[of_label][name] for row in rows]):>18.3f}")
    print(json.dumps({"mean": means, "runs": rows}))


def main() -> None:
    """Read the command line, train with each seed, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="compact")
    parser.add_argument("--mode", type=Mode, choices=list(Mode), required=True)
    for name in ("train", "test", "images"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--val", type=Path, help="images to choose the best step by")
    parser.add_argument("--folds", type=int, default=0, help="parts to leave out, without --val")
    parser.add_argument(
        "--first-pass", action="store_true", help="solve for the heads instead of training"
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="of training steps")
    parser.add_argument("--iterations", type=int, help="steps, instead of minutes")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of the CPU; measured when absent")
    parser.add_argument("--start", type=Path, default=START, help="weights to begin from")
    parser.add_argument("--scratch", action="store_true", help="begin from noise instead")
    parser.add_argument(
        "--base", type=Path, action="append", default=[],
        help="folder of pretrained weights (.lsl/pretrained/NAME), with --family foundation",
    )  # fmt: skip
    arguments = parser.parse_args()
    report([run_once(arguments, seed) for seed in range(arguments.seeds)])


if __name__ == "__main__":
    main()

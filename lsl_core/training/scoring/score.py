"""How good predictions are: COCO's average precision, and the IoU of labels' pixels."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lsl_core.geometry.coco import to_coco_rle
from lsl_core.geometry.masks import clip
from lsl_core.types import CropMasks, Geometry, Instances, Metrics

#: Objects of one label on one image that count, or twice as many as were drawn where that is
#: more; COCO's own 100 silently caps dense images.
MAX_OBJECTS = 1000
_BOXES = Geometry.BOXES.value
#: Precision at (IoU, recall, label); NaN for a label without an example.
Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What was found of one label, over all images, highest score first.

    scores: (N,). right, close: (N,) bool, whether an object that people drew is met at IoU 0.5,
    and at 0.75. wanted: how many they drew.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    close: NDArray[np.bool_]
    wanted: int


def evaluate(
    truth: Sequence[Instances],
    found: Sequence[Instances],
    labels: Sequence[str],
    *,
    semantic: bool = False,
) -> Metrics:
    """Compare predictions with what people drew, image by image.

    Masks are compared where both sides have them, boxes otherwise. Soft masks count at 0.5.

    Args:
        truth: one `Instances` an image.
        found: the same images, all scores above a low floor.
        labels: names in the order of class ids; those without an example have no AP.
        semantic: whether pixels count and not objects; adds the IoU of each label.
    """
    return evaluate_folds([(truth, found)], labels, semantic=semantic)


def evaluate_folds(
    parts: Sequence[tuple[Sequence[Instances], Sequence[Instances]]],
    labels: Sequence[str],
    *,
    semantic: bool = False,
) -> Metrics:
    """Return the mean figures of several measurements, and their spread.

    A label counts in the parts where it was drawn, so a rare one weighs like every other.

    Args:
        parts: what was drawn and found, as for `evaluate`.
        labels: names in the order of class ids.
        semantic: whether pixels count and not objects.
    """
    truth, found = ([i for part in parts for i in part[side]] for side in (0, 1))
    kind = _kind(truth, found)
    drawn = [part for part in parts if any(len(t) for t in part[0])]
    tables = [_precisions(*part, len(labels), kind) for part in drawn]
    table = _mean_table(tables, len(labels))
    boxes = None
    if kind != _BOXES:
        boxes = _mean_table(
            [_precisions(*part, len(labels), _BOXES) for part in drawn], len(labels)
        )
    per_label = [_by_label(table, labels) for table in tables]
    iou = [_pixel_iou(*part, labels) for part in drawn if semantic and kind != _BOXES]
    heads = [sum(of.values()) / len(of) for of in iou] or [_mean(table) for table in tables]
    return Metrics(
        ap=_mean(table),
        ap50=_mean(table[0:1]),
        ap75=_mean(table[5:6]),
        per_label=_by_label(table, labels),
        num_images=len(truth),
        num_objects=sum(len(t) for t in truth),
        kind=kind,
        box_ap=None if boxes is None else _mean(boxes),
        box_ap50=None if boxes is None else _mean(boxes[0:1]),
        box_ap75=None if boxes is None else _mean(boxes[5:6]),
        iou=_over_folds(iou, labels, fmean, least=1),
        spread=stdev(heads) if len(heads) > 1 else None,
        folds=len(parts) if len(parts) > 1 else 0,
        label_spread=_over_folds(iou or per_label, labels, stdev, least=2),
    )


def _over_folds(
    folds: Sequence[dict[str, float]],
    labels: Sequence[str],
    figure: Callable[[Sequence[float]], float],
    *,
    least: int,
) -> dict[str, float]:
    """Return a figure of what the folds say of each label that enough of them know."""
    known = {name: [fold[name] for fold in folds if name in fold] for name in labels}
    return {name: figure(values) for name, values in known.items() if len(values) >= least}


def _by_label(table: Table, labels: Sequence[str]) -> dict[str, float]:
    """Return the AP of each label that has an example."""
    return {
        name: float(table[:, :, i].mean())
        for i, name in enumerate(labels)
        if table.size and not np.isnan(table[0, 0, i])
    }


def _mean_table(tables: Sequence[Table], num_labels: int) -> Table:
    """Return the mean over those that know a label; NaN where none does."""
    if not tables:
        return np.zeros((0, 1, num_labels))
    stack = np.stack(tables)
    known = ~np.isnan(stack)
    sums, count = np.where(known, stack, 0).sum(axis=0), known.sum(axis=0)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def matches(
    truth: Sequence[Instances], found: Sequence[Instances], labels: Sequence[str]
) -> list[Matches]:
    """Return for each label which found objects are right."""
    if not any(len(t) for t in truth):
        nothing = np.zeros(0, bool)
        return [Matches(np.zeros(0), nothing, nothing, 0) for _ in labels]
    run = _run(truth, found, len(labels), _kind(truth, found))
    result = []
    for class_id in range(len(labels)):
        images = [e for e in run.evalImgs if e is not None and e["category_id"] == class_id + 1]
        scores = np.concatenate([np.zeros(0), *[e["dtScores"] for e in images]])
        right, close = (
            np.concatenate([np.zeros(0), *[e["dtMatches"][level] > 0 for e in images]]) > 0
            for level in (0, 5)  # IoU 0.50 and 0.75 of 0.50:0.05:0.95
        )
        order = np.argsort(-scores, kind="stable")
        wanted = sum(len(e["gtIds"]) for e in images)
        result.append(Matches(scores[order], right[order], close[order], wanted))
    return result


def _precisions(
    truth: Sequence[Instances], found: Sequence[Instances], num_labels: int, kind: str
) -> Table:
    """Return the precisions of images, on at least one of which something is drawn."""
    table = _run(truth, found, num_labels, kind).eval["precision"][..., 0, -1]
    return np.where(table < 0, np.nan, table)


def _pixel_iou(
    truth: Sequence[Instances], found: Sequence[Instances], labels: Sequence[str]
) -> dict[str, float]:
    """Return the IoU of each label's pixels, over all images; labels nowhere drawn are left out."""
    both, either, drawn = (np.zeros(len(labels)) for _ in range(3))
    for wanted, given in zip(truth, found, strict=True):
        for class_id in range(len(labels)):
            ours, theirs = _covered(given, class_id), _covered(wanted, class_id)
            both[class_id] += np.count_nonzero(ours & theirs)
            either[class_id] += np.count_nonzero(ours | theirs)
            drawn[class_id] += np.count_nonzero(theirs)
    return {name: float(both[i] / either[i]) for i, name in enumerate(labels) if drawn[i]}


def _covered(instances: Instances, class_id: int) -> NDArray[np.bool_]:
    """Return the pixels that objects of a label cover, (h, w)."""
    canvas = np.zeros(instances.image_hw, np.bool_)
    seen = instances.binary()  # without those that no pixel is sure of
    masks = seen.take(seen.class_ids == class_id).masks
    if isinstance(masks, CropMasks):
        masks = clip(masks, instances.image_hw)
        for i, (x, y, w, h) in enumerate(masks.crops.tolist()):
            canvas[y : y + h, x : x + w] |= masks.crop(i)
    return canvas


def _kind(truth: Sequence[Instances], found: Sequence[Instances]) -> str:
    with_objects = [i for i in (*truth, *found) if len(i)]
    has_masks = bool(with_objects) and all(i.masks is not None for i in with_objects)
    return Geometry.MASKS.value if has_masks else Geometry.BOXES.value


def _mean(table: NDArray[np.float64]) -> float:
    return 0.0 if not table.size or np.isnan(table).all() else float(np.nanmean(table))


def _run(
    truth: Sequence[Instances], found: Sequence[Instances], num_labels: int, kind: str
) -> COCOeval:
    """Run pycocotools over all sizes of objects."""
    images = [
        {"id": i + 1, "height": t.image_hw[0], "width": t.image_hw[1]} for i, t in enumerate(truth)
    ]
    categories = [{"id": i + 1, "name": str(i)} for i in range(num_labels)]
    wanted = [row for i, t in enumerate(truth) for row in _rows(t, i + 1, kind)]
    given = [row for i, f in enumerate(found) for row in _rows(f.binary(), i + 1, kind)]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        run = COCOeval(
            _coco(images, categories, wanted),
            _coco(images, categories, given),
            "segm" if kind == Geometry.MASKS.value else "bbox",
        )
        most = max((len(t) for t in truth), default=0)
        run.params.maxDets = [1, 10, max(MAX_OBJECTS, 2 * most)]
        run.params.areaRng, run.params.areaRngLbl = run.params.areaRng[:1], ["all"]
        run.evaluate()
        run.accumulate()
    return run


def _coco(images: list[Any], categories: list[Any], rows: list[dict[str, Any]]) -> COCO:
    for i, row in enumerate(rows):
        row["id"] = i + 1
    coco = COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": rows}
    coco.createIndex()
    return coco


def _rows(instances: Instances, image_id: int, kind: str) -> list[dict[str, Any]]:
    """Return one COCO annotation an object."""
    sizes = instances.boxes[:, 2:] - instances.boxes[:, :2]
    areas = sizes.prod(axis=1).astype(float)
    rles: list[Any] = [None] * len(instances)
    if kind == Geometry.MASKS.value and isinstance(instances.masks, CropMasks):
        masks = clip(instances.masks, instances.image_hw)
        areas, rles = masks.areas().astype(float), list(to_coco_rle(masks, instances.image_hw))
    return [
        {
            "image_id": image_id,
            "category_id": int(instances.class_ids[i]) + 1,
            "bbox": [*instances.boxes[i, :2].tolist(), *sizes[i].tolist()],
            "area": areas[i],
            "iscrowd": 0,
            "score": float(instances.scores[i]),
            **({} if rles[i] is None else {"segmentation": rles[i]}),
        }
        for i in range(len(instances))
    ]

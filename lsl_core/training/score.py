"""How good predictions are: COCO's average precision, and the thresholds that follow from it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
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
#: Threshold of a label that the held-out images say nothing about.
USUAL_THRESHOLD = 0.3


def evaluate(
    truth: Sequence[Instances], found: Sequence[Instances], labels: Sequence[str]
) -> Metrics:
    """Compare predictions with what people drew, image by image.

    Masks are compared where both sides have them, boxes otherwise. Soft masks count at 0.5.

    Args:
        truth: one `Instances` an image.
        found: the same images, all scores above a low floor.
        labels: names in the order of class ids; those without an example have no AP.
    """
    kind = _kind(truth, found)
    per_label = {}
    table = np.zeros((0, 1, len(labels)))
    if any(len(t) for t in truth):
        table = _run(truth, found, len(labels), kind).eval["precision"]
        table = np.where(table[..., 0, -1] < 0, np.nan, table[..., 0, -1])  # (IoU, recall, label)
        per_label = {
            name: float(table[:, :, i].mean())
            for i, name in enumerate(labels)
            if not np.isnan(table[0, 0, i])
        }
    return Metrics(
        ap=_mean(table),
        ap50=_mean(table[0:1]),
        ap75=_mean(table[5:6]),
        per_label=per_label,
        num_images=len(truth),
        num_objects=sum(len(t) for t in truth),
        kind=kind,
    )


def best_thresholds(
    truth: Sequence[Instances], found: Sequence[Instances], labels: Sequence[str]
) -> dict[str, float]:
    """Return for each label the score above which right and missed objects balance best (F1).

    A found object is right at IoU 0.5. Where a range of thresholds is about as good, its middle.
    """
    if not any(len(t) for t in truth):
        return dict.fromkeys(labels, USUAL_THRESHOLD)
    run = _run(truth, found, len(labels), _kind(truth, found))
    thresholds = {}
    for class_id, name in enumerate(labels):
        images = [e for e in run.evalImgs if e is not None and e["category_id"] == class_id + 1]
        scores = np.concatenate([np.zeros(0), *[e["dtScores"] for e in images]])
        right = np.concatenate([np.zeros(0), *[e["dtMatches"][0] > 0 for e in images]]) > 0
        wanted = sum(len(e["gtIds"]) for e in images)
        thresholds[name] = _best_f1(scores, right, wanted)
    return thresholds


def _best_f1(scores: NDArray[np.float64], right: NDArray[np.bool_], wanted: int) -> float:
    if not wanted or not right.any():
        return USUAL_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + wanted)
    good = np.flatnonzero(f1 >= f1.max() - 0.01)
    middle = (scores[good[0]] + scores[good[-1]]) / 2
    return float(np.clip(round(float(middle), 2), 0.05, 0.95))


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

"""How good predictions are: COCO's average precision, and the IoU of labels' pixels."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
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
    kind = _kind(truth, found)
    table = _precisions(truth, found, len(labels), kind)
    boxes = _precisions(truth, found, len(labels), _BOXES) if kind != _BOXES else None
    return Metrics(
        ap=_mean(table),
        ap50=_mean(table[0:1]),
        ap75=_mean(table[5:6]),
        per_label={
            name: float(table[:, :, i].mean())
            for i, name in enumerate(labels)
            if table.size and not np.isnan(table[0, 0, i])
        },
        num_images=len(truth),
        num_objects=sum(len(t) for t in truth),
        kind=kind,
        box_ap=None if boxes is None else _mean(boxes),
        box_ap50=None if boxes is None else _mean(boxes[0:1]),
        box_ap75=None if boxes is None else _mean(boxes[5:6]),
        iou=_pixel_iou(truth, found, labels) if semantic and kind != _BOXES else {},
    )


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
) -> NDArray[np.float64]:
    """Return the precision at (IoU, recall, label); NaN for a label without an example."""
    if not any(len(t) for t in truth):
        return np.zeros((0, 1, num_labels))
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

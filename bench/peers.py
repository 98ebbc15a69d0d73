"""Other people's merging behind one signature: each through its public functions.

An adapter has three steps: `ready` builds the peer's own objects (not timed), `merge` is timed,
`read` brings the result back to crops (not timed). Thresholds are the peers' defaults.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
from ours import merge as our_merge
from scenes import Objects, Scene

from lsl_core.types import Instances, Window
from lsl_core.windows import stitch


class Peer(Protocol):
    """Someone who joins what windows found."""

    def ready(self, scene: Scene) -> Any:
        """Return the input in the peer's own form."""

    def merge(self, native: Any) -> Any:
        """Join; leaves the input as it is."""

    def read(self, scene: Scene, merged: Any) -> Objects:
        """Return the result as crops."""


class Ours:
    """`lsl_core.windows`."""

    def ready(self, scene: Scene) -> Any:
        return scene.side, scene.side, scene.windows, scene.found

    def merge(self, native: Any) -> Any:
        return our_merge(*native)

    def read(self, scene: Scene, merged: Any) -> Objects:
        return Objects(merged.box, merged.score, merged.label, merged.masks)


class OurBoxes:
    """`lsl_core.windows.stitch` of boxes without masks."""

    def ready(self, scene: Scene) -> Any:
        parts, found = [], scene.found
        for k, (x, y, x1, y1) in enumerate(scene.windows.tolist()):
            rows = np.flatnonzero(found.window == k)
            boxes = (found.box[rows] - (x, y, x, y)).astype(np.float32)
            window = Window(x, y, x1 - x, y1 - y)
            columns = found.score[rows], found.label[rows]
            parts.append((window, Instances(boxes, *columns, None, (y1 - y, x1 - x))))
        return parts, (scene.side, scene.side)

    def merge(self, native: Any) -> Any:
        parts, image_hw = native
        return stitch(parts, image_hw=image_hw)

    def read(self, scene: Scene, merged: Any) -> Objects:
        return _boxed(merged.boxes, merged.scores, merged.class_ids)


class Sahi:
    """SAHI's post-processing of ObjectPrediction, masks as COCO polygons."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def ready(self, scene: Scene) -> Any:
        from sahi.prediction import ObjectPrediction
        from sahi.utils.cv import get_coco_segmentation_from_bool_mask

        found, result = scene.found, []
        for i, mask in enumerate(found.masks):
            x0, y0, x1, y1 = found.box[i].tolist()
            outline = get_coco_segmentation_from_bool_mask(mask.astype(bool))
            placed = [[v + (y0 if k % 2 else x0) for k, v in enumerate(ring)] for ring in outline]
            if placed:
                result.append(
                    ObjectPrediction(
                        bbox=[x0, y0, x1, y1],
                        category_id=int(found.label[i]),
                        category_name=str(found.label[i]),
                        score=float(found.score[i]),
                        segmentation=placed,
                        shift_amount=[0, 0],
                        full_shape=[scene.side, scene.side],
                    )
                )
        return result

    def merge(self, native: Any) -> Any:
        from sahi.predict import POSTPROCESS_NAME_TO_CLASS

        metric = "IOU" if self.kind == "NMS" else "IOS"
        join = POSTPROCESS_NAME_TO_CLASS[self.kind](match_threshold=0.5, match_metric=metric)
        return join(list(native))

    def read(self, scene: Scene, merged: Any) -> Objects:
        rows = []
        for one in merged:
            rings = [
                np.array(ring).reshape(-1, 2).round().astype(np.int32)
                for ring in (one.mask.segmentation if one.mask else [])
                if len(ring) >= 6
            ]
            if rings:
                rows.append((*_filled(rings), one.score.value, one.category.id))
        return _objects(rows)


class SahiBoxes(Sahi):
    """The same for predictions without masks."""

    def ready(self, scene: Scene) -> Any:
        from sahi.prediction import ObjectPrediction

        found = scene.found
        rows = zip(found.box.tolist(), found.label.tolist(), found.score.tolist(), strict=True)
        return [
            ObjectPrediction(
                bbox=box,
                category_id=label,
                category_name=str(label),
                score=score,
                shift_amount=[0, 0],
                full_shape=[scene.side, scene.side],
            )
            for box, label, score in rows
        ]

    def read(self, scene: Scene, merged: Any) -> Objects:
        boxes = [one.bbox.to_xyxy() for one in merged]
        scores = [one.score.value for one in merged]
        return _boxed(boxes, scores, [one.category.id for one in merged])


class Supervision:
    """supervision's Detections with compact masks, tight crops: its best case."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def ready(self, scene: Scene) -> Any:
        import supervision
        from supervision.detection.compact_mask import CompactMask

        found, parts = scene.found, []
        for mask, (x, y, _, _) in zip(found.masks, found.box.tolist(), strict=True):
            h, w = mask.shape
            around = np.array([[0.0, 0.0, w - 1, h - 1]])
            compact = CompactMask.from_dense(mask[None].astype(bool), around, (h, w))
            parts.append(compact.with_offset(x, y, (scene.side, scene.side)))
        boxes = found.box.astype(np.float32)
        boxes[:, 2:] -= 1
        return supervision.Detections(
            xyxy=boxes,
            mask=CompactMask.merge(parts),
            confidence=found.score.astype(np.float32),
            class_id=found.label.astype(int),
        )

    def merge(self, native: Any) -> Any:
        from supervision.detection.utils.iou_and_nms import OverlapMetric

        if self.kind == "NMS":
            return native.with_nms(threshold=0.5)
        return native.with_nmm(threshold=0.5, overlap_metric=OverlapMetric.IOS)

    def read(self, scene: Scene, merged: Any) -> Objects:
        rows = []
        for i in range(len(merged)):
            x, y = (int(v) for v in merged.mask.offsets[i])
            mask = np.asarray(merged.mask.crop(i), np.uint8)
            rows.append((x, y, mask, float(merged.confidence[i]), int(merged.class_id[i])))
        return _objects(rows)


class SupervisionBoxes(Supervision):
    """The same for detections without masks."""

    def ready(self, scene: Scene) -> Any:
        import supervision

        found = scene.found
        return supervision.Detections(
            xyxy=found.box.astype(np.float32),
            confidence=found.score.astype(np.float32),
            class_id=found.label.astype(int),
        )

    def read(self, scene: Scene, merged: Any) -> Objects:
        return _boxed(merged.xyxy, merged.confidence, merged.class_id)


class Coco:
    """pycocotools: IoU of everything with everything, greedy by score, masks united."""

    def ready(self, scene: Scene) -> Any:
        from pycocotools import mask as coco

        runs = []
        for mask, (x, y, _, _) in zip(scene.found.masks, scene.found.box.tolist(), strict=True):
            padded = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
            padded[:, 1:-1] = mask.T
            column, row = np.nonzero(np.diff(padded, axis=1))
            at = np.sort((column + x) * scene.side + row + y)
            counts = np.diff(np.concatenate([[0], at, [scene.side**2]])).tolist()
            size = {"size": [scene.side, scene.side], "counts": counts}
            runs.append(coco.frPyObjects(size, scene.side, scene.side))
        return runs, scene.found.score, scene.found.label

    def merge(self, native: Any) -> Any:
        from pycocotools import mask as coco

        runs, scores, labels = native
        share = coco.iou(runs, runs, [1] * len(runs))
        free, result = np.ones(len(runs), bool), []
        for i in np.argsort(-scores).tolist():
            if not free[i]:
                continue
            near = np.maximum(share[i], share[:, i]) > 0.5
            group = np.flatnonzero(near & free & (labels == labels[i]))
            free[group] = False
            free[i] = False
            result.append((coco.merge([runs[k] for k in group]), scores[i], labels[i]))
        return result

    def read(self, scene: Scene, merged: Any) -> Objects:
        from pycocotools import mask as coco

        rows = []
        for run, score, label in merged:
            x, y, w, h = (int(v) for v in coco.toBbox(run))
            if w and h:
                band = coco.decode(run) if scene.side <= 2048 else None
                mask = _coco_crop(run, (x, y, w, h)) if band is None else band[y : y + h, x : x + w]
                rows.append((x, y, np.ascontiguousarray(mask), float(score), int(label)))
        return _objects(rows)


def _coco_crop(run: Any, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return the crop of a compressed COCO mask without the whole image."""
    x, y, w, h = box
    side = run["size"][0]
    codes = np.frombuffer(run["counts"], np.uint8).astype(np.int64) - 48
    counts, value, shift = [], 0, 0
    for code in codes.tolist():
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    ends = np.cumsum(counts)
    canvas = np.zeros(w * side, np.uint8)
    for begin, end in zip(ends[0::2].tolist(), ends[1::2].tolist(), strict=False):
        canvas[begin - x * side : end - x * side] = 1
    return canvas.reshape(w, side).T[y : y + h]


def _filled(rings: list[np.ndarray]) -> tuple[int, int, np.ndarray]:
    corners = np.concatenate(rings)
    low, high = corners.min(0), corners.max(0)
    mask = np.zeros((high - low + 1)[::-1].tolist(), np.uint8)
    cv2.fillPoly(mask, [ring - low for ring in rings], 1)
    return int(low[0]), int(low[1]), mask


def _objects(rows: list[tuple[int, int, np.ndarray, float, int]]) -> Objects:
    box = [(x, y, x + m.shape[1], y + m.shape[0]) for x, y, m, _, _ in rows]
    return Objects(
        np.array(box, np.int32).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float32),
        np.array([row[4] for row in rows], np.int32),
        [row[2] for row in rows],
    )


def _boxed(boxes: Any, scores: Any, labels: Any) -> Objects:
    return Objects(
        np.rint(np.asarray(boxes, np.float64).reshape(-1, 4)).astype(np.int32),
        np.asarray(scores, np.float32),
        np.asarray(labels, np.int32),
        [],
    )


#: Name, what must be installed, and the adapter.
Peers = dict[str, tuple[str, Callable[[], Peer]]]
PEERS: Peers = {
    "ours": ("numpy", Ours),
    "sahi-nms": ("sahi", lambda: Sahi("NMS")),
    "sahi-greedynmm": ("sahi", lambda: Sahi("GREEDYNMM")),
    "sahi-nmm": ("sahi", lambda: Sahi("NMM")),
    "supervision-nms": ("supervision", lambda: Supervision("NMS")),
    "supervision-nmm": ("supervision", lambda: Supervision("NMM")),
    "pycocotools": ("pycocotools", Coco),
}
BOX_PEERS: Peers = {
    "ours": ("numpy", OurBoxes),
    "sahi-nms": ("sahi", lambda: SahiBoxes("NMS")),
    "sahi-greedynmm": ("sahi", lambda: SahiBoxes("GREEDYNMM")),
    "sahi-nmm": ("sahi", lambda: SahiBoxes("NMM")),
    "supervision-nms": ("supervision", lambda: SupervisionBoxes("NMS")),
    "supervision-nmm": ("supervision", lambda: SupervisionBoxes("NMM")),
}


def installed(peers: Peers = PEERS) -> list[str]:
    """Return the names of those that can run here."""
    return [name for name, (needs, _) in peers.items() if importlib.util.find_spec(needs)]

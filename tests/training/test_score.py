import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lsl_core.training import best_thresholds, evaluate
from lsl_core.types import CropMasks, Instances, SoftMasks

HW = (120, 160)


def discs(rng: np.random.Generator, count: int, *, shift: int = 0, extra: int = 0) -> Instances:
    """Objects on a grid of places, moved a little, with some false ones at the end."""
    crops, places, scores, ids = [], [], [], []
    y, x = np.mgrid[0:15, 0:15]
    for i in range(count + extra):
        crops.append(np.hypot(x - 7, y - 7) <= rng.integers(4, 8))
        places.append(((i % 8) * 18 + int(rng.integers(0, shift + 1)), (i // 8) * 20))
        scores.append(rng.uniform(0.5, 1) if i < count else rng.uniform(0.1, 0.4))
        ids.append(i % 2)
    masks = CropMasks.from_crops(crops, places)
    xywh = masks.crops.astype(np.float32)
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    return Instances(boxes, np.array(scores, np.float32), np.array(ids, np.int32), masks, HW)


def by_pycocotools(truth: list[Instances], found: list[Instances], kind: str) -> list[float]:
    """AP, AP50, AP75 the long way round: whole-image masks, pycocotools' own loading."""

    def rows(parts: list[Instances]) -> list[dict]:
        out = []
        for image, part in enumerate(parts):
            for i in range(len(part)):
                full = np.zeros(HW, np.uint8)
                x, y, w, h = part.masks.crops[i]
                full[y : y + h, x : x + w] = part.masks.crop(i)
                rle = coco_mask.encode(np.asfortranarray(full))
                x1, y1, x2, y2 = part.boxes[i].tolist()
                out.append(
                    {
                        "id": len(out) + 1,
                        "image_id": image + 1,
                        "category_id": int(part.class_ids[i]) + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": float(full.sum()),
                        "iscrowd": 0,
                        "segmentation": rle,
                        "score": float(part.scores[i]),
                    }
                )
        return out

    truth_set = COCO()
    truth_set.dataset = {
        "info": {},
        "images": [{"id": i + 1, "height": HW[0], "width": HW[1]} for i in range(len(truth))],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": rows(truth),
    }
    truth_set.createIndex()
    run = COCOeval(truth_set, truth_set.loadRes(rows(found)), kind)
    run.evaluate()
    run.accumulate()
    run.summarize()
    return run.stats[:3].tolist()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["masks", "boxes"])
def test_ap_ap50_and_ap75_of_random_scenes_are_those_of_pycocotools(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = [discs(rng, 12), discs(rng, 9)]
    found = [discs(rng, 10, shift=3, extra=4), discs(rng, 9, shift=2, extra=3)]
    expected = by_pycocotools(truth, found, "segm" if kind == "masks" else "bbox")
    if kind == "boxes":
        truth, found = (
            [Instances(p.boxes, p.scores, p.class_ids, None, HW) for p in parts]
            for parts in (truth, found)
        )
    metrics = evaluate(truth, found, ("a", "b"))
    assert metrics.kind == kind
    assert 0.1 < expected[0] < 0.9
    assert [metrics.ap, metrics.ap50, metrics.ap75] == pytest.approx(expected, abs=1e-9)


def test_a_perfect_prediction_has_ap_one() -> None:
    truth = [discs(np.random.default_rng(1), 11)]
    metrics = evaluate(truth, truth, ("a", "b"))
    assert (metrics.ap, metrics.ap50, metrics.ap75) == pytest.approx((1, 1, 1))
    assert metrics.per_label == pytest.approx({"a": 1, "b": 1})
    assert (metrics.num_images, metrics.num_objects) == (1, 11)


def test_more_than_a_hundred_objects_on_an_image_all_count() -> None:
    boxes = np.array([[i * 4, 0, i * 4 + 3, 9] for i in range(400)], np.float32)
    scores = np.linspace(1, 0.5, 400, dtype=np.float32)
    dense = Instances(boxes, scores, np.zeros(400, np.int32), None, (10, 1600))
    assert evaluate([dense], [dense], ("a",)).ap == pytest.approx(1)


def test_nothing_found_and_nothing_drawn_score_zero_without_a_warning() -> None:
    truth, none = discs(np.random.default_rng(1), 4), Instances.empty(HW)
    assert evaluate([truth], [none], ("a", "b")).ap == 0
    assert evaluate([none], [truth], ("a", "b")).ap50 == 0
    assert evaluate([none], [none], ("a", "b")).per_label == {}


def test_a_label_without_an_example_has_no_ap() -> None:
    truth = [discs(np.random.default_rng(1), 6)]
    assert set(evaluate(truth, truth, ("a", "b", "never")).per_label) == {"a", "b"}


def test_the_threshold_lies_between_right_and_false_objects() -> None:
    rng = np.random.default_rng(2)
    truth = discs(rng, 16)
    false = discs(rng, 16).moved(9, 60, HW)
    false = Instances(false.boxes, np.full(16, 0.2, np.float32), false.class_ids, false.masks, HW)
    right = Instances(truth.boxes, np.full(16, 0.8, np.float32), truth.class_ids, truth.masks, HW)
    thresholds = best_thresholds([truth], [Instances.concat([right, false])], ("a", "b", "never"))
    assert 0.2 < thresholds["a"] <= 0.8
    assert 0.2 < thresholds["b"] <= 0.8
    assert thresholds["never"] == 0.3


def test_an_object_that_no_pixel_is_sure_of_leaves_the_iou_of_labels_as_it_is() -> None:
    square = np.full((4, 4), 200, np.uint8)
    soft = SoftMasks.from_crops([square, square // 4, square], [(0, 0), (8, 0), (20, 0)])
    boxes = np.array([[0, 0, 4, 4], [8, 0, 12, 4], [20, 0, 24, 4]], np.float32)
    scores, ids = np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 0, 1], np.int32)
    found = Instances(boxes, scores, ids, soft, HW)
    truth = found.binary(0.5)
    metrics = evaluate([truth], [found], ("a", "b"), semantic=True)
    assert metrics.iou == {"a": 1.0, "b": 1.0}

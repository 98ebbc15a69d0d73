from dataclasses import replace

import numpy as np
import pytest

from lsl_core.errors import OutOfGpuMemory
from lsl_core.progress import NullProgress
from lsl_core.training import Sample, compare, evaluate, measure
from lsl_core.types import CropMasks, Instances, Mode, ModelCard, SlideWindows, Verdict

HW = (64, 256)
CARD = ModelCard(
    id="new", name="m", family="compact", mode=Mode.FSIS, labels=("a", "b"), parent="old",
    support="s", support_images=3, metrics=None, thresholds={}, window=64, scale=1.0, settings={},
    weights_sha256="", licence="", created="",
)  # fmt: skip

OLD = replace(CARD, id="old")


def squares(count: int, *, shift: int = 0, class_id: int = 0) -> Instances:
    masks = CropMasks.from_crops(
        [np.ones((12, 12), bool)] * count, [(i * 20 + shift, 4) for i in range(count)]
    )
    xywh = masks.crops.astype(np.float32)
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    ids = np.full(count, class_id, np.int32)
    return Instances(boxes, np.linspace(0.9, 0.5, count, dtype=np.float32), ids, masks, HW)


def verdict(ours: Instances, theirs: Instances, parent: ModelCard = OLD):
    truth = [squares(8)]
    return compare((CARD, [ours]), (parent, [theirs]), truth, num_images=1, num_seen=0)


def test_a_version_that_finds_less_is_worse_than_its_parent() -> None:
    result = verdict(squares(4), squares(8))
    assert result.verdict is Verdict.WORSE
    assert result.after < result.before == pytest.approx(1)
    assert verdict(squares(8), squares(4)).verdict is Verdict.BETTER
    assert verdict(squares(8), squares(8)).verdict is Verdict.ALIKE


def test_each_label_is_compared_as_masks_and_as_boxes_in_words() -> None:
    truth = Instances.concat([squares(4), squares(4, shift=100, class_id=1)])
    ours = truth.take(truth.class_ids == 0)
    result = compare((CARD, [ours]), (OLD, [truth]), [truth], num_images=1, num_seen=0)
    said = {(row.kind, row.label): row.verdict for row in result.rows}
    assert said == {
        (kind, label): verdict
        for kind in ("masks", "boxes")
        for label, verdict in (("", Verdict.WORSE), ("a", Verdict.ALIKE), ("b", Verdict.WORSE))
    }
    assert result.rows[0].before == pytest.approx(result.before)


def test_labels_are_compared_by_name_and_only_those_that_both_know() -> None:
    parent = replace(CARD, id="old", labels=("z", "a"))
    result = verdict(squares(8), squares(8, class_id=1), parent)
    assert (result.verdict, result.before) == (Verdict.ALIKE, pytest.approx(1))
    assert verdict(squares(8), squares(8), replace(CARD, labels=("z",))).verdict is Verdict.UNKNOWN


def test_a_parent_that_gives_boxes_is_compared_by_boxes() -> None:
    plain = replace(squares(8), masks=None)
    result = verdict(squares(8), plain, replace(CARD, id="old", mode=Mode.FSOD))
    assert (result.figure, result.verdict) == ("box AP", Verdict.ALIKE)
    assert result.rows == (), "masks beside boxes say nothing by label"


def test_masks_are_measured_as_boxes_too_and_pixels_on_request() -> None:
    truth, found = [squares(8)], [squares(8, shift=3)]
    metrics = evaluate(truth, found, ("a", "b"), semantic=True)
    assert metrics.kind == "masks"
    assert metrics.box_ap50 == pytest.approx(metrics.ap50)
    assert metrics.iou == {"a": pytest.approx(9 / 15)}
    assert metrics.headline == ("IoU", pytest.approx(9 / 15))
    boxes_only = [replace(i, masks=None) for i in truth]
    assert evaluate(boxes_only, boxes_only, ("a", "b")).box_ap is None


def test_measuring_on_a_device_too_small_for_a_window_says_what_to_do() -> None:
    class Small:
        def predict(self, windows: object, *, floor_score: float) -> list[Instances]:
            raise RuntimeError("CUDA error: out of memory")

    sample = Sample("a", lambda: np.zeros((8, 8, 3), np.uint8), Instances.empty((8, 8)))
    with pytest.raises(OutOfGpuMemory, match="too small to look at a window") as error:
        measure(Small(), [sample], SlideWindows(), NullProgress())
    assert 'the device "cpu"' in error.value.hint

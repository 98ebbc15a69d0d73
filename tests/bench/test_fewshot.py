import json

import cv2
import numpy as np
import pytest

from lsl_core.sources.coco import document
from lsl_core.types import CropMasks, ImageRef, Instances


@pytest.fixture
def discs(tmp_path):
    """Three COCO files of one image with bright discs each."""
    for number, name in enumerate(("train", "val", "test")):
        pixels, crops, places = np.full((64, 64, 3), 30, np.uint8), [], []
        for x, y in ((16, 16), (44, 40 + number)):
            canvas = np.zeros((64, 64), np.uint8)
            cv2.circle(canvas, (x, y), 9, 1, -1)
            pixels[canvas > 0] = 220
            crops.append(canvas[y - 9 : y + 10, x - 9 : x + 10] > 0)
            places.append((x - 9, y - 9))
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
        masks = CropMasks.from_crops(crops, places)
        boxes = np.array([[x, y, x + 19, y + 19] for x, y in places], np.float32)
        ids, ones = np.array([0, 1], np.int32), np.ones(2, np.float32)
        drawn = Instances(boxes, ones, ids, masks, (64, 64))
        ref = ImageRef(None, number, f"{name}.png", (64, 64), "")
        coco = document([(ref, drawn, ones > 0)], ("left", "right"))
        (tmp_path / f"{name}.json").write_text(json.dumps(coco))
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "figures", "of_label"),
    [
        ("fsis", ["ap", "ap50", "ap75", "ece_raw", "ece"], "per_label"),
        ("fsis_segonly", ["mean_iou"], "iou"),
    ],
)
def test_the_table_names_the_figures_of_the_mode_and_each_label(
    bench, discs, mode, figures, of_label
):
    asked = ["--mode", mode, "--images", discs]
    for name in ("train", "val", "test"):
        asked += [f"--{name}", discs / f"{name}.json"]
    asked += ["--iterations", "2", "--seeds", "2", "--threads", "1"]
    *lines, last = bench("fewshot.py", *asked).splitlines()
    result = json.loads(last)
    table = [line.split() for line in lines[-6:]]
    assert table[0] == ["seed", *figures, "train_seconds", "train_cpu_seconds", "ms_per_image"]
    assert [row[0] for row in table[1:]] == ["0.000", "1.000", "mean", "left", "right"]
    for name in figures:
        of_seeds = [run[name] for run in result["runs"]]
        assert result["mean"][name] == pytest.approx(np.mean(of_seeds))
        assert float(table[3][1 + figures.index(name)]) == pytest.approx(
            result["mean"][name], abs=5e-4
        )
    for label, shown in table[4:]:
        of_seeds = [run[of_label][label] for run in result["runs"]]
        assert float(shown) == pytest.approx(np.mean(of_seeds), abs=5e-4)

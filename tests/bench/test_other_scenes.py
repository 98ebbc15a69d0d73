import json
import subprocess
import sys

from lsl_core.workspace.images import read_rgb

from .conftest import BENCH


def test_a_drawn_source_is_read_back_whole(tmp_path):
    asked = ["--kind", "parts", "--out", tmp_path, "--train", "2", "--val", "1", "--test", "1"]
    done = subprocess.run(
        [sys.executable, BENCH / "other_scenes.py", *asked],
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr

    from fewshot import read_coco

    splits = {}
    for name, count in (("train", 2), ("val", 1), ("test", 1)):
        splits[name], labels = read_coco(tmp_path / f"{name}.json", tmp_path, with_masks=True)
        assert labels == ["washer", "nut", "bolt"]
        assert len(splits[name]) == count
        for sample in splits[name]:
            assert sample.pixels().shape[:2] == sample.instances.image_hw
            assert (sample.instances.masks.areas() > 0).all()
            assert len(sample.instances) > 10
    names = [json.loads((tmp_path / f"{n}.json").read_text())["images"][0] for n in splits]
    pixels = [read_rgb(tmp_path / image["file_name"]) for image in names]
    assert (pixels[0] != pixels[1]).any()
    assert (pixels[1] != pixels[2]).any()
